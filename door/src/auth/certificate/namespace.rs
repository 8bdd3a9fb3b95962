//! Which names an authority may certify, by the files that lie beside its certificate: `.namespaces` where there is one
//! for it, else `.signing_policy`, else any name.

use std::collections::HashMap;

use super::name::canonical;
use super::namespaces::Statement;
use super::signing_policy::{self, SigningPolicy};

/// Why a file is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct PolicyError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

/// The names of all authorities.
#[derive(Debug, Default)]
pub struct Namespaces {
    statements: HashMap<String, Vec<Statement>>,
    policies: HashMap<String, Vec<String>>,
}

impl Namespaces {
    /// Adds the statements of a file of the authorities `own`. None of theirs, if the file cannot be understood: then
    /// they may certify nobody.
    pub fn add_namespaces(&mut self, own: &[String], file: Result<Vec<Statement>, PolicyError>) {
        match file {
            Ok(statements) => {
                for statement in statements {
                    let issuers = statement.issuer.as_ref().map_or(own, std::slice::from_ref);
                    for issuer in issuers {
                        self.statements.entry(canonical(issuer)).or_default().push(statement.clone());
                    }
                }
            }
            Err(_) => {
                for issuer in own {
                    self.statements.entry(canonical(issuer)).or_default();
                }
            }
        }
    }

    /// The same for a signing policy.
    pub fn add_signing_policy(&mut self, own: &[String], file: Result<Vec<SigningPolicy>, PolicyError>) {
        match file {
            Ok(policies) => {
                for policy in policies {
                    let subjects = self.policies.entry(canonical(&policy.issuer)).or_default();
                    subjects.extend(policy.subjects.iter().map(|subject| canonical(subject)));
                }
            }
            Err(_) => {
                for issuer in own {
                    self.policies.entry(canonical(issuer)).or_default();
                }
            }
        }
    }

    /// Whether an authority may certify a name.
    pub fn allow(&self, issuer: &str, subject: &str) -> bool {
        let (issuer, subject) = (canonical(issuer), canonical(subject));
        if let Some(statements) = self.statements.get(&issuer) {
            let mut fitting = statements.iter().filter(|one| one.subject.is_match(&subject)).peekable();
            return fitting.peek().is_some() && fitting.all(|statement| statement.permit);
        }
        self.policies
            .get(&issuer)
            .is_none_or(|patterns| patterns.iter().any(|pattern| signing_policy::fits(pattern, &subject)))
    }

    /// Authorities of which something is said.
    pub fn len(&self) -> usize {
        self.policies.keys().filter(|issuer| !self.statements.contains_key(*issuer)).count()
            + self.statements.len()
    }

    /// Whether nothing is said of anybody.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty() && self.policies.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::namespaces;
    use super::*;

    const CA: &str = "/C=XX/CN=CA";

    fn policy(pattern: &str) -> Result<Vec<SigningPolicy>, PolicyError> {
        signing_policy::parse(&format!("access_id_CA X509 '{CA}'\ncond_subjects globus '\"{pattern}\"'"))
    }

    #[test]
    fn without_a_file_an_authority_may_certify_anybody() {
        let namespaces = Namespaces::default();
        assert!(namespaces.is_empty() && namespaces.allow(CA, "/O=anything"));
    }

    #[test]
    fn a_signing_policy_limits_its_authority_and_no_other() {
        let mut namespaces = Namespaces::default();
        namespaces.add_signing_policy(&[], policy("/C=XX/Email=*"));
        assert!(namespaces.allow(CA, "/C=XX/emailAddress=a"), "one attribute, several ways to write it");
        assert!(!namespaces.allow(CA, "/C=YY/emailAddress=a"));
        assert!(namespaces.allow("/CN=other", "/C=YY/CN=paul"));
    }

    #[test]
    fn namespaces_go_before_signing_policies_and_deny_before_permit() {
        let mut namespaces = Namespaces::default();
        namespaces.add_signing_policy(&[], policy("*"));
        let text = "TO Issuer SELF PERMIT Subject \"/C=XX/.*\" TO Issuer SELF DENY Subject \"/C=XX/CN=bad\"";
        namespaces.add_namespaces(&[CA.to_owned()], namespaces::parse(text));
        assert!(namespaces.allow(CA, "/C=XX/CN=paul"));
        assert!(!namespaces.allow(CA, "/C=XX/CN=bad"));
        assert!(!namespaces.allow(CA, "/C=YY/CN=paul"));
        assert_eq!(namespaces.len(), 1);
    }

    #[test]
    fn an_authority_whose_file_is_broken_may_certify_nobody() {
        let own = [CA.to_owned()];
        let mut namespaces = Namespaces::default();
        namespaces.add_signing_policy(&own, signing_policy::parse("nonsense"));
        assert!(!namespaces.allow(CA, "/C=XX/CN=paul"));
        let mut namespaces = Namespaces::default();
        namespaces.add_namespaces(&own, namespaces::parse("nonsense"));
        assert!(!namespaces.allow(CA, "/C=XX/CN=paul"));
    }
}
