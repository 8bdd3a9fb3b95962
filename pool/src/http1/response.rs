//! Heads of answers, and the small answers that are one line of text.
//!
//! Everything is appended to a buffer of the caller; nothing else is allocated. Whatever text comes in, one line goes
//! out as one line: no answer can be split by what a client or a door put into a name.

use std::fmt::Display;
use std::io::Write;

use super::{HttpDate, Version};

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A longer reason is cut.
const MAX_REASON_BYTES: usize = 512;

/// A head that is being written. Ends with [`finish`](Self::finish).
#[derive(Debug)]
#[must_use = "a head without finish() has no end"]
pub struct ResponseHead<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> ResponseHead<'a> {
    /// Status line with the status' usual reason, `Date` and `Server`.
    pub fn new(out: &'a mut Vec<u8>, status: u16, date: &HttpDate) -> Self {
        Self::with_reason(out, status, standard_reason(status), date)
    }

    /// The same with a reason of one's own: control characters become spaces, and 512 bytes are enough.
    pub fn with_reason(out: &'a mut Vec<u8>, status: u16, reason: &str, date: &HttpDate) -> Self {
        let mut end = reason.len().min(MAX_REASON_BYTES);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        // Writing to a Vec cannot fail, here and below.
        let _ = write!(out, "HTTP/1.1 {status:03} ");
        write_value(out, &reason[..end]);
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(date.as_bytes());
        out.extend_from_slice(concat!("\r\nServer: Penstock/", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes());
        Self { out }
    }

    /// A header. Control characters in the value become spaces; the name is the program's own.
    pub fn header(self, name: &'static str, value: impl Display) -> Self {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        let start = self.out.len();
        let _ = write!(self.out, "{value}");
        make_one_line(&mut self.out[start..]);
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// A header, if there is a value.
    pub fn optional_header(self, name: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// What becomes of the connection. Only what is not understood by itself is said (RFC 9112 §9.3).
    pub fn connection(self, keep_alive: bool, client: Version) -> Self {
        match (keep_alive, client) {
            (false, _) => self.header("Connection", "close"),
            (true, Version::Http10) => self.header("Connection", "keep-alive"),
            (true, Version::Http11) => self,
        }
    }

    /// The empty line.
    pub fn finish(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// A small answer whose reason and body are one line of text: an error, or the confirmation of a PUT.
///
/// The line is the reason too, because that is what clients of grid storage show and log.
#[derive(Debug, Clone, Copy)]
pub struct TextAnswer<'a> {
    /// The status.
    pub status: u16,
    /// The line, without its end.
    pub line: &'a str,
    /// May another request follow?
    pub keep_alive: bool,
    /// The client's version; [`Version::Http11`] where it is not known.
    pub client: Version,
    /// The answer to a HEAD: everything but the body.
    pub head_only: bool,
    /// Further headers, such as `Content-Range` with 416, `Allow` with 405 or `Retry-After` with 503.
    pub headers: &'a [(&'static str, &'a str)],
}

impl TextAnswer<'_> {
    /// Appends head and body.
    pub fn write(&self, out: &mut Vec<u8>, date: &HttpDate) {
        let mut head = ResponseHead::with_reason(out, self.status, self.line, date);
        for (name, value) in self.headers {
            head = head.header(name, value);
        }
        head.header("Content-Type", "text/plain; charset=utf-8")
            .header("Content-Length", self.line.len() + 1)
            .connection(self.keep_alive, self.client)
            .finish();
        if !self.head_only {
            write_value(out, self.line);
            out.push(b'\n');
        }
    }
}

/// Appends a text as one line: control characters become spaces, so its length stays.
pub(super) fn write_value(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    make_one_line(&mut out[start..]);
}

fn make_one_line(bytes: &mut [u8]) {
    for byte in bytes.iter_mut().filter(|byte| byte.is_ascii_control()) {
        *byte = b' ';
    }
}

/// The usual reason of a status that the data port may give; empty for others, which the standard allows.
pub fn standard_reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        499 => "Client Closed Request",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = concat!("Server: Penstock/", env!("CARGO_PKG_VERSION"));
    const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT";

    fn date() -> HttpDate {
        HttpDate::new(784_111_777)
    }

    #[test]
    fn a_head_is_status_line_date_server_and_headers() {
        let mut out = b"before".to_vec();
        ResponseHead::new(&mut out, 206, &date())
            .header("Content-Length", 500u64)
            .header("Content-Range", "bytes 0-499/1000")
            .optional_header("Digest", None::<&str>)
            .optional_header("ETag", Some("\"x\""))
            .connection(true, Version::Http11)
            .finish();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "beforeHTTP/1.1 206 Partial Content\r\n{DATE}\r\n{SERVER}\r\nContent-Length: 500\r\n\
                 Content-Range: bytes 0-499/1000\r\nETag: \"x\"\r\n\r\n"
            )
        );
    }

    #[test]
    fn the_connection_header_says_what_is_not_understood_by_itself() {
        let cases = [
            (true, Version::Http11, None),
            (true, Version::Http10, Some("Connection: keep-alive\r\n")),
            (false, Version::Http11, Some("Connection: close\r\n")),
            (false, Version::Http10, Some("Connection: close\r\n")),
        ];
        for (keep_alive, client, expected) in cases {
            let mut out = Vec::new();
            ResponseHead::new(&mut out, 200, &date()).connection(keep_alive, client).finish();
            let text = String::from_utf8(out).unwrap();
            assert_eq!(text.find("Connection").map(|at| &text[at..text.len() - 2]), expected);
        }
    }

    #[test]
    fn an_answer_is_one_line_as_reason_and_body() {
        let answer = TextAnswer {
            status: 416,
            line: "no byte of the range is in the file",
            keep_alive: false,
            client: Version::Http11,
            head_only: false,
            headers: &[("Content-Range", "bytes */7")],
        };
        let head = format!(
            "HTTP/1.1 416 no byte of the range is in the file\r\n{DATE}\r\n{SERVER}\r\nContent-Range: bytes */7\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Length: 36\r\nConnection: close\r\n\r\n"
        );
        let mut out = Vec::new();
        answer.write(&mut out, &date());
        assert_eq!(String::from_utf8(out).unwrap(), format!("{head}no byte of the range is in the file\n"));
        let mut out = Vec::new();
        TextAnswer { head_only: true, ..answer }.write(&mut out, &date());
        assert_eq!(String::from_utf8(out).unwrap(), head);
    }

    #[test]
    fn no_text_can_split_an_answer() {
        let mut out = Vec::new();
        let line = "no '/a\r\nSet-Cookie: x\r\n\r\n\0\x7f\tü'";
        let answer = TextAnswer {
            status: 404,
            line,
            keep_alive: true,
            client: Version::Http11,
            head_only: false,
            headers: &[("Location", "http://a\r\nX: y")],
        };
        answer.write(&mut out, &date());
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(head.lines().next(), Some("HTTP/1.1 404 no '/a  Set-Cookie: x       ü'"));
        assert!(head.lines().any(|l| l == "Location: http://a  X: y") && head.lines().count() == 6, "{head}");
        assert_eq!(body, "no '/a  Set-Cookie: x       ü'\n");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        let reason = "ü".repeat(400);
        ResponseHead::with_reason(&mut out, 500, &format!("x{reason}"), &date()).finish();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().next().unwrap(), format!("HTTP/1.1 500 x{}", "ü".repeat(255)));
    }
}
