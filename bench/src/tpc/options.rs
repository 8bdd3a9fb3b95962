//! What can be asked of `penstock-bench tpc`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::case::{Direction, Scheme};
use crate::arguments::{Common, Count, Size, parse_duration};
use crate::orders::Access;

/// What third-party copies a running pool can do: pulls and pushes as a door orders them
///
/// The other side is an HTTP server in this program, which makes up the bytes, checks what it gets, and touches no disk;
/// or, for pulls, a file at a URL. The pool connects to it: its [tpc] section has to allow that (tpc.allow_loopback on one
/// machine). Makes replicas whose ids begin with "penstock-bench-" and removes them at the end, after Ctrl-C too.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub access: Access,
    /// Which way
    #[arg(long, value_delimiter = ',', value_enum, default_value = "pull,push", value_name = "WHICH,…")]
    pub direction: Vec<Direction>,
    /// Pull this file over and over, instead of what the server here makes up
    #[arg(long, value_name = "URL", conflicts_with_all = ["listen", "host", "server_cert", "server_key", "size", "scheme"])]
    pub source: Option<String>,
    /// A file with a bearer token for --source
    #[arg(long, value_name = "FILE", requires = "source")]
    pub source_token_file: Option<PathBuf>,
    /// Sizes of the files
    #[arg(long, value_delimiter = ',', default_value = "1MiB,256MiB", value_name = "SIZE,…")]
    pub size: Vec<Size>,
    /// Copies at once
    #[arg(long, value_delimiter = ',', default_value = "1,4,16", value_name = "N,…")]
    pub parallel: Vec<Count>,
    /// Streams of one pull; files of up to 16 MiB have one in any case
    #[arg(long, value_delimiter = ',', default_value = "1,4", value_name = "N,…")]
    pub streams: Vec<Count>,
    /// How [default: http, and https where there is a --server-cert]
    #[arg(long, value_delimiter = ',', value_enum, value_name = "HOW,…")]
    pub scheme: Option<Vec<Scheme>>,
    /// Where the server here listens [default: 127.0.0.1 with --socket, else the address that leads to the pool; any port]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// What the pool calls this host: a name that --server-cert holds [default: the address of --listen]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// PEM file of the server's certificate chain for https, which the pool believes (tpc.ca)
    #[arg(long, value_name = "FILE", requires = "server_key")]
    pub server_cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires = "server_cert")]
    pub server_key: Option<PathBuf>,
    /// What all files of the measurement may take together [default: a quarter of what the pool has, at most 16 GiB]
    #[arg(long, value_name = "SIZE")]
    pub space: Option<Size>,
    /// Length of a run; copies that have begun are brought to their end
    #[arg(long, default_value = "2", value_parser = parse_duration, value_name = "SECONDS")]
    pub seconds: Duration,
    /// The pool's process, to measure its processor time; found by itself through a socket
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    #[command(flatten)]
    pub common: Common,
}
