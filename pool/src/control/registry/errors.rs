//! Why a transfer is not started, or not forgotten.

use thiserror::Error;

use crate::control::queue::QueueError;
use crate::store::ReplicaId;
use crate::transfer::TransferId;
use crate::transfer::request::RequestError;

/// Why a transfer was not started.
#[derive(Debug, Error)]
pub enum StartError {
    /// A field is wrong, or the kind is not among the pool's features.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The queue does not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The id belongs to another request.
    #[error("transfer {id} exists with a different request; transfer ids must be unique for all time")]
    OtherRequest {
        /// The id.
        id: TransferId,
    },
    /// Another upload of the same replica runs.
    #[error("replica {replica} is being uploaded by transfer {by}")]
    UploadRuns {
        /// The replica.
        replica: ReplicaId,
        /// The other transfer.
        by: TransferId,
    },
    /// No further transfer fits.
    #[error(
        "the pool holds {limit} transfers, as many as it may; acknowledge those that ended, or try again later"
    )]
    TooMany {
        /// limits.transfers.
        limit: usize,
    },
    /// The pool takes no new transfers.
    #[error("the pool is draining: it takes no new transfers")]
    Draining,
    /// The kernel gives no random bytes.
    #[error("no random bytes for the transfer's URL: {0}")]
    Random(#[from] getrandom::Error),
}

/// What stands in a transfer's way at acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("transfer {id} has not ended: it is {state}; cancel it first")]
pub struct NotEnded {
    /// The transfer.
    pub id: TransferId,
    /// Its state.
    pub state: crate::transfer::state::StateName,
}
