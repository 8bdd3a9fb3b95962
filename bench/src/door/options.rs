//! What can be asked of `penstock-bench door`.

use std::path::PathBuf;
use std::time::Duration;

use super::case::Kind;
use crate::arguments::{Common, Count, Size, parse_duration};

/// What a running door and its pools do with small files: each is redirected, then moved, as users' clients do it
///
/// Makes a directory of its own, with all files in it, and removes it at the end, after Ctrl-C too; a run that is killed
/// leaves it: delete it then. The clients run on this machine; where door and pool do, too, they share its processors.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The door
    #[arg(value_name = "http://HOST:PORT")]
    pub url: String,
    /// A token that allows to upload, download and delete; others on this machine can see it: rather use --token-file
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file with such a token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The directory to make; it must not exist [default: /penstock-bench-… with a number]
    #[arg(long, value_name = "/PATH")]
    pub directory: Option<String>,
    /// What is measured
    #[arg(long, value_delimiter = ',', value_enum, default_value = "put,get", value_name = "CASE,…")]
    pub cases: Vec<Kind>,
    /// Clients at once, each with a connection to the door and one to each pool
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64", value_name = "N,…")]
    pub parallel: Vec<Count>,
    /// Size of the files
    #[arg(long, default_value = "4KiB", value_name = "SIZE")]
    pub size: Size,
    /// Different files that are read
    #[arg(long, default_value = "256", value_name = "N")]
    pub files: Count,
    /// What all files of the measurement may take together; uploads end there
    #[arg(long, default_value = "4GiB", value_name = "SIZE")]
    pub space: Size,
    /// Length of a run
    #[arg(long, default_value = "2", value_parser = parse_duration, value_name = "SECONDS")]
    pub seconds: Duration,
    /// Processes whose processor time is measured: the door's and the pool's
    #[arg(long, value_delimiter = ',', value_name = "PID,…")]
    pub pid: Vec<u32>,
    #[command(flatten)]
    pub common: Common,
}
