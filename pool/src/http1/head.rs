//! Parsing a request's head out of the receive buffer.
//!
//! httparse does the syntax. What it tolerates and we must not (bare LF, and errors that only show in the meaning of
//! the headers) is checked around it.

use std::mem::MaybeUninit;

use super::bad_request::shown;
use super::request::{Field, Span};
use super::target::{Target, is_authority};
use super::{BadRequest, BodyLength, Method, Request, Version};

/// What a head may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes from the request line to the empty line. More is 431. At most [`Limits::MAX_HEAD_BYTES`] count.
    pub head_bytes: usize,
    /// Header fields. More is 431. At most [`Limits::MAX_HEADERS`] count.
    pub headers: usize,
}

impl Limits {
    /// Whatever is configured, no head is larger.
    pub const MAX_HEAD_BYTES: usize = 1 << 20;
    /// Whatever is configured, no head has more fields.
    pub const MAX_HEADERS: usize = 256;
    /// A longer target is 414.
    pub const TARGET_BYTES: usize = 8 << 10;
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes: 16 << 10, headers: 64 }
    }
}

/// RFC 9112 §2.2: at least one empty line before the request line is to be ignored, as clients of old send one behind
/// a body.
const LEADING_EMPTY_LINES: usize = 2;

/// What the buffer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a head, nothing wrong so far: receive more behind it and parse again.
    Partial,
    /// A whole head.
    Complete {
        /// The head, which needs the buffer no longer.
        head: Box<Request>,
        /// Bytes of the buffer that belong to it; the body, or the next request, follows.
        consumed: usize,
    },
}

/// Parses the head at the start of `buf`.
pub fn parse(buf: &[u8], limits: &Limits) -> Result<Parsed, BadRequest> {
    let skipped = leading_empty_lines(buf);
    if skipped > 2 * LEADING_EMPTY_LINES {
        return Err(BadRequest::malformed("empty lines before the request line"));
    }
    let head = &buf[skipped..];
    let head_limit = limits.head_bytes.min(Limits::MAX_HEAD_BYTES);
    let end = find_end(head)?;
    check_target_length(head)?;
    // A buffer of the limit's size that is full and holds no end is refused too, so it need not be larger.
    if end.map_or(buf.len() >= head_limit, |end| skipped + end > head_limit) {
        return Err(BadRequest::new(431, format!("the request's head is longer than {head_limit} bytes")));
    }

    let mut storage = [const { MaybeUninit::uninit() }; Limits::MAX_HEADERS];
    let header_limit = limits.headers.min(Limits::MAX_HEADERS);
    let mut parsed = httparse::Request::new(&mut []);
    let status =
        parsed.parse_with_uninit_headers(&head[..end.unwrap_or(head.len())], &mut storage[..header_limit]);
    match status {
        Err(error) => Err(explain(error, head, header_limit)),
        Ok(httparse::Status::Partial) => Ok(Parsed::Partial),
        Ok(httparse::Status::Complete(consumed)) => {
            let head = Box::new(build(&parsed, consumed)?);
            Ok(Parsed::Complete { head, consumed: skipped + consumed })
        }
    }
}

fn leading_empty_lines(buf: &[u8]) -> usize {
    let mut skipped = 0;
    while buf[skipped..].starts_with(b"\r\n") {
        skipped += 2;
    }
    skipped
}

