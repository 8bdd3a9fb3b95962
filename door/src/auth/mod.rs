//! Who asks, and what they may do.
//!
//! * [`macaroon`]: the token format; [`keys`]: what it is signed with; [`issue`]: making tokens.
//! * [`caveat`], [`activity`], [`network`]: what a token's restrictions mean.
//! * [`bearer`]: where a request carries its token.
//! * [`identity`]: who somebody is, whatever the scheme that proved it. [`certificate`], [`password`]: two of these.
//! * [`decision`]: the one function that allows or refuses.
//!
//! Other schemes (passwords, certificates, WLCG tokens) end in the same [`Access`], so that there stays one decision.
#![forbid(unsafe_code)]

use std::net::IpAddr;

use hyper::HeaderMap;
use jiff::Timestamp;

pub mod activity;
pub mod bearer;
pub mod caveat;
pub mod certificate;
pub mod decision;
pub mod identity;
pub mod issue;
pub mod keys;
pub mod macaroon;
pub mod network;
pub mod password;
pub mod secret;

pub use decision::{Access, Anonymous, Decision, Operation, decide};

use bearer::BearerError;
use caveat::CaveatError;
use keys::KeyRing;
use macaroon::{Macaroon, MacaroonError};

/// Why a request's credentials are refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The request itself is wrong: 400.
    #[error(transparent)]
    Request(#[from] BearerError),
    /// It carries another scheme than the door takes: 401.
    #[error("this door takes bearer tokens only")]
    Scheme,
    /// The token is no good: 401.
    #[error(transparent)]
    Macaroon(#[from] MacaroonError),
    /// The token is ours but not for this client, or not any more: 401.
    #[error(transparent)]
    Caveat(#[from] CaveatError),
}

/// Turns the credentials of requests into [`Access`].
#[derive(Debug, Clone)]
pub struct Authenticator {
    keys: KeyRing,
    anonymous: Anonymous,
}

impl Authenticator {
    /// With these keys, and these rights for those who show nothing.
    pub fn new(keys: KeyRing, anonymous: Anonymous) -> Self {
        Self { keys, anonymous }
    }

    /// Who makes a request. A token that is shown must be good, even where none is needed.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        client: IpAddr,
        now: Timestamp,
    ) -> Result<Access, AuthError> {
        let Some(token) = bearer::find(headers, query)? else {
            return Ok(Access::Anonymous(self.anonymous));
        };
        let macaroon = Macaroon::decode(token.expose())?;
        let key = self.keys.find(macaroon.identifier()).ok_or(MacaroonError::BadSignature)?;
        macaroon.verify(key)?;
        Ok(Access::Token(Box::new(caveat::evaluate(macaroon.caveats(), client, now)?)))
    }
}
