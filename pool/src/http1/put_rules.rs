//! What the headers of a PUT must and must not say.

use super::bad_request::shown;
use super::{BadRequest, BodyLength, Request};

/// How much is to be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutLength {
    /// So many bytes.
    Known(u64),
    /// Until the last chunk.
    Chunked,
}

/// Checks the headers that would make the body something else than the whole file as it is. `Content-Type` and all
/// others are accepted.
pub fn check_put(request: &Request) -> Result<PutLength, BadRequest> {
    // RFC 9110 §14.5: a server that does not do partial PUT answers 400, lest a part replaces the whole.
    if request.header("content-range").is_some() {
        return Err(BadRequest::malformed("Content-Range in a PUT; only whole files can be uploaded"));
    }
    // RFC 9110 §8.4, §15.5.16.
    if let Some(coding) =
        request.list("content-encoding").find(|coding| !coding.eq_ignore_ascii_case("identity"))
    {
        let text = format!(
            "the content coding '{}' is not supported; upload the file as it is",
            shown(coding.as_bytes())
        );
        return Err(BadRequest::new(415, text));
    }
    match request.body_length() {
        BodyLength::Length(length) => Ok(PutLength::Known(length)),
        BodyLength::Chunked => Ok(PutLength::Chunked),
        // A client that forgot the length must not get an empty file for its data.
        BodyLength::None => Err(BadRequest::new(
            411,
            "a PUT needs Content-Length (0 for an empty file) or Transfer-Encoding: chunked",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::head::tests::request;

    #[test]
    fn a_put_is_a_whole_file_of_a_length_that_shows() {
        let cases = [
            ("Content-Length: 0\r\n", Ok(PutLength::Known(0))),
            ("Content-Length: 7\r\nContent-Type: text/plain\r\n", Ok(PutLength::Known(7))),
            ("Transfer-Encoding: chunked\r\nContent-Encoding: Identity\r\n", Ok(PutLength::Chunked)),
            ("Content-Length: 7\r\nContent-Encoding:\r\nContent-Language: de\r\n", Ok(PutLength::Known(7))),
            ("", Err(411)),
            ("Content-Length: 7\r\nContent-Range: bytes 0-6/7\r\n", Err(400)),
            ("Content-Length: 7\r\nContent-Encoding: gzip\r\n", Err(415)),
            ("Content-Length: 7\r\nContent-Encoding: identity, gzip\r\n", Err(415)),
        ];
        for (lines, expected) in cases {
            let request = request(&format!("PUT /x HTTP/1.1\r\nHost: a\r\n{lines}"));
            assert_eq!(check_put(&request).map_err(|refused| refused.status), expected, "{lines}");
        }
    }
}
