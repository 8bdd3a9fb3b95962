//! Somebody with an identity, and what the site lets them do.

use super::decision::{Anonymous, Operation};
use super::identity::Identity;
use super::rights::Reach;
use super::secret::Secret;
use crate::marking::rules::ExperimentKey;
use crate::namespace::NsPath;

/// Who has shown who they are, by whatever scheme, with their rights.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who.
    pub identity: Identity,
    /// What the token says that it may be used for; `None` when it says nothing of it, or there is none.
    pub scopes: Option<Vec<Reach>>,
    /// What the site's policy gives.
    pub granted: Vec<Granted>,
    /// What everybody may. A token that was made for something is not good for that.
    pub anonymous: Anonymous,
    /// What the scheme has for the client in return, by which the door proves itself (Kerberos; RFC 4559 §5), in base64.
    pub proof: Option<Secret>,
}

/// What one rule of the policy gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// Rights, and where.
    pub reach: Reach,
    /// Whose traffic it is.
    pub experiment: Option<ExperimentKey>,
}

/// What keeps somebody known from something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The token is for something else.
    Scope,
    /// The site gives no right to it.
    Policy,
}

impl Known {
    /// Whether an operation on a path is allowed.
    pub fn decide(&self, operation: Operation, path: &NsPath) -> Result<(), Missing> {
        self.ask(|reach| reach.allows(operation, path), operation)
    }

    /// Whether it is allowed on all that is or will be below a path, too.
    pub fn covers(&self, operation: Operation, path: &NsPath) -> bool {
        self.ask(|reach| reach.covers(operation, path), operation).is_ok()
    }

    /// Whose traffic it is at a path: as the rule says that is nearest to it.
    pub fn experiment(&self, path: &NsPath) -> Option<ExperimentKey> {
        let there = self.granted.iter().filter(|granted| path.is_within(&granted.reach.prefix));
        let tagged = there.filter(|granted| granted.experiment.is_some());
        tagged.max_by_key(|granted| granted.reach.prefix.as_str().len())?.experiment
    }

    fn ask(&self, allows: impl Fn(&Reach) -> bool, operation: Operation) -> Result<(), Missing> {
        match &self.scopes {
            // Both, each for itself: what the token is for, of what the site gives.
            Some(scopes) if !scopes.iter().any(&allows) => return Err(Missing::Scope),
            None if self.anonymous.allows(operation) => return Ok(()),
            _ => {}
        }
        if self.granted.iter().any(|granted| allows(&granted.reach)) { Ok(()) } else { Err(Missing::Policy) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::identity::Scheme;
    use crate::auth::rights::Right;

    fn reach(prefix: &str, rights: &[Right]) -> Reach {
        Reach { prefix: NsPath::parse(prefix).unwrap(), rights: rights.to_vec() }
    }

    fn known(scopes: Option<Vec<Reach>>, granted: &[Reach], anonymous: Anonymous) -> Known {
        let granted = granted.iter().map(|reach| Granted { reach: reach.clone(), experiment: None });
        let (identity, granted) = (Identity::new(Scheme::Token, "x"), granted.collect());
        Known { identity, scopes, granted, anonymous, proof: None }
    }

    fn decide(known: &Known, operation: Operation, path: &str) -> Result<(), Missing> {
        known.decide(operation, &NsPath::parse(path).unwrap())
    }

    #[test]
    fn a_token_with_scopes_does_what_both_it_and_the_policy_name() {
        let token = known(
            Some(vec![reach("/a", &[Right::Modify]), reach("/b", &[Right::Read])]),
            &[reach("/a", &[Right::Create, Right::Read])],
            Anonymous::Write,
        );
        assert_eq!(decide(&token, Operation::Upload, "/a/x"), Ok(()));
        assert_eq!(decide(&token, Operation::Overwrite, "/a/x"), Err(Missing::Policy));
        assert_eq!(decide(&token, Operation::Download, "/a/x"), Err(Missing::Scope));
        assert_eq!(decide(&token, Operation::Download, "/b/x"), Err(Missing::Policy));
    }

    #[test]
    fn who_is_known_may_what_everybody_may_but_not_with_a_token_for_something_else() {
        let person = known(None, &[], Anonymous::Read);
        assert_eq!(decide(&person, Operation::Download, "/x"), Ok(()));
        assert_eq!(decide(&person, Operation::Upload, "/x"), Err(Missing::Policy));
        let token = known(Some(vec![reach("/a", &[Right::Create])]), &[], Anonymous::Read);
        assert_eq!(decide(&token, Operation::Download, "/x"), Err(Missing::Scope));
    }

    #[test]
    fn the_way_is_no_place_to_be_covered() {
        let person = known(None, &[reach("/a/b", &[Right::Read])], Anonymous::None);
        let path = |text| NsPath::parse(text).unwrap();
        assert_eq!(person.decide(Operation::List, &path("/a")), Ok(()));
        assert!(
            !person.covers(Operation::List, &path("/a")) && person.covers(Operation::List, &path("/a/b"))
        );
    }
}
