//! https: where, with which certificate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use penstock_trust::ServerFiles;
use serde::Deserialize;

use super::value::Period;

/// The table `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Where clients are served by https.
    pub listen: SocketAddr,
    /// The door's certificate with those that lead to its authority, PEM. Read again when it changes.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// For one handshake, from the connection on. Default 10 s.
    #[serde(default = "default_handshake_timeout")]
    pub handshake_timeout: Period,
    /// Handshakes at once; more wait. One client has a quarter of them at most. Default 256.
    #[serde(default = "default_handshakes")]
    pub handshakes: u32,
}

impl TlsConfig {
    /// With the defaults.
    pub fn new(listen: SocketAddr, cert: PathBuf, key: PathBuf) -> Self {
        Self {
            listen,
            cert,
            key,
            handshake_timeout: default_handshake_timeout(),
            handshakes: default_handshakes(),
        }
    }

    /// The files of the certificate.
    pub fn files(&self) -> ServerFiles {
        ServerFiles { cert: self.cert.clone(), key: self.key.clone() }
    }
}

fn default_handshake_timeout() -> Period {
    Period(Duration::from_secs(10))
}

fn default_handshakes() -> u32 {
    256
}
