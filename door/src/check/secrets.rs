//! Files of secrets: the macaroon keys, what the door is known by to issuers. Who can read them, whose they are, and how old.
//! The keytab of Kerberos is looked at by [`super::keytab`].

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use crate::Config;
use crate::auth::keys::KeyRing;
use crate::delegation::Exchanges;
use penstock_service::check::Finding;

use super::keytab;

const DAY_SECONDS: u64 = 86_400;

/// Looks at them.
#[must_use]
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = keys(&config.macaroon_keys);
    findings.extend(config.authentication.kerberos.iter().flat_map(|service| keytab::look(service)));
    let rules = &config.delegation.exchange;
    if !rules.is_empty() {
        const WHAT: &str = "token exchange";
        match Exchanges::load(rules, config.authentication.issuer_authorities.as_deref()) {
            Ok(_) => {
                findings.push(Finding::ok(WHAT, format!("{} issuers", rules.len())));
                findings.extend(rules.iter().filter_map(|rules| foreign(WHAT, &rules.client)));
            }
            Err(error) => {
                findings.push(Finding::failed(
                    WHAT,
                    error.to_string(),
                    "correct [[delegation.exchange]], or the file",
                ));
            }
        }
    }
    findings
}

fn keys(path: &Path) -> Vec<Finding> {
    const WHAT: &str = "macaroon keys";
    match KeyRing::load(path) {
        Ok(ring) => {
            let found = format!("{}: {} keys{}", path.display(), ring.count(), age(path));
            std::iter::once(Finding::ok(WHAT, found)).chain(foreign(WHAT, path)).collect()
        }
        Err(error) => {
            vec![Finding::failed(WHAT, error.to_string(), "as it says; tokens are signed with them")]
        }
    }
}

/// When it was last written; nothing where that cannot be told.
pub(super) fn age(path: &Path) -> String {
    let written = fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
    age.map_or_else(String::new, |age| format!(", written {} d ago", age.as_secs() / DAY_SECONDS))
}

/// A file that only its owner can read, and that is not of who asks: whoever may read everything sees no harm in it.
pub(super) fn foreign(what: &'static str, path: &Path) -> Option<Finding> {
    let owner = fs::metadata(path).ok()?.uid();
    (owner != rustix::process::geteuid().as_raw()).then(|| {
        let found = format!("{} belongs to user {owner}", path.display());
        Finding::warning(
            what,
            found,
            "right where that is the daemon's user: run this as that user to be sure",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use penstock_service::check::Level;

    use super::*;

    #[test]
    fn keys_that_are_missing_say_how_to_make_them() {
        let findings = keys(Path::new("/nonexistent/keys"));
        assert!(
            findings[0].level == Level::Failed && findings[0].found.contains("--init-token"),
            "{findings:?}"
        );
    }

    #[test]
    fn keys_are_told_with_their_number_and_age_and_must_be_nobody_elses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        fs::write(&path, format!("k1 {}\nk2 {}\n", "ab".repeat(32), "cd".repeat(32))).unwrap();
        for (mode, level, told) in
            [(0o600, Level::Ok, "keys: 2 keys, written 0 d ago"), (0o640, Level::Failed, "mode 0640")]
        {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let findings = keys(&path);
            assert_eq!((findings.len(), findings[0].level), (1, level), "{findings:?}");
            assert!(findings[0].found.contains(told), "{findings:?}");
        }
        assert!(foreign("x", &path).is_none(), "it is one's own");
    }

    #[test]
    fn what_the_door_is_known_by_to_issuers_must_be_there() {
        let text = "namespace = \"/n\"\nmacaroon_keys = \"/nonexistent/k\"\n[[delegation.exchange]]\n\
                    issuer = \"https://idp.example.org/\"\nclient = \"/nonexistent/client\"\n\
                    [[pools]]\nname = \"p\"\nsocket = \"/s\"\n";
        let config = Config::parse(text, Path::new("door.toml")).unwrap();
        let last = look(&config).pop().unwrap();
        assert_eq!((last.what, last.level), ("token exchange", Level::Failed));
        assert!(last.found.contains("/nonexistent/client"), "{last:?}");
    }
}
