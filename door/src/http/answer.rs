//! Answers: bodies, and refusals in one line of plain text.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode, Uri};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::auth::claimed::Claimed;
use crate::namespace::{NamespaceError, PathError, QueryError};
use crate::transfers::TransferError;
use crate::transfers::copy::CopyError;

/// Pieces of a streamed body that wait to be sent: little, so that a slow reader holds little memory.
const STREAMED_PIECES: usize = 2;
/// Longest text of a refusal in bytes; davix and others cut long ones at odd places.
const MAX_TEXT_BYTES: usize = 1000;
/// Longest path in a text or a log line, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// So much of a path is told however long the text is.
const MIN_PATH_BYTES: usize = 64;
const ELLIPSIS: &str = "…";

/// Longest reason phrase in bytes: old clients show nothing else, and show it on one line.
const MAX_REASON_BYTES: usize = 160;
/// RFC 9457.
const PROBLEM_JSON: &str = "application/problem+json";

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;
/// An answer.
pub type Answer = Response<Body>;

/// Why a body ends before its end. The connection is closed, so that the client cannot take it for whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// A listing cannot go on.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The pool ended a download.
    #[error("the pool ended the transfer: {0}")]
    Pool(hyper::Error),
}

/// A body that is sent while it is made.
pub type BodySender = mpsc::Sender<Result<Bytes, BodyError>>;

/// No body.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A whole body.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that a task makes piece by piece. The sender fails when the client has gone.
pub fn streamed() -> (BodySender, Body) {
    let (sender, receiver) = mpsc::channel(STREAMED_PIECES);
    let frames = ReceiverStream::new(receiver).map(|piece: Result<Bytes, BodyError>| piece.map(Frame::data));
    (sender, StreamBody::new(frames).boxed_unsync())
}

/// An answer without a body.
pub fn bare(status: StatusCode) -> Answer {
    let mut answer = Response::new(empty());
    *answer.status_mut() = status;
    answer
}

/// How a refusal is worded for one request.
#[derive(Debug, Clone)]
pub struct Wording {
    method: Method,
    uri: Uri,
    problem: bool,
}

impl Wording {
    /// For a request.
    pub fn new(method: Method, uri: Uri, headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let problem = accepted.flat_map(|value| value.split(',')).any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            range.eq_ignore_ascii_case(PROBLEM_JSON) || range.eq_ignore_ascii_case("application/json")
        });
        Self { method, uri, problem }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path as the client sent it, or as much of it as is worth telling. Never its query, which may hold a token.
    pub fn path(&self) -> &str {
        // Clients that do not encode it send it in UTF-8.
        cut(self.uri.path(), MAX_PATH_BYTES)
    }
}

/// Why a request is not done: one line, a status, and headers that the status calls for.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    text: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What WebDAV names as the reason (RFC 4918 §16), as elements.
    condition: Option<String>,
    /// Behind a pointer, as results hold refusals.
    rare: Option<Box<Rare>>,
}

/// What few refusals have.
#[derive(Debug, Default)]
struct Rare {
    reason: Option<ReasonPhrase>,
    json: Option<String>,
    claimed: Option<Claimed>,
}

impl Refusal {
    /// A refusal. The text goes to the client after method and path.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), headers: Vec::new(), condition: None, rare: None }
    }

    /// In the words by which FTS knows that trying again does not help.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "No such file or directory")
    }

    /// The same for what is not allowed.
    pub fn forbidden(why: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("Permission denied: {why}"))
    }

    /// A refusal with a status that a pool or the namespace named.
    pub fn with_number(status: u16, text: impl Into<String>) -> Self {
        Self::new(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), text)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// With whom the refused credential names, for the audit.
    #[must_use]
    pub fn claimed(mut self, claimed: Option<Claimed>) -> Self {
        if claimed.is_some() {
            self.rare().claimed = claimed;
        }
        self
    }

    /// With this body, whatever the client takes: where a protocol of its own is spoken.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.rare().json = Some(format!("{body}\n"));
        self
    }

    /// Takes out whom the refused credential names.
    pub fn take_claimed(&mut self) -> Option<Claimed> {
        self.rare.as_mut()?.claimed.take()
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// With these words in the reason phrase instead of the text.
    #[must_use]
    pub fn reason(mut self, phrase: ReasonPhrase) -> Self {
        self.rare().reason = Some(phrase);
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With a reason that WebDAV clients understand: elements in which the prefix `d` is that of `DAV:`.
    #[must_use]
    pub fn condition(mut self, elements: impl Into<String>) -> Self {
        self.condition = Some(elements.into());
        self
    }

    /// The answer: one line of text, a problem in JSON for those who take it, or what WebDAV has for it. The reason
    /// phrase says it as well, for clients that show nothing else.
    pub fn into_answer(self, wording: &Wording) -> Answer {
        let path = wording.path();
        // What is wrong is told to its end; of a long path its beginning is.
        let room = MAX_TEXT_BYTES
            .saturating_sub(wording.method.as_str().len() + ELLIPSIS.len() + 3 + self.text.len());
        let shown = cut(path, room.max(MIN_PATH_BYTES));
        let ellipsis = if shown.len() < path.len() { ELLIPSIS } else { "" };
        let line = one_line(&format!("{} {shown}{ellipsis}: {}", wording.method, self.text), MAX_TEXT_BYTES);
        let rare = self.rare.map(|rare| *rare).unwrap_or_default();
        let (kind, body) = match (rare.json, &self.condition) {
            (Some(json), _) => ("application/json", json),
            (None, Some(condition)) => (
                "application/xml; charset=utf-8",
                format!(
                    "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:error xmlns:d=\"DAV:\">{condition}</d:error>\n"
                ),
            ),
            (None, None) if wording.problem => (PROBLEM_JSON, problem(self.status, &line)),
            (None, None) => ("text/plain; charset=utf-8", format!("{line}\n")),
        };
        let mut answer = Response::new(full(body));
        *answer.status_mut() = self.status;
        let told = rare.reason.or_else(|| ReasonPhrase::try_from(reason(&self.text).into_bytes()).ok());
        if let Some(reason) = told {
            answer.extensions_mut().insert(reason);
        }
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        answer
    }
}

fn problem(status: StatusCode, line: &str) -> String {
    let title = status.canonical_reason().unwrap_or("Error");
    let mut json = serde_json::json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "detail": line,
    })
    .to_string();
    json.push('\n');
    json
}

