//! Answers: bodies, and refusals in one line of plain text.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::namespace::{NamespaceError, PathError};
use crate::transfers::TransferError;

/// Pieces of a streamed body that wait to be sent: little, so that a slow reader holds little memory.
const STREAMED_PIECES: usize = 2;
/// Longest text of a refusal in bytes; davix and others cut long ones at odd places.
const MAX_TEXT_BYTES: usize = 1000;

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

/// Why a request is not done: one line, a status, and headers that the status calls for.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    text: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A refusal. The text goes to the client after method and path.
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), headers: Vec::new() }
    }

    /// A refusal with a status that a pool or the namespace named.
    pub fn with_number(status: u16, text: impl Into<String>) -> Self {
        Self::new(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), text)
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer: `what` is the method and the path as the client sent it.
    pub fn into_answer(self, what: &str) -> Answer {
        let mut text = format!("{what}: {}", self.text);
        if text.len() > MAX_TEXT_BYTES {
            let end = (0..=MAX_TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
        }
        // Other parts' texts must not break the line.
        let mut line: String =
            text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
        line.push('\n');
        let mut answer = Response::new(full(line));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        answer
    }
}

impl From<NamespaceError> for Refusal {
    fn from(error: NamespaceError) -> Self {
        // The client can do nothing with the database's own words; the admin can.
        tracing::error!(%error, "the namespace failed");
        match error {
            NamespaceError::Query(sqlx::Error::PoolTimedOut) => {
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

impl From<PathError> for Refusal {
    fn from(error: PathError) -> Self {
        let status = if error.is_length() { StatusCode::URI_TOO_LONG } else { StatusCode::BAD_REQUEST };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_is_one_short_line_whatever_others_wrote_into_it() {
        let refusal =
            Refusal::new(StatusCode::BAD_REQUEST, format!("bad\r\nSet-Cookie: x {}", "é".repeat(2000)));
        let answer = refusal.into_answer("GET /a");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(text.starts_with(b"GET /a: bad  Set-Cookie: x") && text.len() <= MAX_TEXT_BYTES + 1);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
