//! `penstock-bench`: measures what a pool is made of, on the machine where it is to run.
//!
//! One file per subcommand; each prints a table for people or, with `--json`, one object for machines.
#![forbid(unsafe_code)]

mod byte_size;
mod checksum;
mod spread;

use clap::{Parser, Subcommand};

/// Measures what a Penstock pool is made of, on this machine.
#[derive(Debug, Parser)]
#[command(name = "penstock-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How fast one core computes each checksum
    Checksum(checksum::Options),
}

fn main() -> anyhow::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("warning: built without optimisation; measure with cargo run --release -p penstock-bench");
    }
    match Arguments::parse().command {
        Command::Checksum(options) => checksum::run(&options, &mut std::io::stdout(), &mut std::io::stderr()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
