//! What can be asked of `penstock-bench pool`.

use std::time::Duration;

use penstock_pool::marking::Tag;

use super::case::Kind;
use crate::arguments::{Common, Count, Size, parse_duration, parse_scitag};
use crate::orders::Access;

/// What a running pool does: uploads and downloads as a door orders them
///
/// Makes replicas whose ids begin with "penstock-bench-" and removes them at the end, after Ctrl-C too. The clients run on
/// this machine; where the pool does, too, they share its processors.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub access: Access,
    /// What is measured [default: all]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "CASE,…")]
    pub cases: Option<Vec<Kind>>,
    /// Clients at once [default: 1, 2, 4 and so on, until more gain less than 5 %]
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    pub parallel: Option<Vec<Count>>,
    /// The most clients at once, where they are not given
    #[arg(long, default_value = "64", value_name = "N")]
    pub most_parallel: Count,
    /// Size of the files of put, get, first-get and mixed
    #[arg(long, default_value = "64MiB", value_name = "SIZE")]
    pub size: Size,
    /// Size of the files of small-put and small-get
    #[arg(long, default_value = "4KiB", value_name = "SIZE")]
    pub small_size: Size,
    /// Size of the ranges
    #[arg(long, value_delimiter = ',', default_value = "4KiB,1MiB", value_name = "SIZE,…")]
    pub ranges: Vec<Size>,
    /// What all files of the measurement may take together [default: a quarter of what the pool has, at most 16 GiB]
    #[arg(long, value_name = "SIZE")]
    pub space: Option<Size>,
    /// Length of a run
    #[arg(long, default_value = "2", value_parser = parse_duration, value_name = "SECONDS")]
    pub seconds: Duration,
    /// The pool's process, to measure its processor time; found by itself through a socket
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// Measures each case a second time with transfers that are marked with this SciTag (experiment << 6 | activity, below
    /// 32768): with the flow label where the pool listens on IPv6, and with fireflies
    #[arg(long, value_name = "TAG", value_parser = parse_scitag)]
    pub scitag: Option<Tag>,
    /// Measure nothing, but remove all replicas whose ids begin with "penstock-bench-": what a killed run has left
    #[arg(long)]
    pub remove_leftovers: bool,
    #[command(flatten)]
    pub common: Common,
}
