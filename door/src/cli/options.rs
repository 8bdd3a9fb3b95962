//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use penstock_service::manual::Manual;

/// The door of a storage site: WebDAV and HTTP for users, work for pools.
///
/// Without a command it is the daemon.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Options {
    /// What to do; nothing: be the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The configuration. Commands look for it at /etc/penstock/door.toml when nothing is said.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
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

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Prints the configuration in effect: every key, with its value, and whether the file says so.
    Config(ConfigWish),
    /// Looks whether a door can run here with this configuration, without binding or changing anything.
    ///
    /// Files, keys, certificates and their dates, names, ports, pools, limits, clock: a line for each, with what to do where
    /// something is not well. Ends with 1 when something failed; warnings do not count.
    Check(CheckWish),
    #[command(flatten)]
    Manual(Manual),
}

/// What of the configuration to print.
#[derive(Debug, Args)]
pub struct ConfigWish {
    /// The reference: every key with its form, default and reason, commented out.
    #[arg(long)]
    pub default: bool,
    /// The reference as docs/door-configuration.md has it.
    #[arg(long, hide = true, conflicts_with = "default")]
    pub markdown: bool,
    /// An object of JSON on each line.
    #[arg(long, conflicts_with_all = ["default", "markdown"])]
    pub json: bool,
}

/// How to tell what was found.
#[derive(Debug, Args)]
pub struct CheckWish {
    /// An object of JSON on each line.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
        let options =
            Options::try_parse_from(["penstock-door", "check", "--json", "--config", "/x"]).unwrap();
        assert!(matches!(options.command, Some(Command::Check(CheckWish { json: true }))));
        assert_eq!(options.config, Some("/x".into()));
    }
}
