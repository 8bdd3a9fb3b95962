//! Whom the rules of a policy fit, and which policies are refused.

use std::path::Path;

use super::*;
use crate::auth::identity::Scheme;
use crate::auth::rights::Right;

const POLICY: &str = r#"
[[rules]]
issuer = "https://vo.example"
prefix = "/vo"
rights = ["read", "modify"]

[[rules]]
issuer = "https://vo.example"
group = ["/vo/prod", "/vo/ops/*"]
prefix = ["/vo/data", "/vo/scratch"]
rights = ["create"]
experiment = "atlas"

[[rules]]
issuer = "https://vo.example"
subject = "1234"
prefix = "/home/1234"
rights = ["modify"]

[[rules]]
dn = "/DC=org/DC=example/*"
prefix = "/grid"
rights = ["read"]

[[rules]]
user = "*"
prefix = "/pub"
rights = ["read"]

[[rules]]
group = "/staff"
prefix = "/staff"
rights = ["read"]
"#;

fn parse(text: &str) -> Result<Policy, ConfigError> {
    Policy::parse(text, Path::new("policy.toml"))
}

fn token(issuer: &str, subject: &str, groups: &[&str]) -> Identity {
    let mut identity = Identity::new(Scheme::Token, subject);
    identity.issuer = Some(issuer.to_owned());
    identity.subject = Some(subject.to_owned());
    identity.groups = groups.iter().map(|group| (*group).to_owned()).collect();
    identity
}

fn prefixes(identity: &Identity, capability: bool) -> Vec<String> {
    let grants = parse(POLICY).unwrap().grants(identity, capability);
    grants.iter().map(|granted| granted.reach.prefix.to_string()).collect()
}

#[test]
fn a_rule_fits_whom_all_of_its_conditions_name() {
    let vo = "https://vo.example";
    let none: [&str; 0] = [];
    assert_eq!(prefixes(&token(vo, "1", &[]), true), ["/vo"]);
    assert_eq!(prefixes(&token(vo, "1234", &[]), true), ["/vo", "/home/1234"]);
    assert_eq!(
        prefixes(&token(vo, "1", &["/vo/prod"]), true),
        ["/vo"],
        "groups beside scopes count for nothing"
    );
    assert_eq!(prefixes(&token(vo, "1", &["/vo/prod"]), false), ["/vo/data", "/vo/scratch"]);
    assert_eq!(prefixes(&token(vo, "1", &["/vo", "/vo/ops/eu"]), false), ["/vo/data", "/vo/scratch"]);
    assert_eq!(prefixes(&token(vo, "1", &["/vo", "/vo/production"]), false), none);
    assert_eq!(prefixes(&token(vo, "1", &[]), false), none, "a token that says nothing opens nothing");
    assert_eq!(prefixes(&token("https://vo.example/", "1234", &["/vo/prod"]), false), none);
    let mut person = Identity::new(Scheme::Certificate, "/DC=org/DC=example/CN=a");
    person.distinguished_name = Some("/DC=org/DC=example/CN=a".into());
    assert_eq!(prefixes(&person, false), ["/grid"]);
    person.distinguished_name = Some("/DC=org/DC=examples/CN=a".into());
    assert_eq!(prefixes(&person, false), none);
    let mut user = Identity::new(Scheme::Password, "bob");
    user.user = Some("bob".into());
    assert_eq!(prefixes(&user, false), ["/pub"]);
    user.groups = vec!["/staff".into()];
    assert_eq!(prefixes(&user, false), ["/pub", "/staff"]);
    assert_eq!(
        prefixes(&token(vo, "1", &["/staff"]), false),
        none,
        "no issuer can put somebody into another's group"
    );
}

#[test]
fn rights_and_the_experiment_come_with_the_grant() {
    let grants = parse(POLICY).unwrap().grants(&token("https://vo.example", "1", &["/vo/prod"]), false);
    assert_eq!(grants[0].reach.rights, [Right::Create]);
    assert!(grants[0].experiment.is_some());
}

#[test]
fn a_rule_that_means_something_else_than_it_seems_is_refused_with_its_line() {
    let rest = "prefix = \"/\"\nrights = [\"read\"]\n";
    let table = [
        (format!("[[rules]]\n{rest}"), "policy.toml:1: the rule names nobody"),
        (
            format!("[[rules]]\nsubject = \"a\"\n{rest}"),
            "policy.toml:1: the rule has a subject and no issuer",
        ),
        (format!("[[rules]]\nissuer = \"a\"\nuser = \"b\"\n{rest}"), "which nobody shows together"),
        ("[[rules]]\nuser = \"a\"\nprefix = \"/\"\nrights = []".to_owned(), "gives no rights"),
        (
            "[[rules]]\nuser = \"a\"\nprefix = \"/\"\nrights = [\"fly\"]".to_owned(),
            "policy.toml:4: rules.rights: unknown variant",
        ),
        (
            "[[rules]]\nuser = \"a\"\nprefix = \"x\"\nrights = [\"read\"]".to_owned(),
            "policy.toml:3: rules.prefix: prefix \"x\"",
        ),
        (
            "[[rules]]\nuser = []\nprefix = \"/\"\nrights = [\"read\"]".to_owned(),
            "policy.toml:2: rules.user: an empty list",
        ),
        (
            "[[rules]]\nuser = 1\nprefix = \"/\"\nrights = [\"read\"]".to_owned(),
            "policy.toml:2: rules.user: expected a text",
        ),
        (
            format!("[[rules]]\nuser = \"a\"\ncolour = \"b\"\n{rest}"),
            "policy.toml:3: rules.colour: there is no such key here",
        ),
        ("rules = 1".to_owned(), "policy.toml:1:"),
        ("[[rule]]\n".to_owned(), "policy.toml:1: rule: there is no such key; did you mean \"rules\"?"),
    ];
    let wrong: Vec<String> = table
        .iter()
        .map(|(text, expected)| (text, expected, parse(text).unwrap_err().to_string()))
        .filter(|(_, expected, error)| !error.contains(*expected))
        .map(|(text, expected, error)| format!("{text}\n→ {error}, not {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(parse("").unwrap(), Policy::default());
}

#[test]
fn an_issuer_without_a_rule_is_known_before_its_users_complain() {
    let policy = parse(POLICY).unwrap();
    assert!(policy.names_issuer("https://vo.example") && !policy.names_issuer("https://other.example"));
}
