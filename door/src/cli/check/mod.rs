//! `check`: whether a door can run here with this configuration. Nothing is bound, and nothing is left behind.
//!
//! * [`files`]: the namespace, the macaroon keys, certificates towards pools.
//! * [`network`]: names, ports, IPv6.
//! * [`pools`]: whether they answer, and how they are.

mod files;
mod network;
mod pools;

use std::path::Path;
use std::process::ExitCode;

use penstock_door::Config;
use penstock_service::check::{self, Finding, clock, descriptors};

/// Beside connections: listeners, the namespace, pools, logs.
const SPARE_DESCRIPTORS: u64 = 256;

/// Looks at everything.
pub fn run(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let findings = match Config::load(path) {
        Err(error) => {
            let remedy = "correct it; nothing else was looked at";
            vec![Finding::failed("configuration", error.to_string(), remedy)]
        }
        Ok(config) => look(path, &config)?,
    };
    let text = if json { check::lines(&findings) } else { check::table(&findings) };
    penstock_service::manual::print(text.as_bytes())?;
    Ok(if check::any_failed(&findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn look(path: &Path, config: &Config) -> anyhow::Result<Vec<Finding>> {
    let place = format!("{}: door {}", path.display(), config.name);
    let mut findings = vec![Finding::ok("configuration", place)];
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
