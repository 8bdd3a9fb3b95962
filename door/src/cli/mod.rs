//! The commands of `penstock-door`: what admins ask of it beside running it.
//!
//! * [`options`]: the command line.
//! * [`settings`]: the configuration and its reference. [`check`]: whether a door can run with it here.

mod check;
pub mod options;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory as _;

use self::options::{Command, Options};

/// Where a configuration is looked for when nothing is said: as the service has it.
const USUAL_CONFIG: &str = "/etc/penstock/door.toml";

/// Carries out a command. The exit code tells programs what it found, where there is something to find.
pub fn run(command: &Command, options: &Options) -> anyhow::Result<ExitCode> {
    match command {
        Command::Config(wish) => settings::run(&file(options), wish).map(|()| ExitCode::SUCCESS),
        Command::Check(wish) => check::run(&file(options), wish.json),
        Command::Manual(wish) => wish.run(Options::command()).map(|()| ExitCode::SUCCESS),
    }
}

fn file(options: &Options) -> PathBuf {
    options.config.clone().unwrap_or_else(|| USUAL_CONFIG.into())
}
