//! Accepting connections and serving them, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client_limit::{self, Clients};
use super::connection::{Connection, Held, Side};
use super::current::Current;
use super::threads::ConnectionThreads;
use crate::tls::SecurePort;
use crate::tls::port::Beginning;

/// Most that one connection buffers, in bytes: bodies pass in pieces of this size.
const BUFFER_BYTES: usize = 256 * 1024;
/// After an accept that failed (no file descriptors, say), so that the failure does not take the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sent to a client that speaks plain HTTP where https is spoken.
const PLAIN_REFUSAL: &[u8] = b"HTTP/1.1 400 This port speaks https\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 62\r\n\r\n\
    this port speaks https: write https:// at the begin of the URL";
/// One client has at most this part of all handshakes: so a single one cannot keep out the others.
const HANDSHAKES_SHARE: u32 = 4;

/// A port that clients come to.
#[derive(Debug)]
pub struct Port {
    /// Where they are accepted.
    pub listener: TcpListener,
    /// By https, with this.
    pub secure: Option<Arc<SecurePort>>,
}

/// Bounds that all ports of a door share.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at once.
    pub connections: Arc<Semaphore>,
    /// Connections at once of each client.
    pub clients: Arc<Clients>,
    /// Handshakes at once of each client.
    pub handshakes: Arc<Clients>,
    /// For a request's head, and between two requests.
    pub head_timeout: Duration,
}

impl Bounds {
    /// None taken yet. `handshakes`: of all clients together.
    pub fn new(connections: u32, of_each_client: u32, handshakes: u32, head_timeout: Duration) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(connections as usize)),
            clients: Clients::new(of_each_client),
            handshakes: Clients::new((handshakes / HANDSHAKES_SHARE).max(1)),
            head_timeout,
        }
    }
}

/// When a server ends.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// No new connections or requests; those that run go on.
    pub drain: CancellationToken,
    /// At once.
    pub stop: CancellationToken,
    /// The connections.
    pub connections: TaskTracker,
}

/// Serves a port: on these threads or, without any, on this runtime.
pub async fn serve(
    port: Port,
    current: Arc<Current>,
    bounds: Bounds,
    threads: ConnectionThreads,
    ending: Ending,
) {
    let limits = current.get().limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_buf_size(BUFFER_BYTES)
        // Above the configured limit, which the service refuses with a text.
        .max_header_size(usize::try_from(limits.head_bytes.0.saturating_mul(2)).unwrap_or(usize::MAX));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&port.listener, &bounds.connections) => accepted,
            () = ending.drain.cancelled() => return,
        };
        let (stream, peer, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let seat = threads.seat();
        let home = seat.as_ref().map_or_else(Handle::current, |seat| seat.runtime.clone());
        // A socket is known to the runtime that waits for it.
        let moved =
            if seat.is_some() { stream.into_std().map(Socket::Moved) } else { Ok(Socket::Here(stream)) };
        let socket = match moved {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(client = %peer, %error, "cannot hand over a connection");
                continue;
            }
        };
        let place = bounds.clients.admit(peer.ip());
        let (current, builder, until) = (Arc::clone(&current), builder.clone(), ending.clone());
        let (secure, handshakes) = (port.secure.clone(), Arc::clone(&bounds.handshakes));
        let serving = async move {
            let _seat = seat;
            let stream = match socket.here() {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(client = %peer, %error, "cannot take over a connection");
                    return;
                }
            };
            let Some(place) = place else {
                tracing::info!(client = %peer, "refused: it has as many connections as it may");
                // By https there is nothing that could be said without a handshake.
                if secure.is_none() {
                    Connection::plain(stream, peer).0.refuse(client_limit::REFUSAL).await;
                }
                return;
            };
            let held = Held { permit, place };
            let attending = async {
                match secure {
                    None => {
                        let (connection, side) = Connection::plain(stream, peer);
                        connection.keep(held);
                        serve_one(&builder, (connection, side), current, None, &until.drain).await;
                    }
                    Some(secure) => {
                        let client = (stream, peer, held);
                        serve_secure(&builder, &secure, client, &handshakes, current, &until.drain).await;
                    }
                }
            };
            tokio::select! {
                () = attending => {}
                () = until.stop.cancelled() => {}
            }
        };
        ending.connections.spawn_on(serving, &home);
    }
}

/// An accepted socket on its way to where it is served.
enum Socket {
    Here(TcpStream),
    /// To be made known to another runtime.
    Moved(std::net::TcpStream),
}

impl Socket {
    /// On this runtime.
    fn here(self) -> std::io::Result<TcpStream> {
        match self {
            Socket::Here(stream) => Ok(stream),
            Socket::Moved(stream) => TcpStream::from_std(stream),
        }
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    // At the limit clients wait in the kernel's queue.
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

async fn serve_secure(
    builder: &http1::Builder,
    port: &Arc<SecurePort>,
    (stream, peer, held): (TcpStream, SocketAddr, Held),
    handshakes: &Arc<Clients>,
    current: Arc<Current>,
    drain: &CancellationToken,
) {
    let Some(place) = handshakes.admit(peer.ip()) else {
        tracing::info!(client = %peer, "refused: it makes as many handshakes as it may");
        return;
    };
    // From before its certificate is looked at, so that no change is missed.
    let trust = port.authorities().map(|authorities| authorities.changes());
    let beginning = tokio::select! {
        beginning = port.begin(stream, peer) => beginning,
        () = drain.cancelled() => return,
    };
    drop(place);
    match beginning {
        Beginning::Secure { stream, shown } => {
            let trust = trust.filter(|_| shown.is_some());
            let (connection, side) = Connection::secure(stream, peer, shown);
            connection.keep(held);
            serve_one(builder, (connection, side), current, trust, drain).await;
        }
        Beginning::Plain(stream) => Connection::plain(stream, peer).0.refuse(PLAIN_REFUSAL).await,
        Beginning::Failed => {}
    }
}

/// `trust`: changes when what a client's certificate was held against is not what counts any more.
async fn serve_one(
    builder: &http1::Builder,
    (connection, side): (Arc<Connection>, Side),
    current: Arc<Current>,
    trust: Option<watch::Receiver<u64>>,
    drain: &CancellationToken,
) {
    let handler = {
        let connection = Arc::clone(&connection);
        // Boxed: a request in work takes several times what its connection takes while it is idle.
        service_fn(move |request| Box::pin(current.get().serve(Arc::clone(&connection), request)))
    };
    let serving = builder.serve_connection(TokioIo::new(side), handler);
    tokio::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        // The client connects again, and its certificate is looked at anew.
        () = until_time_to_end(drain, trust) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = result {
        // Clients that vanish or send nonsense are everyday life, and the nonsense is theirs.
        tracing::debug!(client = %connection.peer(), %error, "connection ended");
    }
    connection.linger().await;
}

async fn until_time_to_end(drain: &CancellationToken, trust: Option<watch::Receiver<u64>>) {
    match trust {
        None => drain.cancelled().await,
        Some(mut trust) => tokio::select! {
            () = drain.cancelled() => {}
            // An error: nobody will change anything any more, as the door ends.
            _ = trust.changed() => {}
        },
    }
}

#[cfg(test)]
mod tests {
    use super::PLAIN_REFUSAL;

    #[test]
    fn the_refusal_of_plain_http_says_its_length() {
        let text = std::str::from_utf8(PLAIN_REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
