//! The door: what users talk to. It knows the names and who may do what; the bytes go between clients and pools.
//!
//! Folders, top down; imports only ever run down this list:
//!
//! * [`check`]: whether a door can run on this machine with its configuration.
//! * [`adopt`]: names for what lies in a pool already, as a command.
//! * [`http`]: HTTP and WebDAV: one file for each method.
//! * [`tls`]: https: handshakes, and the connections of which they are the beginning.
//! * [`delegation`]: what users lend the door for third-party copies.
//! * [`transfers`]: giving work to pools, following it, settling it.
//! * [`pools`]: connections to pools, their state, the choice among them.
//! * [`audit`]: what was refused and changed, for the site's records.
//! * [`auth`]: who asks, and what they may do.
//! * [`namespace`]: which names there are, in SQLite or PostgreSQL.
//! * [`marking`]: whose traffic a transfer is.
//! * [`config`], [`checksum`], [`metrics`]: what all of them speak of.
//!
//! A PUT, from top to bottom: [`http::put`] → [`transfers::upload`] → the pool → [`namespace::upload`].
#![forbid(unsafe_code)]

pub mod adopt;
pub mod audit;
pub mod auth;
pub mod check;
pub mod checksum;
pub mod config;
pub mod delegation;
pub mod http;
pub mod marking;
pub mod metrics;
pub mod namespace;
pub mod pools;
pub mod running;
pub mod tls;
pub mod transfers;

pub use auth::Anonymous;
pub use auth::issue::{init_first_token, init_keys};
pub use config::{Config, PoolAccess, PoolConfig};
pub use running::{Door, ReloadError, RunningDoor, Sockets, StartError};
