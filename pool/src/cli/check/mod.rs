//! `check`: whether a pool can run here with this configuration. Nothing is bound, and nothing is left behind.
//!
//! * [`files`]: certificates, keys, the target of records.
//! * [`disk`]: the root: whose it is, attributes, direct I/O, space.
//! * [`network`]: names, ports, IPv6, TCP.
//! * [`machine`]: io_uring, limits, memory, clock.

mod disk;
mod files;
mod machine;
mod network;

use std::path::PathBuf;
use std::process::ExitCode;

use penstock_service::check::{Finding, any_failed, lines, table};

use super::options::Options;
use super::reach::USUAL_CONFIG;
use super::show::print;

/// Looks at everything.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let usual = || Some(PathBuf::from(USUAL_CONFIG)).filter(|path| path.exists());
    let sources = options.sources(options.config.clone().or_else(usual));
    let findings = match sources.load() {
        Err(error) => {
            vec![Finding::failed(
                "configuration",
                error.to_string(),
                "correct it; nothing else was looked at",
            )]
        }
        Ok(effective) => {
            let config = &effective.config;
            let place = sources.file.map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
            let mut findings = vec![Finding::ok("configuration", format!("{place}: pool {}", config.name))];
            findings.extend(disk::look(config));
            findings.extend(files::look(config));
            findings.extend(network::look(config));
            findings.extend(machine::look(config));
            findings
        }
    };
    print(&if options.json { lines(&findings) } else { table(&findings) })?;
    Ok(if any_failed(&findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
