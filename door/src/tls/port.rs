//! What a listener for https needs: its certificate and key, whom it believes, and how many handshakes it makes at once.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use penstock_service::reminder::Reminder;
use penstock_trust::{CertificateError as FileError, ServerIdentity};
use rustls::server::NoClientAuth;
use rustls::server::danger::ClientCertVerifier;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::client::AskClients;
use super::stream::TlsStream;
use crate::auth::certificate::voms::warnings::Warnings;
use crate::auth::certificate::{Authorities, CertificateError};
use crate::auth::identity::Identity;
use crate::config::TlsConfig;
use crate::metrics::{Handshake, Metrics};

/// How often files are looked at for changes.
pub const LOOK_PERIOD: Duration = Duration::from_secs(10);

/// What a listener for https needs.
#[derive(Debug)]
pub struct SecurePort {
    identity: Arc<ServerIdentity>,
    authorities: Option<Arc<Authorities>>,
    handshake_time: Duration,
    handshakes: Semaphore,
    metrics: Metrics,
    /// Of a certificate that ends soon.
    reminder: Mutex<Reminder>,
    /// Of attributes that do not count.
    warnings: Warnings,
}

/// What a client's handshake showed of who it is.
pub type Shown = Option<Result<Identity, CertificateError>>;

/// How a connection for https begins.
#[derive(Debug)]
pub enum Beginning {
    /// With a handshake.
    Secure {
        /// The connection.
        stream: Box<TlsStream>,
        /// The client's certificate.
        shown: Shown,
    },
    /// With a request in plain HTTP.
    Plain(TcpStream),
    /// Not at all.
    Failed,
}

impl SecurePort {
    /// Reads certificate and key. Clients are asked for certificates when there are authorities to believe. Blocks.
    pub fn load(
        config: &TlsConfig,
        authorities: Option<Arc<Authorities>>,
        metrics: Metrics,
    ) -> Result<Self, FileError> {
        let clients: Arc<dyn ClientCertVerifier> =
            if authorities.is_some() { Arc::new(AskClients) } else { Arc::new(NoClientAuth) };
        let identity = Arc::new(ServerIdentity::load_with(config.files(), clients)?);
        Ok(Self {
            identity,
            authorities,
            handshake_time: config.handshake_timeout.0,
            handshakes: Semaphore::new(config.handshakes as usize),
            metrics,
            reminder: Mutex::new(Reminder::said(Instant::now())),
            warnings: Warnings::default(),
        })
    }

    /// Whom the port believes.
    pub fn authorities(&self) -> Option<&Arc<Authorities>> {
        self.authorities.as_ref()
    }

    /// Shakes hands with a client, for a bounded time.
    pub async fn begin(&self, tcp: TcpStream, peer: SocketAddr) -> Beginning {
        match timeout(self.handshake_time, self.shake_hands(tcp)).await {
            Ok(Ok(Beginning::Secure { stream, shown })) => {
                let resumed = stream.is_resumed();
                self.metrics.handshake(if resumed { Handshake::Resumed } else { Handshake::Full });
                tracing::debug!(client = %peer, version = stream.version(), resumed, "TLS");
                self.tell_ignored(peer, &shown);
                Beginning::Secure { stream, shown }
            }
            Ok(Ok(beginning)) => {
                self.metrics.handshake(Handshake::Failed);
                beginning
            }
            Ok(Err(error)) => {
                self.metrics.handshake(Handshake::Failed);
                // Clients that vanish, probe or speak something else are everyday life.
                tracing::debug!(client = %peer, %error, "no TLS handshake");
                Beginning::Failed
            }
            Err(_) => {
                self.metrics.handshake(Handshake::Late);
                tracing::debug!(client = %peer, "no TLS handshake in time");
                Beginning::Failed
            }
        }
    }

    async fn shake_hands(&self, tcp: TcpStream) -> io::Result<Beginning> {
        // Whoever says nothing takes no place of those who do.
        let mut first = [0];
        if tcp.peek(&mut first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // A record of TLS begins with 22 (RFC 8446 §5.1), a request with the letters of its method.
        if first[0].is_ascii_uppercase() {
            return Ok(Beginning::Plain(tcp));
        }
        let _permit = self.handshakes.acquire().await.map_err(io::Error::other)?;
        let stream = Box::new(TlsStream::accept(tcp, self.identity.config()).await?);
        let shown = self
            .authorities
            .as_ref()
            .zip(stream.client_chain())
            .map(|(authorities, chain)| authorities.verify(&chain, Timestamp::now()));
        Ok(Beginning::Secure { stream, shown })
    }

    /// Says what a client has shown along with its certificate and does not count.
    fn tell_ignored(&self, peer: SocketAddr, shown: &Shown) {
        let Some(Ok(Identity { name, ignored: Some(why), .. })) = shown else { return };
        if let Some(left_out) = self.warnings.admit(Instant::now()) {
            tracing::warn!(client = %peer, who = name, why, left_out, "attributes of a client are ignored");
        }
    }

    /// Reads the files again that have changed, or all when `force` is set, and says what came of it. What cannot be
    /// read leaves in use what was read before.
    pub async fn reload(self: &Arc<Self>, force: bool) {
        let port = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            match port.identity.reload(force) {
                Ok(true) => port.tell_certificate(),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "the new certificate is not used, the old one stays");
                }
            }
            port.remind();
            let Some(authorities) = &port.authorities else { return };
            match authorities.reload(force) {
                Ok(true) => port.tell_authorities(),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "the new authorities are not used, the old ones stay");
                }
            }
        });
        // Only the end of the runtime interrupts it.
        let _ = reading.await;
    }

    /// Says what is in use.
    pub fn tell(&self) {
        self.tell_certificate();
        self.tell_authorities();
    }

    fn tell_certificate(&self) {
        let now = SystemTime::now();
        let left = self.identity.ends_at().and_then(|ends_at| ends_at.duration_since(now).ok());
        tracing::info!(
            days_left = left.map(|left| left.as_secs() / 86_400),
            "the door's certificate was read"
        );
        if let Some(problem) = self.identity.worry(now) {
            tracing::warn!(problem, "the door's certificate");
            // A value is whole after whatever happened.
            *self.reminder.lock().unwrap_or_else(PoisonError::into_inner) = Reminder::said(Instant::now());
        }
    }

    /// Says each day what there is to worry about.
    fn remind(&self) {
        let Some(problem) = self.identity.worry(SystemTime::now()) else { return };
        if self.reminder.lock().unwrap_or_else(PoisonError::into_inner).is_due(Instant::now()) {
            tracing::warn!(problem, "the door's certificate");
        }
    }

    fn tell_authorities(&self) {
        let Some(authorities) = &self.authorities else { return };
        let stock = authorities.stock();
        tracing::info!(
            place = %authorities.place().display(),
            authorities = stock.authorities,
            revocation_lists = stock.revocation_lists,
            namespaces = stock.namespaces,
            voms_servers = stock.voms_servers,
            "the authorities of clients were read"
        );
        for problem in &stock.passed_over {
            tracing::warn!(problem, "a file of an authority or of a VO's server is passed over");
        }
    }
}
