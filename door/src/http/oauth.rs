//! Macaroons for clients that ask as of an OAuth 2.0 authorization server (RFC 6749, RFC 8414): gfal and FTS look for its
//! description first, and take what it gives as a bearer token.
//!
//! The names of both places are taken away from the namespace.

use std::time::Duration;

use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::json;
use url::form_urlencoded;

use super::answer::{Answer, Refusal};
use super::exchange::Exchange;
use super::{macaroon, request_body, tape};
use crate::auth::activity::{Activities, Activity};
use crate::auth::request::Wish;
use crate::namespace::NsPath;

/// Where clients look for the description; some put a path behind it (RFC 8414 §3.1).
pub const DESCRIPTION: &str = "/.well-known/oauth-authorization-server";
/// Where tokens are given, as at XRootD.
pub const TOKEN: &str = "/.oauth2/token";
/// The media type of a request (RFC 6749 §4.4.2).
const FORM: &str = "application/x-www-form-urlencoded";
/// Longest body in bytes.
const MAX_BODY_BYTES: u64 = 16 * 1024;

/// An error of RFC 6749 §5.2: its code, and a text.
type FormError = (&'static str, &'static str);

/// Whether a request is for this.
pub fn is_for(exchange: &Exchange) -> bool {
    reserves(&exchange.view_path)
}

/// Whether a name is taken away from the namespace for it.
pub fn reserves(view_path: &NsPath) -> bool {
    let path = view_path.as_str();
    path == TOKEN
        || path.strip_prefix(DESCRIPTION).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    let wrong_method = |allowed| {
        Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this place of the door does not do this method")
            .header(header::ALLOW, HeaderValue::from_static(allowed))
    };
    match (exchange.view_path.as_str() == TOKEN, exchange.head.method.clone()) {
        (true, Method::POST) => token(exchange).await,
        (true, _) => Err(wrong_method("POST")),
        (false, Method::GET | Method::HEAD) => Ok(description(exchange)),
        (false, _) => Err(wrong_method("GET, HEAD")),
    }
}

fn description(exchange: &Exchange) -> Answer {
    let base = tape::base(exchange);
    // RFC 8414 §3.3: the very issuer whose path the client has put behind the well-known one.
    let path = exchange.head.uri.path().strip_prefix(DESCRIPTION).unwrap_or_default();
    let scopes: Vec<&str> = Activity::ALL.iter().map(|(_, word)| *word).collect();
    macaroon::answer(&json!({
        "issuer": format!("{base}{}", path.trim_end_matches('/')),
        "token_endpoint": format!("{base}{TOKEN}"),
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
        "scopes_supported": scopes,
    }))
}

