//! OPTIONS: what this door can do. Needs no token, as clients ask before they show one.

use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};

use super::answer::{Answer, bare};

/// The methods that the door does.
pub const METHODS: &str = "OPTIONS, GET, HEAD, PUT, COPY, DELETE, MKCOL, PROPFIND";

/// Answers it, for any path and for `*`.
pub fn handle() -> Answer {
    let mut answer = bare(StatusCode::OK);
    let headers = answer.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
    // RFC 4918 §10.1: class 1, which is WebDAV without locks.
    headers.insert(HeaderName::from_static("dav"), HeaderValue::from_static("1"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    answer
}
