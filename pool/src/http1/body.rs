//! How long a request's body is, and whether the client waits before it sends it.

use super::bad_request::shown;
use super::{BadRequest, Request, Version, elements};

/// The framing of a request's body (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// Neither length nor coding: no body.
    None,
    /// So many bytes.
    Length(u64),
    /// Until the last chunk.
    Chunked,
}

impl BodyLength {
    /// From a head's framing headers. Whatever two readers could understand differently is refused: that is how
    /// requests are smuggled past a proxy (RFC 9112 §11.2).
    pub(super) fn of<'a>(
        version: Version,
        fields: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Result<Self, BadRequest> {
        let values = |name: &'static str| {
            fields.clone().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let mut codings = values("transfer-encoding");
        let mut lengths = values("content-length");
        match (codings.next(), lengths.next()) {
            (None, None) => Ok(Self::None),
            // RFC 9112 §6.3, item 3: ought to be handled as an error.
            (Some(_), Some(_)) => Err(BadRequest::malformed(
                "both Transfer-Encoding and Content-Length: the body's end is ambiguous",
            )),
            // RFC 9112 §6.1: HTTP/1.0 has no codings; such a message is faulty.
            (Some(_), None) if version == Version::Http10 => {
                Err(BadRequest::malformed("Transfer-Encoding in an HTTP/1.0 request"))
            }
            (Some(_), None) if codings.next().is_some() => {
                Err(BadRequest::malformed("several Transfer-Encoding headers"))
            }
            (Some(coding), None) => transfer_coding(coding),
            (None, Some(_)) if lengths.next().is_some() => {
                Err(BadRequest::malformed("several Content-Length headers"))
            }
            (None, Some(length)) => content_length(length).map(Self::Length),
        }
    }

    /// Is there nothing to receive? A chunked body may still turn out to be empty.
    pub fn is_empty(self) -> bool {
        match self {
            Self::None | Self::Length(0) => true,
            Self::Length(_) | Self::Chunked => false,
        }
    }
}

fn transfer_coding(value: &str) -> Result<BodyLength, BadRequest> {
    let is_chunked = |coding: &str| coding.eq_ignore_ascii_case("chunked");
    if is_chunked(value) {
        return Ok(BodyLength::Chunked);
    }
    let codings: Vec<&str> = elements(value).collect();
    let Some((last, before)) = codings.split_last() else {
        return Err(BadRequest::malformed("an empty Transfer-Encoding header"));
    };
    // RFC 9112 §7.1: chunked is applied once, and last.
    if before.iter().any(|coding| is_chunked(coding)) {
        return Err(BadRequest::malformed("Transfer-Encoding with 'chunked' twice or not last"));
    }
    // RFC 9112 §6.1: 501 for a coding that is not understood.
    let unknown = before.first().unwrap_or(last);
    let text =
        format!("the transfer coding '{}' is not supported; only 'chunked' is", shown(unknown.as_bytes()));
    Err(BadRequest::new(501, text))
}

fn content_length(value: &str) -> Result<u64, BadRequest> {
    // RFC 9110 §8.6: 1*DIGIT. parse() alone would take a plus sign. A list of equal values may be accepted by the
    // standard; nobody who means well sends one.
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadRequest::malformed("Content-Length is not one decimal number"));
    }
    // Offsets in files are signed 64-bit numbers.
    match value.parse::<u64>() {
        Ok(length) if length <= i64::MAX as u64 => Ok(length),
        _ => Err(BadRequest::malformed("Content-Length is larger than any file can be (2^63 - 1)")),
    }
}

/// What the client waits for before it sends the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing: it sends at once.
    None,
    /// "100 Continue", or the final answer.
    Continue,
}

