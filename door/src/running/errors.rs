//! Why a door does not start, or does not go by a new configuration.

use std::net::SocketAddr;

use penstock_service::records::RecordsError;

use crate::auth::password::PasswordFileError;
use crate::auth::setup::SetupError;
use crate::config::ConfigError;
use crate::delegation::exchange::ExchangeSetupError;
use crate::namespace::NamespaceError;
use crate::pools::ConnectError;

/// Why a door does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The macaroon keys, the policy, or the authorities of issuers.
    #[error(transparent)]
    Authentication(#[from] SetupError),
    /// The audit.
    #[error(transparent)]
    Audit(#[from] RecordsError),
    /// The exchange of tokens.
    #[error(transparent)]
    Exchange(#[from] ExchangeSetupError),
    /// The pools' certificates.
    #[error(transparent)]
    Pools(#[from] ConnectError),
    /// The door's certificate, or the authorities of clients.
    #[error(transparent)]
    Tls(#[from] penstock_trust::CertificateError),
    /// The password file.
    #[error(transparent)]
    Passwords(#[from] PasswordFileError),
    /// A socket for https came from the service manager, and nothing to serve it with.
    #[error(
        "the service manager hands over a socket named \"https\": add a [tls] table, or disable that socket"
    )]
    NoTls,
    /// The namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Why a new configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The macaroon keys, the policy, or the authorities of issuers.
    #[error(transparent)]
    Authentication(#[from] SetupError),
    /// The exchange of tokens.
    #[error(transparent)]
    Exchange(#[from] ExchangeSetupError),
    /// The pools' certificates.
    #[error(transparent)]
    Pools(#[from] ConnectError),
    /// The authorities of the pools' data ports.
    #[error(transparent)]
    DataPorts(#[from] penstock_trust::CertificateError),
}
