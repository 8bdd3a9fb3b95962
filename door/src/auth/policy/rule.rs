//! One rule of the policy: whom it fits, and what it gives them.

use serde::{Deserialize, Deserializer};

use super::pattern::{OneOrMany, Patterns};
use crate::auth::identity::Identity;
use crate::auth::rights::Right;
use crate::marking::rules::ExperimentKey;
use crate::namespace::NsPath;

/// Rights below prefixes for those whom all of its conditions name.
///
/// A rule with an issuer and nothing else fits only tokens with capability scopes: it says how far the issuer is
/// trusted. For a token that only tells who somebody is, a rule has to name a subject or a group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Who has issued the token.
    issuer: Option<Patterns>,
    /// The token's subject.
    subject: Option<Patterns>,
    /// A group of the token or the user.
    group: Option<Patterns>,
    /// The distinguished name of the certificate's owner.
    dn: Option<Patterns>,
    /// The user in the password file, or the Kerberos principal.
    user: Option<Patterns>,
    /// Where.
    prefix: Prefixes,
    /// What.
    rights: Vec<Right>,
    /// Whose traffic it is, for packet marking.
    experiment: Option<ExperimentKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Prefixes(Vec<NsPath>);

impl<'de> Deserialize<'de> for Prefixes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = |text: &str| NsPath::parse(text).map_err(|error| format!("prefix \"{text}\": {error}"));
        OneOrMany::read(deserializer, read).map(Self)
    }
}

impl Rule {
    /// Whether it is for somebody.
    pub fn fits(&self, identity: &Identity, capability: bool) -> bool {
        let one = |patterns: &Option<Patterns>, text: &Option<String>| {
            patterns.as_ref().is_none_or(|named| text.as_ref().is_some_and(|text| named.name(text)))
        };
        // WLCG token profile: where a token says what it is for, its groups count for nothing.
        let group = self
            .group
            .as_ref()
            .is_none_or(|named| !capability && identity.groups.iter().any(|group| named.name(group)));
        let names_somebody = capability
            || self.subject.is_some()
            || self.group.is_some()
            || self.dn.is_some()
            || self.user.is_some();
        names_somebody
            && group
            && one(&self.issuer, &identity.issuer)
            // An issuer may call subjects and groups as it likes: only rules that name it are for its tokens.
            && (self.issuer.is_some() || identity.issuer.is_none())
            && one(&self.subject, &identity.subject)
            && one(&self.dn, &identity.distinguished_name)
            && one(&self.user, &identity.user)
    }

    /// Where.
    pub fn prefixes(&self) -> impl Iterator<Item = &NsPath> {
        self.prefix.0.iter()
    }

    /// What.
    pub fn rights(&self) -> &[Right] {
        &self.rights
    }

    /// Whose traffic.
    pub fn experiment(&self) -> Option<ExperimentKey> {
        self.experiment
    }

    /// Whether it is about an issuer.
    pub fn names_issuer(&self, url: &str) -> bool {
        self.issuer.as_ref().is_some_and(|named| named.name(url))
    }

    /// What makes it mean something else than its author may think. `None` when nothing does.
    pub fn contradiction(&self) -> Option<String> {
        let of_token = self.issuer.is_some() || self.subject.is_some();
        if !of_token && self.group.is_none() && self.dn.is_none() && self.user.is_none() {
            return Some(
                "the rule names nobody: add issuer, subject, group, dn or user (\"*\" for all; those who show \
                 nothing are the key \"anonymous\" of the configuration)"
                    .into(),
            );
        }
        if self.subject.is_some() && self.issuer.is_none() {
            return Some(
                "the rule has a subject and no issuer: every issuer may call somebody so; add the issuer"
                    .into(),
            );
        }
        if of_token && (self.dn.is_some() || self.user.is_some()) {
            return Some(
                "the rule names a token and a certificate or user, which nobody shows together: make two"
                    .into(),
            );
        }
        if self.rights.is_empty() {
            return Some("the rule gives no rights: stat, read, create, modify, stage".into());
        }
        None
    }
}
