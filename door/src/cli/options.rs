//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use penstock_door::config::reference::REFERENCE;
use penstock_service::manual::Manual;
use penstock_service::settings::Sources;
use penstock_service::settings::options::SettingsOptions;
use penstock_service::settings::wish::ConfigWish;

/// Where a configuration is looked for when nothing is said: as the service has it.
const USUAL_CONFIG: &str = "/etc/penstock/door.toml";

/// The door of a storage site: WebDAV and HTTP for users, work for pools.
///
/// Without a command it is the daemon.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Options {
    /// What to do; nothing: be the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsOptions,
    /// JSON instead of text from commands: an object on each line.
    #[arg(long, global = true)]
    pub json: bool,
    /// Check the configuration, say what is wrong with it, and end. The command "check" looks at the machine too.
    #[arg(long)]
    pub check: bool,
    /// Make the macaroon keys and a first token for everything, where they are missing, and end.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    pub init_token: Option<PathBuf>,
    /// Put a new macaroon key in front of the others, and end. A door that runs uses it after a reload (SIGHUP); the old
    /// keys go on opening what they have signed, until somebody takes their lines out of the file.
    #[arg(long, conflicts_with_all = ["check", "init_token"])]
    pub rotate_keys: bool,
    /// Give names to the files that `penstock-pool import` has found in this pool, and end. The pool runs meanwhile; this
    /// door may.
    #[arg(long, value_name = "POOL", conflicts_with_all = ["check", "init_token", "rotate_keys"])]
    pub adopt: Option<String>,
}

impl Options {
    /// What the file, the environment and the command line say.
    #[must_use]
    pub fn sources(&self) -> Sources {
        self.settings.sources(&REFERENCE)
    }

    /// The same for commands, with the file that the service has where none is named.
    #[must_use]
    pub fn usual_sources(&self) -> Sources {
        self.settings.usual_sources(&REFERENCE, USUAL_CONFIG)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints the configuration in effect, and where each value comes from.
    ///
    /// The file's values go before the defaults, those of the environment (PENSTOCK_DOOR_TLS_LISTEN for tls.listen) before the
    /// file's, and those of --set before all. There is nothing secret in it: keys, tokens and certificates are files, of which
    /// it holds the paths.
    Config(ConfigWish),
    /// Looks whether a door can run here with this configuration, without binding or changing anything.
    ///
    /// Files, keys, certificates and their dates, names, ports, pools, limits, clock: a line for each, with what to do where
    /// something is not well. Ends with 1 when something failed; warnings do not count.
    Check,
    #[command(flatten)]
    Manual(Manual),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
        let parse = |words: &[&str]| Options::try_parse_from(words);
        let options = parse(&["penstock-door", "check", "--json", "--config", "/x"]).unwrap();
        assert!(matches!(options.command, Some(Command::Check)) && options.json);
        assert_eq!(options.settings.config, Some("/x".into()));
        for words in [
            ["penstock-door", "--set", "log=debug", "config"],
            ["penstock-door", "config", "--set", "log=debug"],
        ] {
            assert_eq!(parse(&words).unwrap().settings.set, ["log=debug"], "{words:?}");
        }
    }
}
