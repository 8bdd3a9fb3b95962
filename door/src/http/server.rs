//! Accepting connections and serving them, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::client_limit::{self, Clients};
use super::connection::{Connection, Side};
use super::current::Current;

/// Most that one connection buffers, in bytes: bodies pass in pieces of this size.
const BUFFER_BYTES: usize = 256 * 1024;
/// After an accept that failed (no file descriptors, say), so that the failure does not take the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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

/// Serves a listener. `permits` and `clients` are those of all the door's listeners together.
pub async fn serve(
    listener: TcpListener,
    current: Arc<Current>,
    permits: Arc<Semaphore>,
    clients: Arc<Clients>,
    head_timeout: Duration,
    ending: Ending,
) {
    let limits = current.get().limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(BUFFER_BYTES)
        // Above the configured limit, which the service refuses with a text.
        .max_header_size(usize::try_from(limits.head_bytes.0.saturating_mul(2)).unwrap_or(usize::MAX));
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &permits) => accepted,
            () = ending.drain.cancelled() => return,
        };
        let (connection, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (current, builder, until) = (Arc::clone(&current), builder.clone(), ending.clone());
        let place = clients.admit(connection.peer().ip());
        ending.connections.spawn(async move {
            let _permit = permit;
            let Some(_place) = place else {
                tracing::info!(client = %connection.peer(), "refused: it has as many connections as it may");
                return connection.refuse(client_limit::REFUSAL).await;
            };
            tokio::select! {
                () = serve_one(&builder, connection, current, &until.drain) => {}
                () = until.stop.cancelled() => {}
            }
        });
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(Arc<Connection>, tokio::sync::OwnedSemaphorePermit)> {
    // At the limit clients wait in the kernel's queue.
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((Connection::new(stream, peer), permit))
}

async fn serve_one(
    builder: &http1::Builder,
    connection: Arc<Connection>,
    current: Arc<Current>,
    drain: &CancellationToken,
) {
    let handler = {
        let connection = Arc::clone(&connection);
        service_fn(move |request| current.get().serve(Arc::clone(&connection), request))
    };
    let serving = builder.serve_connection(TokioIo::new(Side(Arc::clone(&connection))), handler);
    tokio::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = drain.cancelled() => {
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
