//! Why a copy failed, in the words that end its stream of markers.

use penstock_door_proto::v1 as proto;

use super::super::error::TransferError;
use crate::namespace::NamespaceError;
use crate::namespace::upload::Refused;
use crate::pools::NoPool;

/// Why a copy failed. Each text is one line for the client.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] TransferError),
    /// The pool's own words: they name side, byte, time and address already, and operators know their form.
    #[error("{}", .0.text)]
    Failed(Box<proto::Failed>),
    /// The pool, or somebody at it, ended it.
    #[error("cancelled: {0}")]
    Cancelled(String),
    /// The file has arrived, but its name cannot be given.
    #[error("{}", .0.reason)]
    Refused(Refused),
    /// The file has arrived, but the namespace failed.
    #[error("the namespace failed when the file was to be named; the door's log says why")]
    Unnamed,
    /// The namespace does not answer.
    #[error("the namespace failed; the door's log says why")]
    Namespace(#[source] NamespaceError),
    /// The pool has restarted, say.
    #[error("pool {0} does not know the transfer any more: it was restarted in the middle of it")]
    Forgotten(String),
    /// Nobody waits for it.
    #[error("{}", super::CLIENT_HAS_GONE)]
    ClientGone,
    /// The door stops.
    #[error("this door is stopping; try again later")]
    Stopping,
    /// The file is larger than the client may make one.
    #[error("the token allows uploads of at most {maximum} bytes")]
    TooLarge {
        /// In bytes.
        maximum: u64,
    },
    /// What was to be pushed is not there any more.
    #[error("No such file or directory")]
    NotFound,
}

impl From<NamespaceError> for CopyError {
    fn from(error: NamespaceError) -> Self {
        // The client can do nothing with the database's own words; the admin can.
        tracing::error!(%error, "the namespace failed");
        CopyError::Namespace(error)
    }
}

impl From<NoPool> for CopyError {
    fn from(error: NoPool) -> Self {
        CopyError::Start(error.into())
    }
}

impl CopyError {
    /// The status for a client that waits for nothing but the end.
    pub fn http_status(&self) -> u16 {
        match self {
            CopyError::Start(error) => error.http_status(),
            CopyError::Failed(failed) => super::super::error::failed_status(failed),
            CopyError::Refused(refused) => refused.status,
            CopyError::Unnamed | CopyError::Namespace(_) => 500,
            CopyError::NotFound => 404,
            CopyError::TooLarge { .. } => 413,
            CopyError::Cancelled(_)
            | CopyError::Forgotten(_)
            | CopyError::ClientGone
            | CopyError::Stopping => 503,
        }
    }

    /// Whether another pool may do what this one did not.
    pub(super) fn try_elsewhere(&self) -> bool {
        match self {
            CopyError::Start(error) => error.try_elsewhere(),
            // Before the first byte: the pool, not the remote server, is what does not work.
            CopyError::Failed(failed) => failed.bytes_moved == 0 && super::super::error::is_the_pools(failed),
            _ => false,
        }
    }
}
