//! Policy files.
//!
//! Somebody of whom nothing was proved gets nothing, and neither does a token of an issuer that no rule names; rules only
//! add to each other.

use std::path::Path;

use penstock_door::auth::identity::{Identity, Scheme};
use penstock_door::auth::known::Granted;
use penstock_door::auth::policy::Policy;

/// What can be put behind a file that has its rules one below the other.
const ONE_MORE: &str = "\n[[rules]]\nuser = \"*\"\nprefix = \"/one-more\"\nrights = [\"read\"]\n";

/// Checks an input: a file.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let policy = match Policy::parse(text, Path::new("policy.toml")) {
        Ok(policy) => policy,
        Err(error) => return assert!(!error.to_string().contains(char::is_control), "{error}"),
    };
    assert!(policy.grants(&Identity::new(Scheme::Password, "nobody"), false).is_empty());
    let stranger = token("https://stranger.example.org");
    for capability in [false, true] {
        if !policy.names_issuer("https://stranger.example.org") {
            assert!(policy.grants(&stranger, capability).is_empty(), "an issuer that no rule names");
        }
    }
    let longer = Policy::parse(&format!("{text}{ONE_MORE}"), Path::new("policy.toml"));
    for identity in somebody() {
        for capability in [false, true] {
            let granted = policy.grants(&identity, capability);
            assert!(granted.iter().all(|granted| !granted.reach.rights.is_empty()));
            if let Ok(longer) = &longer {
                let more: Vec<Granted> = longer.grants(&identity, capability);
                assert!(more.starts_with(&granted), "another rule took something away");
                assert!(more.len() <= granted.len() + 1);
            }
        }
    }
}

fn token(issuer: &str) -> Identity {
    let mut identity = Identity::new(Scheme::Token, "paul");
    identity.issuer = Some(issuer.to_owned());
    identity.subject = Some("paul".to_owned());
    identity.groups = vec!["/atlas".to_owned(), "/atlas/production".to_owned()];
    identity
}

fn somebody() -> [Identity; 3] {
    let mut by_certificate = Identity::new(Scheme::Certificate, "paul");
    by_certificate.distinguished_name = Some("/DC=org/DC=example/CN=Paul".to_owned());
    let mut by_password = Identity::new(Scheme::Password, "paul");
    by_password.user = Some("paul".to_owned());
    by_password.groups = vec!["users".to_owned()];
    [by_certificate, by_password, token("https://issuer.example.org")]
}
