//! The commands of `penstock-door`: what admins ask of it beside running it.
//!
//! * [`options`]: the command line.

pub mod options;

use std::process::ExitCode;

use clap::CommandFactory as _;
use penstock_door::{Config, check};

use self::options::{Command, Options};

/// Carries out a command. The exit code tells programs what it found, where there is something to find.
pub fn run(command: &Command, options: &Options) -> anyhow::Result<ExitCode> {
    let sources = || options.usual_sources();
    match command {
        Command::Config(wish) => wish.run::<Config>(&sources(), options.json).map(|()| ExitCode::SUCCESS),
        Command::Check => {
            let look = |config: &Config| Ok((format!("door {}", config.name), check::look(config)?));
            penstock_service::check::run(&sources(), options.json, look)
        }
        Command::Manual(wish) => wish.run(Options::command()).map(|()| ExitCode::SUCCESS),
    }
}
