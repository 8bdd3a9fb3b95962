//! Whom a credential names that was refused: for the audit, which is to tell whose account is tried, and whose token has
//! ended. Nothing of it is proved; anybody may have written it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::HeaderMap;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use serde_json::{Map, Value};

use super::certificate::facts::Certificate;
use super::macaroon::Macaroon;
use super::password::Passwords;
use super::shown::{self, Shown};
use super::{basic, token};

/// Longest text of a field, in bytes.
const MAX_TEXT_BYTES: usize = 128;

/// Whom a credential names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Claimed {
    /// The user, if there is one of that name: people type passwords where a name should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A token's `iss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// A token's `sub`, a macaroon's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `jti` of a token, `iid` of a macaroon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// Whose certificate the client has shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dn: Option<String>,
}

impl Claimed {
    /// What stands in a request, or else in the certificate of its connection. `None` when nobody is named.
    pub fn of(
        headers: &HeaderMap,
        query: Option<&str>,
        passwords: Option<&Passwords>,
        certificate: Option<&CertificateDer<'_>>,
    ) -> Option<Self> {
        let claimed = match shown::find(headers, query).ok()? {
            Shown::Bearer(secret) if token::is_jwt(&secret) => of_token(secret.expose()),
            Shown::Bearer(secret) => of_macaroon(secret.expose()),
            Shown::Basic(encoded) => {
                let (user, _) = basic::parse(&encoded)?;
                let known = passwords.is_some_and(|passwords| passwords.has(&user));
                known.then(|| Self { user: Some(user), ..Self::default() })
            }
            Shown::Nothing => {
                let certificate = Certificate::parse(certificate?).ok()?;
                Some(Self { dn: Some(certificate.subject.to_string()), ..Self::default() })
            }
            Shown::Negotiate(_) | Shown::Other => None,
        };
        claimed.map(Self::shortened).filter(|claimed| *claimed != Self::default())
    }

    fn shortened(mut self) -> Self {
        let fields = [&mut self.user, &mut self.issuer, &mut self.subject, &mut self.token_id, &mut self.dn];
        for text in fields.into_iter().flatten() {
            while text.len() > MAX_TEXT_BYTES {
                text.pop();
            }
        }
        self
    }
}

/// The claims of a signed token, whoever has signed it. One that is no text is passed over.
fn of_token(token: &[u8]) -> Option<Claimed> {
    let payload = token.split(|byte| *byte == b'.').nth(1)?;
    let mut claims: Map<String, Value> =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let mut text = |claim: &str| match claims.remove(claim) {
        Some(Value::String(text)) => Some(text),
        Some(_) | None => None,
    };
    let (issuer, subject, token_id) = (text("iss"), text("sub"), text("jti"));
    Some(Claimed { issuer, subject, token_id, ..Claimed::default() })
}

fn of_macaroon(token: &[u8]) -> Option<Claimed> {
    let macaroon = Macaroon::decode(token).ok()?;
    let mut claimed = Claimed::default();
    for caveat in macaroon.caveats().filter_map(|caveat| std::str::from_utf8(caveat).ok()) {
        match caveat.split_once(':') {
            Some(("iid", id)) if claimed.token_id.is_none() => claimed.token_id = Some(id.to_owned()),
            // `uid;gid,gid…;name`.
            Some(("id", id)) if claimed.subject.is_none() => {
                claimed.subject = id.splitn(3, ';').nth(2).map(str::to_owned);
            }
            _ => {}
        }
    }
    Some(claimed)
}

#[cfg(test)]
mod tests {
    use hyper::header::AUTHORIZATION;

    use super::*;

    fn of(authorization: &str) -> Option<Claimed> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        Claimed::of(&headers, None, None, None)
    }

    fn token(payload: &str) -> String {
        format!("Bearer eyJhbGciOiJFUzI1NiJ9.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn a_token_names_somebody_whoever_has_signed_it() {
        let long = "x".repeat(1000);
        let claimed = of(&token(&format!(
            "{{\"iss\":\"https://vo.example\",\"sub\":\"carol\",\"jti\":\"{long}\",\"scope\":\"storage.read:/\"}}"
        )));
        let claimed = claimed.unwrap();
        assert_eq!(claimed.issuer.as_deref(), Some("https://vo.example"));
        assert_eq!(claimed.subject.as_deref(), Some("carol"));
        assert_eq!(claimed.token_id.map(|id| id.len()), Some(MAX_TEXT_BYTES));
        for other in ["{}", "[]", "{\"sub\":[1]}", "no json", ""] {
            assert_eq!(of(&token(other)), None, "{other}");
        }
        let odd = of(&token("{\"iss\":\"https://vo.example\",\"sub\":[1],\"jti\":7}")).unwrap();
        assert_eq!(
            odd.issuer.as_deref(),
            Some("https://vo.example"),
            "what is no text takes nothing else with it"
        );
        assert_eq!((odd.subject, odd.token_id), (None, None));
    }

    #[test]
    fn what_names_nobody_says_nothing() {
        // Of users there are none here, so that this may be somebody's password.
        for other in ["Basic aHVudGVyMjo=", "Bearer nonsense", "Negotiate YWJj", "Digest x"] {
            assert_eq!(of(other), None, "{other}");
        }
        assert_eq!(Claimed::of(&HeaderMap::new(), None, None, None), None);
    }
}