/// The end of the head, if it is there. Bare CR and bare LF are refused: a proxy in between may take them for a line's
/// end, or not (RFC 9112 §2.2).
fn find_end(head: &[u8]) -> Result<Option<usize>, BadRequest> {
    let mut line_start = 0;
    for (i, byte) in head.iter().enumerate() {
        match byte {
            b'\n' if i == 0 || head[i - 1] != b'\r' => {
                return Err(BadRequest::malformed("a bare LF in the request's head; lines end with CR LF"));
            }
            b'\n' if i == line_start + 1 => return Ok(Some(i + 1)),
            b'\n' => line_start = i + 1,
            b'\r' if head.get(i + 1).is_some_and(|next| *next != b'\n') => {
                return Err(BadRequest::malformed("a bare CR in the request's head; lines end with CR LF"));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn request_line(head: &[u8]) -> &[u8] {
    head.split(|b| *b == b'\r').next().unwrap_or_default()
}

fn check_target_length(head: &[u8]) -> Result<(), BadRequest> {
    let target = request_line(head).split(|b| *b == b' ').nth(1).unwrap_or_default();
    if target.len() > Limits::TARGET_BYTES {
        let text = format!("the request target is longer than {} bytes", Limits::TARGET_BYTES);
        return Err(BadRequest::new(414, text));
    }
    Ok(())
}

fn explain(error: httparse::Error, head: &[u8], header_limit: usize) -> BadRequest {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => BadRequest::new(431, format!("more than {header_limit} header fields")),
        Error::HeaderName => explain_name(head),
        Error::HeaderValue => BadRequest::malformed("a header's value holds a control character"),
        Error::Version => explain_version(head),
        // A TLS handshake record (RFC 8446 §5.1).
        Error::Token if head.starts_with(&[0x16, 0x03]) => {
            BadRequest::malformed("a TLS handshake on a port that speaks HTTP without TLS")
        }
        Error::Token | Error::NewLine | Error::Status => {
            BadRequest::malformed("the request line is not 'METHOD TARGET HTTP/1.1'")
        }
    }
}

/// RFC 9112 §2.3 and RFC 9110 §15.6.6: 505 for a version that is one, 400 for what is none.
fn explain_version(head: &[u8]) -> BadRequest {
    let version = request_line(head).splitn(3, |b| *b == b' ').nth(2).unwrap_or_default();
    match version.strip_prefix(b"HTTP/").and_then(<[u8]>::first) {
        Some(digit) if digit.is_ascii_digit() => {
            BadRequest::new(505, format!("{} is not supported; HTTP/1.1 and HTTP/1.0 are", shown(version)))
        }
        _ => BadRequest::malformed("the request line does not end with HTTP/1.1 or HTTP/1.0"),
    }
}

/// Finds the line whose name is none, to say what is wrong with it.
fn explain_name(head: &[u8]) -> BadRequest {
    for line in head.split(|b| *b == b'\n').skip(1) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // RFC 9112 §5.2.
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return BadRequest::malformed(
                "a header line that starts with white space (obsolete line folding)",
            );
        }
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        // RFC 9112 §5.1.
        if name.ends_with(b" ") || name.ends_with(b"\t") {
            let name = shown(name.trim_ascii_end());
            return BadRequest::malformed(format!(
                "white space between the header name '{name}' and its colon"
            ));
        }
        if !line.is_empty() && (name.is_empty() || !name.iter().all(is_token_byte)) {
            // Without a colon the line may be anything, a secret included.
            return BadRequest::malformed(match line.len() > name.len() {
                true => format!("'{}' is not a header name", shown(name)).into(),
                false => std::borrow::Cow::from("a header line that is not 'Name: value'"),
            });
        }
    }
    BadRequest::malformed("a header line that is not 'Name: value'")
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

fn build(parsed: &httparse::Request<'_, '_>, head_bytes: usize) -> Result<Request, BadRequest> {
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(BadRequest::malformed("the request line is not 'METHOD TARGET HTTP/1.1'"));
    };
    // RFC 9110 §9.3.6: the one method whose target has a form of its own.
    if method == "CONNECT" {
        return Err(BadRequest::new(501, "CONNECT is not supported"));
    }
    let version = if version == 0 { Version::Http10 } else { Version::Http11 };
    let method = Method::new(method);
    let parts = Target::parse(target, method == Method::Options)?;

    let mut text = String::with_capacity(head_bytes);
    text.push_str(target);
    let mut fields = Vec::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = push(&mut text, header.name);
        // RFC 9110 §5.5: bytes above ASCII are allowed and mean nothing certain.
        let value = push(&mut text, super::list::trim(&String::from_utf8_lossy(header.value)));
        fields.push(Field { name, value });
    }
    let span = |range: std::ops::Range<usize>| Span::new(range.start, range.end);
    let mut request = Request {
        method,
        version,
        body: BodyLength::None,
        target: Span::new(0, target.len()),
        raw_path: span(parts.raw_path),
        query: parts.query.map(span),
        authority: parts.authority.map(span),
        decoded_path: parts.decoded_path,
        text,
        fields,
    };
    check_host(&request)?;
    request.body = BodyLength::of(version, request.fields.iter().map(|field| field.of(&request.text)))?;
    Ok(request)
}

fn push(text: &mut String, piece: &str) -> Span {
    let start = text.len();
    text.push_str(piece);
    Span::new(start, text.len())
}

