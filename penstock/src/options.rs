//! The command line. What it leaves open, the configuration file says, and else the defaults.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use penstock_door::Anonymous;
use penstock_service::manual::Manual;

/// Door and pool of a storage site in one process.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
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
    #[command(flatten)]
    Manual(Manual),
}

/// What is wished.
#[derive(Debug)]
pub enum Task {
    /// To serve.
    Serve(ServeOptions),
    /// To know how.
    Manual(Manual),
}

/// How to serve.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct ServeOptions {
    /// Where files, names, keys and the first token are kept [default: penstock-data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
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
    /// A TOML file with these and further settings; options given here go first.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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

impl From<AnonymousWord> for Anonymous {
    fn from(word: AnonymousWord) -> Self {
        match word {
            AnonymousWord::None => Anonymous::None,
            AnonymousWord::Read => Anonymous::Read,
            AnonymousWord::Write => Anonymous::Write,
        }
    }
}

impl CommandLine {
    /// What to do. The word "serve" can be left out.
    #[must_use]
    pub fn task(self) -> Task {
        match self.command {
            Some(Command::Serve(options)) => Task::Serve(options),
            Some(Command::Manual(wish)) => Task::Manual(wish),
            None => Task::Serve(self.options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Result<ServeOptions, clap::Error> {
        match CommandLine::try_parse_from(words.split_whitespace())?.task() {
            Task::Serve(options) => Ok(options),
            Task::Manual(wish) => panic!("{words} is {wish:?}"),
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
    fn nonsense_is_refused() {
        for words in
            ["penstock --listen 2880", "penstock --anonymous all", "penstock serve extra", "penstock -x"]
        {
            assert!(parse(words).is_err(), "{words}");
        }
    }
}
