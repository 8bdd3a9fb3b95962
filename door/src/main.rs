//! `penstock-door`: one door, as a service. Wiring only.
#![forbid(unsafe_code)]

mod daemon;

use std::path::PathBuf;
use std::process::ExitCode;

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
}

fn main() -> ExitCode {
    let options = Options::parse();
    let log = Log::to_stderr(DAEMON_LOG);
    complaint::end("penstock-door", &log, run(&options, &log))
}

#[tokio::main]
async fn run(options: &Options, log: &Log) -> anyhow::Result<ExitCode> {
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
    log.follow(config.log.as_ref());
    let start = DoorDaemon::start(options.config.clone(), config, log.clone());
    penstock_service::live(start, |daemon| complaint::say_ready(&daemon.ready_line())).await?;
    Ok(ExitCode::SUCCESS)
}
