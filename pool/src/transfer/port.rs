//! The data port: what every connection of it shares, and the loop that accepts them.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};

use super::connection;
use super::desk::Desk;
use super::source::Reading;
use crate::checksum::{AlgorithmSet, DigestPool};
use crate::engine::core::Core;
use crate::engine::file::IoMode;
use crate::engine::net::Connection;
use crate::engine::net::listener::Listener;
use crate::http1;
use crate::marking::Gate;
use crate::marking::ports::Listening;
use crate::store::Store;
use crate::tls::{HandshakeError, ServerTls, TlsStream};

/// What a data port is told at its start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sizes of heads.
    pub head_limits: http1::Limits,
    /// From a head's first byte to its last.
    pub head_time: Duration,
    /// Within a transfer: without a byte moved.
    pub idle_limit: Duration,
    /// Between two requests of a connection.
    pub keep_alive_limit: Duration,
    /// Connections at once, over all shards. May change while the port is open.
    pub connections_limit: Arc<AtomicUsize>,
    /// How bytes come to the disk and from it.
    pub io_mode: IoMode,
    /// Computed for every upload beside adler32.
    pub algorithms: AlgorithmSet,
}

/// What all connections share.
pub struct Port {
    /// Where capabilities become claims.
    pub desk: Arc<dyn Desk>,
    /// The replicas.
    pub store: Arc<Store>,
    /// Threads for slow digests; without them these are computed in place.
    pub digests: Option<Arc<DigestPool>>,
    /// Limits and times.
    pub settings: Settings,
    /// How replicas are read.
    pub reading: Arc<Reading>,
    /// What the port counts.
    pub counters: Arc<Counters>,
}

/// What the port counts over all shards.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that are open.
    pub connections: AtomicUsize,
    /// Connections that were closed at once, as too many were open.
    pub refused_connections: AtomicUsize,
    /// Requests whose head was understood.
    pub requests: AtomicUsize,
    /// Heads that were refused.
    pub bad_requests: AtomicUsize,
    /// TLS handshakes that went well.
    pub tls_handshakes: AtomicUsize,
    /// Those of them that a ticket shortened.
    pub tls_resumptions: AtomicUsize,
    /// TLS handshakes that failed.
    pub tls_failures: AtomicUsize,
}

/// Pause after an accept that failed (no descriptors left, most likely), so that the shard does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked whether a port with a flow label is over.
const GATE_LOOK_PERIOD: Duration = Duration::from_secs(2);

/// Accepts connections of one shard's listener for ever; with `tls`, such as speak TLS.
pub async fn accept(core: Rc<Core>, port: Arc<Port>, listener: Listener, tls: Option<Arc<ServerTls>>) {
    loop {
        match listener.accept().await {
            Ok(connection) => begin(&core, &port, tls.as_ref(), connection, ()),
            Err(error) => rest(&core, &error).await,
        }
    }
}

/// The same for a port whose connections carry a flow label, until the port is given up.
pub async fn accept_labelled(
    core: Rc<Core>,
    port: Arc<Port>,
    listener: Listener,
    tls: Option<Arc<ServerTls>>,
    gate: Arc<Gate>,
    listening: Listening,
) {
    loop {
        let mut accepting = std::pin::pin!(listener.accept());
        // The one operation goes on all the time: who comes while it is looked whether the port is over gets in.
        let accepted = loop {
            match select(accepting.as_mut(), core.sleep(GATE_LOOK_PERIOD)).await {
                Either::Left((accepted, _)) => break accepted,
                Either::Right(((), _)) if gate.is_over(core.now()) => return drop(listening),
                Either::Right(((), _)) => {}
            }
        };
        match accepted {
            Ok(connection) => begin(&core, &port, tls.as_ref(), connection, gate.connection()),
            Err(error) => rest(&core, &error).await,
        }
    }
}

/// After an accept that failed.
async fn rest(core: &Rc<Core>, error: &std::io::Error) {
    if !matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::ENOTCONN | libc::EINTR)) {
        tracing::warn!(%error, "the data port cannot accept connections");
        core.sleep(ACCEPT_PAUSE).await;
    }
}

/// Serves a connection that was accepted, unless there are too many. `guard` lives as long as it does.
fn begin(
    core: &Rc<Core>,
    port: &Arc<Port>,
    tls: Option<&Arc<ServerTls>>,
    connection: Connection,
    guard: impl Sized + 'static,
) {
    let open = OpenConnection::new(port);
    if open.number() > port.settings.connections_limit.load(Ordering::Relaxed) {
        port.counters.refused_connections.fetch_add(1, Ordering::Relaxed);
        return;
    }
    let (port, tls) = (Arc::clone(port), tls.cloned());
    core.spawn(async move {
        match tls {
            None => connection::serve(&port, connection).await,
            Some(tls) => {
                // Apart from what lasts: a handshake's state goes with its end.
                if let Some(stream) = Box::pin(shake_hands(&port, &tls, connection)).await {
                    connection::serve(&port, stream).await;
                }
            }
        }
        drop((open, guard));
    });
}

/// Speaks TLS with a client, or tells it in plain words that it must.
async fn shake_hands(port: &Port, tls: &ServerTls, connection: Connection) -> Option<TlsStream> {
    let error = match tls.accept(connection.clone(), port.settings.head_time).await {
        Ok(stream) => {
            port.counters.tls_handshakes.fetch_add(1, Ordering::Relaxed);
            if stream.facts().resumed {
                port.counters.tls_resumptions.fetch_add(1, Ordering::Relaxed);
            }
            return Some(stream);
        }
        Err(error) => error,
    };
    port.counters.tls_failures.fetch_add(1, Ordering::Relaxed);
    tracing::debug!(peer = %connection.peer(), %error, "no TLS with this client");
    if matches!(error, HandshakeError::NotTls) {
        connection::refuse_plain(port, connection).await;
    }
    None
}

/// Counts a connection while it lives.
struct OpenConnection {
    port: Arc<Port>,
    number: usize,
}

impl OpenConnection {
    fn new(port: &Arc<Port>) -> OpenConnection {
        let number = port.counters.connections.fetch_add(1, Ordering::Relaxed) + 1;
        OpenConnection { port: Arc::clone(port), number }
    }

    fn number(&self) -> usize {
        self.number
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.port.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
