//! A whole pool on a temporary directory, reached over its real ports; the test plays the data path.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use penstock_door_proto::v1;
use penstock_door_proto::v1::pool_client::PoolClient;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint, Uri};
use v1::transfer_event::Event;

use crate::config::Config;
use crate::control::daemon::{Pool, PoolError, RunningPool, StartDataPort};
use crate::control::data_port::{self, DataPort, EngineLoad};
use crate::store::{Commit, ReplicaId, Store, UploadSpec};
use crate::transfer::{Capability, Claim, ClaimMethod, ConnectionInfo, Desk, Outcome, Refusal};

/// Longer than anything here takes; a story that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A data port without a port.
#[derive(Debug)]
struct NoDataPort;

impl DataPort for NoDataPort {
    fn address(&self) -> SocketAddr {
        "192.0.2.9:2881".parse().unwrap()
    }

    fn load(&self) -> EngineLoad {
        EngineLoad { buffers_used: 0.25, busiest_shard: 0.5 }
    }

    fn launch(&self, _transfer: &Arc<crate::transfer::Transfer>) {}

    fn stop(&self) {}
}

/// A running pool, and what its data path would have.
type Parts = (RunningPool, Arc<dyn Desk>, Arc<Store>);

/// A running pool, and what the shards would have in hand.
pub(super) struct Stage {
    pub(super) pool: RunningPool,
    pub(super) desk: Arc<dyn Desk>,
    pub(super) store: Arc<Store>,
    pub(super) client: PoolClient<Channel>,
    pub(super) channel: Channel,
    config: Config,
    dir: TempDir,
}

