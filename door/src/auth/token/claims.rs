//! What a token says of itself, and whether it is for this door, now.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::issuer::{Profile, TrustedIssuer};
use crate::auth::identity::{Identity, Scheme};

/// The clocks of issuers may be ahead by so much. An end is an end.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Longest subject, id and group that is taken, in bytes, and how many groups.
const MAX_TEXT_BYTES: usize = 256;
const MAX_GROUPS: usize = 256;

/// Whom tokens of the profiles may name as their audience that are for every service.
const WLCG_ANY: &str = "https://wlcg.cern.ch/jwt/v1/any";
const SCITOKENS_ANY: &str = "ANY";

/// Why the claims of a token do not let it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// Not JSON, or a claim of another kind, or one that is there twice.
    #[error("the token's claims cannot be read")]
    Malformed,
    /// A claim that the profile makes mandatory.
    #[error("the token has no claim \"{0}\"")]
    Missing(&'static str),
    /// A claim that has no meaning here.
    #[error("the token's claim \"{0}\" has a value that is not accepted")]
    BadValue(&'static str),
    /// Another profile, or another version of it.
    #[error("the token is not of the version that its issuer's profile asks for")]
    Version,
    /// For other services.
    #[error("the token is for another audience than this door")]
    Audience,
    /// Too late.
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    /// Too early.
    #[error("the token is not valid before {0}")]
    TooEarly(Timestamp),
}

/// Claims of all profiles (RFC 7519 §4). A name that is there twice is an error of the reader, so that no two readers
/// can take different ones for it.
#[derive(Debug, Deserialize)]
pub struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Texts>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: Option<String>,
    scope: Option<String>,
    #[serde(rename = "wlcg.ver")]
    wlcg_version: Option<String>,
    #[serde(rename = "wlcg.groups")]
    wlcg_groups: Option<Texts>,
    ver: Option<String>,
    groups: Option<Texts>,
    entitlements: Option<Texts>,
    eduperson_entitlement: Option<Texts>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    fn as_slice(&self) -> &[String] {
        match self {
            Texts::One(text) => std::slice::from_ref(text),
            Texts::Many(texts) => texts,
        }
    }
}

/// Who an unverified token says has issued it.
pub fn issuer_of(payload: &[u8]) -> Result<String, ClaimsError> {
    Claims::read(payload)?.iss.ok_or(ClaimsError::Missing("iss"))
}

impl Claims {
    /// Reads a payload.
    pub fn read(payload: &[u8]) -> Result<Self, ClaimsError> {
        serde_json::from_slice(payload).map_err(|_| ClaimsError::Malformed)
    }

    /// The scopes.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// Holds them against what an issuer's profile asks for; gives whom the token speaks for.
    pub fn check(&self, issuer: &TrustedIssuer, now: Timestamp) -> Result<Identity, ClaimsError> {
        self.check_version(issuer.profile)?;
        let expires_at = time(self.exp.ok_or(ClaimsError::Missing("exp"))?, "exp")?;
        if now >= expires_at {
            return Err(ClaimsError::Expired(expires_at));
        }
        if let Some(not_before) = self.nbf {
            let not_before = time(not_before, "nbf")?;
            if now.checked_add(CLOCK_SKEW).is_ok_and(|latest| latest < not_before) {
                return Err(ClaimsError::TooEarly(not_before));
            }
        }
        if let Some(issued_at) = self.iat {
            let issued_at = time(issued_at, "iat")?;
            if now.checked_add(CLOCK_SKEW).is_ok_and(|latest| latest < issued_at) {
                return Err(ClaimsError::TooEarly(issued_at));
            }
        }
        self.check_audience(issuer)?;
        let subject = text(self.sub.as_ref(), "sub")?;
        let token_id = self.jti.as_ref().map(|id| text(Some(id), "jti")).transpose()?;
        if issuer.profile == Profile::Wlcg {
            for (name, is_there) in [("iat", self.iat.is_some()), ("jti", token_id.is_some())] {
                if !is_there {
                    return Err(ClaimsError::Missing(name));
                }
            }
        }
        let mut identity = Identity::new(Scheme::Token, format!("{subject}@{}", issuer.url));
        identity.issuer = Some(issuer.url.clone());
        identity.subject = Some(subject);
        identity.token_id = token_id;
        identity.groups = self.groups(issuer.profile)?;
        identity.expires_at = Some(expires_at);
        Ok(identity)
    }

    fn check_version(&self, profile: Profile) -> Result<(), ClaimsError> {
        let (version, name) = match profile {
            Profile::Wlcg => (&self.wlcg_version, "wlcg.ver"),
            Profile::Scitokens => (&self.ver, "ver"),
            Profile::Oidc => return Ok(()),
        };
        let version = version.as_deref().ok_or(ClaimsError::Missing(name))?;
        let known = match profile {
            // 1.x adds and changes nothing that this door relies on.
            Profile::Wlcg => version == "1" || version.starts_with("1."),
            Profile::Scitokens => matches!(version, "scitoken:2.0" | "scitokens:2.0"),
            Profile::Oidc => true,
        };
        if known { Ok(()) } else { Err(ClaimsError::Version) }
    }

    fn check_audience(&self, issuer: &TrustedIssuer) -> Result<(), ClaimsError> {
        let audiences = self.aud.as_ref().ok_or(ClaimsError::Missing("aud"))?;
        let for_all = match issuer.profile {
            Profile::Wlcg => Some(WLCG_ANY),
            Profile::Scitokens => Some(SCITOKENS_ANY),
            Profile::Oidc => None,
        };
        // By every byte: a URL that differs in case is another text.
        let ours = |audience: &String| {
            issuer.audiences.contains(audience) || for_all.is_some_and(|any| any == audience)
        };
        if audiences.as_slice().iter().any(ours) { Ok(()) } else { Err(ClaimsError::Audience) }
    }

    fn groups(&self, profile: Profile) -> Result<Vec<String>, ClaimsError> {
        let claims: &[(&'static str, &Option<Texts>)] = match profile {
            Profile::Wlcg => &[("wlcg.groups", &self.wlcg_groups)],
            Profile::Scitokens => &[],
            Profile::Oidc => &[
                ("groups", &self.groups),
                ("entitlements", &self.entitlements),
                ("eduperson_entitlement", &self.eduperson_entitlement),
            ],
        };
        let mut groups = Vec::new();
        for (name, texts) in claims {
            for group in texts.iter().flat_map(|texts| texts.as_slice()) {
                groups.push(text(Some(group), name)?);
                if groups.len() > MAX_GROUPS {
                    return Err(ClaimsError::BadValue(name));
                }
            }
        }
        Ok(groups)
    }
}

/// A text that can stand in a log line and a record.
fn text(value: Option<&String>, name: &'static str) -> Result<String, ClaimsError> {
    let value = value.ok_or(ClaimsError::Missing(name))?;
    let sound = !value.is_empty() && value.len() <= MAX_TEXT_BYTES && !value.chars().any(char::is_control);
    sound.then(|| value.clone()).ok_or(ClaimsError::BadValue(name))
}

/// RFC 7519 §2, NumericDate: seconds, which may have a fraction.
fn time(seconds: f64, name: &'static str) -> Result<Timestamp, ClaimsError> {
    SignedDuration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|since| Timestamp::UNIX_EPOCH.checked_add(since).ok())
        .ok_or(ClaimsError::BadValue(name))
}
