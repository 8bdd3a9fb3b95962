//! The commands of `penstock-pool`: what admins ask of a pool that runs, or do with one that does not.
//!
//! * [`options`]: the command line.
//! * [`reach`]: how a running pool is found; commands speak the same contract with it as doors do.
//! * [`pool`], [`scrub`], [`replicas`], [`transfers`]: commands to a pool that runs; [`offline`]: to one that does not.
//! * [`marking`]: a look at the host, with or without a pool.
//! * [`show`], [`table`], [`json`]: what is printed: words and columns for people, JSON for programs.

mod json;
mod marking;
mod offline;
pub mod options;
mod pool;
mod reach;
mod replicas;
mod scrub;
mod show;
mod table;
mod transfers;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use penstock_pool::check;
use penstock_pool::config::Config;

use self::options::{Command, Index, Marking, Options, Running};

/// Carries out a command. The exit code tells programs what the command found, where there is something to find.
pub fn run(command: Command, options: &Options) -> anyhow::Result<ExitCode> {
    let command = match command {
        Command::Index(Index::Rebuild { quick }) => return offline::rebuild(options, quick),
        Command::Import(wish) => return offline::import(options, &wish),
        Command::Marking(Marking::Check) => return marking::check(options),
        Command::Config(wish) => {
            wish.run::<Config>(&options.usual_sources(), options.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Check => {
            let look = |config: &Config| Ok((format!("pool {}", config.name), check::look(config)));
            return penstock_service::check::run(&options.usual_sources(), options.json, look);
        }
        Command::Manual(wish) => return wish.run(Options::command()).map(|()| ExitCode::SUCCESS),
        Command::Running(command) => command,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the command's runtime")?;
    runtime.block_on(async {
        let mut client = reach::connect(options).await?;
        let json = options.json;
        match command {
            Running::Status => pool::status(&mut client, json).await,
            Running::Drain(wish) => pool::drain(&mut client, &wish, json).await,
            Running::Resume => pool::resume(&mut client, json).await,
            Running::Recover { reason } => pool::recover(&mut client, reason, json).await,
            Running::Scrub(wish) => scrub::run(&mut client, wish, json).await,
            Running::Transfers(wish) => transfers::list(&mut client, &wish, json).await,
            Running::Transfer(wish) => transfers::one(&mut client, wish, json).await,
            Running::Replicas(wish) => replicas::run(&mut client, wish, json).await,
        }
    })
}

/// What a pool says instead of doing it. The code in front is for programs that speak the contract.
fn refused(status: tonic::Status) -> anyhow::Error {
    let cause = std::error::Error::source(&status).map(|cause| format!(": {cause}")).unwrap_or_default();
    let message = status.message();
    let text = match message.split_once(": ") {
        Some((code, text)) if code.starts_with("FAILURE_CODE_") => text,
        Some(_) | None => message,
    };
    anyhow::anyhow!("{text}{cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_the_text_and_not_its_code() {
        let status = tonic::Status::not_found("FAILURE_CODE_NOT_FOUND: replica r1 is not in this pool");
        assert_eq!(refused(status).to_string(), "replica r1 is not in this pool");
        let status = tonic::Status::internal("disk: broken");
        assert_eq!(refused(status).to_string(), "disk: broken");
    }
}
