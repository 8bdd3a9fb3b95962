//! What users lend to this door, so that pools can act for them at the other end of third-party copies.
//!
//! * [`store`]: proxies that users have delegated (GridSite), by their owner; in memory only, bounded, with an end.
//! * [`request`]: the key of a proxy and the request to sign it; [`proxy`]: what comes back, verified.
//! * [`exchange`]: tokens that the door gets for a user's token (RFC 8693).
//!
//! A delegated key is made here, never leaves but to the pool that makes a copy, and is never written to a disk: a door
//! that starts again has none, and the protocol has clients delegate again when it asks them to. So there is no file to
//! steal, to back up by mistake or to clean up.
#![forbid(unsafe_code)]

pub mod exchange;
#[cfg(test)]
mod grid;
pub mod proxy;
pub mod request;
pub mod store;

pub use exchange::{ExchangeError, Exchanges};
pub use proxy::ProxyError;
pub use request::{ProxyRequest, RequestError};
pub use store::{Accepted, DelegationError, DelegationId, Delegations, Usable};
