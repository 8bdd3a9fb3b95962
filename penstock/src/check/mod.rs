//! `penstock check`: whether a site can run here with its configuration, in one table: what [`penstock_pool::check`] and
//! [`penstock_door::check`] look at, in the words of the one file. Nothing is bound or made, and no daemon need run.
//!
//! * [`data`]: the directory and what is in it. [`network`]: names, ports, IPv6, TCP.

mod data;
mod network;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use penstock_door::check as door_check;
use penstock_pool::check::{files, machine};
use penstock_pool::config::Config as PoolSettings;
use penstock_service::check::{self, Finding, Level, bytes, clock, descriptors};
use penstock_service::settings::Sources;

use crate::settings::Settings;
use crate::site;

/// Looks at everything.
pub fn run(sources: &Sources, json: bool) -> anyhow::Result<ExitCode> {
    check::run(sources, json, |settings: &Settings| {
        let who = format!("a site below {}", settings.data.display());
        Ok((who, look(settings)?))
    })
}

fn look(settings: &Settings) -> anyhow::Result<Vec<Finding>> {
    let data = settings.absolute_data()?;
    let pool = site::pool_settings(settings, &data);
    let door = site::door_settings(settings, &data)?;
    let mut findings = data::look(&data, &pool, &door)?;
    findings.push(remote_servers(&pool));
    findings.extend(network::look(settings));
    findings.extend(running(&data, &door)?);
    findings.extend(machine(&pool, &door));
    Ok(findings)
}

fn remote_servers(pool: &PoolSettings) -> Finding {
    let finding = files::remote_servers(pool);
    match finding.level {
        Level::Failed => finding.with_remedy("correct the files there"),
        Level::Warning if pool.tpc.authorities().is_none() => {
            finding.with_remedy("install ca-certificates, or the certificates of the grid's authorities")
        }
        Level::Warning | Level::Ok => finding,
    }
}

/// How the pool is, when a site runs with this data.
fn running(data: &Path, door: &penstock_door::Config) -> anyhow::Result<Vec<Finding>> {
    let socket = site::socket(data);
    if UnixStream::connect(&socket).is_err() {
        return Ok(vec![Finding::ok("running", "no site with this data, or another user's")]);
    }
    let remedy = format!("look at penstock-pool --socket {} status", socket.display());
    let told = door_check::pools::look(door)?;
    Ok(told.into_iter().map(|finding| finding.with_remedy(remedy.as_str())).collect())
}

/// io_uring, limits, memory and the clock.
fn machine(pool: &PoolSettings, door: &penstock_door::Config) -> Vec<Finding> {
    let descriptors_needed =
        machine::needed_descriptors(pool).saturating_add(door_check::needed_descriptors(door));
    let mut findings = vec![machine::ring(), descriptors::look(descriptors_needed, "pool and door")];
    findings.extend(machine::locked_memory(pool));
    findings.extend(machine::memory(pool).map(|finding| {
        let buffers = bytes(machine::buffer_bytes(pool));
        finding.with_remedy(format!(
            "buffers take {buffers}: add memory, or run pool and door apart, where buffer_memory can be lowered"
        ))
    }));
    findings.extend(machine::huge_pages());
    findings.push(clock::look());
    findings
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use penstock_service::settings::Configuration as _;

    use super::*;

    fn settings(data: PathBuf) -> Settings {
        Settings { data, ..Settings::parse("", Path::new("penstock.toml")).unwrap() }
    }

    #[test]
    fn a_first_start_needs_nothing_and_what_is_looked_at_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(directory.path().join("not/yet"));

        let findings = look(&settings).unwrap();

        let failed: Vec<_> = findings.iter().filter(|finding| finding.level == Level::Failed).collect();
        assert!(failed.is_empty(), "{failed:?}");
        let count = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(count, 0, "something was made");
    }

    #[test]
    fn each_thing_is_told_once_and_no_remedy_names_a_key_that_the_file_does_not_have() {
        let directory = tempfile::tempdir().unwrap();
        let findings = look(&settings(directory.path().into())).unwrap();
        for finding in &findings {
            let same = findings.iter().filter(|other| other.what == finding.what).count();
            assert_eq!(same, 1, "{finding:?}");
            for foreign in ["tpc.", "limits.", "data.listen", "[[pools]]", "--init-token", "grpc."] {
                let text = format!("{} {}", finding.found, finding.remedy);
                assert!(!text.contains(foreign), "{foreign}: {finding:?}");
            }
        }
        for what in ["data", "direct I/O", "namespace", "macaroon keys", "io_uring", "clock", "port, clients"]
        {
            assert!(findings.iter().any(|finding| finding.what == what), "{what}: {findings:?}");
        }
    }
}