/// Reads `Expect` (RFC 9110 §10.1.1). In HTTP/1.0 and where there is no body it means nothing: the final answer is
/// what such a client waits for. Anything but `100-continue` is 417.
pub fn expectation(request: &Request) -> Result<Expectation, BadRequest> {
    let mut expectation = Expectation::None;
    for element in request.list("expect") {
        if !element.eq_ignore_ascii_case("100-continue") {
            let text = format!(
                "the expectation '{}' is not known; only '100-continue' is",
                shown(element.as_bytes())
            );
            return Err(BadRequest::new(417, text));
        }
        if request.version() >= Version::Http11 && !request.body_length().is_empty() {
            expectation = Expectation::Continue;
        }
    }
    Ok(expectation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::tests::request;

    fn framing(version: Version, headers: &[(&str, &str)]) -> Result<BodyLength, u16> {
        BodyLength::of(version, headers.iter().copied()).map_err(|refused| refused.status)
    }

    #[test]
    fn one_unambiguous_length_is_accepted() {
        let cases: [(&[(&str, &str)], BodyLength); 7] = [
            (&[], BodyLength::None),
            (&[("Content-Length", "0")], BodyLength::Length(0)),
            (&[("content-length", "42")], BodyLength::Length(42)),
            (&[("CONTENT-LENGTH", "0042")], BodyLength::Length(42)),
            (&[("Content-Length", "9223372036854775807")], BodyLength::Length(i64::MAX as u64)),
            (&[("Transfer-Encoding", "chunked")], BodyLength::Chunked),
            (&[("transfer-encoding", "Chunked"), ("X", "y")], BodyLength::Chunked),
        ];
        for (headers, expected) in cases {
            assert_eq!(framing(Version::Http11, headers), Ok(expected), "{headers:?}");
        }
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_refused() {
        let cases: [(u16, &[(&str, &str)]); 21] = [
            (400, &[("Content-Length", "5"), ("Transfer-Encoding", "chunked")]),
            (400, &[("Transfer-Encoding", "chunked"), ("content-length", "0")]),
            (400, &[("Content-Length", "5"), ("Content-Length", "5")]),
            (400, &[("Content-Length", "5"), ("Content-Length", "6")]),
            (400, &[("Content-Length", "5, 5")]),
            (400, &[("Content-Length", "")]),
            (400, &[("Content-Length", "+5")]),
            (400, &[("Content-Length", "-5")]),
            (400, &[("Content-Length", "0x5")]),
            (400, &[("Content-Length", "5 5")]),
            (400, &[("Content-Length", "٥")]),
            (400, &[("Content-Length", "9223372036854775808")]),
            (400, &[("Content-Length", "99999999999999999999999")]),
            (400, &[("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")]),
            (400, &[("Transfer-Encoding", "chunked, chunked")]),
            (400, &[("Transfer-Encoding", "chunked, gzip")]),
            (400, &[("Transfer-Encoding", "")]),
            (501, &[("Transfer-Encoding", "gzip, chunked")]),
            (501, &[("Transfer-Encoding", "xchunked")]),
            (501, &[("Transfer-Encoding", "identity")]),
            (501, &[("Transfer-Encoding", "\"chunked\"")]),
        ];
        for (status, headers) in cases {
            assert_eq!(framing(Version::Http11, headers), Err(status), "{headers:?}");
        }
        assert_eq!(framing(Version::Http10, &[("Transfer-Encoding", "chunked")]), Err(400));
    }

    #[test]
    fn an_expectation_counts_only_where_a_body_is_to_come() {
        let cases = [
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n", Ok(Expectation::None)),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n",
                Ok(Expectation::Continue),
            ),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n",
                Ok(Expectation::Continue),
            ),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n",
                Ok(Expectation::None),
            ),
            ("PUT / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n", Ok(Expectation::None)),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 200-ok\r\n", Err(417)),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue, x\r\n", Err(417)),
        ];
        for (head, expected) in cases {
            assert_eq!(expectation(&request(head)).map_err(|refused| refused.status), expected, "{head}");
        }
    }
}
