//! Bytes through the door, for clients that cannot follow a redirect: each frame is handed on as it comes, so that a
//! slow side slows the other, and nothing is kept.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as HttpBody, Incoming};
use hyper::client::conn::http1;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::answer::{Answer, BodyError, Refusal};
use super::digest;
use super::pool_stream::PoolStream;
use crate::tls::DataPorts;

/// How long connecting to a data port may take, its handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames are read in pieces of up to this many bytes.
const BUFFER_BYTES: usize = 256 * 1024;
/// Longest refusal of a pool that is worded anew, in bytes.
const MAX_LINE_BYTES: u64 = 4096;

/// Headers of the pool's answer that the client sees.
static HANDED_BACK: [&HeaderName; 9] = [
    &header::CONTENT_LENGTH,
    &header::CONTENT_TYPE,
    &header::CONTENT_RANGE,
    &header::ACCEPT_RANGES,
    &header::ETAG,
    &header::LAST_MODIFIED,
    &header::CONTENT_DISPOSITION,
    &digest::DIGEST,
    &digest::REPR_DIGEST,
];

/// Why bytes cannot go through the door. None tells the URL, which is a capability.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// Not a URL of http; nor of https, where the door speaks that with pools.
    #[error("its data port's URL is not one that the door can proxy")]
    Url,
    /// No TLS.
    #[error("https with its data port failed: {0} (redirect.pool_authorities)")]
    Tls(std::io::Error),
    /// No connection.
    #[error("its data port does not answer: {0}")]
    Connect(std::io::Error),
    /// No connection in time.
    #[error("its data port does not answer within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    /// What the client sends is no body, or ends before its end.
    #[error("the body ended early, or its chunked coding is faulty")]
    Body,
    /// It broke in the middle.
    #[error("the transfer broke: {0}")]
    Broken(hyper::Error),
    /// A redirect: the pool does not know the transfer.
    #[error("its data port does not know the transfer")]
    Lost,
    /// The pool has refused it, in its own words.
    #[error("{}", .0.text())]
    Refused(Refusal),
}

impl ProxyError {
    /// What the client is told.
    pub fn into_refusal(self, pool: &str) -> Refusal {
        let status = match self {
            ProxyError::Refused(refusal) => return refusal,
            ProxyError::Body => {
                tracing::info!(error = %self, "an upload broke");
                return Refusal::new(StatusCode::BAD_REQUEST, self.to_string());
            }
            ProxyError::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        tracing::warn!(pool, error = %self, "proxying failed");
        Refusal::new(status, format!("pool {pool}: {self}"))
    }
}

/// A download.
pub async fn get(
    data_ports: Option<&DataPorts>,
    url: &str,
    headers: &HeaderMap,
    handed_on: &[&HeaderName],
) -> Result<Answer, ProxyError> {
    send(data_ports, Method::GET, url, headers, handed_on, Empty::<Bytes>::new()).await
}

/// An upload.
pub async fn put(
    data_ports: Option<&DataPorts>,
    url: &str,
    headers: &HeaderMap,
    handed_on: &[&HeaderName],
    body: Incoming,
) -> Result<Answer, ProxyError> {
    send(data_ports, Method::PUT, url, headers, handed_on, body).await
}

/// An upload of no bytes, made by the door itself.
pub async fn put_nothing(data_ports: Option<&DataPorts>, url: &str) -> Result<Answer, ProxyError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    send(data_ports, Method::PUT, url, &headers, &[&header::CONTENT_LENGTH], Empty::<Bytes>::new()).await
}

