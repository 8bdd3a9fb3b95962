//! Where doors come to: a Unix socket of the pool's own user, or TCP with mutual TLS.
//!
//! Whoever is let in may command the pool, so there is no third way: TCP without TLS is for loopback and must be
//! asked for by name.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::{Router, TcpIncoming};
use tracing::error;

use super::tls::{self, GrpcTls};
use crate::config::GrpcEndpoint;
use crate::tls::certificate::CertificateError;

/// Calls of one door's connection at once: a stream for each transfer it follows, and short calls beside them.
const MAX_CALLS_PER_CONNECTION: u32 = 16_384;
/// Only the pool's own user.
const SOCKET_MODE: u32 = 0o600;

/// Why doors cannot come.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another process answers on the socket.
    #[error("grpc.socket: {path} is in use: another daemon answers there; stop it or choose another path")]
    SocketInUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else lies there.
    #[error("grpc.socket: {path} is there and is no socket; move it away or choose another path")]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("grpc.socket: cannot make {path}: {error}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The port cannot be bound.
    #[error("grpc.listen: cannot bind {address}: {error}")]
    Bind {
        /// Address and port.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A PEM file cannot be used.
    #[error("{key}: {error}")]
    Certificate {
        /// The configuration key.
        key: &'static str,
        /// What is wrong with which file.
        error: CertificateError,
    },
    /// The PEM files do not make a TLS server.
    #[error("grpc: the certificate, key or client_ca cannot be used: {0}")]
    Tls(String),
}

/// A bound endpoint.
pub(in crate::control) struct Bound {
    incoming: Incoming,
    server: Server,
    address: GrpcAddress,
    tls: Option<Arc<GrpcTls>>,
}

enum Incoming {
    Unix(UnixListener),
    Tcp(TcpListener),
    Tls(TcpListener, Arc<GrpcTls>),
}

/// Where doors come to, once bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcAddress {
    /// A Unix socket.
    Socket(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl std::fmt::Display for GrpcAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            GrpcAddress::Socket(path) => write!(f, "unix:{}", path.display()),
            GrpcAddress::Tcp(address) => write!(f, "{address}"),
        }
    }
}

/// Checks what an endpoint needs, without binding it.
pub fn check(endpoint: &GrpcEndpoint) -> Result<(), ListenError> {
    tls(endpoint).map(drop)
}

/// Binds an endpoint. Must be called within a tokio runtime.
pub(in crate::control) async fn bind(endpoint: &GrpcEndpoint) -> Result<Bound, ListenError> {
    let tls = tls(endpoint)?;
    let (incoming, address) = match endpoint {
        GrpcEndpoint::Socket(path) => (Incoming::Unix(bind_socket(path)?), GrpcAddress::Socket(path.clone())),
        GrpcEndpoint::Tls { listen, .. } | GrpcEndpoint::Insecure { listen } => {
            let (listener, address) = bind_tcp(*listen).await?;
            let incoming = match &tls {
                Some(tls) => Incoming::Tls(listener, Arc::clone(tls)),
                None => Incoming::Tcp(listener),
            };
            (incoming, GrpcAddress::Tcp(address))
        }
    };
    let server = Server::builder().max_concurrent_streams(MAX_CALLS_PER_CONNECTION);
    Ok(Bound { incoming, server, address, tls })
}

/// The endpoint's protection.
fn tls(endpoint: &GrpcEndpoint) -> Result<Option<Arc<GrpcTls>>, ListenError> {
    match endpoint {
        GrpcEndpoint::Socket(_) | GrpcEndpoint::Insecure { .. } => Ok(None),
        GrpcEndpoint::Tls { files, .. } => Ok(Some(Arc::new(GrpcTls::load(files.clone())?))),
    }
}

