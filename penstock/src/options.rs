//! The command line. What it leaves open, the environment says, else the configuration file, and else the defaults.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use penstock_service::manual::Manual;
use penstock_service::settings::Sources;
use penstock_service::settings::sources::Given;
use penstock_service::settings::wish::ConfigWish;

use crate::reference::REFERENCE;

/// Door and pool of a storage site in one process.
///
/// Whatever can be configured can be said in the file of --config, in the environment (PENSTOCK_SITE_LISTEN for listen), with
/// --set, and some of it with an option of its own; the later goes first. "penstock config --default" prints every key.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: ServeOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves until it is told to end; the same as no command.
    Serve(ServeOptions),
    /// Prints the configuration in effect, and where each value comes from.
    ///
    /// The file's values go before the defaults, those of the environment (PENSTOCK_SITE_LISTEN for listen) before the file's,
    /// those of --set before these, and options of their own (--listen) before all. There is nothing secret in it.
    Config(ConfigOptions),
    /// Looks whether a site can run here with this configuration, without binding or making anything.
    ///
    /// Takes the options that the daemon gets. The data directory, its disk, names, ports, io_uring, limits, memory, clock: a
    /// line for each, with what to do where something is not well. Ends with 1 when something failed; warnings do not count.
    Check(CheckOptions),
    #[command(flatten)]
    Manual(Manual),
}

/// What is wished.
#[derive(Debug)]
pub enum Task {
    /// To serve.
    Serve(ServeOptions),
    /// To know what it would serve with.
    Config(ConfigOptions),
    /// To know whether it can.
    Check(CheckOptions),
    /// To know how.
    Manual(Manual),
}

/// How to serve.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ServeOptions {
    /// Where files, names, keys and the first token are kept [default: penstock-data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Where users come to: the door [default: 127.0.0.1:2880].
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Where the door sends them for the bytes: the pool [default: 127.0.0.1:2881].
    #[arg(long, value_name = "ADDR")]
    pub pool_listen: Option<SocketAddr>,
    /// Where admins and Prometheus come to [default: 127.0.0.1:2882].
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<SocketAddr>,
    /// What those may do who show no token [default: none].
    #[arg(long, value_name = "WHAT")]
    pub anonymous: Option<AnonymousWord>,
    /// A TOML file with these and further settings; what is said here goes first.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets a key of the configuration, whatever the file and the environment say: "capacity=10 TiB".
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl ServeOptions {
    /// What the file, the environment and the command line say.
    #[must_use]
    pub fn sources(self) -> Sources {
        let address = |address: Option<SocketAddr>| address.map(|address| address.to_string());
        let options = [
            ("--data", "data", self.data),
            ("--listen", "listen", address(self.listen)),
            ("--pool-listen", "pool_listen", address(self.pool_listen)),
            ("--admin-listen", "admin_listen", address(self.admin_listen)),
            ("--anonymous", "anonymous", self.anonymous.map(AnonymousWord::text)),
        ];
        let given = |(option, key, value): (_, _, Option<String>)| Some(Given { option, key, value: value? });
        Sources {
            options: options.into_iter().filter_map(given).collect(),
            ..Sources::of_process(&REFERENCE, self.config, self.set)
        }
    }
}

/// What of the configuration to print.
#[derive(Debug, Clone, Args)]
pub struct ConfigOptions {
    /// In which form.
    #[command(flatten)]
    pub wish: ConfigWish,
    /// JSON instead of text: an object on each line.
    #[arg(long)]
    pub json: bool,
    /// With which options the daemon would be started.
    #[command(flatten)]
    pub serve: ServeOptions,
}

/// How to look.
#[derive(Debug, Clone, Args)]
pub struct CheckOptions {
    /// JSON instead of a table: an object on each line.
    #[arg(long)]
    pub json: bool,
    /// With which options the daemon would be started.
    #[command(flatten)]
    pub serve: ServeOptions,
}

/// What those may do who show no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AnonymousWord {
    /// Nothing.
    None,
    /// Download and list.
    Read,
    /// Everything.
    Write,
}

impl AnonymousWord {
    /// As it stands in a file.
    fn text(self) -> String {
        match self {
            AnonymousWord::None => "none",
            AnonymousWord::Read => "read",
            AnonymousWord::Write => "write",
        }
        .to_owned()
    }
}

