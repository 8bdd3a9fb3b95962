//! `penstock-door`: one door, as a service. Wiring only.
#![forbid(unsafe_code)]

mod daemon;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use penstock_door::{Config, Door};
use penstock_service::{Log, complaint};

use crate::daemon::DoorDaemon;

/// What the daemon logs unless told otherwise.
const DAEMON_LOG: &str = "info";

/// The door of a storage site: WebDAV and HTTP for users, work for pools.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Check the configuration, say what is wrong with it, and end.
    #[arg(long)]
    check: bool,
    /// Make the macaroon keys and a first token for everything, where they are missing, and end.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    init_token: Option<PathBuf>,
    /// Put a new macaroon key in front of the others, and end. A door that runs uses it after a reload (SIGHUP); the old
    /// keys go on opening what they have signed, until somebody takes their lines out of the file.
    #[arg(long, conflicts_with_all = ["check", "init_token"])]
    rotate_keys: bool,
    /// Give names to the files that `penstock-pool import` has found in this pool, and end. The pool runs meanwhile; this
    /// door may.
    #[arg(long, value_name = "POOL", conflicts_with_all = ["check", "init_token", "rotate_keys"])]
    adopt: Option<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let log = Log::to_stderr(DAEMON_LOG);
    complaint::end("penstock-door", &log, serve(&options, &log))
}

fn serve(options: &Options, log: &Log) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("penstock-door")
        .worker_threads(worker_threads())
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(run(options, log))
}

/// Half of the processors: a door that proxies moves bytes, too. On small machines more than one thread costs more in
/// handing work to each other than it brings.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1))
}

async fn run(options: &Options, log: &Log) -> anyhow::Result<ExitCode> {
    let config = Config::load(&options.config)?;
    if let Some(token_file) = &options.init_token {
        let location = config.url.as_ref().map_or_else(|| config.first_address(), |url| url.as_str().into());
        let made = penstock_door::init_first_token(token_file, &config.macaroon_keys, &location)?;
        println!("{}: {}", token_file.display(), if made { "made" } else { "still good" });
        return Ok(ExitCode::SUCCESS);
    }
    if options.rotate_keys {
        penstock_door::auth::keys::rotate(&config.macaroon_keys)?;
        println!("{}: has a new first key; reload the door to use it", config.macaroon_keys.display());
        return Ok(ExitCode::SUCCESS);
    }
    if options.check {
        Door::check(&config)?;
        println!("{}: good", options.config.display());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(pool) = &options.adopt {
        return adopt(&config, pool).await;
    }
    log.follow(config.log.as_ref());
    let start = DoorDaemon::start(options.config.clone(), config, log.clone());
    penstock_service::live(start, |daemon| complaint::say_ready(&daemon.ready_line())).await?;
    Ok(ExitCode::SUCCESS)
}

async fn adopt(config: &Config, pool: &str) -> anyhow::Result<ExitCode> {
    let refused = |path: &str, why: &str| eprintln!("{path}: gets no name: {why}");
    let done = penstock_door::adopt::adopt(config, pool, refused).await?;
    println!(
        "{pool}: {} named, {} had a name before, {} without a name",
        done.named, done.known, done.refused
    );
    Ok(if done.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
