//! Remote HTTP servers, as the pool speaks to them when it is the client (third-party copies).
//!
//! * [`url`], [`headers`]: what a door may ask for, checked; nothing of a credential is ever shown.
//! * [`token`]: a token of the door's, which may change while a transfer waits and runs.
//! * [`rules`]: which addresses and ports the pool connects to, decided on the address that is really used.
//! * [`resolve`], [`dial`]: names to addresses off the shard, and the first connection of them that is made.
//! * [`places`], [`idle`]: how many connections a server gets, and those that wait to be used again.
//! * [`client`]: requests with their redirects; [`wire`]: one connection with a request and its answer.
//! * [`settings`], [`error`]: what can be configured, what can go wrong.
//!
//! Everything but the resolver runs on the shard of the transfer. Bodies are not read or written here: the caller gets
//! the connection behind the answer's head, and moves bulk data as it does with clients of the data port.
#![forbid(unsafe_code)]

pub mod client;
pub mod dial;
pub mod error;
pub mod headers;
mod idle;
pub mod places;
pub mod resolve;
pub mod rules;
pub mod settings;
pub mod token;
pub mod url;
pub mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::client::{Client, Opened, Question, Reply};
pub use self::error::RemoteError;
pub use self::headers::{HeaderError, Headers};
pub use self::rules::{Denied, Ports, Rules};
pub use self::settings::Settings;
pub use self::token::DoorToken;
pub use self::url::{Origin, RemoteUrl, UrlError};
pub use self::wire::Wire;

use self::places::Places;
use self::resolve::Resolver;
use crate::tls::ClientTls;

/// What all transfers of a pool share when they speak to remote servers.
pub struct Remotes {
    /// Limits, times and rules.
    pub settings: Settings,
    resolver: Resolver,
    places: Arc<Places>,
    /// `None`: no authorities are known, so no server can prove who it is.
    tls: Option<Arc<ClientTls>>,
    made: AtomicU64,
    reused: AtomicU64,
}

impl Remotes {
    /// No connections yet.
    #[must_use]
    pub fn new(settings: Settings, tls: Option<Arc<ClientTls>>) -> Arc<Remotes> {
        let places = Places::new(settings.connections_per_host);
        Arc::new(Remotes {
            settings,
            resolver: Resolver::new(),
            places,
            tls,
            made: AtomicU64::new(0),
            reused: AtomicU64::new(0),
        })
    }

    /// Connections that are open or being made, those that wait to be used again included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.places.taken()
    }

    /// Connections that were made so far.
    #[must_use]
    pub fn connections_made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Requests so far that went out on a connection of an earlier one.
    #[must_use]
    pub fn connections_reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }
}
