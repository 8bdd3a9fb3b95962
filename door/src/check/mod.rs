//! Whether a door can run here with a configuration: the command `check`, of the door and of a site in one process. Nothing is
//! bound, and nothing is left behind.
//!
//! * [`namespace`]: the file, or the database.
//! * [`secrets`]: macaroon keys, secrets towards issuers. [`keytab`]: those of Kerberos. [`files`]: certificates, and what says who clients are.
//! * [`network`]: names, ports, IPv6.
//! * [`pools`]: whether they answer, and how they are.
#![forbid(unsafe_code)]

pub mod files;
pub mod keytab;
pub mod namespace;
pub mod network;
pub mod pools;
pub mod secrets;

use penstock_service::check::{Finding, clock, descriptors};

use crate::Config;

/// Beside connections: listeners, the namespace, pools, logs.
const SPARE_DESCRIPTORS: u64 = 256;

/// Looks at everything.
pub fn look(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let mut findings = namespace::look(config)?;
    findings.extend(secrets::look(config));
    findings.extend(files::look(config));
    findings.extend(network::look(config));
    findings.extend(pools::look(config)?);
    findings.push(descriptors::look(
        needed_descriptors(config),
        "limits.connections, twice where bytes go through the door,",
    ));
    findings.push(clock::look());
    Ok(findings)
}

/// How many open files a door can need.
#[must_use]
pub fn needed_descriptors(config: &Config) -> u64 {
    // A client whose bytes go through the door takes a second one.
    let connections = u64::from(config.limits.connections).saturating_mul(2);
    connections.saturating_add(SPARE_DESCRIPTORS)
}
