//! What can be asked of `penstock-bench net`.

use std::net::SocketAddr;
use std::time::Duration;

use penstock_pool::marking::Tag;

use super::case::{Direction, Method};
use crate::arguments::{Common, Count, parse_duration, parse_scitag};

/// What a network gives the pool: its own way to send and to receive, between two hosts or on loopback
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(subcommand)]
    pub command: Command,
}

/// Which side this is.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Answers `net run` of another host, until Ctrl-C. Whoever reaches the port can have it send: close it afterwards
    Serve(Serve),
    /// Measures
    Run(Run),
}

/// The answering side.
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Address and port; "[::]:5201" is every address
    #[arg(long, default_value = "[::]:5201", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Threads that move bytes [default: one for each processor]
    #[arg(long, value_name = "N")]
    pub shards: Option<Count>,
    /// Streams at once; each has a buffer of 1 MiB
    #[arg(long, default_value = "64", value_name = "N")]
    pub most_streams: Count,
    /// Packets from here carry the IPv6 flow label of this SciTag (experiment << 6 | activity)
    #[arg(long, value_name = "TAG", value_parser = parse_scitag)]
    pub scitag: Option<Tag>,
    /// Ends when stdin does
    #[arg(long, hide = true)]
    pub as_child: bool,
}

/// The measuring side.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// Where `penstock-bench net serve` listens
    #[arg(value_name = "HOST:PORT", required_unless_present = "loopback")]
    pub server: Option<String>,
    /// Measure this machine's loopback; needs no server
    #[arg(long, conflicts_with = "server")]
    pub loopback: bool,
    /// Only IPv4
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// Only IPv6
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// Which way bytes go
    #[arg(long, value_delimiter = ',', value_enum, default_value = "send,receive", value_name = "WHICH,…")]
    pub direction: Vec<Direction>,
    /// How they are sent
    #[arg(
        long,
        value_delimiter = ',',
        value_enum,
        default_value = "copy,zero-copy,sendfile",
        value_name = "HOW,…"
    )]
    pub method: Vec<Method>,
    /// Connections at once
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8", value_name = "N,…")]
    pub streams: Vec<Count>,
    /// Measures each case a second time with the IPv6 flow label of this SciTag (experiment << 6 | activity, below 32768)
    /// on the packets from here; for those from the server, give it the same
    #[arg(long, value_name = "TAG", value_parser = parse_scitag)]
    pub scitag: Option<Tag>,
    /// Threads here that move bytes [default: one for each processor, on loopback half of them for each side]
    #[arg(long, value_name = "N")]
    pub shards: Option<Count>,
    /// Length of a run
    #[arg(long, default_value = "2", value_parser = parse_duration, value_name = "SECONDS")]
    pub seconds: Duration,
    #[command(flatten)]
    pub common: Common,
}
