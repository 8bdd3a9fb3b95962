//! `penstock-bench`: measures what a pool is made of, on the machine where it is to run. Wiring only.
//!
//! A folder for each subcommand; `measure` has the runs, `report` what is written of them, `target` and `terminal`
//! what they touch.
#![forbid(unsafe_code)]

mod arguments;
mod checksum;
mod child;
mod disk;
mod door;
mod engine;
mod http;
mod measure;
mod net;
mod orders;
mod pool;
mod report;
mod target;
mod terminal;
mod tpc;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use penstock_service::manual::Manual;
use terminal::{EXIT_CODE, Interrupt, Interrupted};

/// Measures what a Penstock pool is made of, on this machine.
///
/// Every subcommand prints tables, or one JSON object (--json), and a page with charts if it is wanted (--html). Nothing is
/// touched that was not made for the measurement, and what was made is removed, after Ctrl-C too.
#[derive(Debug, Parser)]
#[command(name = "penstock-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Disk(disk::Options),
    Net(net::Options),
    Pool(pool::Options),
    Door(door::Options),
    Tpc(tpc::Options),
    Checksum(checksum::Options),
    Engine(engine::Options),
    #[command(hide = true)]
    EngineServer(engine::ServerOptions),
    #[command(flatten)]
    Manual(Manual),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("penstock-bench: {}", one_line(&error));
            if error.is::<Interrupted>() { ExitCode::from(EXIT_CODE) } else { ExitCode::FAILURE }
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    let result = match command {
        Command::Disk(options) => disk::run(options, &interrupt),
        Command::Net(options) => net::run(options, &interrupt),
        Command::Pool(options) => pool::run(options, &interrupt),
        Command::Door(options) => door::run(options, &interrupt),
        Command::Tpc(options) => tpc::run(options, &interrupt),
        Command::Checksum(options) => checksum::run(options, &interrupt),
        Command::Engine(options) => engine::run(options, &interrupt),
        Command::EngineServer(options) => engine::serve(options),
        Command::Manual(wish) => wish.run(Arguments::command()),
    };
    // What an interrupt has cut short fails in many ways; this is the reason.
    result.map_err(|error| if interrupt.came() { Interrupted.into() } else { error })
}

/// An error with its causes, but for those whose words it has already.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        if line.contains(&cause) { line } else { format!("{line}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
