//! The data port's side of TLS: its certificate and key, and the handshake.
//!
//! Handshakes run on the shard that accepted. Signing takes about 30 µs with an elliptic curve and 0.5 to 1 ms with
//! RSA-2048: as long as it takes to move the next MiB. Another thread would not win that time back, as every
//! processor has a shard already, and a hand-over costs as much as a signature does; and those who come again bring a
//! ticket, which needs none.

use std::ops::Deref;
use std::time::Duration;

use penstock_trust::ServerIdentity;
pub use penstock_trust::{ServerFiles, provider};
use rustls::server::UnbufferedServerConnection;

use super::certificate::CertificateError;
use super::machine::Machine;
use super::stream::{HandshakeError, TlsStream};
use crate::engine::net::Connection;

/// What the data port proves its identity with.
#[derive(Debug)]
pub struct ServerTls(ServerIdentity);

impl ServerTls {
    /// Reads certificate and key.
    pub fn load(files: ServerFiles) -> Result<ServerTls, CertificateError> {
        ServerIdentity::load(files).map(ServerTls)
    }

    /// Speaks TLS with a client that has connected.
    pub async fn accept(&self, connection: Connection, limit: Duration) -> Result<TlsStream, HandshakeError> {
        let server = UnbufferedServerConnection::new(self.config())?;
        TlsStream::handshake(connection, Machine::Server(Box::new(server)), limit).await
    }
}

impl Deref for ServerTls {
    type Target = ServerIdentity;

    fn deref(&self) -> &ServerIdentity {
        &self.0
    }
}
