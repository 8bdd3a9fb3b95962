//! A door's view of a pool: the contract's client, over the Unix socket, for stories about the contract itself.

use std::path::Path;

use hyper_util::rt::TokioIo;
use penstock_door_proto::v1 as proto;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::patience::PATIENCE;

/// The generated client.
pub type Client = proto::pool_client::PoolClient<Channel>;

/// A runtime and a client on it, so that stories stay plain functions.
pub struct PoolClient {
    runtime: Runtime,
    client: Client,
}

impl PoolClient {
    /// Connects to a pool's socket.
    #[must_use]
    pub fn connect(socket: &Path) -> PoolClient {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let path = socket.to_owned();
        let channel = runtime.block_on(async {
            // The address is only for the `:authority` header: the connector knows where to go.
            Endpoint::from_static("http://pool")
                .connect_with_connector(tower::service_fn(move |_: Uri| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                }))
                .await
        });
        let channel = channel.unwrap_or_else(|error| panic!("no pool at {}: {error}", socket.display()));
        PoolClient { runtime, client: Client::new(channel) }
    }

    /// Makes calls, to the end or to the end of patience.
    pub fn call<T>(&self, calls: impl AsyncFnOnce(Client) -> T) -> T {
        let client = self.client.clone();
        self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, calls(client)).await.expect("the pool answers in time")
        })
    }

    /// One replica as the pool tells of it.
    #[must_use]
    pub fn replica(&self, id: &str) -> proto::ReplicaInfo {
        self.call(async |mut client| {
            let request = proto::StatReplicaRequest { replica_id: id.to_owned() };
            client.stat_replica(request).await.expect("the pool has the replica").into_inner()
        })
    }

    /// All replicas as the pool lists them.
    #[must_use]
    pub fn replicas(&self) -> Vec<proto::ReplicaInfo> {
        self.call(async |mut client| {
            let request = proto::ListReplicasRequest::default();
            let mut list = client.list_replicas(request).await.expect("the pool lists").into_inner();
            let mut replicas = Vec::new();
            while let Some(replica) = list.message().await.expect("the list goes on to its end") {
                replicas.push(replica);
            }
            replicas
        })
    }

    /// The pool's state.
    #[must_use]
    pub fn status(&self) -> proto::PoolStatus {
        self.call(async |mut client| {
            let request = proto::WatchStatusRequest::default();
            let mut states = client.watch_status(request).await.expect("the pool tells").into_inner();
            states.message().await.expect("the stream goes on").expect("there is a state at once")
        })
    }
}

/// What a door asks for when a client wants to upload.
#[must_use]
pub fn upload(id: &str, path: &str) -> proto::TransferRequest {
    proto::TransferRequest {
        transfer_id: id.to_owned(),
        replica_id: format!("replica-{id}"),
        transfer_path: path.to_owned(),
        client: Some(proto::Client { address: "127.0.0.1".to_owned(), ..Default::default() }),
        door: Some(proto::DoorIdentity { name: "story".to_owned(), url: "http://127.0.0.1:9".to_owned() }),
        kind: Some(proto::transfer_request::Kind::Put(proto::Put::default())),
        ..Default::default()
    }
}

/// The same for a download of that replica.
#[must_use]
pub fn download(id: &str, path: &str, replica: &str) -> proto::TransferRequest {
    let kind = proto::transfer_request::Kind::Get(proto::Get::default());
    proto::TransferRequest { replica_id: replica.to_owned(), kind: Some(kind), ..upload(id, path) }
}

/// The URL in the `Ready` event, which must be the next but for `Queued`.
pub async fn ready_url(events: &mut tonic::Streaming<proto::TransferEvent>) -> String {
    loop {
        match next(events).await {
            proto::transfer_event::Event::Queued(_) => {}
            proto::transfer_event::Event::Ready(ready) => return ready.url,
            other => panic!("not ready but {other:?}"),
        }
    }
}

/// The `Finished` event, whatever comes before it; panics when the transfer ends otherwise.
pub async fn finished(events: &mut tonic::Streaming<proto::TransferEvent>) -> proto::Finished {
    use proto::transfer_event::Event;
    loop {
        match next(events).await {
            Event::Finished(finished) => return finished,
            Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_) => {}
            other @ (Event::Failed(_) | Event::Cancelled(_)) => panic!("not finished but {other:?}"),
        }
    }
}

/// The door's word that an upload's name is there; returns whether the pool knew the transfer.
pub async fn keep(client: &mut Client, id: &str) -> bool {
    let request = proto::AcknowledgeRequest {
        transfer_id: id.to_owned(),
        disposition: proto::acknowledge_request::Disposition::Keep.into(),
        ..Default::default()
    };
    client.acknowledge(request).await.expect("the pool takes the word").into_inner().known
}

/// The next event.
pub async fn next(events: &mut tonic::Streaming<proto::TransferEvent>) -> proto::transfer_event::Event {
    let event = events.message().await.expect("the stream goes on").expect("there is another event");
    event.event.expect("an event says what happened")
}

/// Starts a transfer.
pub async fn start(
    client: &mut Client,
    transfer: proto::TransferRequest,
) -> Result<tonic::Streaming<proto::TransferEvent>, tonic::Status> {
    let request = proto::StartTransferRequest { transfer: Some(transfer), ..Default::default() };
    client.start_transfer(request).await.map(tonic::Response::into_inner)
}
