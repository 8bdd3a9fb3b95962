//! The data port, as the rest of control sees it: everything that moves bytes is behind [`DataPort`].
//!
//! The only place where control touches the engine.
//!
//! * [`start`](fn@start): sockets (`bind`), shards, and what they share.
//! * `shards`: the port while it runs.
//! * `metrics`: what Prometheus sees of it.

mod bind;
pub(in crate::control) mod metrics;
mod shards;
mod start;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use crate::engine::shard::StartError;
use crate::marking::Mark;
use crate::tls::certificate::CertificateError;
use crate::tls::{ClientTls, ServerTls};
use crate::transfer::Transfer;

pub use start::start;

/// Least buffers of a shard: an upload needs several to overlap network and disk.
const LEAST_SLOTS_PER_SHARD: usize = 4;

/// How busy the shards are.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EngineLoad {
    /// Share of the I/O buffers in use, 0 to 1.
    pub buffers_used: f64,
    /// Share of the time that the busiest shard worked, 0 to 1.
    pub busiest_shard: f64,
}

/// A running data port.
pub trait DataPort: Send + Sync + fmt::Debug {
    /// Where it answers.
    fn address(&self) -> SocketAddr;
    /// Where it answers with TLS, and with which certificate.
    fn secure_address(&self) -> Option<SocketAddr> {
        None
    }
    /// What it proves its identity with.
    fn tls(&self) -> Option<&Arc<ServerTls>> {
        None
    }
    /// Whom it believes as a client of remote servers.
    fn authorities(&self) -> Option<&Arc<ClientTls>> {
        None
    }
    /// How busy it is.
    fn load(&self) -> EngineLoad;
    /// The port, with TLS or without, whose connections carry the flow label of a mark: opened if there is none yet.
    /// `None` where there can be none.
    fn labelled_port(&self, _mark: &Mark, _secure: bool) -> Option<u16> {
        None
    }
    /// A shard whose loop has not turned for so long, though each looks at its clock once a second.
    fn silent_shard(&self, _limit: Duration) -> Option<usize> {
        None
    }
    /// So many connections at once from now on; those that are open stay.
    fn limit_connections(&self, _limit: usize) {}
    /// Starts a transfer that the pool makes by itself, whose turn has come.
    fn launch(&self, transfer: &Arc<Transfer>);
    /// Closes all connections and ends its threads. Blocks until they have ended.
    fn stop(&self);
}

/// Why the data port did not start.
#[derive(Debug, Error)]
pub enum DataPortError {
    /// The address cannot be had.
    #[error("{key}: cannot bind {address}: {error}")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("data.cert and data.key: {0}")]
    Tls(#[from] CertificateError),
    /// The certificates of authorities, or the pool's own as a client, cannot be used.
    #[error("tpc.ca, tpc.cert and tpc.key: {0}")]
    Authorities(CertificateError),
    /// Too little memory for so many shards.
    #[error(
        "buffer_memory gives each of {shards} shards {slots} buffers of 1 MiB; at least {LEAST_SLOTS_PER_SHARD} are \
         needed: raise buffer_memory or lower shards"
    )]
    TooFewBuffers {
        /// Shards.
        shards: usize,
        /// Buffers of each.
        slots: usize,
    },
    /// A shard could never read or write.
    #[error(
        "disk_depth lets {depth} operations go to the disk at once, which {shards} shards cannot share out: make it at \
         least {shards}, or lower shards"
    )]
    TooShallow {
        /// Operations at once.
        depth: usize,
        /// Shards.
        shards: usize,
    },
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// No threads.
    #[error("cannot start the data port's threads: {0}")]
    Threads(io::Error),
}
