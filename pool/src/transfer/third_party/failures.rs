//! What is said when a third-party copy fails: one line that names the side, the byte, the time and the address.

use std::time::Duration;

use crate::http1::AnswerHead;
use crate::remote::{RemoteError, UrlError};
use crate::tls::Wire;
use crate::transfer::{Failure, FailureCode, Progress, Side};

/// The remote side, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Far {
    /// The method of the request that carries the data.
    pub method: &'static str,
    /// "source" or "destination".
    pub name: &'static str,
    /// Whose failure.
    pub side: Side,
}

impl Far {
    /// Of a pull.
    pub const SOURCE: Far = Far { method: "GET", name: "source", side: Side::Source };
    /// Of a push.
    pub const DESTINATION: Far = Far { method: "PUT", name: "destination", side: Side::Destination };

    /// A failure of the remote side.
    #[must_use]
    pub fn failure(self, code: FailureCode, text: impl AsRef<str>) -> Failure {
        Failure::new(code, self.side, text)
    }

    /// A request without an answer.
    #[must_use]
    pub fn unanswered(self, error: &RemoteError) -> Failure {
        let method = self.method;
        match error {
            RemoteError::Denied { .. } => {
                self.failure(FailureCode::RemoteForbidden, format!("forbidden {method}: {error}"))
            }
            RemoteError::Redirect { error: UrlError::Scheme(_) | UrlError::UserInfo, .. } => {
                self.failure(FailureCode::RemoteForbidden, format!("forbidden {method}: {error}"))
            }
            RemoteError::Resolve { .. } | RemoteError::Connect { .. } => self
                .failure(FailureCode::RemoteUnreachable, format!("connection failed for {method}: {error}")),
            RemoteError::CredentialEnded { .. } => {
                // With the same request it will be the same again.
                self.failure(FailureCode::Tls, format!("no {method}: {error}")).with_retryable(false)
            }
            RemoteError::TokenEnded { .. } => {
                self.failure(FailureCode::RemoteRefused, format!("no {method}: {error}")).with_retryable(true)
            }
            RemoteError::Tls { .. } => {
                self.failure(FailureCode::Tls, format!("connection failed for {method}: {error}"))
            }
            RemoteError::Broken { .. } | RemoteError::Closed { .. } => {
                self.failure(FailureCode::ConnectionLost, format!("connection failed for {method}: {error}"))
            }
            RemoteError::Silent { .. } => self.failure(
                FailureCode::Stalled,
                format!("socket timeout on {method}: the {} {error}", self.name),
            ),
            RemoteError::Answer { .. }
            | RemoteError::Redirect { .. }
            | RemoteError::NoLocation { .. }
            | RemoteError::TooManyRedirects { .. } => {
                self.failure(FailureCode::RemoteProtocol, format!("failed {method}: {error}"))
            }
        }
    }

    /// An answer that is a refusal: `rejected GET: 404 Not Found`.
    #[must_use]
    pub fn rejected(self, head: &AnswerHead) -> Failure {
        let text = format!("rejected {}: {}", self.method, head.status_line());
        // What a client's error is will be one again; 408 and 429 are not.
        let again = head.status() >= 500 || matches!(head.status(), 408 | 429);
        self.failure(FailureCode::RemoteRefused, text).with_retryable(again)
    }

    /// A connection that broke in the middle of the data.
    #[must_use]
    pub fn lost(self, progress: &Progress, connection: &Wire, elapsed: Duration, problem: &str) -> Failure {
        let text = format!(
            "connection lost on {}: {problem}, {}",
            self.method,
            self.circumstances(progress, connection, elapsed)
        );
        Failure::new(FailureCode::ConnectionLost, Side::Network, text)
    }

    /// A connection on which nothing moves.
    #[must_use]
    pub fn stalled(
        self,
        progress: &Progress,
        connection: &Wire,
        elapsed: Duration,
        idle: Duration,
    ) -> Failure {
        let verb = if self.side == Side::Source { "sent" } else { "took" };
        let text = format!(
            "socket timeout on {}: the {} {verb} nothing for {} s, {}",
            self.method,
            self.name,
            idle.as_secs(),
            self.circumstances(progress, connection, elapsed)
        );
        self.failure(FailureCode::Stalled, text)
    }

    /// "at byte 5 of 10, after 61.0 s, source 192.0.2.1:443, rtt 12.3 ms, 4 retransmits".
    #[must_use]
    pub fn circumstances(self, progress: &Progress, connection: &Wire, elapsed: Duration) -> String {
        let tcp = connection.tcp_facts().map_or_else(String::new, |facts| {
            let rtt_ms = facts.rtt.as_secs_f64() * 1e3;
            format!(", rtt {rtt_ms:.1} ms, {} retransmits", facts.retransmits)
        });
        format!("{}, {} {}{tcp}", position(progress, elapsed), self.name, connection.peer())
    }
}

/// "at byte 5 of 10, after 61.0 s".
#[must_use]
pub fn position(progress: &Progress, elapsed: Duration) -> String {
    let of = progress.bytes_requested().map_or_else(String::new, |bytes| format!(" of {bytes}"));
    format!("at byte {}{of}, after {:.1} s", progress.bytes_moved(), elapsed.as_secs_f64())
}