async fn send<B>(
    data_ports: Option<&DataPorts>,
    method: Method,
    url: &str,
    headers: &HeaderMap,
    handed_on: &[&HeaderName],
    body: B,
) -> Result<Answer, ProxyError>
where
    B: HttpBody + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let uri: Uri = url.parse().map_err(|_| ProxyError::Url)?;
    let authority = uri.authority().ok_or(ProxyError::Url)?;
    let target = uri.path_and_query().ok_or(ProxyError::Url)?;
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect(data_ports, &uri))
        .await
        .map_err(|_| ProxyError::Timeout)??;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .handshake(TokioIo::new(PoolStream::new(stream)))
        .await
        .map_err(ProxyError::Broken)?;
    // Ends with the exchange; its error comes out at the answer or its body.
    tokio::spawn(connection);
    let mut request =
        Request::builder().method(method).uri(target.as_str()).header(header::HOST, authority.as_str());
    for name in handed_on {
        for value in headers.get_all(*name) {
            request = request.header(*name, value);
        }
    }
    let request = request.body(body).map_err(|_| ProxyError::Url)?;
    let response = sender.send_request(request).await.map_err(|error| {
        // The one body that can fail is the client's.
        if error.is_user() { ProxyError::Body } else { ProxyError::Broken(error) }
    })?;
    let status = response.status();
    if (status.is_client_error() || status.is_server_error()) && is_line(response.headers()) {
        return Err(ProxyError::Refused(refusal(response).await.map_err(ProxyError::Broken)?));
    }
    hand_back(response)
}

/// Whether a pool has said in one line what is wrong.
fn is_line(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    kind.starts_with("text/plain") && length.is_some_and(|length: u64| length <= MAX_LINE_BYTES)
}

/// A pool's refusal, to be worded as the door's own are.
async fn refusal(response: Response<Incoming>) -> Result<Refusal, hyper::Error> {
    let (head, body) = response.into_parts();
    let line = body.collect().await?.to_bytes();
    let mut refusal = Refusal::new(head.status, String::from_utf8_lossy(&line).trim_end());
    // A checksum mismatch stands in the reason phrase, where clients of dCache look for it.
    if let Some(reason) = head.extensions.get::<ReasonPhrase>() {
        refusal = refusal.reason(reason.clone());
    }
    for name in [header::CONTENT_RANGE, header::ETAG] {
        if let Some(value) = head.headers.get(&name) {
            refusal = refusal.header(name, value.clone());
        }
    }
    Ok(refusal)
}

/// Connects to a data port, as its URL says.
async fn connect(
    data_ports: Option<&DataPorts>,
    uri: &Uri,
) -> Result<Either<TcpStream, TlsStream<TcpStream>>, ProxyError> {
    let (tls, usual_port) = match (uri.scheme_str(), data_ports) {
        (Some("http"), _) => (None, 80),
        (Some("https"), Some(data_ports)) => (Some(data_ports), 443),
        _ => return Err(ProxyError::Url),
    };
    let host = uri.host().ok_or(ProxyError::Url)?.trim_matches(['[', ']']);
    let address = (host, uri.port_u16().unwrap_or(usual_port));
    let stream = TcpStream::connect(address).await.map_err(ProxyError::Connect)?;
    // Heads are small and written whole; waiting for more would only delay them.
    stream.set_nodelay(true).map_err(ProxyError::Connect)?;
    match tls {
        None => Ok(Either::Left(stream)),
        Some(data_ports) => {
            data_ports.handshake(host, stream).await.map(Either::Right).map_err(ProxyError::Tls)
        }
    }
}

fn hand_back(response: Response<Incoming>) -> Result<Answer, ProxyError> {
    let (head, body) = response.into_parts();
    if head.status.is_redirection() && head.status != StatusCode::NOT_MODIFIED {
        return Err(ProxyError::Lost);
    }
    let mut answer = Response::new(body.map_err(BodyError::Pool).boxed_unsync());
    *answer.status_mut() = head.status;
    // A checksum mismatch stands in the reason phrase, where clients of dCache look for it.
    if let Some(reason) = head.extensions.get::<ReasonPhrase>() {
        answer.extensions_mut().insert(reason.clone());
    }
    for name in HANDED_BACK {
        for value in head.headers.get_all(name) {
            answer.headers_mut().append(name, value.clone());
        }
    }
    Ok(answer)
}
