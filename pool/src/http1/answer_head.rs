//! The head of a remote server's answer, parsed out of the receive buffer, and the questions one asks of it.
//!
//! The counterpart of [`super::head`] for the pool as a client. What a server sends is as little to be trusted as what
//! a client sends: sizes are bounded, and an answer whose end is not certain is refused.

use std::fmt;
use std::mem::MaybeUninit;

use super::{Version, elements};

/// A longer head is refused.
pub const MAX_ANSWER_HEAD_BYTES: usize = 32 << 10;
/// More header fields are refused.
pub const MAX_ANSWER_HEADERS: usize = 128;
/// What is shown of a reason phrase.
const MAX_REASON_CHARS: usize = 80;

/// Why an answer cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The head is too long.
    #[error("its head is longer than {MAX_ANSWER_HEAD_BYTES} bytes")]
    TooLong,
    /// Too many fields.
    #[error("its head has more than {MAX_ANSWER_HEADERS} header fields")]
    TooManyHeaders,
    /// Not HTTP.
    #[error("it does not begin with an HTTP/1.1 status line")]
    NotHttp,
    /// A header line that is none.
    #[error("a line of its head is not 'Name: value'")]
    Header,
    /// The end of the body cannot be known.
    #[error("{0}")]
    Framing(&'static str),
}

/// What the buffer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedAnswer {
    /// The beginning of a head: receive more behind it and parse again.
    Partial,
    /// A whole head.
    Complete {
        /// The head, which needs the buffer no longer.
        head: Box<AnswerHead>,
        /// Bytes of the buffer that belong to it.
        consumed: usize,
    },
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerBody {
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection (RFC 9112 §6.3, item 8).
    UntilClose,
}

/// The head of an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct AnswerHead {
    status: u16,
    reason: String,
    version: Version,
    fields: Vec<(String, String)>,
}

/// An entity tag (RFC 9110 §8.8.3), quotes included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTag {
    /// `W/` stood before it: good for nothing that counts bytes.
    pub weak: bool,
    /// With its quotes.
    pub tag: String,
}

/// A `Content-Range` of bytes (RFC 9110 §14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte.
    pub first: u64,
    /// Behind the last byte.
    pub end: u64,
    /// Of the whole; `None` for `*`.
    pub total: Option<u64>,
}

/// Parses the head at the start of `buf`.
pub fn parse_answer(buf: &[u8]) -> Result<ParsedAnswer, AnswerError> {
    let mut storage = [const { MaybeUninit::uninit() }; MAX_ANSWER_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    // A whole head of the limit's size is good; a beginning of that size is not.
    let head = &buf[..buf.len().min(MAX_ANSWER_HEAD_BYTES)];
    let status =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, head, &mut storage);
    match status {
        Ok(httparse::Status::Complete(consumed)) => {
            Ok(ParsedAnswer::Complete { head: Box::new(AnswerHead::new(&parsed)?), consumed })
        }
        Ok(httparse::Status::Partial) if buf.len() >= MAX_ANSWER_HEAD_BYTES => Err(AnswerError::TooLong),
        Ok(httparse::Status::Partial) => Ok(ParsedAnswer::Partial),
        Err(httparse::Error::TooManyHeaders) => Err(AnswerError::TooManyHeaders),
        Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => Err(AnswerError::Header),
        Err(
            httparse::Error::Version
            | httparse::Error::Status
            | httparse::Error::Token
            | httparse::Error::NewLine,
        ) => Err(AnswerError::NotHttp),
    }
}

impl AnswerHead {
    fn new(parsed: &httparse::Response<'_, '_>) -> Result<Self, AnswerError> {
        let (Some(status @ 100..=599), Some(version)) = (parsed.code, parsed.version) else {
            return Err(AnswerError::NotHttp);
        };
        let reason = parsed.reason.unwrap_or_default();
        let text = |value: &[u8]| super::list::trim(&String::from_utf8_lossy(value)).to_owned();
        Ok(Self {
            status,
            reason: reason.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect(),
            version: if version == 0 { Version::Http10 } else { Version::Http11 },
            fields: parsed.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect(),
        })
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// `404 Not Found`, as the server put it, or in the standard's words where it said none.
    pub fn status_line(&self) -> String {
        let reason = match self.reason.trim() {
            "" => super::standard_reason(self.status),
            reason => reason,
        };
        format!("{} {reason}", self.status).trim_end().to_owned()
    }

    /// The first value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// All values of a header.
    pub fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The elements of a list-valued header.
    pub fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers(name).flat_map(elements)
    }

    /// Another request may follow on the connection once the body is read.
    pub fn keep_alive(&self) -> bool {
        let says = |token: &str| self.list("connection").any(|t| t.eq_ignore_ascii_case(token));
        match self.version {
            Version::Http11 => !says("close"),
            Version::Http10 => says("keep-alive") && !says("close"),
        }
    }

