//! TLS on the data port, as server and as client: rustls without its own buffers, straight between sockets and slots.
//!
//! ```text
//! wire         what transfers use: a connection with or without TLS, by the same calls
//!   stream     a TLS connection of a shard: receives and sends
//!     state    what it keeps between calls
//!     machine  the protocol, without input and output
//!     incoming what came and is not used up
//!     batch    how much is encrypted at once
//!     spare    the buffers for ciphertext, which connections take turns with
//! server       certificate and key of the data port
//! client       whom the pool believes when it is the client; read again when it changes
//! credential   what servers are shown for one user instead
//! ```
//!
//! Files, and when they change, are the matter of the crate `penstock-trust`, which the door uses too.
//!
//! A peer reads and writes TLS record by record (16 KiB); here a batch of records goes to the socket, or comes from
//! it, in one call. A connection that waits holds neither a slot nor a batch buffer: only the ciphertext that could
//! not be sent (it cannot be made again: a sequence number is good for one record) and the record that has come in
//! part.
#![forbid(unsafe_code)]

mod batch;
pub mod client;
pub mod credential;
mod incoming;
mod machine;
pub mod server;
mod spare;
mod state;
pub mod stream;
#[cfg(test)]
pub(crate) mod tests;
pub mod wire;

pub use client::ClientTls;
pub use credential::{Credential, CredentialError, Fingerprint};
pub use penstock_trust::{certificate, directory};
pub use server::ServerTls;
pub use stream::{HandshakeError, TlsFacts, TlsStream};
pub use wire::Wire;
