//! The commands of `penstock-door`: what admins ask of it beside running it.
//!
//! * [`options`]: the command line. [`check`]: whether a door can run here with its configuration.

mod check;
pub mod options;

use std::process::ExitCode;

use clap::CommandFactory as _;
use penstock_door::Config;

use self::options::{Command, Options};

/// Carries out a command. The exit code tells programs what it found, where there is something to find.
pub fn run(command: &Command, options: &Options) -> anyhow::Result<ExitCode> {
    let sources = || options.usual_sources();
    match command {
        Command::Config(wish) => wish.run::<Config>(&sources(), options.json).map(|()| ExitCode::SUCCESS),
        Command::Check => check::run(&sources(), options.json),
        Command::Manual(wish) => wish.run(Options::command()).map(|()| ExitCode::SUCCESS),
    }
}