    /// `Content-Length`, of an answer to HEAD too. `None` when there is none.
    pub fn content_length(&self) -> Result<Option<u64>, AnswerError> {
        let mut length = None;
        for value in self.headers("content-length").flat_map(|value| value.split(',')) {
            let value = super::list::trim(value);
            // RFC 9110 §8.6: 1*DIGIT; parse() alone would take a plus sign.
            let number =
                value.bytes().all(|b| b.is_ascii_digit()).then(|| value.parse::<u64>().ok()).flatten();
            let number = number
                .filter(|number| *number <= i64::MAX as u64)
                .ok_or(AnswerError::Framing("its Content-Length is not a number of bytes"))?;
            // RFC 9112 §6.3, item 5: repeated equal values may be taken as one.
            if length.is_some_and(|length| length != number) {
                return Err(AnswerError::Framing("it has two different Content-Lengths"));
            }
            length = Some(number);
        }
        Ok(length)
    }

    /// How its body ends. `to_head`: it answers a HEAD, so there is none.
    pub fn body(&self, to_head: bool) -> Result<AnswerBody, AnswerError> {
        // RFC 9112 §6.3, item 1.
        if to_head || self.status < 200 || matches!(self.status, 204 | 304) {
            return Ok(AnswerBody::Length(0));
        }
        let codings: Vec<&str> = self.list("transfer-encoding").collect();
        let length = self.content_length()?;
        match (codings.as_slice(), length) {
            ([], Some(length)) => Ok(AnswerBody::Length(length)),
            ([], None) if self.headers("transfer-encoding").next().is_some() => {
                Err(AnswerError::Framing("it has an empty Transfer-Encoding"))
            }
            ([], None) => Ok(AnswerBody::UntilClose),
            (_, Some(_)) => Err(AnswerError::Framing("it has both Transfer-Encoding and Content-Length")),
            // RFC 9112 §6.1: not in HTTP/1.0.
            ([only], None) if only.eq_ignore_ascii_case("chunked") && self.version == Version::Http11 => {
                Ok(AnswerBody::Chunked)
            }
            _ => Err(AnswerError::Framing("its Transfer-Encoding is not 'chunked'")),
        }
    }

    /// The content coding, if it is any but identity. A pool stores what others will read as it is.
    pub fn foreign_coding(&self) -> Option<&str> {
        self.list("content-encoding").find(|coding| !coding.eq_ignore_ascii_case("identity"))
    }

    /// `ETag`, if it is one.
    pub fn entity_tag(&self) -> Option<EntityTag> {
        let value = self.header("etag")?;
        let (weak, tag) = match value.strip_prefix("W/") {
            Some(tag) => (true, tag),
            None => (false, value),
        };
        // RFC 9110 §8.8.3: DQUOTE *etagc DQUOTE.
        let inner = tag.strip_prefix('"')?.strip_suffix('"')?;
        let plain = |b: u8| b == 0x21 || (0x23..=0x7e).contains(&b);
        (inner.bytes().all(plain) && inner.len() <= 512).then(|| EntityTag { weak, tag: tag.to_owned() })
    }

    /// Ranges are offered (`Accept-Ranges: bytes`).
    pub fn accepts_ranges(&self) -> bool {
        self.list("accept-ranges").any(|unit| unit.eq_ignore_ascii_case("bytes"))
    }

    /// `Content-Range`, if it is one of bytes that makes sense.
    pub fn content_range(&self) -> Option<ContentRange> {
        let (unit, range) = self.header("content-range")?.split_once(' ')?;
        let (range, total) = range.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let number =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
        let (first, last) = (number(first)?, number(last)?);
        let total = if total == "*" { None } else { Some(number(total)?) };
        let makes_sense = first <= last && last < i64::MAX as u64 && total.is_none_or(|total| last < total);
        (unit.eq_ignore_ascii_case("bytes") && makes_sense).then_some(ContentRange {
            first,
            end: last + 1,
            total,
        })
    }
}