async fn bind_tcp(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |error| ListenError::Bind { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Makes the socket beside its path and moves it there, so that nobody ever meets it with other permissions, and a
/// stale one is replaced in one step.
fn bind_socket(path: &Path) -> Result<UnixListener, ListenError> {
    let failed = |error| ListenError::Socket { path: path.to_owned(), error };
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(ListenError::NoSocket { path: path.to_owned() });
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(ListenError::SocketInUse { path: path.to_owned() });
        }
        Ok(_) => {} // left by a daemon that did not end in order
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    // Short, as a socket's path may have 107 bytes only.
    let mut beside = path.as_os_str().to_owned();
    beside.push("~");
    let beside = PathBuf::from(beside);
    match std::fs::remove_file(&beside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let listener = UnixListener::bind(&beside).map_err(failed)?;
    std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    Ok(listener)
}

/// A serving endpoint.
#[derive(Debug)]
pub(in crate::control) struct Serving {
    address: GrpcAddress,
    tls: Option<Arc<GrpcTls>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Bound {
    /// Serves what `services` adds to the server, until stopped.
    pub(in crate::control) fn serve(mut self, services: impl FnOnce(&mut Server) -> Router) -> Serving {
        let router = services(&mut self.server);
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async {
            // The sender being dropped means the same.
            let _ = stopped.await;
        };
        let task = tokio::spawn(async move {
            let served = match self.incoming {
                Incoming::Unix(listener) => {
                    router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stopped).await
                }
                Incoming::Tls(listener, tls) => {
                    let incoming = tls::incoming(listener, tls);
                    router.serve_with_incoming_shutdown(incoming, stopped).await
                }
                Incoming::Tcp(listener) => {
                    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                    router.serve_with_incoming_shutdown(incoming, stopped).await
                }
            };
            if let Err(error) = served {
                error!(error = with_causes(&error), "the gRPC endpoint has ended");
            }
        });
        Serving { address: self.address, tls: self.tls, stop: Some(stop), task }
    }
}

impl Serving {
    /// Where doors come to.
    pub(in crate::control) fn address(&self) -> &GrpcAddress {
        &self.address
    }

    /// What it proves its identity with.
    pub(in crate::control) fn tls(&self) -> Option<&Arc<GrpcTls>> {
        self.tls.as_ref()
    }

    /// Nobody is answered any more, though nobody has asked for that.
    pub(in crate::control) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Takes no more calls; streams that are open get `grace` to end. Removes the socket.
    pub(in crate::control) async fn stop(mut self, grace: std::time::Duration) {
        if let Some(stop) = self.stop.take() {
            // The server may have ended by itself.
            let _ = stop.send(());
        }
        if tokio::time::timeout(grace, &mut self.task).await.is_err() {
            self.task.abort();
        }
        if let GrpcAddress::Socket(path) = &self.address {
            // Another daemon cannot have taken it: it would have found this one answering.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// tonic's errors say little without their sources.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsFiles;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_is_for_the_pools_own_user_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grpc.sock");
        let _listener = bind_socket(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grpc.sock");
        drop(bind_socket(&path).unwrap());
        let _live = bind_socket(&path).unwrap();
        let error = bind_socket(&path).unwrap_err();
        assert!(matches!(error, ListenError::SocketInUse { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grpc.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(bind_socket(&path), Err(ListenError::NoSocket { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_missing_directory_is_named() {
        let error = bind_socket(Path::new("/nonexistent/grpc.sock")).unwrap_err().to_string();
        assert!(error.starts_with("grpc.socket: cannot make /nonexistent/grpc.sock: "), "{error}");
    }

    #[tokio::test]
    async fn a_missing_certificate_is_named_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles {
            cert: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
            client_ca: dir.path().join("ca.pem"),
        };
        let endpoint = GrpcEndpoint::Tls { listen: "127.0.0.1:0".parse().unwrap(), files };
        let Err(error) = bind(&endpoint).await else { panic!("bound without a certificate") };
        assert!(error.to_string().starts_with("grpc.cert: cannot read "), "{error}");
    }

    #[test]
    fn a_file_that_is_no_certificate_is_found_before_anything_is_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nonsense.pem");
        std::fs::write(&path, "nonsense").unwrap();
        let files = TlsFiles { cert: path.clone(), key: path.clone(), client_ca: path };
        let endpoint = GrpcEndpoint::Tls { listen: "127.0.0.1:0".parse().unwrap(), files };
        let error = check(&endpoint).unwrap_err().to_string();
        let named =
            format!("grpc.cert: {} holds no certificate (PEM)", dir.path().join("nonsense.pem").display());
        assert_eq!(error, named);
    }
}
