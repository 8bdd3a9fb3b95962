//! Somebody with an identity, and what the site lets them do.

use super::identity::Identity;

/// Who has shown who they are, by whatever scheme, with their rights.
#[derive(Debug, Clone)]
pub struct Known {
    /// Who.
    pub identity: Identity,
}

impl Known {
    /// Somebody whom the policy gives nothing.
    pub fn new(identity: Identity) -> Self {
        Self { identity }
    }
}
