//! Who asks, and what they may do.
//!
//! * [`shown`]: what a request carries. [`attempts`]: those who carry wrong things again and again; [`clients`]: a
//!   bounded table of who they are. [`basic`]: a name and a password. [`claimed`]: whom they say that they are.
//! * [`macaroon`]: the door's own tokens; [`keys`]: what they are signed with; [`issue`], [`request`]: making them.
//! * [`caveat`], [`activity`], [`network`]: what their restrictions mean.
//! * [`token`]: signed tokens of issuers that the site trusts.
//! * [`identity`]: who somebody is, whatever the scheme that proved it: [`certificate`],
//!   [`password`], [`token`], [`kerberos`]. [`policy`]: what the site gives them;
//!   [`rights`], [`known`]: as rights at paths.
//! * [`setup`]: all of this from the configuration. [`decision`]: the one function that allows or refuses.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::sync::Arc;

use hyper::{HeaderMap, StatusCode};
use jiff::Timestamp;

pub mod activity;
pub mod attempts;
pub mod basic;
pub mod caveat;
pub mod certificate;
pub mod claimed;
pub mod clients;
pub mod decision;
pub mod identity;
pub mod issue;
pub mod kerberos;
pub mod keys;
pub mod known;
pub mod macaroon;
pub mod network;
pub mod password;
pub mod policy;
pub mod request;
pub mod rights;
pub mod secret;
pub mod setup;
pub mod shown;
pub mod token;

pub use decision::{Access, Anonymous, Decision, Operation, decide};

use caveat::CaveatError;
use identity::Identity;
use kerberos::{Kerberos, KerberosError};
use keys::KeyRing;
use known::Known;
use macaroon::{Macaroon, MacaroonError};
use password::{PasswordError, Passwords};
use policy::Policy;
use secret::Secret;
use shown::{Shown, ShownError};
use token::{Issuers, TokenError};

/// Why a request's credentials are refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The request itself is wrong: 400.
    #[error(transparent)]
    Request(#[from] ShownError),
    /// It carries another scheme than the door takes: 401.
    #[error(
        "this door does not take this scheme of authentication; the header WWW-Authenticate names those that it does"
    )]
    Scheme,
    /// The token is no good: 401.
    #[error(transparent)]
    Macaroon(#[from] MacaroonError),
    /// The token is ours but not for this client, or not any more: 401.
    #[error(transparent)]
    Caveat(#[from] CaveatError),
    /// A signed token is no good: 401.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A user name or a password: 401. Too many at once: 503.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A password without TLS: 403. Whoever has sent it should change it.
    #[error(
        "a password was sent unencrypted, where everybody on the way can read it: use https, and change the password"
    )]
    InTheClear,
    /// A Kerberos ticket without TLS: 403.
    #[error("a Kerberos ticket was sent unencrypted, where everybody on the way can take it: use https")]
    TicketInTheClear,
    /// The Kerberos ticket is no good: 401.
    #[error(transparent)]
    Kerberos(#[from] KerberosError),
    /// The certificate of the connection is no good: 401.
    #[error("the certificate of this connection is not accepted: {0}")]
    Certificate(String),
}

impl AuthError {
    /// What the client is told.
    pub fn status(&self) -> StatusCode {
        match self {
            AuthError::Request(_) => StatusCode::BAD_REQUEST,
            AuthError::Kerberos(error) if error.is_of_form() => StatusCode::BAD_REQUEST,
            AuthError::InTheClear | AuthError::TicketInTheClear => StatusCode::FORBIDDEN,
            AuthError::Password(PasswordError::Busy) => StatusCode::SERVICE_UNAVAILABLE,
            AuthError::Password(PasswordError::Wrong)
            | AuthError::Scheme
            | AuthError::Macaroon(_)
            | AuthError::Caveat(_)
            | AuthError::Token(_)
            | AuthError::Kerberos(_)
            | AuthError::Certificate(_) => StatusCode::UNAUTHORIZED,
        }
    }

    /// Whether the same may be good in a minute.
    pub fn is_passing(&self) -> bool {
        matches!(self, AuthError::Token(TokenError::NoKeys))
    }

