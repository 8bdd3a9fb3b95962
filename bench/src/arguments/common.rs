//! The options that every subcommand has: how often, and in which form the result is wanted.

use std::path::PathBuf;

/// Most runs of a case.
const MOST_RUNS: i64 = 1000;

/// How often a case is measured, and in which form the result is given.
#[derive(Debug, Clone, clap::Args)]
pub struct Common {
    /// Runs of each case, in turn with the other cases
    #[arg(long, default_value_t = 3, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=MOST_RUNS))]
    pub runs: u32,
    /// No run of each case beforehand whose result is thrown away
    #[arg(long)]
    pub no_warm_up: bool,
    /// One JSON object instead of tables
    #[arg(long)]
    pub json: bool,
    /// Also write a page with charts, which needs no network to be read; the file must not exist
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
