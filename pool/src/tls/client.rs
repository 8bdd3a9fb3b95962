//! TLS to other servers, for third-party copies: whom the pool believes, and the certificate it shows.
//!
//! Trust comes from a bundle of PEM certificates or from a directory as grids keep them (`<hash>.0` or `*.pem`, and
//! lists of revoked certificates in `<hash>.r0`). It is read at the start and when it has changed, never for a
//! transfer.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use penstock_service::watch::{Look, Watched};
use rustls::client::{
    ClientSessionMemoryCache, Resumption, Tls12Resumption, UnbufferedClientConnection, WebPkiServerVerifier,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::certificate::{self, CertificateError};
use super::machine::Machine;
use super::server::{ServerFiles, provider};
use super::stream::{HandshakeError, TlsStream};
use crate::engine::net::Connection;

/// Servers whose tickets are kept.
const TICKET_SERVERS: usize = 256;
/// A directory with more files than that is the wrong one.
const MOST_FILES: usize = 20_000;

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

    /// Speaks TLS over a connection that was made, with a server that proves to have that name.
    pub async fn connect(
        &self,
        connection: Connection,
        name: ServerName<'static>,
        limit: Duration,
    ) -> Result<TlsStream, HandshakeError> {
        let client = UnbufferedClientConnection::new(self.config(), name)?;
        TlsStream::handshake(connection, Machine::Client(Box::new(client)), limit).await
    }
}

fn look(files: &ClientFiles) -> Look {
    let identity = files.identity.iter().flat_map(|files| [files.cert.as_path(), files.key.as_path()]);
    Look::at([files.authorities.as_path()].into_iter().chain(identity))
}

/// What lies in a file or directory.
#[derive(Default)]
struct Found {
    authorities: BTreeSet<Vec<u8>>,
    revocation_lists: BTreeSet<Vec<u8>>,
    passed_over: Vec<String>,
}

fn read(files: &ClientFiles) -> Result<Current, CertificateError> {
    let path = &files.authorities;
    let mut found = Found::default();
    let is_directory = std::fs::metadata(path).map_err(|error| CertificateError::read(path, error))?.is_dir();
    if is_directory {
        read_directory(path, &mut found)?;
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

fn read_directory(directory: &Path, found: &mut Found) -> Result<(), CertificateError> {
    let unreadable = |error| CertificateError::read(directory, error);
    for (number, entry) in std::fs::read_dir(directory).map_err(unreadable)?.enumerate() {
        if number >= MOST_FILES {
            return Err(CertificateError::read(
                directory,
                format!("there are more than {MOST_FILES} files in it"),
            ));
        }
        let path = entry.map_err(unreadable)?.path();
        let read = match kind(&path) {
            Some(Kind::Authority) => certificate::read_chain(&path)
                .map(|chain| found.authorities.extend(chain.into_iter().map(|der| der.to_vec()))),
            Some(Kind::RevocationList) => {
                read_revocation_lists(&path).map(|lists| found.revocation_lists.extend(lists))
            }
            None => continue,
        };
        if let Err(error) = read {
            found.passed_over.push(error.to_string());
        }
    }
    Ok(())
}

enum Kind {
    Authority,
    RevocationList,
}

/// As OpenSSL names them: `<hash>.<n>` and `<hash>.r<n>`; `.pem` beside them.
fn kind(path: &Path) -> Option<Kind> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match path.extension()?.to_str()? {
        "pem" | "crt" => Some(Kind::Authority),
        number if is_number(number) => Some(Kind::Authority),
        list if list.strip_prefix('r').is_some_and(is_number) => Some(Kind::RevocationList),
        _ => None,
    }
}

/// PEM or, as some authorities have it, DER.
fn read_revocation_lists(path: &Path) -> Result<Vec<Vec<u8>>, CertificateError> {
    let bytes = std::fs::read(path).map_err(|error| CertificateError::read(path, error))?;
    const SEQUENCE: u8 = 0x30;
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![bytes]);
    }
    let lists = CertificateRevocationListDer::pem_slice_iter(&bytes)
        .map(|list| list.map(|list| list.to_vec()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| CertificateError::read(path, certificate::text(&error)))?;
    if lists.is_empty() {
        return Err(CertificateError::Nothing { path: path.to_owned(), what: "revocation list" });
    }
    Ok(lists)
}
