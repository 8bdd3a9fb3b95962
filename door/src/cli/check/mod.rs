//! `check`: whether a door can run here with this configuration. Nothing is bound, and nothing is left behind.
//!
//! * [`namespace`]: the file, or the database.
//! * [`secrets`]: macaroon keys, secrets towards issuers. [`keytab`]: those of Kerberos. [`files`]: certificates, and what says who clients are.
//! * [`network`]: names, ports, IPv6.
//! * [`pools`]: whether they answer, and how they are.

mod files;
mod keytab;
mod namespace;
mod network;
mod pools;
mod secrets;

use std::process::ExitCode;

use penstock_door::Config;
use penstock_service::check::{self, Finding, clock, descriptors};
use penstock_service::settings::Sources;

/// Beside connections: listeners, the namespace, pools, logs.
const SPARE_DESCRIPTORS: u64 = 256;

/// Looks at everything.
pub fn run(sources: &Sources, json: bool) -> anyhow::Result<ExitCode> {
    check::run(sources, json, |config: &Config| Ok((format!("door {}", config.name), look(config)?)))
}

fn look(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let mut findings = namespace::look(config)?;
    findings.extend(secrets::look(config));
    findings.extend(files::look(config));
    findings.extend(network::look(config));
    findings.extend(pools::look(config)?);
    // A client whose bytes go through the door takes a second one.
    let connections = u64::from(config.limits.connections).saturating_mul(2);
    let needed = connections.saturating_add(SPARE_DESCRIPTORS);
    findings.push(descriptors::look(needed, "limits.connections, twice where bytes go through the door,"));
    findings.push(clock::look());
    Ok(findings)
}
