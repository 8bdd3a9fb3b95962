//! Signed tokens of issuers that the site trusts: JSON Web Tokens (RFC 7519) of three profiles.
//!
//! * [`jws`]: the envelope, its signature and what may sign. [`jwks`]: an issuer's public keys.
//! * [`claims`]: what a token says, and whether it is for this door, now. [`scope`]: what it may be used for.
//! * [`issuer`]: whom the site trusts. [`held`]: which keys of an issuer are at hand, and when to ask for them.
//!   [`fetch`]: asking, over https. [`stored`]: keys on a disk, for the next start.
//!
//! Order: the issuer that a token names is looked up in the configuration; then its signature is checked with a key that
//! this issuer publishes; only then anything else that it says counts.
#![forbid(unsafe_code)]

use jiff::Timestamp;

pub mod claims;
pub mod fetch;
pub mod held;
pub mod issuer;
pub mod jwks;
pub mod jws;
pub mod scope;
pub mod stored;

pub use issuer::{Issuers, IssuersError, Profile, TrustedIssuer};

use super::identity::Identity;
use super::rights::Reach;
use super::secret::Secret;
use claims::{Claims, ClaimsError};
use jws::{JwsError, Unverified};
use scope::ScopeError;

/// Why a token is refused. No variant tells what the token was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no signed token, or one that is signed in a way that is not accepted.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// It says nothing that can be read.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// A scope that has to be understood cannot be.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// Nobody whom the site trusts.
    #[error("the token's issuer is not one that this site trusts")]
    Issuer,
    /// The issuer publishes no such key.
    #[error("the token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// The issuer cannot be reached, and what was known of its keys is too old.
    #[error("the keys of the token's issuer cannot be had at the moment; try again in a minute")]
    NoKeys,
}

/// A token that is good.
#[derive(Debug, Clone)]
pub struct VerifiedToken {
    /// Whom it speaks for.
    pub identity: Identity,
    /// What it may be used for; `None` when it does not say, so that only the identity counts.
    pub scopes: Option<Vec<Reach>>,
}

/// Whether a bearer token is one of these, and not a macaroon: three parts between dots.
pub fn is_jwt(token: &Secret) -> bool {
    token.expose().iter().filter(|byte| **byte == b'.').count() == 2
}

/// Checks a token.
pub async fn verify(issuers: &Issuers, token: &Secret, now: Timestamp) -> Result<VerifiedToken, TokenError> {
    let unverified = Unverified::parse(token)?;
    // Believed only as far as to know which keys to check it with.
    let issuer = issuers.find(&claims::issuer_of(unverified.payload())?).ok_or(TokenError::Issuer)?;
    let key = issuer.key(unverified.key_id()).await?;
    let payload = unverified.verify(&key)?;
    let claims = Claims::read(&payload)?;
    let trusted = issuer.trusted();
    let identity = claims.check(trusted, now)?;
    let scopes = scope::read(claims.scope(), trusted.profile, &trusted.prefix)?;
    Ok(VerifiedToken { identity, scopes })
}

#[cfg(test)]
mod tests;
