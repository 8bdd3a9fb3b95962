//! What has to be said of a pool to reach its gRPC service.

use std::path::PathBuf;

/// How the pool is reached.
#[derive(Debug, clap::Args)]
pub struct Access {
    /// The pool's Unix socket (grpc.socket)
    #[arg(long, value_name = "PATH", required_unless_present = "address")]
    pub socket: Option<PathBuf>,
    /// The pool's gRPC port (grpc.listen)
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "socket")]
    pub address: Option<String>,
    /// PEM file of the authority that signed the pool's certificate
    #[arg(long, value_name = "FILE", requires = "address", requires = "cert")]
    pub ca: Option<PathBuf>,
    /// PEM file of a door's certificate
    #[arg(long, value_name = "FILE", requires = "key", requires = "ca")]
    pub cert: Option<PathBuf>,
    /// PEM file of its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// The name in the pool's certificate, where it is not the host
    #[arg(long, value_name = "NAME", requires = "ca")]
    pub domain: Option<String>,
}
