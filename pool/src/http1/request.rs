//! A request's head, parsed and owned, and the questions one asks of it.

use std::borrow::Cow;
use std::fmt;

use super::target::query_value;
use super::{BodyLength, elements};

/// What is to be done. Methods are case-sensitive (RFC 9110 §9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Read.
    Get,
    /// Read the headers of a GET.
    Head,
    /// Write.
    Put,
    /// Ask what is possible.
    Options,
    /// What the data port does not know.
    Other(String),
}

impl Method {
    pub(super) fn new(method: &str) -> Self {
        match method {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PUT" => Self::Put,
            "OPTIONS" => Self::Options,
            other => Self::Other(other.to_owned()),
        }
    }

    /// As it stood in the request.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
            Self::Options => "OPTIONS",
            Self::Other(method) => method,
        }
    }
}

/// The version that the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// A piece of [`Request::text`]. 32 bits are enough: heads are bounded far below.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }
}

/// The name and the value of a header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Span,
    pub(super) value: Span,
}

impl Field {
    pub(super) fn of(self, text: &str) -> (&str, &str) {
        (self.name.of(text), self.value.of(text))
    }
}

/// A request's head. It holds its own bytes, so the receive buffer can be used for what follows.
///
/// Its framing has been checked: a `Request` exists only if there is no doubt where its body ends.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) body: BodyLength,
    /// Target, then names and values one behind the other.
    pub(super) text: String,
    pub(super) target: Span,
    pub(super) raw_path: Span,
    pub(super) query: Option<Span>,
    pub(super) authority: Option<Span>,
    pub(super) decoded_path: Option<String>,
    pub(super) fields: Vec<Field>,
}

impl Request {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The client's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The target as it was sent, query included: it may hold a capability.
    pub fn target(&self) -> &str {
        self.target.of(&self.text)
    }

    /// The path, percent-decoded. Dot segments, double slashes and decoded slashes are left as they are: a path is
    /// only ever compared with the one that a transfer is bound to. `*` for OPTIONS of the whole server.
    pub fn path(&self) -> &str {
        self.decoded_path.as_deref().unwrap_or_else(|| self.raw_path())
    }

    /// The path as it was sent. Empty for `http://host`.
    pub fn raw_path(&self) -> &str {
        self.raw_path.of(&self.text)
    }

    /// The percent-decoded value of the first `key` in the query. `+` stands for itself.
    pub fn query(&self, key: &str) -> Option<Cow<'_, str>> {
        query_value(self.raw_query()?, key)
    }

    /// The query as it was sent, without the question mark.
    pub fn raw_query(&self) -> Option<&str> {
        self.query.map(|span| span.of(&self.text))
    }

    /// The host (and port) that the client believes to talk to: of the target if it names one, else of `Host`
    /// (RFC 9112 §3.2.2). Empty in HTTP/1.0 without `Host`.
    pub fn host(&self) -> &str {
        self.authority.map(|span| span.of(&self.text)).or_else(|| self.header("host")).unwrap_or_default()
    }

    /// The first value of a header, whatever the case of its name. Bytes that were not UTF-8 are replaced.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// All values of a header, in the order they came.
    pub fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.all_headers().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The elements of a list-valued header, over all its fields (RFC 9110 §5.3).
    pub fn list<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers(name).flat_map(elements)
    }

    /// Every header's name, as it was written, and value.
    pub fn all_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|field| field.of(&self.text))
    }

    /// How the body is framed.
    pub fn body_length(&self) -> BodyLength {
        self.body
    }

    /// May another request follow on the connection (RFC 9112 §9.3)?
    pub fn keep_alive(&self) -> bool {
        let says = |token: &str| self.list("connection").any(|t| t.eq_ignore_ascii_case(token));
        match self.version {
            Version::Http11 => !says("close"),
            Version::Http10 => says("keep-alive") && !says("close"),
        }
    }
}

/// For logs: method, path and the headers' names. No query and no values, which may be credentials.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method.as_str())
            .field("path", &self.path())
            .field("version", &self.version)
            .field("body", &self.body)
            .field("headers", &self.all_headers().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}
