//! Certificates, keys and their dates; where records go.

use std::path::Path;

use crate::config::{Config, GrpcEndpoint};
use crate::control::grpc::listen;
use crate::tls::client::{ClientFiles, ClientTls};
use crate::tls::server::ServerTls;
use penstock_service::check::Finding;
use penstock_service::check::files::{self, private, writable};
use penstock_trust::certificate::ends_at;

/// Looks at them.
#[must_use]
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
    findings.push(remote_servers(config));
    if let Some(target) = &config.records {
        findings.push(files::target("records", target));
    }
    findings
}

fn dated(what: &'static str, path: &Path) -> Finding {
    files::dated(what, path, ends_at(path).map_err(|error| error.to_string()))
}

fn socket(path: &Path) -> Finding {
    if path.exists() {
        return Finding::ok("doors", format!("socket {}: there", path.display()));
    }
    let directory = path.parent().unwrap_or(path);
    match writable(directory) {
        Ok(()) => Finding::ok("doors", format!("socket {}", path.display())),
        Err(error) => Finding::failed(
            "doors",
            format!("socket {} cannot be made: {}: {error}", path.display(), directory.display()),
            "make the directory, and let the daemon's user write there (RuntimeDirectory= of its unit)",
        ),
    }
}

/// Whether the pool can know remote servers of third-party copies by their certificates.
#[must_use]
pub fn remote_servers(config: &Config) -> Finding {
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
