//! Mutual TLS of the doors' port. Certificate, key and authority are read again when their files change: a certificate
//! that ends after a year must not take a restart of every pool.
#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use penstock_service::watch::{Look, Watched};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;

use super::listen::ListenError;
use crate::config::TlsFiles;
use crate::tls::certificate::{self, CertificateError};

/// What is spoken inside (RFC 7301).
const ALPN: &[u8] = b"h2";
/// Handshakes at once; doors are few, and more wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 64;
/// For one handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// Connections that wait to be taken over.
const WAITING_MAX: usize = 16;
/// After an accept that failed (no descriptors, say), so that the failure does not take the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A certificate that ends so soon is warned of.
const WARN_BEFORE_END: Duration = Duration::from_secs(7 * 86_400);

/// What the doors' port proves its identity with, and whom it lets in.
pub(in crate::control) struct GrpcTls {
    files: TlsFiles,
    watched: Watched<Current>,
}

impl std::fmt::Debug for GrpcTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcTls").field("files", &self.files).finish_non_exhaustive()
    }
}

struct Current {
    config: Arc<ServerConfig>,
    ends_at: Option<SystemTime>,
}

/// How long a certificate still is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) enum Validity {
    /// Long enough, or nobody knows.
    Good,
    /// For some days.
    EndsSoon,
    /// Not any more.
    Ended,
}

impl GrpcTls {
    /// Reads the files. Blocks.
    pub fn load(files: TlsFiles) -> Result<Self, ListenError> {
        let watched = Watched::new(look(&files), || read(&files))?;
        Ok(Self { files, watched })
    }

    /// Reads them again if they have changed, or anyway when `force` is set; an error leaves in use what was read
    /// before, and is told once. True when there is something new. Blocks.
    pub fn reload(&self, force: bool) -> Result<bool, ListenError> {
        self.watched.reload(force, look(&self.files), || read(&self.files))
    }

    /// How long the pool's own certificate still is good.
    pub fn validity(&self, now: SystemTime) -> Validity {
        match self.watched.current().ends_at.map(|ends_at| ends_at.duration_since(now)) {
            Some(Err(_)) => Validity::Ended,
            Some(Ok(left)) if left < WARN_BEFORE_END => Validity::EndsSoon,
            Some(Ok(_)) | None => Validity::Good,
        }
    }

    /// Warns of a certificate that ends soon, or has ended.
    pub fn warn_of(&self, validity: Validity) {
        let cert = self.files.cert.display();
        match validity {
            Validity::Good => {}
            Validity::EndsSoon => {
                warn!(%cert, "the pool's certificate for doors ends within a week: put a new one there")
            }
            Validity::Ended => {
                warn!(%cert, "the pool's certificate for doors has ended: doors refuse it; put a new one there");
            }
        }
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.watched.current().config)
    }
}

fn look(files: &TlsFiles) -> Look {
    Look::at([files.cert.as_path(), files.key.as_path(), files.client_ca.as_path()])
}

fn read(files: &TlsFiles) -> Result<Current, ListenError> {
    let wrong = |key: &'static str| move |error: CertificateError| ListenError::Certificate { key, error };
    let unusable = |error: &dyn std::fmt::Display| ListenError::Tls(error.to_string());
    let chain = certificate::read_chain(&files.cert).map_err(wrong("grpc.cert"))?;
    let key = certificate::read_key(&files.key).map_err(wrong("grpc.key"))?;
    let mut doors = RootCertStore::empty();
    for authority in certificate::read_chain(&files.client_ca).map_err(wrong("grpc.client_ca"))? {
        doors.add(authority).map_err(|error| unusable(&format!("grpc.client_ca: {error}")))?;
    }
    let ends_at = chain.first().and_then(|first| certificate::not_after(first).ok());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(doors.into(), Arc::clone(&provider))
        .build()
        .map_err(|error| unusable(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Current { config: Arc::new(config), ends_at })
}

/// Connections whose handshake went well. Handshakes wait for each other only when there are very many.
pub(in crate::control) fn incoming(
    listener: TcpListener,
    tls: Arc<GrpcTls>,
) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(accept(listener, tls, sender));
    ReceiverStream::new(receiver)
}

/// Until nobody takes the connections any more.
async fn accept(
    listener: TcpListener,
    tls: Arc<GrpcTls>,
    sender: mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        // Never closed.
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sender.closed() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "the doors' port cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, sender) = (TlsAcceptor::from(tls.config()), sender.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let handshake = async {
                stream.set_nodelay(true)?;
                acceptor.accept(stream).await
            };
            match tokio::time::timeout(HANDSHAKE_TIME, handshake).await {
                Ok(Ok(stream)) => {
                    // Nobody takes it when the pool ends.
                    let _ = sender.send(Ok(stream)).await;
                }
                Ok(Err(error)) => warn!(%peer, %error, "not let in at the doors' port"),
                Err(_) => warn!(%peer, "the handshake at the doors' port took too long"),
            }
        });
    }
}
