//! How the door reaches a pool.

use std::path::PathBuf;

use serde::Deserialize;

use super::value::SiteName;

/// One pool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PoolTable")]
pub struct PoolConfig {
    /// The pool's name, kept with each file that is put there.
    pub name: SiteName,
    /// How it is reached.
    pub access: PoolAccess,
}

/// How a pool's gRPC service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolAccess {
    /// A Unix socket on this machine; who may open it is the pool's peer.
    Socket(PathBuf),
    /// TCP with mutual TLS.
    Tls {
        /// `host:port`.
        address: String,
        /// Certificates.
        files: TlsFiles,
    },
}

/// PEM files for mutual TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The authority that signed the pool's certificate.
    pub ca: PathBuf,
    /// The door's certificate chain.
    pub cert: PathBuf,
    /// The door's private key.
    pub key: PathBuf,
    /// The name in the pool's certificate, where it differs from the host in the address.
    pub domain: Option<String>,
}

/// A `[[pools]]` table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolTable {
    name: SiteName,
    socket: Option<PathBuf>,
    address: Option<String>,
    tls: Option<TlsFiles>,
}

impl TryFrom<PoolTable> for PoolConfig {
    type Error = String;

    fn try_from(table: PoolTable) -> Result<Self, String> {
        let PoolTable { name, socket, address, tls } = table;
        let access = match (socket, address, tls) {
            (Some(socket), None, None) => PoolAccess::Socket(socket),
            (None, Some(address), Some(files)) => {
                let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                if port.is_none() || address.contains('/') {
                    return Err(format!("pool \"{name}\": the address \"{address}\" is not \"host:port\""));
                }
                PoolAccess::Tls { address, files }
            }
            (None, Some(_), None) => {
                return Err(format!(
                    "pool \"{name}\" has an address but no tls: add tls.ca, tls.cert and tls.key"
                ));
            }
            (None, None, _) => return Err(format!("pool \"{name}\" has neither a socket nor an address")),
            (Some(_), _, _) => {
                return Err(format!(
                    "pool \"{name}\" has a socket: remove its address and tls, or the socket"
                ));
            }
        };
        Ok(Self { name, access })
    }
}
