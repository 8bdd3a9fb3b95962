//! Why a transfer does not start, and the status that tells the client.

use std::time::Duration;

use penstock_door_proto::v1 as proto;
use proto::FailureCode;
use tonic::Code;

use crate::namespace::NamespaceError;
use crate::pools::NoPool;

/// How a pool's text begins when a replica is damaged.
const BROKEN_PREFIX: &str = "FAILURE_CODE_REPLICA_BROKEN: ";

/// Why a transfer does not start.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// No pool can do it.
    #[error(transparent)]
    NoPool(#[from] NoPool),
    /// The pool refused, or cannot be reached.
    #[error("pool {pool} refused the transfer: {text}")]
    Refused {
        /// The pool.
        pool: String,
        /// The gRPC code.
        code: Code,
        /// Its words.
        text: String,
    },
    /// It failed before it was ready.
    #[error("pool {pool}: {}", failed.text)]
    Failed {
        /// The pool.
        pool: String,
        /// Its words.
        failed: Box<proto::Failed>,
    },
    /// It was cancelled before it was ready.
    #[error("pool {pool} cancelled the transfer: {reason}")]
    Cancelled {
        /// The pool.
        pool: String,
        /// Its words.
        reason: String,
    },
    /// The pool was not ready in time.
    #[error("pool {pool} was not ready for the transfer within {} s; try again later", after.as_secs_f32())]
    NotReady {
        /// The pool.
        pool: String,
        /// How long the door waited.
        after: Duration,
    },
    /// As many third-party copies run as may.
    #[error("this door makes as many third-party copies as it may; try again later")]
    TooManyCopies,
    /// Nobody waits for it any more.
    #[error("the client has gone")]
    ClientGone,
    /// The replica is damaged.
    #[error(
        "the file is damaged and not served: pool {pool} says {text}; trying again does not help, the site has to restore it"
    )]
    Broken {
        /// The pool.
        pool: String,
        /// Its words.
        text: String,
    },
    /// This door attends as many as it may.
    #[error("this door attends as many transfers as it may; try again later")]
    TooMany,
    /// The door is stopping.
    #[error("this door is stopping; try again later")]
    Stopping,
    /// The system gives no random bytes for an id.
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// The namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

impl TransferError {
    /// What a call to a pool was answered with.
    pub(super) fn refused(pool: &str, status: &tonic::Status) -> Self {
        let (pool, text) = (pool.to_owned(), status.message());
        match status.code() {
            Code::DataLoss => {
                let text = text.strip_prefix(BROKEN_PREFIX).unwrap_or(text).to_owned();
                TransferError::Broken { pool, text }
            }
            code => TransferError::Refused { pool, code, text: text.to_owned() },
        }
    }

    /// The pool does not have the replica. It may have been replaced since its name was looked up.
    pub fn replica_is_gone(&self) -> bool {
        matches!(self, TransferError::Refused { code: Code::NotFound, .. })
    }

    /// The status for the client, by the map of errno values that clients of XRootD know.
    pub fn http_status(&self) -> u16 {
        match self {
            TransferError::NoPool(NoPool::NoSpace(_)) => 507,
            TransferError::TooManyCopies => 429,
            TransferError::NoPool(NoPool::Unavailable(_))
            | TransferError::TooMany
            | TransferError::ClientGone
            | TransferError::Stopping => 503,
            TransferError::Refused { code, text, .. } => match code {
                Code::InvalidArgument => 400,
                Code::ResourceExhausted => exhausted_status(text),
                Code::Unavailable | Code::Aborted | Code::Cancelled => 503,
                Code::DeadlineExceeded => 504,
                Code::Unimplemented => 501,
                _ => 500,
            },
            TransferError::Failed { failed, .. } => failed_status(failed),
            TransferError::Cancelled { .. } => 503,
            TransferError::NotReady { .. } => 504,
            // Not 503: no client may take this for something that passes.
            TransferError::Broken { .. } | TransferError::Random(_) | TransferError::Namespace(_) => 500,
        }
    }

    /// Whether another pool may do what this one did not.
    pub(super) fn try_elsewhere(&self) -> bool {
        match self {
            TransferError::Refused { code, text, .. } => match code {
                Code::ResourceExhausted => exhausted_status(text) != 413,
                // A pool of an older release may not know how to pull.
                Code::Unavailable
                | Code::Internal
                | Code::Unknown
                | Code::AlreadyExists
                | Code::Unimplemented => true,
                _ => false,
            },
            TransferError::Failed { failed, .. } => is_the_pools(failed),
            _ => false,
        }
    }

    /// Whether the pool may have the transfer nevertheless: it answered too late, or its answer was lost.
    pub(super) fn is_uncertain(&self) -> bool {
        match self {
            TransferError::Refused { code, .. } => !matches!(
                code,
                Code::InvalidArgument
                    | Code::ResourceExhausted
                    | Code::NotFound
                    | Code::AlreadyExists
                    | Code::Unimplemented
                    | Code::FailedPrecondition
                    | Code::PermissionDenied
                    | Code::Unauthenticated
            ),
            TransferError::NotReady { .. }
            | TransferError::Failed { .. }
            | TransferError::Cancelled { .. }
            | TransferError::ClientGone
            | TransferError::Stopping => true,
            _ => false,
        }
    }
}

/// Whether it failed for a reason of this one pool.
pub(super) fn is_the_pools(failed: &proto::Failed) -> bool {
    matches!(failed.code(), FailureCode::NoSpace | FailureCode::DiskError | FailureCode::Shutdown)
}

/// The contract names the failure code in the text.
fn exhausted_status(text: &str) -> u16 {
    let text = text.to_ascii_uppercase();
    match () {
        () if text.contains("TOO_LARGE") => 413,
        () if text.contains("NO_SPACE") || text.contains("NO SPACE") => 507,
        () => 503,
    }
}

pub(super) fn failed_status(failed: &proto::Failed) -> u16 {
    match u16::try_from(failed.http_status) {
        Ok(status @ 400..=599) => status,
        _ => match failed.code() {
            FailureCode::NoSpace => 507,
            FailureCode::TooLarge => 413,
            FailureCode::BadRequest | FailureCode::ChecksumMismatch | FailureCode::SizeMismatch => 400,
            FailureCode::Shutdown => 503,
            FailureCode::Deadline => 504,
            _ => 500,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pool_refuses_becomes_the_status_that_clients_know() {
        let table = [
            (Code::InvalidArgument, "path: empty", 400),
            (Code::ResourceExhausted, "FAILURE_CODE_NO_SPACE: 5 bytes asked", 507),
            (Code::ResourceExhausted, "FAILURE_CODE_TOO_LARGE: at most 5 bytes", 413),
            (Code::ResourceExhausted, "the queue is full", 503),
            (Code::Unavailable, "draining", 503),
            (Code::Unimplemented, "no such feature", 501),
            (Code::NotFound, "no such replica", 500),
        ];
        for (code, text, status) in table {
            let error = TransferError::Refused { pool: "p".into(), code, text: text.into() };
            assert_eq!(error.http_status(), status, "{text}");
        }
        let failed = |failed| TransferError::Failed { pool: "p".into(), failed: Box::new(failed) };
        assert_eq!(failed(proto::Failed { http_status: 418, ..Default::default() }).http_status(), 418);
        let no_space = proto::Failed { code: FailureCode::NoSpace.into(), ..Default::default() };
        assert_eq!(failed(no_space).http_status(), 507);
    }
}
