//! Where the data path turns what stands in a URL into a hold on a transfer.
//!
//! Control implements [`Desk`]; the data path sees no more of control than this.

use std::net::SocketAddr;

use thiserror::Error;

use super::capability::Capability;
use super::claim::Claim;

/// The method of the request that claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimMethod {
    /// Reads; a transfer can be claimed many times, also at once.
    Get,
    /// Asks about a replica that may be read. Counts as a sign of life, not as the start.
    Head,
    /// Writes; only the first claim of a transfer succeeds.
    Put,
    /// Asks what may be done. Uses nothing up.
    Options,
    /// The pool itself: makes a replica from what a remote server, or another replica, has. No request of a client.
    Pull,
    /// The pool itself: writes to a remote server. No request of a client.
    Push,
}

/// Why a request gets no claim.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No transfer has this capability (any more).
    #[error("this transfer URL is not known here: it was made up, used, or is too old; ask the door again")]
    Unknown {
        /// The door's URL to send the client back to (307), when it is known.
        back_to: Option<String>,
    },
    /// The transfer is for another method.
    #[error("this transfer URL is for {allowed}")]
    WrongMethod {
        /// The methods it is for, as in `Allow`.
        allowed: &'static str,
    },
    /// The transfer is for another path.
    #[error("this transfer URL is for another path")]
    WrongPath,
    /// A PUT whose URL was used before.
    #[error("this transfer URL was used before: an upload's URL is good for one request; ask the door again")]
    AlreadyUsed,
    /// The transfer has ended.
    #[error("the transfer of this URL has ended; ask the door again")]
    Expired {
        /// The door's URL to send the client back to (307), when it is known.
        back_to: Option<String>,
    },
    /// Too many requests are open on this transfer at once.
    #[error("too many requests are open on this transfer (at most {limit})")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// The pool stops.
    #[error("the pool is stopping; ask the door again in a minute")]
    Draining,
}

/// What the data path asks control. Callable from shard threads; never blocks beyond a short mutex.
pub trait Desk: Send + Sync {
    /// A hold on the transfer of `capability` for one request from `peer`. `path` is the request's path,
    /// percent-decoded; `door` the door's name as it stands in the URL, used when the capability is not known.
    fn claim(
        &self,
        capability: &Capability,
        method: ClaimMethod,
        path: &str,
        door: Option<&str>,
        peer: SocketAddr,
    ) -> Result<Claim, Refusal>;

    /// The URL of the door of that name, for requests without a usable capability. No path at its end.
    fn door_url(&self, door: &str) -> Option<String>;
}
