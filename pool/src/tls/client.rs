//! TLS to other servers, for third-party copies: whom the pool believes, and the certificate it shows.
//!
//! Trust comes from a bundle of PEM certificates or from a directory as grids keep them (`<hash>.0` or `*.pem`, and
//! lists of revoked certificates in `<hash>.r0`). It is read at the start and when it has changed, never for a
//! transfer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use penstock_service::watch::{Look, Watched};
use rustls::client::{
    ClientSessionMemoryCache, Resumption, Tls12Resumption, UnbufferedClientConnection, WebPkiServerVerifier,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::certificate::{self, CertificateError};
use super::credential::Credential;
use super::directory::{self, Found};
use super::machine::Machine;
use super::server::{ServerFiles, provider};
use super::stream::{HandshakeError, TlsStream};
use crate::engine::net::Connection;

/// Servers whose tickets are kept.
const TICKET_SERVERS: usize = 256;

/// What the client's side of TLS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// A PEM file of certificates of authorities, or a directory of such files and revocation lists.
    pub authorities: PathBuf,
    /// The certificate and key to show to servers that ask for one.
    pub identity: Option<ServerFiles>,
}

/// Whom the pool believes as a client.
pub struct ClientTls {
    files: ClientFiles,
    watched: Watched<Current>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").field("files", &self.files).finish_non_exhaustive()
    }
}

struct Current {
    config: Arc<ClientConfig>,
    trust: Trust,
}

/// How much was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// Certificates of authorities.
    pub authorities: usize,
    /// Revocation lists.
    pub revocation_lists: usize,
    /// Files that were passed over, with the reason: what is wrong with one authority must not cut off the others.
    pub passed_over: Vec<String>,
}

impl ClientTls {
    /// Reads the files. Blocks.
    pub fn load(files: ClientFiles) -> Result<ClientTls, CertificateError> {
        let watched = Watched::new(look(&files), || read(&files))?;
        Ok(ClientTls { files, watched })
    }

    /// Reads them again if they have changed, or anyway when `force` is set; an error leaves in use what was read
    /// before. True when something is new. Blocks.
    pub fn reload(&self, force: bool) -> Result<bool, CertificateError> {
        self.watched.reload(force, look(&self.files), || read(&self.files))
    }

    /// How much was read.
    pub fn trust(&self) -> Trust {
        self.watched.current().trust.clone()
    }

    /// What is in use now.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.watched.current().config)
    }

    /// Speaks TLS over a connection that was made, with a server that proves to have that name. `shown`: what it is shown
    /// when it asks for a certificate, instead of the pool's own.
    pub async fn connect(
        &self,
        connection: Connection,
        name: ServerName<'static>,
        shown: Option<&Credential>,
        limit: Duration,
    ) -> Result<TlsStream, HandshakeError> {
        let config = match shown {
            None => self.config(),
            Some(credential) => Arc::new(credential.shown_by(&self.config())),
        };
        let client = UnbufferedClientConnection::new(config, name)?;
        TlsStream::handshake(connection, Machine::Client(Box::new(client)), limit).await
    }
}

fn look(files: &ClientFiles) -> Look {
    let identity = files.identity.iter().flat_map(|files| [files.cert.as_path(), files.key.as_path()]);
    Look::at([files.authorities.as_path()].into_iter().chain(identity))
}

fn read(files: &ClientFiles) -> Result<Current, CertificateError> {
    let path = &files.authorities;
    let mut found = Found::default();
    let is_directory = std::fs::metadata(path).map_err(|error| CertificateError::read(path, error))?.is_dir();
    if is_directory {
        found = directory::read(path)?;
    } else {
        found.authorities.extend(certificate::read_chain(path)?.into_iter().map(|der| der.to_vec()));
    }
    let mut roots = RootCertStore::empty();
    for der in &found.authorities {
        if let Err(error) = roots.add(CertificateDer::from(der.as_slice())) {
            found.passed_over.push(format!("a certificate in {}: {error}", path.display()));
        }
    }
    if roots.is_empty() {
        return Err(CertificateError::Nothing { path: path.clone(), what: "certificate of an authority" });
    }
    let trust_error = |problem: String| CertificateError::Trust { path: path.clone(), problem };
    let (roots, provider) = (Arc::new(roots), Arc::new(provider()));
    let mut trust = Trust { authorities: roots.len(), ..Trust::default() };
    // A list whose authority is not known, or that is out of date, still says whom not to believe; an authority
    // without a list is believed, as many have none.
    let verifier = |lists: Vec<CertificateRevocationListDer<'static>>| {
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .with_crls(lists)
            .only_check_end_entity_revocation()
            .allow_unknown_revocation_status()
            .build()
    };
    let mut lists = Vec::new();
    for der in found.revocation_lists {
        let list = CertificateRevocationListDer::from(der);
        // One that cannot be understood would make all of them unusable.
        match verifier(vec![list.clone()]) {
            Ok(_) => lists.push(list),
            Err(error) => {
                found.passed_over.push(format!("a revocation list in {}: {error}", path.display()));
            }
        }
    }
    trust.revocation_lists = lists.len();
    trust.passed_over = found.passed_over;
    let verifier = verifier(lists).map_err(|error| trust_error(error.to_string()))?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(CertificateError::SetUp)?
        .with_webpki_verifier(verifier);
    let mut config = match &files.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificate::read_chain(&identity.cert)?;
            let key = certificate::read_key(&identity.key)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| CertificateError::Pair {
                cert: identity.cert.clone(),
                key: identity.key.clone(),
                problem: error.to_string(),
            })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(TICKET_SERVERS)))
        .tls12_resumption(Tls12Resumption::SessionIdOrTickets);
    Ok(Current { config: Arc::new(config), trust })
}
