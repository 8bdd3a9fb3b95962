//! Starts and stops a pool: everything that runs, wired together. Both binaries use it.
//!
//! * `start`: [`Pool::start`], the wiring; `settings`, `serve` and `descriptors` are its parts.
//! * `running`: [`RunningPool`], until its stop; `reconfigure` says what it can change meanwhile.
//! * `tick`: what time demands; `reload`: certificates and names, read again when their files change.

mod descriptors;
mod reconfigure;
mod reload;
mod running;
mod serve;
mod settings;
mod start;
mod tick;

use std::io;
use std::net::SocketAddr;

use thiserror::Error;

use super::data_port::DataPortError;
use super::grpc::listen::ListenError;
use super::registry::records::RecordsError;
use crate::marking::RegistryError;
use crate::store::OpenError;

pub use running::RunningPool;
pub use start::{Pool, StartDataPort};

/// Why a pool did not start. The text says what to do.
#[derive(Debug, Error)]
pub enum PoolError {
    /// The replicas' directory.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The doors' endpoint.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data port.
    #[error(transparent)]
    DataPort(#[from] DataPortError),
    /// The admin port.
    #[error("admin.listen: cannot bind {address}: {error}")]
    Admin {
        /// Address and port.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The names of experiments and activities.
    #[error("marking.registry: {0}")]
    Names(#[from] RegistryError),
    /// The kernel gives no random bytes.
    #[error("no random bytes for this instance's id: {0}")]
    Random(#[from] getrandom::Error),
    /// The records of ended transfers.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// No thread.
    #[error("cannot start the scrub's thread: {0}")]
    Threads(io::Error),
    /// A thread ended early.
    #[error("the pool's start was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
    /// The gRPC services cannot be put together.
    #[error("the gRPC reflection service cannot be built: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}
