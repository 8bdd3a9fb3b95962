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
pub mod known;
pub mod macaroon;
pub mod network;
pub mod password;
pub mod secret;

pub use decision::{Access, Anonymous, Decision, Operation, decide};

use bearer::BearerError;
use caveat::CaveatError;
use identity::Identity;
use keys::KeyRing;
use known::Known;
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
    /// The certificate of the connection is no good: 401.
    #[error("the certificate of this connection is not accepted: {0}")]
    Certificate(String),
}

/// What a request shows of who makes it.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// Its headers, of which `Authorization` is looked at.
    pub headers: &'a HeaderMap,
    /// Its query, which may hold `authz`.
    pub query: Option<&'a str>,
    /// Where it came from.
    pub client: IpAddr,
    /// Over TLS. Passwords are refused without.
    pub encrypted: bool,
    /// What the TLS handshake showed; `Err`: a certificate was shown that is no good, and why.
    pub certificate: Option<Result<&'a Identity, &'a (dyn std::error::Error + Send + Sync + 'static)>>,
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

    /// Who makes a request. What is shown must be good, even where nothing is needed.
    pub async fn authenticate(
        &self,
        credentials: &Credentials<'_>,
        now: Timestamp,
    ) -> Result<Access, AuthError> {
        let Some(token) = bearer::find(credentials.headers, credentials.query)? else {
            return match credentials.certificate {
                Some(Ok(identity)) => Ok(Access::Known(Box::new(Known::new(identity.clone())))),
                Some(Err(error)) => Err(AuthError::Certificate(error.to_string())),
                None => Ok(Access::Anonymous(self.anonymous)),
            };
        };
        let macaroon = Macaroon::decode(token.expose())?;
        let key = self.keys.find(macaroon.identifier()).ok_or(MacaroonError::BadSignature)?;
        macaroon.verify(key)?;
        Ok(Access::Token(Box::new(caveat::evaluate(macaroon.caveats(), credentials.client, now)?)))
    }
}
