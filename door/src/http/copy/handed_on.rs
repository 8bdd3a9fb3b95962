//! Headers of a COPY that the pool sends to the remote side: `TransferHeaderX: v` becomes `X: v`, and so does
//! `Copy-Header: X: v`, as XRootD's clients write it.
//!
//! Their values are mostly credentials: no value is ever in a text or log line.

use hyper::header::{HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use penstock_door_proto::v1 as proto;

use super::super::answer::Refusal;

/// Most headers that are handed on.
const MAX_HEADERS: usize = 64;
/// The prefixes; hyper has names in lower case.
const TRANSFER_HEADER: &str = "transferheader";
const COPY_HEADER: &str = "copy-header";

/// Names that are never handed on: the message's framing, the connection, what part is asked for and in what coding is
/// the pool's to say. With them a client could have one request read as two (RFC 9112 §11.2).
const NOT_HANDED_ON: [&str; 17] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "expect",
    "host",
    "http2-settings",
    "if-range",
    "keep-alive",
    "max-forwards",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
const NOT_HANDED_ON_PREFIX: &str = "proxy-";

/// The headers to hand on, in the order in which they first stand in the request.
pub fn read(headers: &HeaderMap) -> Result<Vec<proto::Header>, Refusal> {
    let mut handed_on: Vec<proto::Header> = Vec::new();
    for (carrier, value) in headers {
        let Some((name, value)) = unwrap(carrier, value)? else { continue };
        if NOT_HANDED_ON.contains(&name.as_str()) || name.as_str().starts_with(NOT_HANDED_ON_PREFIX) {
            tracing::info!(header = name.as_str(), "a transfer header is not handed on");
            continue;
        }
        match handed_on.iter().find(|known| known.name == name.as_str()) {
            Some(known) if known.value == value => continue,
            Some(_) => {
                return Err(bad(format!("two different values are to be handed on for the header {name}")));
            }
            None => {}
        }
        if handed_on.len() == MAX_HEADERS {
            return Err(bad(format!("more than {MAX_HEADERS} headers are to be handed on")));
        }
        handed_on.push(proto::Header { name: name.as_str().to_owned(), value });
    }
    Ok(handed_on)
}

/// Name and value that a header of the COPY carries; `None` for one that carries none, or an empty one.
fn unwrap(carrier: &HeaderName, value: &HeaderValue) -> Result<Option<(HeaderName, String)>, Refusal> {
    let carrier = carrier.as_str();
    let name = match (carrier.strip_prefix(TRANSFER_HEADER), carrier.strip_prefix(COPY_HEADER)) {
        (Some(name), _) => name,
        (None, Some(name)) => name.trim_start_matches('-'),
        (None, None) => return Ok(None),
    };
    // Tab, space and visible ASCII: no line ends, and nothing that two servers could read differently.
    let text = value.to_str().map_err(|_| bad(format!("the header {carrier} is not plain text")))?.trim();
    let (name, text) = match text.split_once(':') {
        Some((name, text)) if carrier == COPY_HEADER => (name.trim(), text.trim()),
        None if carrier == COPY_HEADER && !text.is_empty() => {
            return Err(bad("Copy-Header is not of the form \"Name: value\""));
        }
        _ => (name, text),
    };
    if name.is_empty() || text.is_empty() {
        return Ok(None);
    }
    let name = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| bad(format!("the header {carrier} does not name a header")))?;
    Ok(Some((name, text.to_owned())))
}

fn bad(text: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[(&str, &str)]) -> Result<Vec<(String, String)>, StatusCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let pair = |header: proto::Header| (header.name, header.value);
        read(&headers)
            .map(|headers| headers.into_iter().map(pair).collect())
            .map_err(|refusal| refusal.status())
    }

    fn pairs(lines: &[(&str, &str)]) -> Result<Vec<(String, String)>, StatusCode> {
        Ok(lines.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn prefixes_are_taken_off_and_the_order_is_kept() {
        let lines = [
            ("authorization", "Bearer mine"),
            ("TransferHeaderAuthorization", "Bearer theirs"),
            ("TransferHeaderClientContext", "foo"),
            ("Copy-Header", "X-First: a:b"),
            ("Copy-Header-X-Second", "c"),
            ("TransferHeaderSciTag", "66"),
        ];
        assert_eq!(
            told(&lines),
            pairs(&[
                ("authorization", "Bearer theirs"),
                ("clientcontext", "foo"),
                ("x-first", "a:b"),
                ("x-second", "c"),
                ("scitag", "66"),
            ])
        );
    }

    #[test]
    fn what_frames_a_message_is_never_handed_on() {
        for name in NOT_HANDED_ON.into_iter().chain(["proxy-authorization", "proxy-connection"]) {
            assert_eq!(told(&[(&format!("TransferHeader{name}"), "1")]), Ok(Vec::new()), "{name}");
            assert_eq!(told(&[("Copy-Header", &format!("{name}: 1"))]), Ok(Vec::new()), "{name}");
        }
    }

    #[test]
    fn one_value_twice_is_one_and_an_empty_one_none_and_two_are_refused() {
        let one = [("TransferHeaderX", "1"), ("TransferHeaderX", " 1 "), ("Copy-Header", "X: 1")];
        assert_eq!(told(&one), pairs(&[("x", "1")]));
        assert_eq!(
            told(&[("TransferHeaderX", ""), ("TransferHeader", "y"), ("Copy-Header", "")]),
            Ok(Vec::new())
        );
        for lines in [
            &[("TransferHeaderX", "1"), ("TransferHeaderX", "2")][..],
            &[("TransferHeaderX", "1"), ("Copy-Header", "x: 2")],
            &[("Copy-Header", "nothing")],
            &[("Copy-Header", "a b: 2")],
            &[("TransferHeaderX", "é")],
        ] {
            assert_eq!(told(lines), Err(StatusCode::BAD_REQUEST), "{lines:?}");
        }
    }

    #[test]
    fn their_number_is_bounded() {
        let names: Vec<String> = (0..=MAX_HEADERS).map(|number| format!("TransferHeaderX{number}")).collect();
        let lines: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
        assert_eq!(told(&lines[1..]).unwrap().len(), MAX_HEADERS);
        assert_eq!(told(&lines), Err(StatusCode::BAD_REQUEST));
    }
}
