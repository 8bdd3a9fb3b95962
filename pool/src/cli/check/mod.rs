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

use std::process::ExitCode;

use penstock_pool::config::Config;
use penstock_service::check;

use super::options::Options;

/// Looks at everything.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    check::run(&options.usual_sources(), options.json, |config: &Config| {
        let mut findings = disk::look(config);
        findings.extend(files::look(config));
        findings.extend(network::look(config));
        findings.extend(machine::look(config));
        Ok((format!("pool {}", config.name), findings))
    })
}