impl Stage {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::fresh(false, change).await
    }

    /// A pool with its real data path, which may ask servers on this machine.
    pub(super) async fn with_shards(change: impl FnOnce(&mut Config)) -> Self {
        let allow = |config: &mut Config| {
            config.tpc.rules.loopback = true;
            config.shards = 1;
            change(config);
        };
        Self::fresh(true, allow).await
    }

    async fn fresh(shards: bool, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new("pool1", dir.path().join("root"));
        std::fs::create_dir(&config.root).unwrap();
        config.reserve_bytes = 0;
        config.data_listen = "127.0.0.1:0".parse().unwrap();
        config.admin_listen = "127.0.0.1:0".parse().unwrap();
        config.data_advertise = Some("pool1.example.org:2881".into());
        change(&mut config);
        let parts =
            if shards { start_with_shards(config.clone()).await } else { start(config.clone()).await };
        Self::over(parts.unwrap(), config, dir).await
    }

    async fn over((pool, desk, store): Parts, config: Config, dir: TempDir) -> Self {
        let channel = connect(&dir.path().join("root/grpc.sock")).await;
        let client = PoolClient::new(channel.clone());
        Self { pool, desk, store, client, channel, config, dir }
    }

    /// The daemon ends and starts again.
    pub(super) async fn restart(self) -> Self {
        let Self { pool, desk, store, client, channel, config, dir } = self;
        pool.stop().await;
        drop((desk, store, client, channel));
        let gone = tokio::time::Instant::now() + PATIENCE;
        loop {
            match start(config.clone()).await {
                Ok(parts) => return Self::over(parts, config, dir).await,
                // The last tasks of the old one still hold the directory; a process that ends holds nothing.
                Err(error) if tokio::time::Instant::now() >= gone => panic!("no second life: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Starts a transfer and follows it.
    pub(super) async fn start(&self, transfer: v1::TransferRequest) -> Result<Follower, tonic::Status> {
        self.start_with(v1::StartTransferRequest { transfer: Some(transfer), ..Default::default() }).await
    }

    pub(super) async fn start_with(
        &self,
        request: v1::StartTransferRequest,
    ) -> Result<Follower, tonic::Status> {
        let events = self.client.clone().start_transfer(request).await?.into_inner();
        Ok(Follower { events })
    }

    pub(super) async fn watch(&self, id: &str) -> Result<Follower, tonic::Status> {
        let request = v1::WatchRequest { transfer_id: id.into(), ..Default::default() };
        Ok(Follower { events: self.client.clone().watch(request).await?.into_inner() })
    }

    /// What the client of a redirect does, as far as the shards see it.
    pub(super) fn come(&self, url: &str, method: ClaimMethod) -> Result<Claim, Refusal> {
        let rest = url.strip_prefix("http://pool1.example.org:2881").expect(url);
        let (path, query) = rest.split_once('?').expect(url);
        let path = percent_encoding::percent_decode_str(path).decode_utf8().unwrap().into_owned();
        let capability =
            query.strip_prefix("penstock-transfer=").and_then(|query| query.get(..32)).expect(url);
        let capability = Capability::parse(capability).expect(url);
        self.desk.claim(&capability, method, &path, Some("door1"), "192.0.2.1:40000".parse().unwrap())
    }

    /// Brings a replica into the store, as an upload would.
    pub(super) async fn store(&self, replica: &str, data: &'static [u8]) {
        self.store_by("t", replica, data).await;
    }

    async fn store_by(&self, transfer: &str, replica: &str, data: &'static [u8]) {
        let transfer = transfer.to_owned();
        let (store, id) = (Arc::clone(&self.store), ReplicaId::new(replica).unwrap());
        let stored = tokio::task::spawn_blocking(move || {
            let spec = UploadSpec {
                replica: id,
                transfer,
                path: "/p".into(),
                class: String::new(),
                size: Some(data.len() as u64),
                maximum_size: None,
            };
            let checksums =
                [("adler32".to_owned(), crate::checksum::Checksum::adler32(adler32(data)).hex().to_string())];
            let commit = Commit {
                blocks: Vec::new(),
                size: data.len() as u64,
                checksums: checksums.into_iter().collect(),
                created_at: jiff::Timestamp::now(),
            };
            store.begin_upload(spec).and_then(|upload| upload.commit_small(data, commit))
        });
        stored.await.unwrap().unwrap();
    }

    /// An upload by a client that comes at once; gives the claim that waits for the door's word.
    pub(super) async fn upload(&self, url: &str, replica: &str) -> Claim {
        let mut claim = self.come(url, ClaimMethod::Put).unwrap();
        claim.started(connection()).unwrap();
        let transfer = claim.transfer().request().id.to_string();
        self.store_by(&transfer, replica, b"abc").await;
        claim.moved(3);
        claim.finishing().unwrap();
        claim.finish(Outcome::Stored { size: 3, checksums: vec![] }).unwrap();
        claim
    }

    pub(super) async fn acknowledge(&self, id: &str) -> Result<bool, tonic::Status> {
        self.settle(v1::AcknowledgeRequest { transfer_id: id.into(), ..Default::default() }).await
    }

    pub(super) async fn renew_token(&self, request: v1::RenewTokenRequest) -> Result<(), tonic::Status> {
        self.client.clone().renew_token(request).await.map(drop)
    }

    pub(super) async fn settle(&self, request: v1::AcknowledgeRequest) -> Result<bool, tonic::Status> {
        Ok(self.client.clone().acknowledge(request).await?.into_inner().known)
    }
}

fn adler32(data: &[u8]) -> u32 {
    adler32::adler32(data).unwrap()
}

pub(super) fn connection() -> ConnectionInfo {
    ConnectionInfo {
        local: "192.0.2.9:2881".parse().unwrap(),
        remote: "192.0.2.1:40000".parse().unwrap(),
        tls: false,
        flow_label: 0,
    }
}

/// A pool whose data path is the test.
pub(super) async fn start(config: Config) -> Result<Parts, PoolError> {
    start_over(config, Box::new(|_, _, _, _| Ok(Arc::new(NoDataPort)))).await
}

async fn start_with_shards(config: Config) -> Result<Parts, PoolError> {
    start_over(config, Box::new(data_port::start)).await
}

async fn start_over(config: Config, start_data_port: StartDataPort) -> Result<Parts, PoolError> {
    let parts = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&parts);
    let pool = Pool::start_with(
        config,
        Box::new(move |desk, store, config, metrics| {
            *keep.lock().unwrap() = Some((Arc::clone(&desk), Arc::clone(&store)));
            start_data_port(desk, store, config, metrics)
        }),
    )
    .await?;
    let (desk, store) = parts.lock().unwrap().take().unwrap();
    Ok((pool, desk, store))
}

async fn connect(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://pool").connect_with_connector(connector).await.unwrap()
}

/// One stream of events.
pub(super) struct Follower {
    events: tonic::Streaming<v1::TransferEvent>,
}

impl Follower {
    /// The next event; `None` when the stream has ended.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let next = tokio::time::timeout(PATIENCE, self.events.next()).await.expect("no event came");
        next.map(|event| event.unwrap().event.unwrap())
    }

    /// The URL of a transfer that is ready next.
    pub(super) async fn ready(&mut self) -> String {
        match self.next().await {
            Some(Event::Ready(ready)) => ready.url,
            other => panic!("not ready but {other:?}"),
        }
    }

    pub(super) async fn finished(&mut self) -> v1::Finished {
        match self.next().await {
            Some(Event::Finished(finished)) => finished,
            other => panic!("not finished but {other:?}"),
        }
    }
}
