//! What can be configured about remote servers (`[tpc]` of the pool's configuration).

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::rules::Rules;
use crate::tls::server::ServerFiles;

/// Where authorities are kept: those of grids go before those of the web.
const USUAL_AUTHORITIES: [&str; 4] = [
    "/etc/grid-security/certificates",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Limits, times and rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// For a connection to be made, TLS included, over all addresses of a name.
    pub connect_timeout: Duration,
    /// From a request to the last byte of its answer's head.
    pub first_byte_timeout: Duration,
    /// Without a byte moved.
    pub idle_timeout: Duration,
    /// Bytes per second that a transfer must reach over [`Settings::rate_window`]; 0: none.
    pub minimum_rate_bytes_per_second: u64,
    /// See [`Settings::minimum_rate_bytes_per_second`].
    pub rate_window: Duration,
    /// For a whole transfer, from its turn to its end.
    pub deadline: Duration,
    /// For the destination to tell size and checksum of what it got; 1 s more for every 10 MiB.
    pub verification_timeout: Duration,
    /// How often one transfer goes on behind a broken connection.
    pub retries: u32,
    /// Streams of one transfer; a door that asks for more gets so many.
    pub max_streams: usize,
    /// Connections to one host and port, over all transfers; more transfers wait.
    pub connections_per_host: usize,
    /// A connection that is not used waits so long for its next request; 0: not at all.
    pub keep_alive: Duration,
    /// Where the pool may connect to.
    pub rules: Rules,
    /// Certificates of authorities, in a file or a directory; `None`: the system's.
    pub authorities: Option<PathBuf>,
    /// What the pool shows to servers that ask for a certificate.
    pub identity: Option<ServerFiles>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(60),
            first_byte_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(60),
            minimum_rate_bytes_per_second: 10 << 10,
            rate_window: Duration::from_secs(120),
            deadline: Duration::from_secs(86_400),
            verification_timeout: Duration::from_secs(60),
            retries: 3,
            max_streams: 16,
            connections_per_host: 256,
            keep_alive: Duration::from_secs(15),
            rules: Rules::default(),
            authorities: None,
            identity: None,
        }
    }
}

impl Settings {
    /// Where the certificates of authorities are: as configured, or where systems have them.
    #[must_use]
    pub fn authorities(&self) -> Option<PathBuf> {
        let usual = || USUAL_AUTHORITIES.iter().map(Path::new).find(|path| path.exists()).map(Path::to_owned);
        self.authorities.clone().or_else(usual)
    }
}
