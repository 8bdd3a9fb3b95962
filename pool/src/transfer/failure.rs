//! Why a transfer failed: for the door, the record, and the client's answer.

use std::fmt;

pub use penstock_door_proto::v1::FailureCode;
pub use penstock_door_proto::v1::failed::Side;

/// Longest failure text in bytes: one perf-marker line, with its prefix, must stay under 1024.
pub const MAX_FAILURE_TEXT_BYTES: usize = 1000;

/// A failed transfer's reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub code: FailureCode,
    /// Whose.
    pub side: Side,
    /// One line: what failed, on what, at which byte, and what to do.
    text: String,
    /// What the client is answered.
    pub http_status: u16,
    /// The same request may succeed later.
    pub retryable: bool,
}

impl Failure {
    /// A failure with the status and retryability that its code usually has.
    #[must_use]
    pub fn new(code: FailureCode, side: Side, text: impl AsRef<str>) -> Self {
        let (http_status, retryable) = usual(code);
        Self { code, side, text: one_line(text.as_ref(), MAX_FAILURE_TEXT_BYTES), http_status, retryable }
    }

    /// The same with another status for the client.
    #[must_use]
    pub fn with_status(self, http_status: u16) -> Self {
        Self { http_status, ..self }
    }

    /// The same with another word on whether to try again.
    #[must_use]
    pub fn with_retryable(self, retryable: bool) -> Self {
        Self { retryable, ..self }
    }

    /// One line, at most [`MAX_FAILURE_TEXT_BYTES`] long.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The client's connection ended before the transfer did.
    #[must_use]
    pub fn connection_lost(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::ConnectionLost, Side::Client, text)
    }

    /// The client never came to the data port.
    #[must_use]
    pub fn client_absent(waited_seconds: u64) -> Self {
        Self::new(
            FailureCode::ClientAbsent,
            Side::Client,
            format!("the client did not come to the data port within {waited_seconds} s of being sent there"),
        )
    }

    /// The client's connection stands still.
    #[must_use]
    pub fn stalled(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::Stalled, Side::Client, text)
    }

    /// The transfer's own deadline has passed.
    #[must_use]
    pub fn deadline(bytes_moved: u64) -> Self {
        Self::new(
            FailureCode::Deadline,
            Side::Door,
            format!("the door's deadline for this transfer passed after {bytes_moved} bytes"),
        )
    }

    /// The client's request is wrong.
    #[must_use]
    pub fn bad_request(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::BadRequest, Side::Client, text)
    }

    /// The bytes that came are not those that were announced.
    #[must_use]
    pub fn checksum_mismatch(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::ChecksumMismatch, Side::Client, text)
    }

    /// More or fewer bytes came than were announced.
    #[must_use]
    pub fn size_mismatch(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::SizeMismatch, Side::Client, text)
    }

    /// Larger than allowed.
    #[must_use]
    pub fn too_large(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::TooLarge, Side::Client, text)
    }

    /// The pool has no room for it.
    #[must_use]
    pub fn no_space(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::NoSpace, Side::Pool, text)
    }

    /// There is no such replica (any more).
    #[must_use]
    pub fn not_found(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::NotFound, Side::Pool, text)
    }

    /// The replica's id is taken.
    #[must_use]
    pub fn exists(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::Exists, Side::Pool, text)
    }

    /// The disk or the file system failed.
    #[must_use]
    pub fn disk(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::DiskError, Side::Pool, text)
    }

    /// The replica is known to be damaged.
    #[must_use]
    pub fn replica_broken(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::ReplicaBroken, Side::Pool, text)
    }

    /// A fault of the pool itself.
    #[must_use]
    pub fn internal(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::Internal, Side::Pool, text)
    }

    /// The pool stops.
    #[must_use]
    pub fn shutdown(text: impl AsRef<str>) -> Self {
        Self::new(FailureCode::Shutdown, Side::Pool, text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

/// The status and retryability that a code has when nothing more is known (statuses as in the errno map that WLCG
/// clients know: no space 507, too large 413, gone 404, taken 409, disk 500, timeouts 504 or 408).
fn usual(code: FailureCode) -> (u16, bool) {
    match code {
        FailureCode::Unspecified | FailureCode::Internal => (500, true),
        FailureCode::BadRequest => (400, false),
        FailureCode::NotFound => (404, false),
        FailureCode::Exists => (409, false),
        FailureCode::NoSpace => (507, true),
        FailureCode::TooLarge => (413, false),
        FailureCode::ChecksumMismatch | FailureCode::SizeMismatch => (400, true),
        FailureCode::DiskError => (500, true),
        FailureCode::ReplicaBroken => (500, false),
        FailureCode::ClientAbsent => (408, true),
        FailureCode::ConnectionLost => (400, true),
        FailureCode::Stalled | FailureCode::TooSlow => (408, true),
        FailureCode::Deadline => (504, true),
        FailureCode::RemoteRefused | FailureCode::RemoteUnreachable | FailureCode::RemoteProtocol => {
            (502, true)
        }
        FailureCode::RemoteForbidden => (403, false),
        FailureCode::Tls | FailureCode::Verification => (502, true),
        FailureCode::Shutdown => (503, true),
        FailureCode::Discarded => (500, false),
    }
}

/// `text` without control characters, cut at a character's boundary to `limit` bytes.
#[must_use]
pub fn one_line(text: &str, limit: usize) -> String {
    let mut line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.len() > limit {
        let boundary = (0..=limit).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(boundary);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_text_is_one_short_line_whatever_it_was_made_of() {
        let failure = Failure::disk(format!("first\r\nsecond\u{7}{}", "é".repeat(2000)));
        assert!(failure.text().starts_with("first  second éé"), "{}", failure.text());
        assert!(failure.text().len() <= MAX_FAILURE_TEXT_BYTES);
        assert!(failure.text().len() > MAX_FAILURE_TEXT_BYTES - 2);
    }

    #[test]
    fn each_failure_has_the_status_that_clients_expect() {
        let cases = [
            (Failure::no_space("x"), 507, true),
            (Failure::too_large("x"), 413, false),
            (Failure::checksum_mismatch("x"), 400, true),
            (Failure::not_found("x"), 404, false),
            (Failure::exists("x"), 409, false),
            (Failure::disk("x"), 500, true),
            (Failure::client_absent(120), 408, true),
            (Failure::shutdown("x"), 503, true),
            (Failure::bad_request("x").with_status(411), 411, false),
        ];
        for (failure, status, retryable) in cases {
            assert_eq!((failure.http_status, failure.retryable), (status, retryable), "{:?}", failure.code);
        }
    }

    #[test]
    fn the_absence_text_says_how_long_the_pool_waited() {
        assert!(Failure::client_absent(120).text().contains("within 120 s"));
    }
}
