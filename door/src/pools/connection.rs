//! A channel to one pool: a Unix socket, or TCP with mutual TLS. It connects when it is used, and again when it broke.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use crate::config::{PoolAccess, PoolConfig, TlsFiles};

/// How long connecting may take, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A pool that does not answer a ping for this long has gone.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often an idle connection is tried.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Why a pool can never be reached as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A certificate or key cannot be read.
    #[error("pool {pool}: cannot read {path}: {source}")]
    Read {
        /// The pool.
        pool: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address is none.
    #[error("pool {pool}: \"{address}\" is not an address: write it as \"host:port\"")]
    Address {
        /// The pool.
        pool: String,
        /// As configured.
        address: String,
    },
    /// The certificates cannot be used.
    #[error(
        "pool {pool}: its tls files cannot be used: {source}; check that all are PEM and that key and cert belong together"
    )]
    Tls {
        /// The pool.
        pool: String,
        /// Why.
        source: tonic::transport::Error,
    },
}

/// A channel that connects on first use.
pub(super) fn channel(config: &PoolConfig) -> Result<Channel, ConnectError> {
    match &config.access {
        PoolAccess::Socket(path) => {
            let path = path.clone();
            // The URI only fills the :authority header.
            let endpoint = with_limits(Endpoint::from_static("http://pool.invalid"));
            Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                let path = path.clone();
                async move { UnixStream::connect(path).await.map(TokioIo::new) }
            })))
        }
        PoolAccess::Tls { address, files } => {
            let pool = config.name.as_str();
            let endpoint = Endpoint::from_shared(format!("https://{address}"))
                .map_err(|_| ConnectError::Address { pool: pool.to_owned(), address: address.clone() })?;
            let endpoint = with_limits(endpoint)
                .tls_config(tls(pool, files)?)
                .map_err(|source| ConnectError::Tls { pool: pool.to_owned(), source })?;
            Ok(endpoint.connect_lazy())
        }
    }
}

fn with_limits(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
}

fn tls(pool: &str, files: &TlsFiles) -> Result<ClientTlsConfig, ConnectError> {
    let read = |path: &PathBuf| {
        fs::read(path).map_err(|source| ConnectError::Read {
            pool: pool.to_owned(),
            path: path.clone(),
            source,
        })
    };
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&files.ca)?))
        .identity(Identity::from_pem(read(&files.cert)?, read(&files.key)?));
    Ok(match &files.domain {
        Some(domain) => tls.domain_name(domain),
        None => tls,
    })
}
