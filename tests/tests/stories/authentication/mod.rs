//! Who clients are, and what they may.

mod audit;
mod bad_input;
mod certificates;
mod decisions;
mod delegation;
mod exchange;
mod https;
mod kerberos;
mod macaroons;
mod passwords;
mod policy;
mod tokens;

use std::fs;

use penstock_tests::issuer::Issuer;
use penstock_tests::room::Room;
use penstock_tests::secure_site::{Plan, SecureSite};

/// A site that trusts an issuer with `/vo`, as this policy says. `more`: further lines of `[authentication]`.
fn trusting(issuer: &Issuer, rules: &str, more: &str) -> SecureSite {
    trusting_as(issuer, rules, more, "profile = \"wlcg\"")
}

/// The same with these lines about the issuer: its profile, and what that needs.
fn trusting_as(issuer: &Issuer, rules: &str, more: &str, lines: &str) -> SecureSite {
    let room = Room::new();
    let policy = room.join("policy.toml");
    fs::write(&policy, rules.replace("ISSUER", issuer.url())).unwrap();
    let tables = format!(
        "[authentication]\npolicy = \"{}\"\nissuer_authorities = \"{}\"\n{}\
         [[authentication.issuers]]\nurl = \"{}\"\nprefix = \"/vo\"\n{lines}\n",
        policy.display(),
        issuer.authority().display(),
        more.replace("ROOM", &room.path().display().to_string()),
        issuer.url(),
    );
    Plan::new().plain().tables(&tables).start_in(room)
}

/// All that the issuer's own tokens may ever do.
const WHOLE_VO: &str = r#"
[[rules]]
issuer = "ISSUER"
prefix = "/vo"
rights = ["read", "create", "modify", "stage"]

[[rules]]
issuer = "ISSUER"
group = "/vo"
prefix = "/vo"
rights = ["read", "modify"]
"#;
