//! POST of an `application/macaroon-request`: a macaroon for a path, as dCache's clients, gfal and FTS ask for it.

use std::time::Duration;

use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use jiff::{SpanRelativeTo, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, Refusal, full};
use super::exchange::Exchange;
use super::{request_body, tape};
use crate::auth::Access;
use crate::auth::request::{self, Issued, RequestError, Wish};
use crate::auth::shown::QUERY_PARAMETER;
use crate::namespace::NsPath;

/// The media type of the request.
const MEDIA_TYPE: &str = "application/macaroon-request";
/// Longest body in bytes.
const MAX_BODY_BYTES: u64 = 16 * 1024;

/// What clients send; all of it may be missing, and what is not known is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    caveats: Vec<String>,
    validity: Option<String>,
}

/// Whether a POST asks for a macaroon.
pub fn is_for(exchange: &Exchange) -> bool {
    has_media_type(exchange, MEDIA_TYPE)
}

/// Whether a request's body is of a media type (RFC 9110 §8.3.1: parameters are beside the point, case too).
pub fn has_media_type(exchange: &Exchange, media_type: &str) -> bool {
    let kind = exchange.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|value| value.split(';').next()).unwrap_or_default();
    kind.trim().eq_ignore_ascii_case(media_type)
}

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    refuse_anonymous(exchange)?;
    let body = request_body::read(exchange, MAX_BODY_BYTES).await?;
    let wish = read(&body).map_err(|text| Refusal::new(StatusCode::BAD_REQUEST, text))?;
    let path = exchange.view_path.clone();
    let issued = issue(exchange, &path, &wish)?;
    let base = tape::base(exchange);
    let target = format!("{base}{}", path.to_url());
    let token = format!("?{QUERY_PARAMETER}={}", issued.macaroon);
    Ok(answer(&json!({
        "macaroon": issued.macaroon,
        "uri": {
            "targetWithMacaroon": format!("{target}{token}"),
            "baseWithMacaroon": format!("{base}/{token}"),
            "target": target,
            "base": format!("{base}/"),
        },
    })))
}

/// Who is nobody gets none, and is told so before the body is waited for.
pub fn refuse_anonymous(exchange: &Exchange) -> Result<(), Refusal> {
    if matches!(exchange.access, Access::Anonymous(_)) { Err(exchange.unauthenticated()) } else { Ok(()) }
}

/// Makes a macaroon for who asks, at a path as they see it.
pub fn issue(exchange: &Exchange, path: &NsPath, wish: &Wish) -> Result<Issued, Refusal> {
    let service = &exchange.service;
    let keys = &service.authenticator.keys;
    let location = tape::base(exchange);
    let issued =
        request::issue(keys, &location, &exchange.access, path, wish, service.lifetimes, Timestamp::now());
    let issued = issued.map_err(|error| refuse(exchange, &error))?;
    exchange.note_issue(&issued.issue_id);
    Ok(issued)
}

/// An answer that nobody keeps, as there is a token in it.
pub fn answer(body: &serde_json::Value) -> Answer {
    let mut answer = Response::new(full(format!("{body}\n")));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn refuse(exchange: &Exchange, error: &RequestError) -> Refusal {
    match error {
        RequestError::Anonymous => exchange.unauthenticated(),
        RequestError::NoRights => Refusal::forbidden(&error.to_string()),
        RequestError::TooMany | RequestError::Caveat(_) | RequestError::TooLong => {
            Refusal::new(StatusCode::BAD_REQUEST, error.to_string())
        }
        RequestError::Random(_) | RequestError::Macaroon(_) => {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    }
}

fn read(body: &[u8]) -> Result<Wish, String> {
    if body.trim_ascii().is_empty() {
        return Ok(Wish::default());
    }
    let body: Body = serde_json::from_slice(body).map_err(|error| {
        format!("the macaroon request is not of the form {{\"caveats\":[…],\"validity\":\"PT5M\"}}: {error}")
    })?;
    let validity = body.validity.as_deref().map(duration).transpose()?;
    Ok(Wish { caveats: body.caveats, validity })
}

/// ISO 8601: `PT5M`, `P1D`.
fn duration(text: &str) -> Result<Duration, String> {
    let span = text.starts_with('P').then(|| text.parse::<jiff::Span>().ok()).flatten();
    span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok())
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| {
            "the validity is not a length of time in ISO 8601, like \"PT5M\" or \"P1D\"".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_whole_in_part_or_empty() {
        let wish = |caveats: &[&str], seconds: Option<u64>| Wish {
            caveats: caveats.iter().map(|caveat| (*caveat).to_owned()).collect(),
            validity: seconds.map(Duration::from_secs),
        };
        let table = [
            ("", wish(&[], None)),
            (" \n", wish(&[], None)),
            ("{}", wish(&[], None)),
            (r#"{"validity":"PT5M"}"#, wish(&[], Some(300))),
            (r#"{"validity":"P7D","caveats":[]}"#, wish(&[], Some(7 * 86_400))),
            (
                r#"{"caveats": ["activity:LIST,DOWNLOAD"], "validity": "PT720M"}"#,
                wish(&["activity:LIST,DOWNLOAD"], Some(720 * 60)),
            ),
            (r#"{"caveats":["path:/a"],"extra":1}"#, wish(&["path:/a"], None)),
        ];
        for (body, expected) in table {
            assert_eq!(read(body.as_bytes()), Ok(expected), "{body}");
        }
        for bad in ["[", "[]x", r#"{"validity":5}"#, r#"{"caveats":"x"}"#] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["", "5m", "PT", "-PT5M", "PT0S", "P1Y", "P1M", "PT99999999999999H"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
