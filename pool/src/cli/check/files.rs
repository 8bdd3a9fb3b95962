//! Certificates, keys and their dates; where records go.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use penstock_pool::config::{Config, GrpcEndpoint, RecordTarget};
use penstock_pool::control::listen;
use penstock_pool::tls::certificate::{not_after, read_chain};
use penstock_pool::tls::client::{ClientFiles, ClientTls};
use penstock_pool::tls::server::ServerTls;
use rustix::fs::{Access, AtFlags, CWD};

use super::Finding;

/// A certificate that ends within so many days is told of.
const WARN_DAYS: u64 = 14;
const DAY_SECONDS: u64 = 86_400;

/// Looks at them.
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    match &config.data_tls {
        None => findings.push(Finding::ok("data, TLS", "not asked for")),
        Some(tls) => {
            findings.push(match ServerTls::load(tls.files.clone()) {
                Ok(_) => dated("data, TLS", &tls.files.cert),
                Err(error) => {
                    Finding::failed("data, TLS", error.to_string(), "correct data.cert and data.key")
                }
            });
            findings.extend(private("data, key", &tls.files.key));
        }
    }
    match (&config.grpc, listen::check(&config.grpc)) {
        (_, Err(error)) => {
            findings.push(Finding::failed("doors", error.to_string(), "correct the keys of [grpc]"));
        }
        (GrpcEndpoint::Tls { files, .. }, Ok(())) => {
            findings.push(dated("doors", &files.cert));
            findings.push(dated("doors, CA", &files.client_ca));
            findings.extend(private("doors, key", &files.key));
        }
        (GrpcEndpoint::Insecure { listen }, Ok(())) => findings.push(Finding::warning(
            "doors",
            format!("{listen} without TLS: whoever is on this machine may command the pool"),
            "use grpc.socket",
        )),
        (GrpcEndpoint::Socket(path), Ok(())) => findings.push(socket(path)),
    }
    findings.push(authorities(config));
    if let Some(target) = &config.records {
        findings.push(records(target));
    }
    findings
}

/// When a certificate ends.
fn dated(what: &'static str, path: &Path) -> Finding {
    let chain = match read_chain(path) {
        Ok(chain) => chain,
        Err(error) => return Finding::failed(what, error.to_string(), "correct the file or its path"),
    };
    let Some(ends_at) = chain.first().and_then(|first| not_after(first).ok()) else {
        return Finding::ok(what, format!("{}: its end cannot be told", path.display()));
    };
    match ends_at.duration_since(SystemTime::now()) {
        Err(_) => Finding::failed(what, format!("{} has ended", path.display()), "put a new one there"),
        Ok(left) if left.as_secs() < WARN_DAYS * DAY_SECONDS => {
            let days = left.as_secs() / DAY_SECONDS;
            Finding::warning(what, format!("{} ends in {days} d", path.display()), "put a new one there")
        }
        Ok(left) => {
            Finding::ok(what, format!("{}: good for {} d", path.display(), left.as_secs() / DAY_SECONDS))
        }
    }
}

/// A key that others can read.
fn private(what: &'static str, path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.mode();
    let remedy = format!("chmod o= {}", path.display());
    (mode & 0o004 != 0)
        .then(|| Finding::warning(what, format!("{} can be read by everybody", path.display()), remedy))
}

fn socket(path: &Path) -> Finding {
    if path.exists() {
        return Finding::ok("doors", format!("socket {}: there", path.display()));
    }
    let directory = path.parent().unwrap_or(path);
    let writable = rustix::fs::accessat(CWD, directory, Access::WRITE_OK, AtFlags::EACCESS);
    match writable {
        Ok(()) => Finding::ok("doors", format!("socket {}", path.display())),
        Err(error) => Finding::failed(
            "doors",
            format!("socket {} cannot be made: {}: {error}", path.display(), directory.display()),
            "make the directory, and let the daemon's user write there (RuntimeDirectory= of its unit)",
        ),
    }
}

fn authorities(config: &Config) -> Finding {
    const WHAT: &str = "remote servers";
    let Some(path) = config.tpc.authorities() else {
        return Finding::warning(
            WHAT,
            "no certificates of authorities: third-party copies by https will fail",
            "install ca-certificates, or those of the grid, or name them in tpc.ca",
        );
    };
    let files = ClientFiles { authorities: path.clone(), identity: config.tpc.identity.clone() };
    match ClientTls::load(files) {
        Err(error) => Finding::failed(WHAT, error.to_string(), "correct tpc.ca, tpc.cert and tpc.key"),
        Ok(tls) => {
            let trust = tls.trust();
            let found = format!(
                "{}: {} authorities, {} revocation lists",
                path.display(),
                trust.authorities,
                trust.revocation_lists
            );
            match trust.passed_over.as_slice() {
                [] => Finding::ok(WHAT, found),
                [first, ..] => {
                    let count = trust.passed_over.len();
                    Finding::warning(WHAT, format!("{found}; {count} files were passed over"), first.clone())
                }
            }
        }
    }
}

fn records(target: &RecordTarget) -> Finding {
    const WHAT: &str = "records";
    let place = match target {
        RecordTarget::Stderr => return Finding::ok(WHAT, target.to_string()),
        RecordTarget::Journal => Path::new("/run/systemd/journal/socket"),
        RecordTarget::File(path) if path.exists() => path,
        RecordTarget::File(path) => path.parent().unwrap_or(path),
    };
    match rustix::fs::accessat(CWD, place, Access::WRITE_OK, AtFlags::EACCESS) {
        Ok(()) => Finding::ok(WHAT, target.to_string()),
        Err(error) => Finding::failed(
            WHAT,
            format!("{} cannot be written: {error}", place.display()),
            "let the daemon's user write there (LogsDirectory= of its unit), or choose another target",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Level;

    #[test]
    fn a_certificate_is_good_ends_soon_or_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        for (days, level) in [(300, Level::Ok), (3, Level::Warning), (-1, Level::Failed)] {
            let mut parameters = rcgen::CertificateParams::new(vec!["pool01".to_owned()]).unwrap();
            let seconds = days * 86_400_i64 + 60;
            let now = jiff::Timestamp::now().as_second();
            let at = |unix: i64| {
                let date = jiff::Timestamp::from_second(unix).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
                rcgen::date_time_ymd(
                    date.year().into(),
                    date.month().cast_unsigned(),
                    date.day().cast_unsigned(),
                )
            };
            parameters.not_before = at(now - 10 * 86_400);
            parameters.not_after = at(now + seconds);
            std::fs::write(&path, parameters.self_signed(&key).unwrap().pem()).unwrap();
            assert_eq!(dated("x", &path).level, level, "{days} d");
        }
    }

    #[test]
    fn a_key_for_everybody_is_told_of() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "x").unwrap();
        for (mode, told) in [(0o600, false), (0o640, false), (0o644, true)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(private("x", &path).is_some(), told, "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_takes_no_records() {
        let finding = records(&RecordTarget::File("/nonexistent/log/records".into()));
        assert_eq!(finding.level, Level::Failed);
    }
}
