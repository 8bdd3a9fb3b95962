//! `penstock-door`: one door, as a service. Wiring only.
#![forbid(unsafe_code)]

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use penstock_door::{Config, Door, RunningDoor};
use tokio::signal::unix::{Signal, SignalKind, signal};

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
}

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        // The journal and files take no colours.
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("penstock-door")
        .worker_threads(worker_threads())
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(&options)),
        Err(error) => Err(anyhow::Error::new(error).context("cannot start threads")),
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            // Each of the door's errors holds its cause in its own words.
            eprintln!("penstock-door: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Half of the processors: a door that proxies moves bytes, too. On small machines more than one thread costs more in
/// handing work to each other than it brings.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1))
}

async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let config = Config::load(&options.config)?;
    if let Some(token_file) = &options.init_token {
        let location = config
            .url
            .as_ref()
            .map_or_else(|| format!("http://{}", config.listen), |url| url.as_str().into());
        let made = penstock_door::init_first_token(token_file, &config.macaroon_keys, &location)?;
        println!("{}: {}", token_file.display(), if made { "made" } else { "still good" });
        return Ok(ExitCode::SUCCESS);
    }
    if options.check {
        Door::check(&config)?;
        println!("{}: good", options.config.display());
        return Ok(ExitCode::SUCCESS);
    }
    let deadline = config.timeouts.drain.0;
    // Before anything is bound, so that no signal finds the door half open.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let door = Door::start(config).await?;
    println!("penstock-door ready: http://{}", door.address());
    told(&mut terminate, &mut interrupt).await;
    tracing::info!("draining; a second signal ends at once");
    let left = tokio::select! {
        left = door.drain(deadline) => left,
        () = told(&mut terminate, &mut interrupt) => door.transfers(),
    };
    end(door, left).await;
    Ok(ExitCode::SUCCESS)
}

async fn told(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn end(door: RunningDoor, left: usize) {
    if left > 0 {
        tracing::warn!(transfers = left, "transfers still run; they are settled after the next start");
    }
    door.stop().await;
}
