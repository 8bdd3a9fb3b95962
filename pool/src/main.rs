//! `penstock-pool`: the pool as a daemon of its own, and the commands for its admins ([`cli`]). Wiring only.
#![forbid(unsafe_code)]

mod cli;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use penstock_pool::config::Config;
use penstock_pool::control::daemon::{Pool, RunningPool};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cli::options::Options;

/// What the daemon logs unless RUST_LOG says otherwise. rustls warns of whatever strange clients send, which is theirs to worry about.
const DAEMON_LOG: &str = "info,rustls=error";

fn main() -> ExitCode {
    let mut options = Options::parse();
    let done = match options.command.take() {
        Some(command) if options.check => {
            drop(command);
            Err(anyhow::anyhow!("--check is for the daemon, not for its commands"))
        }
        // Its words are for whoever typed it; only warnings of the store's come beside them.
        Some(command) => {
            log_to_stderr("warn");
            cli::run(command, &options)
        }
        None => {
            log_to_stderr(DAEMON_LOG);
            daemon(&options).map(|()| ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("penstock-pool: {}", one_line(&error));
        ExitCode::FAILURE
    })
}

fn log_to_stderr(default_filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}

/// An error with its causes, but for those whose words it has already.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        if line.contains(&cause) { line } else { format!("{line}: {cause}") }
    })
}

fn daemon(options: &Options) -> anyhow::Result<()> {
    let sources = options.sources(options.config.clone());
    if sources.are_empty() {
        Options::command()
            .error(clap::error::ErrorKind::MissingRequiredArgument, "the daemon needs --config FILE")
            .exit()
    }
    if options.reach.is_given() || options.json {
        let text = "--socket, --address, --ca, --cert, --key and --json are for commands, not for the daemon";
        Options::command().error(clap::error::ErrorKind::ArgumentConflict, text).exit()
    }
    let config = sources.load()?.config;
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
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    // Before anything is bound, so that no signal finds the pool half open.
    let mut signals = Signals::new()?;
    let deadline = config.timeouts.drain;
    let pool = Pool::start(config).await?;
    println!("penstock-pool ready: {}", addresses(&pool));
    signals.next(&pool).await;
    tracing::info!(deadline_seconds = deadline.as_secs(), "draining; a second signal ends at once");
    tokio::select! {
        remaining = pool.drain(deadline) => {
            if remaining > 0 {
                tracing::warn!(remaining, "the drain deadline has passed; what still runs is ended");
            }
        }
        () = signals.next(&pool) => tracing::warn!("a second signal: what still runs is ended"),
    }
    pool.stop().await;
    Ok(())
}

fn addresses(pool: &RunningPool) -> String {
    let secure =
        pool.secure_data_addr().map_or_else(String::new, |address| format!(" tls=https://{address}"));
    format!(
        "data=http://{}{secure} admin=http://{} grpc={}",
        pool.data_addr(),
        pool.admin_addr(),
        pool.grpc_addr()
    )
}

/// SIGTERM (service managers) and SIGINT (Ctrl-C) mean the same; SIGHUP has certificates read again and the file of
/// records opened again.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        })
    }

    /// The next signal that means the end.
    async fn next(&mut self, pool: &RunningPool) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => pool.reload().await,
            }
        }
    }
}
