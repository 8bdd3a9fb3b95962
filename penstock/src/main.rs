//! `penstock`: door and pool in one process, for the single-machine site and the trial. Wiring only.
#![forbid(unsafe_code)]

mod announce;
mod options;
mod settings;
mod site;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::options::{CommandLine, ServeOptions};
use crate::settings::Settings;
use crate::site::Site;

/// Unless RUST_LOG says otherwise. rustls warns of whatever strange clients send, which is theirs to worry about.
const DEFAULT_LOG: &str = "info,rustls=error";

fn main() -> ExitCode {
    let options = CommandLine::parse().serve();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_LOG));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("penstock: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, but for those whose words it has already.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        if line.contains(&cause) { line } else { format!("{line}: {cause}") }
    })
}

fn run(options: ServeOptions) -> anyhow::Result<()> {
    // Everything is read and validated before anything is made or bound.
    let settings = Settings::from_options(options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("penstock")
        .worker_threads(penstock_pool::control::threads())
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(serve(settings))
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    // Before anything is bound, so that no signal finds the site half open.
    let mut signals = Signals::new()?;
    let deadline = settings.drain;
    let site = Site::start(settings).await?;
    announce::ready(&site, &mut std::io::stdout().lock()).context("cannot write to the standard output")?;
    signals.next().await;
    tracing::info!(deadline_seconds = deadline.as_secs(), "draining; a second signal ends at once");
    tokio::select! {
        remaining = site.drain(deadline) => {
            if remaining > 0 {
                tracing::warn!(remaining, "the drain deadline has passed; what still runs is ended");
            }
        }
        () = signals.next() => tracing::warn!("a second signal: what still runs is ended"),
    }
    site.stop().await;
    Ok(())
}

/// SIGTERM (service managers) and SIGINT (Ctrl-C) mean the same.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