/// For logs: status and the headers' names. No values, which may be credentials or capabilities.
impl fmt::Debug for AnswerHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerHead")
            .field("status", &self.status)
            .field("headers", &self.fields.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The answer of a head given without its empty line.
    pub(in crate::http1) fn answer(head: &str) -> AnswerHead {
        match parse_answer(format!("{head}\r\n").as_bytes()) {
            Ok(ParsedAnswer::Complete { head, .. }) => *head,
            other => panic!("{head}: {other:?}"),
        }
    }

    #[test]
    fn a_head_gives_what_it_says_and_nothing_of_what_follows() {
        let buf = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nETag: \"a\"\r\nx-empty:\r\n\
                    Content-Range: bytes 5-9/10\r\nAccept-Ranges: bytes\r\n\r\nhello";
        let Ok(ParsedAnswer::Complete { head, consumed }) = parse_answer(buf) else { panic!() };
        assert_eq!(&buf[consumed..], b"hello");
        assert_eq!((head.status(), head.status_line().as_str()), (206, "206 Partial Content"));
        assert_eq!(head.body(false), Ok(AnswerBody::Length(5)));
        assert_eq!(head.body(true), Ok(AnswerBody::Length(0)));
        assert_eq!(head.content_range(), Some(ContentRange { first: 5, end: 10, total: Some(10) }));
        assert_eq!(head.entity_tag(), Some(EntityTag { weak: false, tag: "\"a\"".into() }));
        assert!(head.accepts_ranges() && head.keep_alive());
        assert_eq!(head.header("X-Empty"), Some(""));
    }

    #[test]
    fn a_status_without_words_gets_the_standards() {
        assert_eq!(answer("HTTP/1.1 404\r\n").status_line(), "404 Not Found");
        assert_eq!(answer("HTTP/1.1 404 \r\n").status_line(), "404 Not Found");
        assert_eq!(answer("HTTP/1.1 499 Gone fishing\r\n").status_line(), "499 Gone fishing");
        let long = answer(&format!("HTTP/1.1 500 {}\r\n", "x".repeat(1000)));
        assert_eq!(long.status_line().len(), 4 + MAX_REASON_CHARS);
    }

    #[test]
    fn the_bodys_end_is_certain_or_the_answer_refused() {
        let framing = |text| Err(AnswerError::Framing(text));
        let not_a_number = framing("its Content-Length is not a number of bytes");
        let cases: [(&str, Result<AnswerBody, AnswerError>); 14] = [
            ("", Ok(AnswerBody::UntilClose)),
            ("Content-Length: 0\r\n", Ok(AnswerBody::Length(0))),
            ("Content-Length: 7, 7\r\n", Ok(AnswerBody::Length(7))),
            ("Content-Length: 7\r\nContent-Length: 7\r\n", Ok(AnswerBody::Length(7))),
            ("Content-Length: 7\r\nContent-Length: 8\r\n", framing("it has two different Content-Lengths")),
            ("Content-Length: -7\r\n", not_a_number.clone()),
            ("Content-Length: +7\r\n", not_a_number.clone()),
            ("Content-Length: 9223372036854775808\r\n", not_a_number.clone()),
            ("Content-Length:\r\n", not_a_number),
            ("Transfer-Encoding: Chunked\r\n", Ok(AnswerBody::Chunked)),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
                framing("it has both Transfer-Encoding and Content-Length"),
            ),
            ("Transfer-Encoding: gzip, chunked\r\n", framing("its Transfer-Encoding is not 'chunked'")),
            ("Transfer-Encoding: gzip\r\n", framing("its Transfer-Encoding is not 'chunked'")),
            ("Transfer-Encoding:\r\n", framing("it has an empty Transfer-Encoding")),
        ];
        for (headers, expected) in cases {
            assert_eq!(answer(&format!("HTTP/1.1 200 OK\r\n{headers}")).body(false), expected, "{headers}");
        }
        let old = answer("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n");
        assert_eq!(old.body(false), framing("its Transfer-Encoding is not 'chunked'"));
        for status in [100, 204, 304] {
            let head = answer(&format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n"));
            assert_eq!(head.body(false), Ok(AnswerBody::Length(0)), "{status}");
        }
    }

    #[test]
    fn what_is_no_answer_says_why() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_ANSWER_HEADERS + 1));
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(MAX_ANSWER_HEAD_BYTES));
        let cases: [(&str, AnswerError); 7] = [
            ("<html>", AnswerError::NotHttp),
            ("HTTP/2 200\r\n\r\n", AnswerError::NotHttp),
            ("HTTP/1.1 999 x\r\n\r\n", AnswerError::NotHttp),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", AnswerError::Header),
            ("HTTP/1.1 200 OK\r\na: \u{1}\r\n\r\n", AnswerError::Header),
            (&many, AnswerError::TooManyHeaders),
            (&long, AnswerError::TooLong),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_answer(text.as_bytes()), Err(expected), "{}", &text[..text.len().min(60)]);
        }
    }

    #[test]
    fn a_content_range_that_makes_no_sense_is_none() {
        let range =
            |value: &str| answer(&format!("HTTP/1.1 206 x\r\nContent-Range: {value}\r\n")).content_range();
        assert_eq!(range("bytes 0-0/*"), Some(ContentRange { first: 0, end: 1, total: None }));
        for wrong in
            ["bytes 5-4/10", "bytes 0-10/10", "bytes */10", "bytes -1-2/3", "lines 0-1/2", "bytes 0-1"]
        {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn entity_tags_are_strong_weak_or_none() {
        let tag = |value: &str| answer(&format!("HTTP/1.1 200 x\r\nETag: {value}\r\n")).entity_tag();
        assert_eq!(tag("W/\"x\""), Some(EntityTag { weak: true, tag: "\"x\"".into() }));
        for wrong in ["x", "\"", "\"a b\"", "\"a\"b\"", ""] {
            assert_eq!(tag(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn values_do_not_show_in_logs() {
        let head = answer("HTTP/1.1 307 x\r\nLocation: http://a/?authz=secret\r\n");
        assert!(!format!("{head:?}").contains("secret"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            start in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 206 x\r\nContent-Range: "]),
        ) {
            if let Ok(ParsedAnswer::Complete { head, .. }) = parse_answer(&[start.as_bytes(), &bytes].concat()) {
                let _ = (head.body(false), head.content_range(), head.entity_tag(), head.status_line());
            }
        }
    }
}
