//! `penstock-pool`: the pool as a daemon of its own, and the commands for its admins ([`cli`]). Wiring only.
#![forbid(unsafe_code)]

mod cli;
mod daemon;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use penstock_pool::config::Config;
use penstock_pool::control::daemon::Pool;
use penstock_service::{Log, complaint};

use crate::cli::options::Options;
use crate::daemon::PoolDaemon;

/// What the daemon logs unless told otherwise. rustls warns of whatever strange clients send, which is theirs to worry about.
const DAEMON_LOG: &str = "info,rustls=error";

fn main() -> ExitCode {
    let mut options = Options::parse();
    // The words of commands are for whoever typed them; only warnings of the store's come beside them.
    let log = Log::to_stderr(if options.command.is_some() { "warn" } else { DAEMON_LOG });
    let done = match options.command.take() {
        Some(command) if options.check => {
            drop(command);
            Err(anyhow::anyhow!("--check is for the daemon, not for its commands"))
        }
        Some(command) => cli::run(command, &options),
        None => run(&options, &log).map(|()| ExitCode::SUCCESS),
    };
    complaint::end("penstock-pool", &log, done)
}

fn run(options: &Options, log: &Log) -> anyhow::Result<()> {
    let sources = options.sources();
    if sources.are_empty() {
        Options::command()
            .error(clap::error::ErrorKind::MissingRequiredArgument, "the daemon needs --config FILE")
            .exit()
    }
    if options.reach.is_given() || options.json {
        let text = "--socket, --address, --ca, --cert, --key and --json are for commands, not for the daemon";
        Options::command().error(clap::error::ErrorKind::ArgumentConflict, text).exit()
    }
    let config = sources.load::<Config>()?.config;
    if options.check {
        Pool::check(&config)?;
        print!("{config}");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("penstock-pool")
        .worker_threads(penstock_pool::control::threads())
        .enable_all()
        .build()
        .context("cannot start threads")?;
    log.follow(config.log.as_ref());
    runtime.block_on(penstock_service::live(PoolDaemon::start(sources, config, log.clone()), |daemon| {
        complaint::say_ready(&daemon.ready_line())
    }))
}
