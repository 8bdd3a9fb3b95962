//! Whether a pool can run here with a configuration: the command `check`, of the pool and of a site in one process. Nothing is
//! bound, and nothing is left behind.
//!
//! * [`files`]: certificates, keys, the target of records.
//! * [`disk`]: the root: whose it is, attributes, direct I/O, space.
//! * [`network`]: names, ports, IPv6, TCP.
//! * [`machine`]: io_uring, limits, memory, clock.
#![forbid(unsafe_code)]

pub mod disk;
pub mod files;
pub mod machine;
pub mod network;

use penstock_service::check::Finding;

use crate::config::Config;

/// Looks at everything.
#[must_use]
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = disk::look(config);
    findings.extend(files::look(config));
    findings.extend(network::look(config));
    findings.extend(machine::look(config));
    findings
}
