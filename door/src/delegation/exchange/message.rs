//! What is sent to an issuer's token endpoint, and what it answers (RFC 6749 §5, RFC 8693 §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::auth::secret::Secret;
use crate::config::ExchangeRules;

/// RFC 8693 §2.1.
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 8693 §3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Longest token that is taken.
const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Longest error code that is shown.
const MAX_SHOWN_BYTES: usize = 60;
/// No token is thought to be good for longer.
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 30);

/// What an issuer does with a question. Shown behind its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It says no.
    #[error("refuses ({status}, \"{code}\")")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its code for it.
        code: String,
    },
    /// It says no without a word.
    #[error("answers {0}")]
    Status(StatusCode),
    /// No JSON of the form.
    #[error("answers what is no token")]
    NotAnAnswer,
    /// Another kind of token.
    #[error("answers a token that is no bearer token")]
    NotBearer,
    /// Its description names no place for that.
    #[error("does not say where it exchanges tokens")]
    NoEndpoint,
}

/// What the door is known by to an issuer.
#[derive(Clone)]
pub struct Client(Secret);

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Client(…)")
    }
}

impl Client {
    /// With this id and secret.
    pub fn new(id: &str, secret: &str) -> Self {
        // RFC 6749 §2.3.1: both are form-encoded before they become a user's name and password.
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let both = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
        Self(Secret::new(format!("Basic {both}")))
    }

    /// The value of `Authorization`.
    pub fn authorization(&self) -> &Secret {
        &self.0
    }
}

/// A token for the remote side.
#[derive(Debug, Clone)]
pub struct Fresh {
    /// The token.
    pub access_token: Secret,
    /// When it ends, if the issuer says so.
    pub expires_at: Option<Timestamp>,
}

impl Fresh {
    /// Whether it is good for so much longer. One without an end is asked for anew each time.
    pub fn is_good_until(&self, now: Timestamp, left: SignedDuration) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at.duration_since(now) > left)
    }
}

/// What an issuer gives.
#[derive(Debug, Clone)]
pub struct Got {
    /// The token.
    pub fresh: Fresh,
    /// For the next one.
    pub refresh_token: Option<Secret>,
}

impl Got {
    /// Whether it is another than what was there before, if anything was.
    pub fn is_later_than(&self, before: Option<&Got>) -> bool {
        before.is_none_or(|before| before.fresh.access_token.expose() != self.fresh.access_token.expose())
    }

    /// RFC 6749 §6: without a new refresh token the old one stays.
    pub fn or_refresh_token(self, old: Option<Secret>) -> Self {
        Self { refresh_token: self.refresh_token.or(old), ..self }
    }
}

