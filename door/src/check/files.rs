//! Certificates with their dates, and what says who clients are.

use std::path::Path;

use crate::auth::certificate::Authorities;
use crate::auth::password::file::Users;
use crate::auth::policy::Policy;
use crate::auth::token::stored::KeyStore;
use crate::config::{Authentication, TlsConfig};
use crate::{Config, PoolAccess};
use penstock_service::check::Finding;
use penstock_service::check::files::{self, private};
use penstock_trust::CertificateError;
use penstock_trust::ServerIdentity;
use penstock_trust::certificate::ends_at;

/// Looks at them.
#[must_use]
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(tls) = &config.tls {
        findings.extend(https(tls));
    }
    findings.extend(clients(&config.authentication));
    for pool in &config.pools {
        if let PoolAccess::Tls { files, .. } = &pool.access {
            findings.push(dated("pools, TLS", &files.cert));
            findings.push(dated("pools, CA", &files.ca));
            findings.extend(private("pools, key", &files.key));
        }
    }
    // Pools mostly share them.
    let mut told: Vec<Finding> = Vec::new();
    findings.retain(|finding| {
        let is_new = !told.contains(finding);
        told.push(finding.clone());
        is_new
    });
    findings
}

fn dated(what: &'static str, path: &Path) -> Finding {
    files::dated(what, path, ends_at(path).map_err(|error| error.to_string()))
}

fn https(tls: &TlsConfig) -> Vec<Finding> {
    let mut findings = vec![match ServerIdentity::load(tls.files()) {
        Ok(_) => dated("https", &tls.cert),
        Err(error) => Finding::failed("https", error.to_string(), "correct tls.cert and tls.key"),
    }];
    findings.extend(private("https, key", &tls.key));
    findings
}

/// Certificates, passwords, the policy, the audit: those that are asked for.
fn clients(authentication: &Authentication) -> Vec<Finding> {
    let Authentication {
        authorities,
        passwords,
        policy,
        issuers,
        audit,
        issuer_authorities,
        issuer_keys,
        ..
    } = authentication;
    let mut findings = Vec::new();
    findings.extend(authentication.load_authorities(None).zip(authorities.as_deref()).map(trusted));
    findings.extend(passwords.as_deref().map(|path| match Users::read(path) {
        Ok(users) => Finding::ok("passwords", format!("{}: {} users", path.display(), users.len())),
        Err(error) => {
            Finding::failed("passwords", error.to_string(), "correct authentication.passwords, or the file")
        }
    }));
    let rules = policy.as_deref().map(|path| (path, Policy::load(path)));
    if let Some((path, rules)) = &rules {
        findings.push(match rules {
            Ok(_) => Finding::ok("policy", format!("{}: good", path.display())),
            Err(error) => {
                Finding::failed("policy", error.to_string(), "correct it; until then nobody is let in by it")
            }
        });
    } else if authorities.is_some() || passwords.is_some() || !issuers.is_empty() {
        findings.push(Finding::warning(
            "policy",
            "there is none: whoever is known by a certificate, a password or a signed token may do no more than anybody",
            "name one in authentication.policy",
        ));
    }
    findings.extend(issuer_authorities.as_deref().map(|path| dated("issuers, CA", path)));
    findings.extend(issuer_keys.as_deref().map(|place| match KeyStore::open(place) {
        Ok(_) => Finding::ok("issuers, keys", place.display().to_string()),
        Err(error) => {
            Finding::failed("issuers, keys", error.to_string(), "correct authentication.issuer_keys")
        }
    }));
    findings.extend(audit.as_ref().map(|target| files::target("audit", target)));
    findings
}

fn trusted((read, place): (Result<Authorities, CertificateError>, &Path)) -> Finding {
    const WHAT: &str = "certificates";
    let stock = match read {
        Ok(authorities) => authorities.stock(),
        Err(error) => {
            let what = "correct authentication.authorities, or authentication.voms";
            return Finding::failed(WHAT, error.to_string(), what);
        }
    };
    let found = format!(
        "{}: {} authorities, {} revocation lists, {} VOMS servers",
        place.display(),
        stock.authorities,
        stock.revocation_lists,
        stock.voms_servers
    );
    match stock.passed_over.as_slice() {
        [] => Finding::ok(WHAT, found),
        [first, ..] => {
            let count = stock.passed_over.len();
            Finding::warning(WHAT, format!("{found}; {count} files were passed over"), first.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use penstock_service::check::Level;

    use super::*;

    #[test]
    fn what_says_who_clients_are_is_looked_at_when_it_is_asked_for() {
        let none = Path::new("/nonexistent/x");
        assert!(clients(&Authentication::default()).is_empty());
        let asked = Authentication {
            authorities: Some(none.into()),
            passwords: Some(none.into()),
            policy: Some(none.into()),
            ..Authentication::default()
        };
        let findings = clients(&asked);
        let told: Vec<_> = findings.iter().map(|finding| (finding.what, finding.level)).collect();
        let failed = Level::Failed;
        assert_eq!(
            told,
            [("certificates", failed), ("passwords", failed), ("policy", failed)],
            "{findings:?}"
        );
        let without_policy = Authentication { policy: None, ..asked };
        let last = clients(&without_policy).pop().unwrap();
        assert_eq!((last.what, last.level), ("policy", Level::Warning));
    }

    #[test]
    fn https_needs_a_certificate_and_its_key() {
        let none = || "/nonexistent/x".into();
        let findings = https(&TlsConfig::new("127.0.0.1:1".parse().unwrap(), none(), none()));
        assert_eq!((findings.len(), findings[0].level), (1, Level::Failed), "{findings:?}");
    }

    #[test]
    fn a_certificate_that_all_pools_share_is_told_once() {
        let text = "namespace = \"/nonexistent/n\"\nmacaroon_keys = \"/nonexistent/k\"\n".to_owned()
            + &["a", "b"].map(|name| {
                format!("[[pools]]\nname = \"{name}\"\naddress = \"{name}:1\"\n[pools.tls]\nca = \"/ca\"\ncert = \"/c\"\nkey = \"/k\"\n")
            }).concat();
        let config = Config::parse(&text, Path::new("door.toml")).unwrap();
        let findings = look(&config);
        assert_eq!(findings.iter().filter(|finding| finding.what == "pools, TLS").count(), 1, "{findings:?}");
    }
}
