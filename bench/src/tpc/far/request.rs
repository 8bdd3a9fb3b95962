//! The head of a request to the server: what of it matters here.

use std::ops::Range;

/// The longest head.
pub const MOST_HEAD_BYTES: usize = 16 << 10;
/// Fields of a head.
const MOST_FIELDS: usize = 64;

/// A method that the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// What there is.
    Head,
    /// Its bytes.
    Get,
    /// New bytes.
    Put,
    /// Forget it.
    Delete,
}

/// A head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method; `None`: another one.
    pub method: Option<Method>,
    /// Path and query.
    pub target: String,
    /// Content-Length.
    pub length: Option<u64>,
    /// First and last byte, of a Range.
    pub range: Option<(u64, u64)>,
    /// If-Range.
    pub if_range: Option<String>,
    /// The client waits for leave to send.
    pub expects: bool,
    /// Bytes of the head.
    pub head_bytes: usize,
}

/// What came is no head, or has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl Request {
    /// Reads a head; `None` when it is not complete yet.
    pub fn parse(bytes: &[u8]) -> Result<Option<Request>, Malformed> {
        let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        let head_bytes = match request.parse(bytes) {
            Err(_) => return Err(Malformed),
            Ok(httparse::Status::Partial) if bytes.len() >= MOST_HEAD_BYTES => return Err(Malformed),
            Ok(httparse::Status::Partial) => return Ok(None),
            Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        };
        let field = |name: &str| {
            let found = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            found.and_then(|field| std::str::from_utf8(field.value).ok()).map(str::trim)
        };
        let length = match field("content-length") {
            Some(text) => Some(text.parse().map_err(|_| Malformed)?),
            None => None,
        };
        Ok(Some(Request {
            method: match request.method {
                Some("HEAD") => Some(Method::Head),
                Some("GET") => Some(Method::Get),
                Some("PUT") => Some(Method::Put),
                Some("DELETE") => Some(Method::Delete),
                _ => None,
            },
            target: request.path.unwrap_or("").to_owned(),
            length,
            range: field("range").and_then(one_range),
            if_range: field("if-range").map(str::to_owned),
            expects: field("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")),
            head_bytes,
        }))
    }

    /// Which bytes of a file of that size and tag are wanted; `None`: all.
    pub fn part(&self, size: u64, tag: &str) -> Option<Range<u64>> {
        // RFC 9110 §13.1.5: of another version, the whole.
        if self.if_range.as_deref().is_some_and(|given| given != tag) {
            return None;
        }
        let (first, last) = self.range?;
        let end = last.saturating_add(1).min(size);
        (first < end).then_some(first..end)
    }
}

/// `bytes=1-2`: the one form that the pool uses. Others are answered with the whole (RFC 9110 §14.2).
fn one_range(value: &str) -> Option<(u64, u64)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Request {
        Request::parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn what_matters_is_read() {
        let request =
            parse("PUT /a?b HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\ncontent-length:  7\r\n\r\nbody");
        assert_eq!((request.method, request.target.as_str()), (Some(Method::Put), "/a?b"));
        assert_eq!((request.length, request.expects, request.range), (Some(7), true, None));
        assert_eq!(
            request.head_bytes,
            "PUT /a?b HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\ncontent-length:  7\r\n\r\n".len()
        );
        assert_eq!(parse("PATCH / HTTP/1.1\r\n\r\n").method, None);
    }

    #[test]
    fn parts_are_cut_at_the_end_and_are_of_one_version() {
        let part = |fields: &str| parse(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).part(100, "\"t\"");
        for (fields, expected) in [
            ("", None),
            ("Range: bytes=0-0\r\n", Some(0..1)),
            ("Range: bytes=90-1000\r\n", Some(90..100)),
            ("Range: bytes=5-\r\n", None),
            ("Range: bytes=9-5\r\n", None),
            ("Range: bytes=100-200\r\n", None),
            ("Range: bytes=1-18446744073709551615\r\n", Some(1..100)),
            ("Range: bytes=1-2\r\nIf-Range: \"t\"\r\n", Some(1..3)),
            ("Range: bytes=1-2\r\nIf-Range: \"u\"\r\n", None),
        ] {
            assert_eq!(part(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_and_half_a_head_waited_for() {
        assert_eq!(Request::parse(b"GET / HTTP/1.1\r\nHost"), Ok(None));
        assert_eq!(Request::parse(b"\x16\x03\x01\x02\x00\x01"), Err(Malformed));
        assert_eq!(Request::parse(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), Err(Malformed));
        let endless = [b"GET / HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; MOST_HEAD_BYTES]].concat();
        assert_eq!(Request::parse(&endless), Err(Malformed));
    }
}
