//! Stories of TLS connections over real sockets, with certificates made on the spot.

mod client_side;
mod server_side;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ED25519};
use tempfile::TempDir;

use super::server::ServerFiles;
use super::{HandshakeError, ServerTls, TlsFacts, TlsStream};
use crate::engine::blocking::Blocking;
use crate::engine::net::listener::{self, Listener};
use crate::engine::shard::Shard;

/// Long enough for whatever should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a transfer waits for a client with a slot in its hand.
const SLOT_PATIENCE: Duration = Duration::from_millis(25);
const NAME: &str = "pool.example.org";

/// An authority with a directory for what it issues.
pub(crate) struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        // Signatures of this kind have all the same length, so that simulations repeat.
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("Authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Authority { directory, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file of its own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory().join("ca.pem")
    }

    /// Issues a certificate for such names, or addresses, into files of that name.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) -> ServerFiles {
        self.issue_with(file, names, |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        file: &str,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> ServerFiles {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |ending: &str| self.directory().join(format!("{file}.{ending}"));
        let files = ServerFiles { cert: path("cert"), key: path("key") };
        std::fs::write(&files.cert, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}

/// A shard that speaks TLS with everybody who connects.
struct Server {
    address: SocketAddr,
    tls: Arc<ServerTls>,
    /// How handshakes ended.
    handshakes: Receiver<Result<TlsFacts, HandshakeError>>,
    _shard: Shard,
}

impl Server {
    /// `talk` does what the story is about with each connection.
    fn start<F: Future<Output = ()> + 'static>(
        files: ServerFiles,
        handshake_limit: Duration,
        talk: impl Fn(TlsStream) -> F + Send + Clone + 'static,
    ) -> Server {
        let shard = Shard::start(0, 4, Blocking::new(2)).expect("io_uring is needed for the tests");
        let listener = listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener::address(&listener).unwrap();
        let tls = Arc::new(ServerTls::load(files).unwrap());
        let (tell, handshakes): (Sender<Result<TlsFacts, HandshakeError>>, _) = channel();
        let accepting = Arc::clone(&tls);
        shard
            .submit(move |core| async move {
                let listener = Listener::new(Rc::clone(&core), listener);
                while let Ok(connection) = listener.accept().await {
                    let (tls, talk, tell) = (Arc::clone(&accepting), talk.clone(), tell.clone());
                    core.spawn(async move {
                        let stream = tls.accept(connection, handshake_limit).await;
                        let _ =
                            tell.send(stream.as_ref().map(TlsStream::facts).map_err(HandshakeError::copy));
                        if let Ok(stream) = stream {
                            talk(stream).await;
                        }
                    });
                }
            })
            .unwrap();
        Server { address, tls, handshakes, _shard: shard }
    }

    fn handshake(&self) -> Result<TlsFacts, HandshakeError> {
        self.handshakes.recv_timeout(PATIENCE).expect("the handshake ends")
    }
}

impl HandshakeError {
    fn copy(&self) -> HandshakeError {
        match self {
            HandshakeError::NotTls => HandshakeError::NotTls,
            HandshakeError::Timeout(limit) => HandshakeError::Timeout(*limit),
            HandshakeError::Closed => HandshakeError::Closed,
            HandshakeError::Connection(error) => {
                HandshakeError::Connection(std::io::Error::from(error.kind()))
            }
            HandshakeError::Tls(error) => HandshakeError::Tls(error.clone()),
        }
    }
}

/// Bytes in which a lost, doubled or moved piece shows.
fn content(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
