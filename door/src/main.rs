//! `penstock-door`: one door, as a service. Wiring only.
#![forbid(unsafe_code)]

mod cli;
mod daemon;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use penstock_door::{Config, Door};
use penstock_service::{Log, complaint};

use crate::cli::options::Options;
use crate::daemon::DoorDaemon;

/// What the daemon logs unless told otherwise.
const DAEMON_LOG: &str = "info";

fn main() -> ExitCode {
    let options = Options::parse();
    // The words of commands are for whoever typed them.
    let log = Log::to_stderr(if options.command.is_some() { "warn" } else { DAEMON_LOG });
    let done = match &options.command {
        Some(command) => cli::run(command, &options),
        None => serve(&options, &log),
    };
    complaint::end("penstock-door", &log, done)
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

/// For what the door has to do with pools, and for all that is not a client's connection: those have threads of their
/// own. More than one costs more in handing work to each other than it brings, but where there is much of it.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 8).clamp(1, 4))
}

async fn run(options: &Options, log: &Log) -> anyhow::Result<ExitCode> {
    let sources = options.sources();
    if sources.are_empty() {
        Options::command()
            .error(clap::error::ErrorKind::MissingRequiredArgument, "the daemon needs --config FILE")
            .exit()
    }
    if options.json {
        let text = "--json is for commands, not for the daemon";
        Options::command().error(clap::error::ErrorKind::ArgumentConflict, text).exit()
    }
    let config = sources.load::<Config>()?.config;
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
        println!("{}: good", sources.file_name());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(pool) = &options.adopt {
        return adopt(&config, pool).await;
    }
    log.follow(config.log.as_ref());
    let start = DoorDaemon::start(sources, config, log.clone());
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