impl CommandLine {
    /// What to do. The word "serve" can be left out.
    #[must_use]
    pub fn task(self) -> Task {
        match self.command {
            Some(Command::Serve(options)) => Task::Serve(options),
            Some(Command::Config(wish)) => Task::Config(wish),
            Some(Command::Check(wish)) => Task::Check(wish),
            Some(Command::Manual(wish)) => Task::Manual(wish),
            None => Task::Serve(self.options),
        }
    }
}

#[cfg(test)]
mod tests {
    use penstock_door::Anonymous;

    use super::*;
    use crate::settings::Settings;

    fn parse(words: &str) -> Result<ServeOptions, clap::Error> {
        match CommandLine::try_parse_from(words.split_whitespace())?.task() {
            Task::Serve(options) => Ok(options),
            other => panic!("{words} is {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        CommandLine::command().debug_assert();
        let task = CommandLine::try_parse_from(["penstock", "man"]).unwrap().task();
        assert!(matches!(task, Task::Manual(Manual::Man { dir: None })));
    }

    #[test]
    fn serve_may_be_said_or_left_out() {
        let said = parse("penstock serve --data /d --anonymous read").unwrap();
        assert_eq!(said, parse("penstock --data /d --anonymous read").unwrap());
        assert_eq!(said.anonymous, Some(AnonymousWord::Read));
        assert_eq!(parse("penstock").unwrap(), ServeOptions::default());
    }

    #[test]
    fn options_of_their_own_set_keys_and_go_before_all() {
        let words = "penstock --data 2024 --listen [::1]:80 --pool-listen 127.0.0.1:1 --admin-listen 127.0.0.1:2 \
                     --anonymous write --set data=/elsewhere --set capacity=5GiB";
        // Whatever the environment of the test says.
        let sources = Sources { environment: Vec::new(), ..parse(words).unwrap().sources() };
        let effective = sources.load::<Settings>().unwrap();
        let settings = &effective.config;
        assert_eq!((settings.data.to_str(), settings.capacity), (Some("2024"), Some(5 << 30)));
        assert_eq!(settings.listen.to_string(), "[::1]:80");
        assert_eq!(settings.pool_listen.port(), 1);
        assert_eq!(settings.admin_listen.port(), 2);
        assert_eq!(settings.anonymous, Anonymous::Write);
        let told = effective.settings();
        let origin = |key| told.iter().find(|setting| setting.key == key).unwrap().origin.to_string();
        assert_eq!((origin("data"), origin("capacity")), ("--data".to_owned(), "--set".to_owned()));
    }

    #[test]
    fn what_is_wrong_with_an_option_is_said_of_it() {
        let environment = || vec![("PENSTOCK_SITE_ADMIN_LISTEN".to_owned(), "127.0.0.1:2880".to_owned())];
        for (words, environment, expected) in [
            ("penstock --pool-listen 0.0.0.0:2881", vec![], "--pool-listen: pool_listen: users cannot"),
            ("penstock --set drain=soon", vec![], "--set: drain: \"soon\""),
            ("penstock --set drian=5", vec![], "--set: drian: there is no such key; did you mean \"drain\"?"),
            (
                "penstock",
                environment(),
                "environment PENSTOCK_SITE_ADMIN_LISTEN: admin_listen: 127.0.0.1:2880",
            ),
        ] {
            let sources = Sources { environment, ..parse(words).unwrap().sources() };
            let error = sources.load::<Settings>().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{words}: {error}");
        }
    }

    #[test]
    fn the_configuration_is_printed_for_the_options_of_the_daemon() {
        let words = "penstock config --json --set drain=5 --data /d";
        match CommandLine::try_parse_from(words.split_whitespace()).unwrap().task() {
            Task::Config(ConfigOptions { json: true, serve, .. }) => {
                assert_eq!((serve.data.as_deref(), serve.set), (Some("/d"), vec!["drain=5".to_owned()]));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_check_takes_what_the_daemon_takes() {
        let words = "penstock check --json --data /d --listen [::1]:80";
        match CommandLine::try_parse_from(words.split_whitespace()).unwrap().task() {
            Task::Check(CheckOptions { json: true, serve }) => {
                assert_eq!(serve, parse("penstock --data /d --listen [::1]:80").unwrap());
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for words in
            ["penstock --listen 2880", "penstock --anonymous all", "penstock serve extra", "penstock -x"]
        {
            assert!(parse(words).is_err(), "{words}");
        }
    }
}
