//! Reading short documents from issuers over https, and asking them for tokens: bounded in size, time and redirects.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use url::{Host, Url};

use crate::auth::secret::Secret;

/// For one document, redirects and all.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest document.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;
/// Redirects that are followed.
const MAX_REDIRECTS: usize = 3;
/// Most that a connection buffers: a head has to fit.
const BUFFER_BYTES: usize = 32 * 1024;
/// Where systems have the authorities of the web.
const SYSTEM_AUTHORITIES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why the authorities that servers are checked with cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// None of the usual files.
    #[error(
        "authentication.issuer_authorities: this system has no bundle of authorities: install ca-certificates, or name a PEM file"
    )]
    NoBundle,
    /// It cannot be read.
    #[error("authentication.issuer_authorities: cannot read the certificates in {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// TLS itself.
    #[error("authentication.issuer_authorities: TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// Why a document cannot be read. One line, without what the server has sent.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URL of https.
    #[error("it is not on https")]
    Scheme,
    /// No name, no connection, no TLS.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// The exchange broke.
    #[error("the answer broke: {0}")]
    Http(#[from] hyper::Error),
    /// Another status than 200.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// Too many redirects, or one that leads nowhere.
    #[error("it is redirected more than {MAX_REDIRECTS} times, or to no URL")]
    Redirects,
    /// Too long, or cut off.
    #[error("the document is longer than {MAX_DOCUMENT_BYTES} bytes, or cut off")]
    Body,
    /// Too slow.
    #[error("no whole answer in time")]
    Timeout,
}

/// Reads documents.
pub struct Fetcher {
    tls: TlsConnector,
    timeout: Duration,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Fetcher")
    }
}

impl Fetcher {
    /// With the authorities in a PEM file, or the system's.
    pub fn new(authorities: Option<&Path>) -> Result<Self, TrustError> {
        let usual = || SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.exists());
        let path = authorities.or_else(usual).ok_or(TrustError::NoBundle)?;
        let failed = |reason: String| TrustError::Read { path: path.to_owned(), reason };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?;
        for certificate in certificates {
            // One that rustls does not understand is no authority, as in every browser.
            let _ = roots.add(certificate.map_err(|error| failed(error.to_string()))?);
        }
        if roots.is_empty() {
            return Err(failed("it holds none".to_owned()));
        }
        Self::with_roots(roots).map_err(TrustError::Tls)
    }

    /// With these certificates and no others.
    #[cfg(test)]
    pub(super) fn trusting(certificates: &[CertificateDer<'static>]) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate.clone()).unwrap();
        }
        Self::with_roots(roots).unwrap()
    }

    /// With less patience.
    #[cfg(test)]
    pub(super) fn patience(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    fn with_roots(roots: RootCertStore) -> Result<Self, rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), timeout: TIMEOUT })
    }

    /// Reads a document.
    pub async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        let reading = self.follow(url);
        tokio::time::timeout(self.timeout, reading).await.unwrap_or(Err(FetchError::Timeout))
    }

    /// Sends a form with an `Authorization`, and gives what is answered, whatever the status. Nobody is followed with it.
    pub async fn post_form(
        &self,
        url: &str,
        authorization: &Secret,
        form: &Secret,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let url = Url::parse(url).map_err(|_| FetchError::Scheme)?;
        let request = Request::post(target(&url))
            .header(header::AUTHORIZATION, authorization.expose())
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
            .body(Full::from(Bytes::copy_from_slice(form.expose())))
            // A parsed URL is a target, and base64 a header's value.
            .map_err(|_| FetchError::Scheme)?;
        let asking = async {
            let response = self.send(&url, request).await?;
            Ok((response.status, response.body.ok_or(FetchError::Body)?))
        };
        tokio::time::timeout(TIMEOUT, asking).await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn follow(&self, url: &str) -> Result<Bytes, FetchError> {
        let mut url = Url::parse(url).map_err(|_| FetchError::Scheme)?;
        for _ in 0..=MAX_REDIRECTS {
            match self.ask(&url).await? {
                Answer::Document(bytes) => return Ok(bytes),
                Answer::Elsewhere(location) => {
                    url = url.join(&location).map_err(|_| FetchError::Redirects)?;
                }
            }
        }
        Err(FetchError::Redirects)
    }

    async fn ask(&self, url: &Url) -> Result<Answer, FetchError> {
        // A parsed URL is a target.
        let request = Request::get(target(url)).body(Full::default()).map_err(|_| FetchError::Scheme)?;
        let Response { status, location, body } = self.send(url, request).await?;
        if status.is_redirection() {
            return location.map(Answer::Elsewhere).ok_or(FetchError::Redirects);
        }
        match (status, body) {
            (StatusCode::OK, Some(body)) => Ok(Answer::Document(body)),
            (StatusCode::OK, None) => Err(FetchError::Body),
            _ => Err(FetchError::Status(status)),
        }
    }

    /// One request on a connection of its own.
    async fn send(&self, url: &Url, mut request: Request<Full<Bytes>>) -> Result<Response, FetchError> {
        if url.scheme() != "https" {
            return Err(FetchError::Scheme);
        }
        let host = url.host().ok_or(FetchError::Scheme)?;
        let port = url.port_or_known_default().ok_or(FetchError::Scheme)?;
        let authority = if port == 443 { host.to_string() } else { format!("{host}:{port}") };
        let headers = request.headers_mut();
        // A host of a parsed URL is a header's value.
        headers.insert(header::HOST, HeaderValue::from_str(&authority).map_err(|_| FetchError::Scheme)?);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let (stream, name) = connect(&host, port).await.map_err(FetchError::Connect)?;
        let stream = self.tls.connect(name, stream).await.map_err(FetchError::Connect)?;
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(BUFFER_BYTES).handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let result = exchange(&mut sender, request).await;
        // Nothing more is wanted of it.
        driver.abort();
        result
    }
}

enum Answer {
    Document(Bytes),
    Elsewhere(String),
}

/// An answer; its body is not there when it is too long or was cut off.
struct Response {
    status: StatusCode,
    location: Option<String>,
    body: Option<Bytes>,
}

fn target(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

async fn connect(host: &Host<&str>, port: u16) -> std::io::Result<(TcpStream, ServerName<'static>)> {
    match host {
        Host::Domain(name) => {
            let server = ServerName::try_from((*name).to_owned()).map_err(std::io::Error::other)?;
            Ok((TcpStream::connect((*name, port)).await?, server))
        }
        Host::Ipv4(address) => Ok((
            TcpStream::connect((*address, port)).await?,
            ServerName::from(std::net::IpAddr::from(*address)),
        )),
        Host::Ipv6(address) => Ok((
            TcpStream::connect((*address, port)).await?,
            ServerName::from(std::net::IpAddr::from(*address)),
        )),
    }
}

async fn exchange(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response, FetchError> {
    let response = sender.send_request(request).await?;
    let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let (status, location) = (response.status(), location.map(str::to_owned));
    let mut body = Limited::new(response.into_body(), MAX_DOCUMENT_BYTES);
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Ok(Response { status, location, body: None }) };
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Response { status, location, body: Some(bytes.freeze()) })
}
