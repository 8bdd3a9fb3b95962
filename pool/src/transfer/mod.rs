//! What a transfer is: its request, states, progress and result, and how control and data path share it.
//!
//! * [`request`]: the door's request, validated and typed.
//! * [`state`]: the states and the only steps between them.
//! * [`lifecycle`]: [`Transfer`], one movement of one replica's bytes, shared by control and shards.
//! * [`desk`]: where the data path turns a capability from a URL into a [`Claim`].
//! * [`claim`]: one client request's hold on a transfer.
//! * [`progress`], [`link`]: counters that shards write and control reads.
//! * [`strand`], [`third_party`]: streams of transfers that the pool makes by itself, and where those begin.
//! * [`record`], [`failure`]: how a transfer ended.
//! * [`port`], [`connection`]: the data port and its connections; `get`, `put`, `pull`, `push`, `local_copy`: how bytes
//!   move, on the shards.
//! * [`source`]: a replica's bytes, checked, for whoever sends them.
//! * [`capability`], [`clock`]: the secret in the URL, and the time.
//!
//! Nothing here blocks beyond a short mutex, and nothing here knows control.
#![forbid(unsafe_code)]

pub mod capability;
pub mod claim;
pub mod clock;
pub mod connection;
pub mod desk;
pub mod failure;
mod get;
pub(crate) mod input;
pub mod lifecycle;
pub mod link;
mod local_copy;
pub mod port;
pub mod progress;
mod pull;
mod push;
mod put;
pub mod record;
pub mod request;
#[cfg(test)]
mod simulated;
pub mod source;
pub mod state;
#[cfg(test)]
mod stories;
pub mod strand;
pub mod third_party;

pub use capability::Capability;
pub use claim::Claim;
pub use clock::{Clock, ManualClock, Moment, SystemClock};
pub use desk::{ClaimMethod, Desk, Refusal};
pub use failure::{Failure, FailureCode, Side};
pub use lifecycle::{Observer, Timeouts, Transfer, Verdict};
pub use link::{ConnectionInfo, Limit, Link, TcpInfo};
pub use progress::Progress;
pub use record::Outcome;
pub use request::{Kind, TransferId, TransferRequest};
pub use state::State;
