//! A data port with one transfer, for one simulated connection.

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use penstock_door_proto::v1;

use super::TEN_MINUTES;
use crate::checksum::AlgorithmSet;
use crate::engine::file::IoMode;
use crate::engine::net::Connection;
use crate::http1;
use crate::store::Store;
use crate::tls::client::ClientFiles;
use crate::tls::tests::Authority;
use crate::tls::{ClientTls, ServerTls};
use crate::transfer::connection;
use crate::transfer::port::{Port, Settings};
use crate::transfer::source::Reading;
use crate::transfer::*;

/// What is uploaded and read.
pub const PATH: &str = "/atlas/run7.root";
/// The name in the data port's certificate.
pub const NAME: &str = "pool.example.org";
/// Its replica.
pub const REPLICA: &str = "replica-1";

/// Serves a connection to its end.
pub async fn serve(port: Arc<Port>, connection: Connection, tls: bool) {
    if !tls {
        return connection::serve(&port, connection).await;
    }
    if let Ok(stream) = keys().0.accept(connection, TEN_MINUTES).await {
        connection::serve(&port, stream).await;
    }
}

/// The data port's certificate, and a client that believes it.
pub fn keys() -> &'static (ServerTls, ClientTls) {
    static KEYS: OnceLock<(ServerTls, ClientTls)> = OnceLock::new();
    KEYS.get_or_init(|| {
        let authority = Authority::new();
        let server = ServerTls::load(authority.issue("pool", &[NAME])).unwrap();
        let files = ClientFiles { authorities: authority.certificate(), identity: None };
        (server, ClientTls::load(files).unwrap())
    })
}

#[derive(Debug)]
struct Ignore;

impl Observer for Ignore {
    fn changed(&self) {}
}

/// A desk with one transfer on it.
struct OneTransfer(Arc<Transfer>);

impl Desk for OneTransfer {
    fn claim(
        &self,
        capability: &Capability,
        method: ClaimMethod,
        path: &str,
        _door: Option<&str>,
        _peer: SocketAddr,
    ) -> Result<Claim, Refusal> {
        if capability != self.0.capability() {
            return Err(Refusal::Unknown { back_to: None });
        }
        self.0.claim(method, path)
    }

    fn door_url(&self, _door: &str) -> Option<String> {
        None
    }
}

/// The port, and the transfer that is ready on it.
pub fn port(
    store: &Arc<Store>,
    reading: &Arc<Reading>,
    io_mode: IoMode,
    id: &str,
    kind: v1::transfer_request::Kind,
) -> (Arc<Port>, Arc<Transfer>) {
    let request = v1::TransferRequest {
        transfer_id: id.into(),
        replica_id: REPLICA.into(),
        transfer_path: PATH.into(),
        kind: Some(kind),
        ..Default::default()
    };
    let request = TransferRequest::try_from(request).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let transfer = Arc::new(Transfer::new(request, Capability::random().unwrap(), clock, Arc::new(Ignore)));
    transfer.admit().unwrap();
    let port = Port {
        desk: Arc::new(OneTransfer(Arc::clone(&transfer))),
        store: Arc::clone(store),
        digests: None,
        settings: Settings {
            head_limits: http1::Limits::default(),
            head_time: TEN_MINUTES,
            idle_limit: TEN_MINUTES,
            keep_alive_limit: TEN_MINUTES,
            connections_limit: Arc::new(AtomicUsize::new(10)),
            io_mode,
            algorithms: AlgorithmSet::EMPTY,
        },
        reading: Arc::clone(reading),
        counters: Arc::default(),
    };
    (Arc::new(port), transfer)
}