    /// Whether a bearer token is to blame (RFC 6750 §3.1).
    pub fn is_invalid_token(&self) -> bool {
        matches!(self, AuthError::Macaroon(_) | AuthError::Caveat(_) | AuthError::Token(_))
    }
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

impl Credentials<'_> {
    /// Whether a password is shown, which can be guessed.
    pub fn shows_password(&self) -> bool {
        matches!(shown::find(self.headers, self.query), Ok(Shown::Basic(_)))
    }
}

/// Turns the credentials of requests into [`Access`].
#[derive(Debug, Clone)]
pub struct Authenticator {
    /// What macaroons are signed with.
    pub keys: KeyRing,
    /// The rights of those who show nothing.
    pub anonymous: Anonymous,
    /// Whose signed tokens are taken.
    pub issuers: Arc<Issuers>,
    /// What the site gives to whom.
    pub policy: Arc<Policy>,
    /// Users with passwords.
    pub passwords: Option<Arc<Passwords>>,
    /// Whose Kerberos tickets are taken: those for the door itself.
    pub kerberos: Option<Kerberos>,
}

impl Authenticator {
    /// Who makes a request. What is shown must be good, even where nothing is needed. What stands in the request goes
    /// before what the connection has shown: a client with a certificate may use a token.
    pub async fn authenticate(
        &self,
        credentials: &Credentials<'_>,
        now: Timestamp,
    ) -> Result<Access, AuthError> {
        match shown::find(credentials.headers, credentials.query)? {
            Shown::Bearer(token) if token::is_jwt(&token) => {
                let verified = token::verify(&self.issuers, &token, now).await?;
                let granted = self.policy.grants(&verified.identity, verified.scopes.is_some());
                Ok(Access::Known(Box::new(Known {
                    identity: verified.identity,
                    scopes: verified.scopes,
                    granted,
                    anonymous: self.anonymous,
                    proof: None,
                })))
            }
            Shown::Bearer(token) => {
                let macaroon = Macaroon::decode(token.expose())?;
                let key = self.keys.find(macaroon.identifier()).ok_or(MacaroonError::BadSignature)?;
                macaroon.verify(key)?;
                let mut grant = caveat::evaluate(macaroon.caveats(), credentials.client, now)?;
                grant.macaroon = Some(macaroon);
                Ok(Access::Token(Box::new(grant)))
            }
            Shown::Basic(encoded) => {
                let passwords = self.passwords.as_ref().ok_or(AuthError::Scheme)?;
                if !credentials.encrypted {
                    return Err(AuthError::InTheClear);
                }
                let (user, password) = basic::parse(&encoded).ok_or(PasswordError::Wrong)?;
                Ok(self.known(passwords.verify(&user, &password).await?, None))
            }
            Shown::Negotiate(ticket) => {
                let kerberos = self.kerberos.as_ref().ok_or(AuthError::Scheme)?;
                // A token that is overheard could be used again until the library has seen it.
                if !credentials.encrypted {
                    return Err(AuthError::TicketInTheClear);
                }
                let (identity, proof) = kerberos.verify(&ticket, now).await?;
                Ok(self.known(identity, proof))
            }
            Shown::Other => Err(AuthError::Scheme),
            Shown::Nothing => match credentials.certificate {
                Some(Ok(identity)) => Ok(self.known(identity.clone(), None)),
                Some(Err(error)) => Err(AuthError::Certificate(error.to_string())),
                None => Ok(Access::Anonymous(self.anonymous)),
            },
        }
    }

    /// The schemes that are on, as challenges (RFC 9110 §11.6.1); `encrypted`: over TLS.
    pub fn challenges(&self, realm: &str, encrypted: bool, error: Option<&str>) -> Vec<String> {
        let error = error.map(|error| format!(", error=\"{error}\"")).unwrap_or_default();
        let mut challenges = vec![format!("Bearer realm=\"{realm}\"{error}")];
        if self.kerberos.is_some() && encrypted {
            challenges.push("Negotiate".to_owned());
        }
        if self.passwords.is_some() && encrypted {
            // RFC 7617 §2.1.
            challenges.push(format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
        }
        challenges
    }

    /// Somebody whose identity is all that counts.
    fn known(&self, identity: Identity, proof: Option<Secret>) -> Access {
        let granted = self.policy.grants(&identity, false);
        Access::Known(Box::new(Known { identity, scopes: None, granted, anonymous: self.anonymous, proof }))
    }
}