/// Other parts' texts must not break the line.
fn one_line(text: &str, limit_bytes: usize) -> String {
    let mut line: String =
        text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    line.truncate(cut(&line, limit_bytes).len());
    line
}

/// As many whole characters from the beginning as have room.
fn cut(text: &str, limit_bytes: usize) -> &str {
    let mut end = text.len().min(limit_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// RFC 9112 §4: other characters than those of ASCII may be read as anything.
fn reason(text: &str) -> String {
    let ascii: String =
        text.chars().map(|character| if matches!(character, ' '..='~') { character } else { '?' }).collect();
    one_line(&ascii, MAX_REASON_BYTES)
}

impl From<NamespaceError> for Refusal {
    fn from(error: NamespaceError) -> Self {
        // The client can do nothing with the database's own words; the admin can.
        tracing::error!(%error, "the namespace failed");
        match error {
            NamespaceError::Query(QueryError::Busy | QueryError::Conflict) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the namespace is busy; try again later")
            }
            _ => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the namespace failed; the door's log says why")
            }
        }
    }
}

impl From<TransferError> for Refusal {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Namespace(error) => error.into(),
            error => {
                if error.http_status() >= 500 {
                    tracing::warn!(%error, "a transfer did not start");
                }
                Self::with_number(error.http_status(), error.to_string())
            }
        }
    }
}

impl From<CopyError> for Refusal {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Start(error) => error.into(),
            error => Self::with_number(error.http_status(), error.to_string()),
        }
    }
}

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        let status = if error.is_length() { StatusCode::URI_TOO_LONG } else { StatusCode::BAD_REQUEST };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wording(accept: &'static str) -> Wording {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        Wording::new(Method::GET, Uri::from_static("/a?authz=hidden"), &headers)
    }

    async fn text(answer: Answer) -> String {
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_is_one_short_line_whatever_others_wrote_into_it() {
        let refusal =
            Refusal::new(StatusCode::BAD_REQUEST, format!("bad\r\nSet-Cookie: x {}", "é".repeat(2000)));
        let answer = refusal.into_answer(&wording("*/*"));
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let reason = answer.extensions().get::<ReasonPhrase>().unwrap().as_bytes().to_vec();
        assert!(reason.starts_with(b"bad??Set-Cookie: x ??") && reason.len() <= MAX_REASON_BYTES);
        let text = text(answer).await;
        assert!(text.starts_with("GET /a: bad  Set-Cookie: x") && text.len() <= MAX_TEXT_BYTES + 1);
        assert_eq!(text.matches('\n').count(), 1);
    }

    #[test]
    fn a_path_that_is_too_long_to_be_told_is_cut_between_two_characters() {
        // hyper takes a path that nobody has encoded.
        for (begin, kept) in [("/", 1023), ("/a", 1024)] {
            let uri: Uri = format!("{begin}{}", "é".repeat(MAX_PATH_BYTES)).parse().unwrap();
            let wording = Wording::new(Method::GET, uri, &HeaderMap::new());
            assert_eq!(wording.path().len(), kept, "{begin}");
        }
    }

    #[tokio::test]
    async fn who_takes_problems_in_json_gets_one() {
        let refusal = || Refusal::new(StatusCode::NOT_FOUND, "No such \"file\" or directory");
        for accept in ["application/problem+json", "text/html, Application/JSON;q=0.9"] {
            let answer = refusal().into_answer(&wording(accept));
            assert_eq!(answer.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
            let problem: serde_json::Value = serde_json::from_str(&text(answer).await).unwrap();
            assert_eq!(problem["status"], 404);
            assert_eq!(problem["title"], "Not Found");
            assert_eq!(problem["detail"], "GET /a: No such \"file\" or directory");
        }
        let plain = refusal().into_answer(&wording("text/html, */*"));
        assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    }

    #[tokio::test]
    async fn what_webdav_has_a_name_for_is_told_in_its_xml() {
        let refusal = Refusal::new(StatusCode::LOCKED, "it is locked").condition("<d:lock-token-submitted/>");
        let answer = refusal.into_answer(&wording("application/json"));
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/xml; charset=utf-8");
        assert!(text(answer).await.contains("<d:error xmlns:d=\"DAV:\"><d:lock-token-submitted/></d:error>"));
    }
}
