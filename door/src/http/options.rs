//! OPTIONS: what this door can do. Needs no token, as clients ask before they show one.

use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};

use super::answer::{Answer, bare};

/// The methods that the door does.
pub const METHODS: &str =
    "OPTIONS, GET, HEAD, PUT, DELETE, POST, COPY, MOVE, MKCOL, PROPFIND, PROPPATCH, LOCK, UNLOCK";

/// Answers it, for any path and for `*`.
pub fn handle() -> Answer {
    let mut answer = bare(StatusCode::OK);
    let headers = answer.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
    // RFC 4918 §10.1: class 2 is class 1 with locks.
    headers.insert(HeaderName::from_static("dav"), HeaderValue::from_static("1, 2"));
    // Without it Windows takes the server for one that it writes to in another way.
    headers.insert(HeaderName::from_static("ms-author-via"), HeaderValue::from_static("DAV"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    answer
}
