//! What remote servers answer when the pool is their client: heads, checksums, redirects; and the header fields that
//! users want sent to them.
//!
//! An answer that arrives in pieces is the answer that arrives at once; what makes sense of its headers makes sense
//! together; a redirect leads to http or https and nowhere else, its text holds nothing of a query; and no field that
//! goes out can become two.

use std::collections::BTreeSet;

use penstock_pool::http1::{
    AnswerBody, AnswerHead, MAX_ANSWER_HEAD_BYTES, ParsedAnswer, answered_checksums, parse_answer,
};
use penstock_pool::remote::{Headers, RemoteUrl};

/// Whole heads up to here are looked at byte by byte, others at some places.
const SHORT: usize = 512;
/// Where redirects start from.
const FROM: &str = "https://far.example.org:8443/dir/file?authz=secret";

/// Checks an input: an answer.
pub fn check(data: &[u8]) {
    let whole = parse_answer(data);
    for end in (0..data.len()).step_by(if data.len() <= SHORT { 1 } else { data.len() / 64 }) {
        match (parse_answer(&data[..end]), &whole) {
            (Ok(ParsedAnswer::Partial), _) | (Err(_), Err(_)) => {}
            (
                Ok(ParsedAnswer::Complete { head, consumed }),
                Ok(ParsedAnswer::Complete { head: same, consumed: end }),
            ) => {
                assert!(head == *same && consumed == *end);
            }
            (piece, whole) => panic!("{piece:?} after {end} bytes, then {whole:?}"),
        }
    }
    match whole {
        Ok(ParsedAnswer::Complete { head, consumed }) => {
            assert!(consumed <= data.len() && consumed <= MAX_ANSWER_HEAD_BYTES);
            assert!(data[..consumed].ends_with(b"\n"));
            understood(&head);
        }
        Ok(ParsedAnswer::Partial) => assert!(data.len() < MAX_ANSWER_HEAD_BYTES),
        Err(error) => assert!(!error.to_string().contains(['\r', '\n'])),
    }
}

fn understood(head: &AnswerHead) {
    assert!((100..600).contains(&head.status()));
    assert!(
        !head.status_line().contains(char::is_control)
            && head.status_line().starts_with(&head.status().to_string())
    );
    assert_eq!(head.body(true), Ok(AnswerBody::Length(0)));
    let length = head.content_length();
    match head.body(false) {
        Ok(AnswerBody::Length(bytes)) => {
            assert!(i64::try_from(bytes).is_ok());
            assert!(bytes == 0 || length == Ok(Some(bytes)));
        }
        Ok(AnswerBody::Chunked | AnswerBody::UntilClose) => assert_eq!(length, Ok(None)),
        Err(_) => {
            assert!(head.header("content-length").is_some() || head.header("transfer-encoding").is_some())
        }
    }
    if let Some(range) = head.content_range() {
        assert!(range.first < range.end && i64::try_from(range.end).is_ok());
        assert!(range.total.is_none_or(|total| range.end <= total));
    }
    if let Some(tag) = head.entity_tag() {
        assert!(tag.tag.len() >= 2 && tag.tag.starts_with('"') && tag.tag.ends_with('"'));
        assert!(!tag.tag[1..tag.tag.len() - 1].contains(['"', ' ', '\r', '\n']));
    }
    for partial in [false, true] {
        let checksums = answered_checksums(head, partial);
        let algorithms: BTreeSet<_> = checksums.iter().map(|checksum| checksum.algorithm()).collect();
        assert_eq!(algorithms.len(), checksums.len(), "an algorithm twice: {checksums:?}");
    }
    if let Some(location) = head.header("location") {
        redirected(location);
    }
    handed_on(head);
}

fn redirected(location: &str) {
    let from = RemoteUrl::parse(FROM).expect("a URL");
    let to = match from.join(location) {
        Ok(to) => to,
        Err(error) => {
            let text = error.to_string();
            // What stands before a query is no secret.
            let is_told = location.split('?').next().is_some_and(|before| before.contains("secret"));
            return assert!((is_told || !text.contains("secret")) && !text.contains('\n'), "{text}");
        }
    };
    let (origin, target) = (to.origin(), to.target());
    assert!(origin.port > 0 && !origin.host.is_empty());
    assert!(target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic()), "{target}");
    assert!(to.authority().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'@'));
    let shown = format!("{to} {to:?}");
    assert!(!shown.contains('?'), "the query is shown: {shown}");
    // What goes over the wire leads to the same place.
    let scheme = if origin.secure { "https" } else { "http" };
    let again =
        RemoteUrl::parse(&format!("{scheme}://{}{target}", to.authority())).expect("it was a URL before");
    assert_eq!((again.origin(), again.target(), again.authority()), (origin, target, to.authority()));
    assert_eq!(again.address(), to.address());
}

/// As if a user had asked for the same fields to be sent.
fn handed_on(head: &AnswerHead) {
    const NAMES: [&str; 6] = ["Authorization", "X-Token", "Cookie", "Range", "Transfer-Encoding", "X-Other"];
    let fields: Vec<(String, String)> = NAMES
        .iter()
        .flat_map(|name| head.headers(name).map(|value| ((*name).to_owned(), value.to_owned())))
        .collect();
    let Ok(headers) = Headers::new(fields) else { return };
    for (name, value) in headers.fields(false) {
        assert!(!value.contains(['\r', '\n', '\0']));
        assert!(!["Range", "Transfer-Encoding"].contains(&name), "{name} is ours");
    }
    for (name, _) in headers.fields(true) {
        assert_eq!(name, "X-Other", "a credential went to another origin");
    }
    let had = headers.get("authorization").map(str::to_owned);
    let bearer = headers.with_bearer("t").expect("a token of one letter");
    assert_eq!(bearer.get("Authorization"), Some(had.as_deref().unwrap_or("Bearer t")));
}