/// RFC 9112 §3.2: exactly one in HTTP/1.1, never several, and a host if anything.
fn check_host(request: &Request) -> Result<(), BadRequest> {
    let mut hosts = request.headers("host");
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version == Version::Http11 => {
            Err(BadRequest::malformed("no Host header in an HTTP/1.1 request"))
        }
        (_, Some(_)) => Err(BadRequest::malformed("several Host headers")),
        (Some(host), None) if !is_authority(host) => {
            Err(BadRequest::malformed("the Host header is not a host name with optional port"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The request of a head given without its empty line.
    pub(in crate::http1) fn request(head: &str) -> Request {
        match parse(format!("{head}\r\n").as_bytes(), &Limits::default()).unwrap() {
            Parsed::Complete { head, .. } => *head,
            Parsed::Partial => panic!("incomplete: {head}"),
        }
    }

    fn refusal(head: &[u8]) -> BadRequest {
        match parse(head, &Limits::default()) {
            Err(refused) => refused,
            Ok(parsed) => panic!("{} became {parsed:?}", head.escape_ascii()),
        }
    }

    #[test]
    fn a_head_gives_what_it_says_and_nothing_of_what_follows() {
        let buf = b"PUT /a%20b?penstock-transfer=k%2B%3D&x HTTP/1.1\r\nHost: pool:2881\r\nX-Empty:\r\n\
                    CONTENT-length:  12 \r\nWant-Digest: md5\r\nwant-digest: \tadler32;q=0.5, sha\t\r\n\r\nbody";
        let Parsed::Complete { head, consumed } = parse(buf, &Limits::default()).unwrap() else {
            panic!("partial")
        };
        assert_eq!(&buf[consumed..], b"body");
        assert_eq!(head.method(), &Method::Put);
        assert_eq!(head.version(), Version::Http11);
        assert_eq!(head.target(), "/a%20b?penstock-transfer=k%2B%3D&x");
        assert_eq!((head.path(), head.raw_path()), ("/a b", "/a%20b"));
        assert_eq!(head.query("penstock-transfer").as_deref(), Some("k+="));
        assert_eq!(head.query("nothing"), None);
        assert_eq!(head.host(), "pool:2881");
        assert_eq!(head.header("content-length"), Some("12"));
        assert_eq!(head.header("x-empty"), Some(""));
        assert_eq!(head.header("x-none"), None);
        assert_eq!(head.list("Want-Digest").collect::<Vec<_>>(), ["md5", "adler32;q=0.5", "sha"]);
        assert_eq!(head.body_length(), BodyLength::Length(12));
        assert!(head.keep_alive());
    }

    #[test]
    fn the_host_in_the_target_goes_before_the_header() {
        let request = request("GET http://pool:1/x HTTP/1.1\r\nHost: other\r\n");
        assert_eq!((request.host(), request.path()), ("pool:1", "/x"));
    }

    #[test]
    fn the_connection_stays_as_version_and_tokens_say() {
        let cases = [
            ("GET / HTTP/1.1\r\nHost: a\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: te, Close\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nConnection: close\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n", true),
            ("GET / HTTP/1.0\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n", false),
        ];
        for (head, keep_alive) in cases {
            assert_eq!(request(head).keep_alive(), keep_alive, "{head}");
        }
    }

    #[test]
    fn empty_lines_before_the_request_are_ignored_but_not_endlessly() {
        let buf = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(matches!(parse(buf, &Limits::default()), Ok(Parsed::Complete { consumed: 29, .. })));
        assert_eq!(refusal(&b"\r\n".repeat(LEADING_EMPTY_LINES + 1)).status, 400);
    }

    #[test]
    fn bytes_above_ascii_in_a_value_do_no_harm() {
        let buf = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: caf\xe9\r\nX: b\r\n\r\n";
        let Ok(Parsed::Complete { head, .. }) = parse(buf, &Limits::default()) else { panic!() };
        assert_eq!((head.header("user-agent"), head.header("x")), (Some("caf\u{fffd}"), Some("b")));
    }

    #[test]
    fn every_malformed_head_is_refused_with_its_reason() {
        let cases: [(&[u8], u16, &str); 33] = [
            (b"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare LF"),
            (b"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "bare LF"),
            (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare LF"),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare LF"),
            (b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, "bare CR"),
            (b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, "bare CR"),
            (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400, "obsolete line folding"),
            (b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", 400, "obsolete line folding"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nLength : 5\r\n\r\n", 400, "'Length' and its colon"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX\t: 5\r\n\r\n", 400, "'X' and its colon"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nsecret\r\n\r\n", 400, "not 'Name: value'"),
            (b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400, "'' is not a header name"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX(Y): b\r\n\r\n", 400, "'X(Y)' is not a header name"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", 400, "'X\\x00' is not a header name"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", 400, "control character"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n", 400, "control character"),
            (b"GET / HTTP/1.1\r\n\r\n", 400, "no Host"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, "several Host"),
            (b"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400, "several Host"),
            (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "Host header is not"),
            (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "Host header is not"),
            (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "HTTP/2.0 is not supported"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0 is not supported"),
            (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "HTTP/1.2 is not supported"),
            (b"GET / HTTX/1.1\r\nHost: a\r\n\r\n", 400, "does not end with HTTP/1.1"),
            (b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, "does not end with HTTP/1.1"),
            (b"GET /\r\n\r\n", 400, "request line"),
            (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request line"),
            (b"GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request line"),
            (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request line"),
            (b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request line"),
            (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501, "CONNECT"),
            (b"\x16\x03\x01\x02\x00\x01\x00", 400, "TLS handshake"),
        ];
        for (head, status, text) in cases {
            let refused = refusal(head);
            assert_eq!(refused.status, status, "{}: {refused}", head.escape_ascii());
            assert!(refused.text.contains(text), "{}: {refused}", head.escape_ascii());
            assert!(!refused.text.contains("secret"));
        }
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_whole() {
        let target = |bytes: usize| format!("GET /{}", "a".repeat(bytes - 1));
        let mut large = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
        large.resize(Limits::default().head_bytes - 1, b'x');
        assert_eq!(parse(&large, &Limits::default()), Ok(Parsed::Partial));
        assert_eq!(refusal(&[&large[..], b"x"].concat()).status, 431);
        // A whole head may have exactly the limit's length.
        large.truncate(large.len() - 3);
        large.extend(b"\r\n\r\n");
        assert!(matches!(parse(&large, &Limits::default()), Ok(Parsed::Complete { .. })));
        large.insert(30, b'x');
        assert_eq!(refusal(&large).status, 431);
        assert_eq!(parse(target(Limits::TARGET_BYTES).as_bytes(), &Limits::default()), Ok(Parsed::Partial));
        assert_eq!(refusal(target(Limits::TARGET_BYTES + 1).as_bytes()).status, 414);

        let fields =
            |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
        let most = Limits::default().headers;
        assert!(matches!(parse(fields(most).as_bytes(), &Limits::default()), Ok(Parsed::Complete { .. })));
        assert_eq!(refusal(fields(most + 1).as_bytes()).status, 431);
    }

    #[test]
    fn credentials_do_not_show_in_logs() {
        let request = request("GET /a?authz=secret HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret\r\n");
        let shown = format!("{request:?}");
        assert!(shown.contains("/a") && shown.contains("Authorization"), "{shown}");
        assert!(!shown.contains("secret"), "{shown}");
    }

    fn valid_head() -> impl Strategy<Value = String> {
        let method = prop::sample::select(vec!["GET", "HEAD", "PUT", "OPTIONS", "M-SEARCH"]);
        let fields =
            prop::collection::vec("X[A-Za-z0-9!#$%&'*+.^_`|~-]{0,8}:[ \t]{0,2}[ -~é]{0,12}\r\n", 0..8);
        let framing =
            prop::sample::select(vec!["", "Content-Length: 7\r\n", "Transfer-Encoding: chunked\r\n"]);
        let empty_lines = prop::sample::select(vec!["", "\r\n"]);
        (empty_lines, method, "(/[a-zA-Z0-9._~ü-]{0,6}){1,3}(\\?[a-z=&%]{0,8})?", fields, framing).prop_map(
            |(empty, method, target, fields, framing)| {
                format!("{empty}{method} {target} HTTP/1.1\r\nHost: a:1\r\n{}{framing}\r\n", fields.concat())
            },
        )
    }

    proptest! {
        #[test]
        fn every_prefix_of_a_valid_head_is_partial_and_the_whole_is_complete(head in valid_head()) {
            let bytes = head.as_bytes();
            for end in 0..bytes.len() {
                prop_assert_eq!(parse(&bytes[..end], &Limits::default()), Ok(Parsed::Partial));
            }
            let mut buf = bytes.to_vec();
            buf.extend(b"\n\rrest \0");
            let Ok(Parsed::Complete { consumed, .. }) = parse(&buf, &Limits::default()) else {
                return Err(TestCaseError::fail("not complete"));
            };
            prop_assert_eq!(consumed, bytes.len());
        }

        #[test]
        fn no_bytes_make_the_parser_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..400),
            start in prop::sample::select(vec!["", "GET / HTTP/1.1\r\n", "GET /%", "PUT / HTTP/1.1\r\nHost: a\r\n"]),
        ) {
            let _ = parse(&[start.as_bytes(), &bytes].concat(), &Limits::default());
        }

        #[test]
        fn a_valid_head_with_one_byte_changed_does_not_panic(
            head in valid_head(), at in any::<prop::sample::Index>(), byte: u8,
        ) {
            let mut bytes = head.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = parse(&bytes, &Limits::default());
        }
    }
}