/// A form that asks for a token for a user's.
pub fn exchange(rules: &ExchangeRules, token: &Secret) -> Secret {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", EXCHANGE);
    form.append_pair("subject_token_type", ACCESS_TOKEN);
    form.append_pair("requested_token_type", ACCESS_TOKEN);
    // Tokens are ASCII; what is not would be refused by the issuer.
    form.append_pair("subject_token", &String::from_utf8_lossy(token.expose()));
    for (name, value) in [("scope", &rules.scope), ("audience", &rules.audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    Secret::new(form.finish())
}

/// A form that asks for a token by a refresh token.
pub fn refresh(refresh_token: &Secret) -> Secret {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("refresh_token", &String::from_utf8_lossy(refresh_token.expose()));
    Secret::new(form.finish())
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    token_type: String,
    expires_in: Option<i64>,
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct Error {
    error: String,
}

/// Reads an answer.
pub fn read(status: StatusCode, body: &[u8], now: Timestamp) -> Result<Got, MessageError> {
    if status != StatusCode::OK {
        return Err(match serde_json::from_slice::<Error>(body) {
            Ok(error) => MessageError::Refused { status, code: shown(&error.error) },
            Err(_) => MessageError::Status(status),
        });
    }
    let answer: Answer = serde_json::from_slice(body).map_err(|_| MessageError::NotAnAnswer)?;
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err(MessageError::NotBearer);
    }
    // It becomes a header of the pool's: RFC 6750 §2.1.
    let usable = |token: &String| {
        (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !usable(&answer.access_token) {
        return Err(MessageError::NotAnAnswer);
    }
    let lifetime = answer.expires_in.map(|seconds| SignedDuration::from_secs(seconds.max(0)).min(LONGEST));
    Ok(Got {
        fresh: Fresh {
            access_token: Secret::new(answer.access_token),
            expires_at: lifetime.and_then(|lifetime| now.checked_add(lifetime).ok()),
        },
        refresh_token: answer.refresh_token.filter(usable).map(Secret::new),
    })
}

/// An error code, of which RFC 6749 §5.2 allows little, as far as it is what that allows.
fn shown(code: &str) -> String {
    let plain = |character: &char| character.is_ascii_alphanumeric() || "_-.: ".contains(*character);
    code.chars().filter(plain).take(MAX_SHOWN_BYTES).collect()
}

#[derive(Deserialize)]
struct Description {
    issuer: String,
    token_endpoint: Option<String>,
}

/// Where an issuer exchanges tokens, by its own description.
pub fn token_endpoint(document: &[u8], issuer: &str) -> Result<String, MessageError> {
    let description: Description = serde_json::from_slice(document).map_err(|_| MessageError::NoEndpoint)?;
    // OpenID Connect Discovery 1.0 §4.3: else it is somebody else's.
    let endpoint = description.token_endpoint.filter(|_| description.issuer == issuer);
    let endpoint = endpoint.filter(|url| Url::parse(url).is_ok_and(|url| url.scheme() == "https"));
    endpoint.ok_or(MessageError::NoEndpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> ExchangeRules {
        ExchangeRules {
            issuer: "https://idp.example.org/".into(),
            client: "/none".into(),
            token_endpoint: None,
            scope: Some("storage.read:/ openid".into()),
            audience: None,
        }
    }

    fn text(secret: &Secret) -> &str {
        std::str::from_utf8(secret.expose()).unwrap()
    }

    #[test]
    fn questions_are_forms_as_the_standards_have_them() {
        assert_eq!(
            text(&exchange(&rules(), &Secret::new("a.b.c"))),
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
             &subject_token=a.b.c&scope=storage.read%3A%2F+openid"
        );
        assert_eq!(text(&refresh(&Secret::new("r&1"))), "grant_type=refresh_token&refresh_token=r%261");
        let client = Client::new("door:1", "se cret");
        assert_eq!(text(client.authorization()), format!("Basic {}", STANDARD.encode("door%3A1:se+cret")));
        assert_eq!(format!("{client:?}"), "Client(…)");
    }

    #[test]
    fn an_answer_is_a_bearer_token_with_an_end() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let body = br#"{"access_token":"x.y.z","token_type":"bearer","expires_in":3600,"refresh_token":"r","more":[]}"#;
        let got = read(StatusCode::OK, body, now).unwrap();
        assert_eq!(text(&got.fresh.access_token), "x.y.z");
        assert_eq!(got.fresh.expires_at, Some(now + SignedDuration::from_hours(1)));
        assert_eq!(text(got.refresh_token.as_ref().unwrap()), "r");
        assert!(got.fresh.is_good_until(now, SignedDuration::from_mins(59)));
        assert!(!got.fresh.is_good_until(now, SignedDuration::from_mins(60)));
        let endless = read(StatusCode::OK, br#"{"access_token":"x","token_type":"Bearer"}"#, now).unwrap();
        assert!(!endless.fresh.is_good_until(now, SignedDuration::ZERO), "nobody knows");
    }

    #[test]
    fn what_is_no_token_is_told_without_the_issuers_words() {
        let refused = |status: u16, code: &str| MessageError::Refused {
            status: StatusCode::from_u16(status).unwrap(),
            code: code.to_owned(),
        };
        let huge =
            format!(r#"{{"access_token":"{}","token_type":"bearer"}}"#, "x".repeat(MAX_TOKEN_BYTES + 1));
        let table: [(u16, &str, MessageError); 9] = [
            (400, r#"{"error":"invalid_grant","error_description":"SECRET"}"#, refused(400, "invalid_grant")),
            (401, "{\"error\":\"<b>\\nSECRET\"}", refused(401, "bSECRET")),
            (500, "<html>", MessageError::Status(StatusCode::INTERNAL_SERVER_ERROR)),
            (302, "", MessageError::Status(StatusCode::FOUND)),
            (200, "<html>", MessageError::NotAnAnswer),
            (200, r#"{"token_type":"bearer"}"#, MessageError::NotAnAnswer),
            (200, r#"{"access_token":"a\r\nb","token_type":"bearer"}"#, MessageError::NotAnAnswer),
            (200, r#"{"access_token":"a","token_type":"mac"}"#, MessageError::NotBearer),
            (200, &huge, MessageError::NotAnAnswer),
        ];
        for (status, body, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let error = read(status, body.as_bytes(), Timestamp::UNIX_EPOCH).unwrap_err();
            assert_eq!(error, expected, "{status} {body:.60}");
        }
    }

    #[test]
    fn an_issuer_says_for_itself_where_tokens_are_exchanged() {
        let issuer = "https://idp.example.org/";
        let good = r#"{"issuer":"https://idp.example.org/","token_endpoint":"https://idp.example.org/t"}"#;
        assert_eq!(token_endpoint(good.as_bytes(), issuer).unwrap(), "https://idp.example.org/t");
        for wrong in [
            "",
            "{}",
            r#"{"issuer":"https://idp.example.org/"}"#,
            r#"{"issuer":"https://other.example.org/","token_endpoint":"https://idp.example.org/t"}"#,
            r#"{"issuer":"https://idp.example.org/","token_endpoint":"http://idp.example.org/t"}"#,
        ] {
            assert_eq!(token_endpoint(wrong.as_bytes(), issuer), Err(MessageError::NoEndpoint), "{wrong}");
        }
    }
}
