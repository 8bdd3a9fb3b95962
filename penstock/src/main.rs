//! `penstock`: door and pool in one process, for the single-machine site and the trial. Wiring only.
#![forbid(unsafe_code)]

mod announce;
mod check;
mod daemon;
mod marking;
mod options;
mod reference;
mod settings;
mod site;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser as _};
use penstock_service::settings::Sources;
use penstock_service::{Log, complaint};

use crate::daemon::SiteDaemon;
use crate::options::{CheckOptions, CommandLine, ConfigOptions, Task};
use crate::settings::Settings;

/// Unless told otherwise. rustls warns of whatever strange clients send, which is theirs to worry about.
const DEFAULT_LOG: &str = "info,rustls=error";

fn main() -> ExitCode {
    let task = CommandLine::parse().task();
    let log = Log::to_stderr(DEFAULT_LOG);
    let well = |()| ExitCode::SUCCESS;
    let done = match task {
        Task::Serve(options) => serve(options.sources(), &log).map(well),
        Task::Config(ConfigOptions { wish, json, serve }) => {
            wish.run::<Settings>(&serve.sources(), json).map(well)
        }
        Task::Check(CheckOptions { json, serve }) => check::run(&serve.sources(), json),
        Task::Manual(wish) => wish.run(CommandLine::command()).map(well),
    };
    complaint::end("penstock", &log, done)
}

fn serve(sources: Sources, log: &Log) -> anyhow::Result<()> {
    // Everything is read and validated before anything is made or bound.
    let settings = sources.load::<Settings>()?.config;
    log.follow(settings.log.as_ref());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("penstock")
        .worker_threads(penstock_pool::control::threads())
        .enable_all()
        .build()
        .context("cannot start threads")?;
    runtime.block_on(penstock_service::live(
        SiteDaemon::start(sources, settings, log.clone()),
        SiteDaemon::say_ready,
    ))
}
