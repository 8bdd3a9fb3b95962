//! A server's certificate and key, read again when they change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use penstock_service::watch::{Look, Watched};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, ProducesTickets};

use crate::certificate::{self, CertificateError};

/// A certificate that ends so soon is warned of.
const WARN_BEFORE_END: Duration = Duration::from_secs(7 * 86_400);
/// The protocol that is spoken inside (RFC 7301).
const ALPN: &[u8] = b"http/1.1";
/// Tickets that a client gets with TLS 1.3: it comes again with one and gets the next then.
const TICKETS: usize = 1;

/// PEM files of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate with those that lead to its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a port proves its identity with.
pub struct ServerIdentity {
    files: ServerFiles,
    /// Looks at the certificates of clients.
    clients: Arc<dyn ClientCertVerifier>,
    /// Encrypts tickets; its keys change by themselves, and outlive a change of the certificate.
    tickets: Arc<dyn ProducesTickets>,
    watched: Watched<Current>,
}

impl std::fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerIdentity").field("files", &self.files).finish_non_exhaustive()
    }
}

struct Current {
    config: Arc<ServerConfig>,
    ends_at: Option<SystemTime>,
}

/// The cryptography of both sides: AES-128-GCM goes first, as it takes a quarter less time than AES-256-GCM and is as
/// far from being broken; whoever offers only others gets those.
pub fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let rank = |suite: rustls::CipherSuite| match suite.as_str() {
        Some(name) if name.contains("AES_128_GCM") => 0,
        Some(name) if name.contains("AES_256_GCM") => 1,
        _ => 2,
    };
    // TLS 1.3 stays before 1.2: the sort keeps the order of equals, and rustls has it so.
    let is_12 = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_none();
    provider.cipher_suites.sort_by_key(|suite| (is_12(suite), rank(suite.suite())));
    provider
}

impl ServerIdentity {
    /// Reads certificate and key, for a port whose clients show no certificates.
    pub fn load(files: ServerFiles) -> Result<ServerIdentity, CertificateError> {
        Self::load_with(files, Arc::new(NoClientAuth))
    }

    /// The same for one whose clients may.
    pub fn load_with(
        files: ServerFiles,
        clients: Arc<dyn ClientCertVerifier>,
    ) -> Result<ServerIdentity, CertificateError> {
        let tickets = aws_lc_rs::Ticketer::new().map_err(CertificateError::SetUp)?;
        let watched = Watched::new(look(&files), || read(&files, &clients, &tickets))?;
        Ok(ServerIdentity { files, clients, tickets, watched })
    }

    /// Reads them again if their files have changed, or anyway when `force` is set; an error leaves those in use that
    /// were read before. True when there are new ones.
    pub fn reload(&self, force: bool) -> Result<bool, CertificateError> {
        self.watched.reload(force, look(&self.files), || read(&self.files, &self.clients, &self.tickets))
    }

    /// What is in use now.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.watched.current().config)
    }

    /// When the certificate ends, as far as that can be told.
    pub fn ends_at(&self) -> Option<SystemTime> {
        self.watched.current().ends_at
    }

    /// What there is to worry about: a certificate that has ended or ends within days.
    pub fn worry(&self, now: SystemTime) -> Option<String> {
        let cert = self.files.cert.display();
        match self.ends_at()?.duration_since(now) {
            Err(_) => {
                Some(format!("the certificate {cert} has ended: clients refuse it; put a new one there"))
            }
            Ok(left) if left < WARN_BEFORE_END => {
                let hours = left.as_secs() / 3600;
                Some(format!("the certificate {cert} ends in {hours} h: put a new one there"))
            }
            Ok(_) => None,
        }
    }
}

fn look(files: &ServerFiles) -> Look {
    Look::at([files.cert.as_path(), files.key.as_path()])
}

fn read(
    files: &ServerFiles,
    clients: &Arc<dyn ClientCertVerifier>,
    tickets: &Arc<dyn ProducesTickets>,
) -> Result<Current, CertificateError> {
    let chain = certificate::read_chain(&files.cert)?;
    let key = certificate::read_key(&files.key)?;
    let ends_at = chain.first().and_then(|first| certificate::not_after(first).ok());
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(CertificateError::SetUp)?
        .with_client_cert_verifier(Arc::clone(clients))
        .with_single_cert(chain, key)
        .map_err(|error| CertificateError::Pair {
            cert: files.cert.clone(),
            key: files.key.clone(),
            problem: error.to_string(),
        })?;
    config.ignore_client_order = true;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.ticketer = Arc::clone(tickets);
    config.send_tls13_tickets = TICKETS;
    // Everything that resuming needs is in the ticket.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Current { config: Arc::new(config), ends_at })
}