async fn token(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    if !macaroon::has_media_type(exchange, FORM) {
        let text = format!("a request for a token is a form: Content-Type: {FORM}");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    macaroon::refuse_anonymous(exchange).map_err(|refusal| in_its_words(TOKEN, refusal))?;
    let body = request_body::read(exchange, MAX_BODY_BYTES).await?;
    let (path, wish) = match read(&body) {
        Ok(read) => read,
        Err((code, text)) => return Ok(bad_request(code, text)),
    };
    let issued = match macaroon::issue(exchange, &path, &wish) {
        Ok(issued) => issued,
        Err(refusal) => return refused(exchange, &path, refusal),
    };
    Ok(macaroon::answer(&json!({
        "access_token": issued.macaroon,
        "token_type": "bearer",
        "expires_in": issued.lifetime.as_secs(),
    })))
}

fn bad_request(code: &str, text: &str) -> Answer {
    let mut answer = macaroon::answer(&json!({ "error": code, "error_description": text }));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer
}

/// A refusal of what was asked for, as such clients understand it (RFC 6749 §5.2).
fn refused(exchange: &Exchange, path: &NsPath, refusal: Refusal) -> Result<Answer, Refusal> {
    let text = refusal.text().to_owned();
    match refusal.status() {
        StatusCode::FORBIDDEN => {
            exchange.tell_refusal(path.as_str(), StatusCode::BAD_REQUEST, text.clone());
            Ok(bad_request("invalid_scope", &text))
        }
        StatusCode::BAD_REQUEST => Ok(bad_request("invalid_request", &text)),
        _ => Err(in_its_words(TOKEN, refusal)),
    }
}

/// A refusal on this place, for whoever asks here: who it is was not proved.
pub fn in_its_words(path: &str, refusal: Refusal) -> Refusal {
    if path != TOKEN || refusal.status() != StatusCode::UNAUTHORIZED {
        return refusal;
    }
    let text = refusal.text().to_owned();
    refusal.json(&json!({ "error": "invalid_client", "error_description": text }))
}

/// Reads a form: for which path, and with which restrictions.
fn read(body: &[u8]) -> Result<(NsPath, Wish), FormError> {
    let (mut grant_type, mut scope, mut seconds) = (None, None, None);
    for (name, value) in form_urlencoded::parse(body) {
        let place = match name.as_ref() {
            "grant_type" => &mut grant_type,
            // gfal says "scopes".
            "scope" | "scopes" => &mut scope,
            "expire_in" | "expires_in" => &mut seconds,
            // RFC 6749 §3.2: what is not known is passed over.
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return Err(("invalid_request", "a parameter is there twice"));
        }
    }
    match grant_type.as_deref() {
        Some("client_credentials") => {}
        Some(_) => return Err(("unsupported_grant_type", "only client_credentials is supported")),
        None => return Err(("invalid_request", "the grant_type is missing")),
    }
    let validity = match seconds {
        Some(text) => {
            let seconds = text.parse::<u64>().ok().filter(|seconds| *seconds > 0);
            let seconds = seconds.ok_or(("invalid_request", "expire_in is not a number of seconds"))?;
            Some(Duration::from_secs(seconds))
        }
        None => None,
    };
    let (path, activities) = scopes(scope.as_deref().unwrap_or_default())?;
    let caveats = activities.map(|set| format!("activity:{}", set.words())).into_iter().collect();
    Ok((path, Wish { caveats, validity }))
}

/// `LIST:/path DOWNLOAD:/path`, or in the words of the WLCG token profile; all of one path. Without any, everything that
/// who asks may do at the root.
fn scopes(text: &str) -> Result<(NsPath, Option<Activities>), FormError> {
    let bad = |text| ("invalid_scope", text);
    let mut path: Option<NsPath> = None;
    let mut activities = Vec::new();
    for scope in text.split_ascii_whitespace() {
        let (word, place) =
            scope.split_once(':').ok_or(bad("a scope is an activity, a colon and a path: DOWNLOAD:/path"))?;
        let known = named(word).ok_or(bad("a scope names an activity that this door does not know"))?;
        activities.extend_from_slice(known);
        let place =
            NsPath::parse(place).map_err(|_| bad("the path of a scope is not absolute and normal"))?;
        if path.as_ref().is_some_and(|path| *path != place) {
            return Err(bad("all scopes of a request must be for one path"));
        }
        path = Some(place);
    }
    let activities = (!activities.is_empty()).then(|| Activities::of_all(&activities));
    Ok((path.unwrap_or_else(NsPath::root), activities))
}

fn named(word: &str) -> Option<&'static [Activity]> {
    use Activity::*;
    let known: &[Activity] = match word {
        "storage.read" => &[List, Download],
        "storage.create" => &[Upload, Manage],
        "storage.modify" => &[List, Upload, Delete, Manage, UpdateMetadata],
        "storage.stage" => &[Stage],
        "storage.poll" => &[ReadMetadata],
        "LIST" => &[List],
        "UPLOAD" => &[Upload],
        "DOWNLOAD" => &[Download],
        "DELETE" => &[Delete],
        "MANAGE" => &[Manage],
        "READ_METADATA" => &[ReadMetadata],
        "UPDATE_METADATA" => &[UpdateMetadata],
        "STAGE" => &[Stage],
        _ => return None,
    };
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gfal_and_others_ask_is_understood() {
        let table = [
            (
                "grant_type=client_credentials&expire_in=300&scopes=LIST%3A%2Fa%20b%2Fc%20DOWNLOAD%3A%2Fa%20b%2Fc",
                None,
            ),
            (
                "grant_type=client_credentials&expire_in=300&scopes=LIST%3A%2Fa%20DOWNLOAD%3A%2Fa",
                Some(("/a", 300)),
            ),
            ("grant_type=client_credentials&expires_in=300&scope=storage.read:/a&x=y", Some(("/a", 300))),
        ];
        for (form, expected) in table {
            let read = read(form.as_bytes()).ok();
            let plain = read.as_ref().map(|(path, wish)| {
                assert_eq!(wish.caveats, ["activity:LIST,DOWNLOAD,READ_METADATA"]);
                (path.as_str(), wish.validity.unwrap().as_secs())
            });
            assert_eq!(plain, expected, "{form}");
        }
        let (path, wish) = read(b"grant_type=client_credentials").unwrap();
        assert_eq!((path.as_str(), wish), ("/", Wish::default()));
    }

    #[test]
    fn other_forms_are_refused_with_the_codes_of_the_standard() {
        let with = |rest: &str| format!("grant_type=client_credentials&{rest}");
        let table = [
            (String::new(), "invalid_request"),
            ("grant_type=password".to_owned(), "unsupported_grant_type"),
            (with("grant_type=client_credentials"), "invalid_request"),
            (with("expire_in=0"), "invalid_request"),
            (with("expire_in=soon"), "invalid_request"),
            (with("scope=LIST"), "invalid_scope"),
            (with("scope=FLY:/a"), "invalid_scope"),
            (with("scope=LIST:a"), "invalid_scope"),
            (with("scope=LIST:/a/../b"), "invalid_scope"),
            (with("scope=LIST:/a+DOWNLOAD:/b"), "invalid_scope"),
            (with("scope=LIST:/a&scopes=LIST:/a"), "invalid_request"),
        ];
        for (form, code) in table {
            assert_eq!(read(form.as_bytes()).unwrap_err().0, code, "{form}");
        }
    }
}
