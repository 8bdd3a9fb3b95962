//! What the namespace does by itself, without clients and pools: names committed, a large tree; and a client for
//! servers that hold one.
//!
//! ```sh
//! cargo bench -p penstock-door --bench names -- commits DIRECTORY/names.db
//! cargo bench -p penstock-door --bench names -- large DIRECTORY/names.db --names 10000000
//! PENSTOCK_POSTGRES_FSYNC=on .ci/with-postgres cargo bench -p penstock-door --bench names -- commits postgres
//! ```
//!
//! The place must be empty, or a namespace that `large` has filled. `postgres` stands for the server that `.ci/with-postgres`
//! has started.
#![forbid(unsafe_code)]
#![allow(missing_docs)]

mod ask;
mod commits;
mod large;

use std::time::Duration;

use clap::{Parser, Subcommand};
use penstock_door::config::{NamespaceFiles, NamespacePlace};
use penstock_door::namespace::Namespace;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// `cargo bench` says so to all that it runs.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Small uploads: each a row when it begins and a name when it ends
    Commits(commits::Options),
    /// Requests to a server that holds a tree as `large` makes it, for `bench/compare_webdav.py`
    Ask(ask::Options),
    /// A tree of many names: lookups, listings, moves, size
    Large(large::Options),
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().what {
        What::Ask(options) => ask::run(&options).await,
        What::Commits(options) => commits::run(&options).await,
        What::Large(options) => large::run(&options).await,
    }
}

/// The place of the command line.
fn place(text: &str) -> anyhow::Result<NamespacePlace> {
    let text = match text {
        "postgres" => std::env::var("PENSTOCK_TEST_POSTGRES")?,
        text => text.to_owned(),
    };
    text.parse().map_err(anyhow::Error::msg)
}

async fn open(place: &NamespacePlace) -> anyhow::Result<Namespace> {
    Ok(Namespace::open(place, NamespaceFiles::default(), &"door".parse().map_err(anyhow::Error::msg)?)
        .await?)
}

/// Processor time of this process until now; what a server uses is not in it.
fn cpu_time() -> anyhow::Result<Duration> {
    // proc_pid_stat(5): fields 14 and 15, in hundredths of a second on all that Linux runs on. The second may hold
    // anything, and ends with the last parenthesis.
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let (_, rest) = text.rsplit_once(')').ok_or_else(|| anyhow::anyhow!("/proc/self/stat is strange"))?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
