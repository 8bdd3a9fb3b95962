//! A pool that keeps the contract and holds its replicas in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use penstock_door_proto::v1 as proto;
use proto::acknowledge_request::Disposition;
use proto::pool_server::{Pool, PoolServer};
use proto::transfer_event::Event;
use proto::transfer_request::Kind;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream, UnixListenerStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::ServerTlsConfig;
use tonic::{Request as Call, Response as Answer, Status};

pub mod copies;

/// What the pool does wrong, when a story wants it to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// StartTransfer is refused with this.
    pub refuse_start: Option<(tonic::Code, &'static str)>,
    /// Transfers stay queued.
    pub never_ready: bool,
    /// The data port takes the connection and does not answer.
    pub no_data_port: bool,
    /// The data port refuses every upload before it has read the body.
    pub refuse_body: bool,
    /// Acknowledge is refused so many times.
    pub lose_acknowledgements: u32,
    /// DeleteReplica is refused so many times.
    pub lose_deletions: u32,
    /// ListReplicas is refused so many times.
    pub lose_lists: u32,
    /// A pull has all its bytes when it is to be cancelled.
    pub finish_late: bool,
    /// A copy goes on although its door has gone.
    pub ignore_disconnect: bool,
    /// Checksums are computed for ever.
    pub never_computed: bool,
}

/// How a transfer was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    pub disposition: Disposition,
    pub reason: String,
    pub http_status: u32,
}

#[derive(Debug)]
struct Transfer {
    request: proto::TransferRequest,
    /// The last event; `Ready` until it ends.
    event: watch::Sender<Event>,
    settled: watch::Sender<Option<Settled>>,
}

impl Transfer {
    fn has_ended(&self) -> bool {
        matches!(*self.event.borrow(), Event::Finished(_) | Event::Failed(_) | Event::Cancelled(_))
    }
}

#[derive(Debug, Default)]
struct State {
    transfers: BTreeMap<String, Transfer>,
    settled: Vec<(String, Settled)>,
    replicas: BTreeMap<String, Bytes>,
    deleted: Vec<String>,
    faults: Faults,
    status: proto::PoolStatus,
    requests: Vec<proto::TransferRequest>,
    /// How the last transfer was to be followed.
    progress_period: Option<prost_types::Duration>,
    cancels: Vec<(String, String)>,
    broken: Vec<proto::ReplicaInfo>,
    data_heads: Vec<hyper::HeaderMap>,
    verifications: Vec<proto::VerifyReplicaRequest>,
}

#[derive(Debug, Clone)]
struct Inner {
    state: Arc<Mutex<State>>,
    data_port: SocketAddr,
}

/// The pool as a story sees it.
pub struct FakePool {
    inner: Inner,
    socket: PathBuf,
    /// The gRPC side has a runtime of its own, so that it can go away with all its connections.
    serving: Option<Runtime>,
}

impl FakePool {
    /// Starts a pool on a socket.
    pub async fn start(socket: PathBuf) -> Self {
        let mut pool = Self::start_data(socket).await;
        pool.start_grpc();
        pool
    }

    async fn start_data(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let status = proto::PoolStatus {
            pool_name: "pool01".into(),
            instance_id: "1".into(),
            health: proto::pool_status::Health::Ok.into(),
            space: Some(proto::Space { total: 1 << 30, available: 1 << 30, ..Default::default() }),
            ..Default::default()
        };
        let state = State { status, ..Default::default() };
        let inner = Inner { state: Arc::new(Mutex::new(state)), data_port: listener.local_addr().unwrap() };
        tokio::spawn(serve_data(listener, inner.clone()));
        Self { inner, socket, serving: None }
    }

    /// Starts a pool that only takes doors with the right certificate, on a port of this machine.
    pub async fn start_tls(tls: ServerTlsConfig) -> (Self, SocketAddr) {
        let mut pool = Self::start_data(PathBuf::new()).await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let runtime = grpc_runtime();
        let service = PoolServer::new(pool.inner.clone());
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let mut server = tonic::transport::Server::builder().tls_config(tls).unwrap();
            server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        pool.serving = Some(runtime);
        (pool, address)
    }

    /// The gRPC side goes away, connections and all; what the pool holds stays.
    pub fn stop_grpc(&mut self) {
        self.serving.take().unwrap().shutdown_background();
        std::fs::remove_file(&self.socket).unwrap();
    }

    pub fn start_grpc(&mut self) {
        let runtime = grpc_runtime();
        runtime.spawn(serve_grpc(self.socket.clone(), self.inner.clone()));
        self.serving = Some(runtime);
    }

    pub fn is_running(&self) -> bool {
        self.serving.is_some()
    }

    pub fn fail(&self, faults: Faults) {
        self.inner.lock().faults = faults;
    }

    pub fn change_status(&self, change: impl FnOnce(&mut proto::PoolStatus)) {
        change(&mut self.inner.lock().status);
    }

    /// A scrub, say, has found a replica to be damaged.
    pub fn break_replica(&self, replica: &str, why: &str) {
        let mut state = self.inner.lock();
        state.broken.push(proto::ReplicaInfo {
            replica_id: replica.to_owned(),
            state: proto::ReplicaState::Broken.into(),
            broken_because: why.to_owned(),
            ..Default::default()
        });
        state.status.broken_replicas = state.broken.len() as u64;
    }

    /// The damaged replicas have been replaced.
    pub fn mend(&self) {
        let mut state = self.inner.lock();
        state.broken.clear();
        state.status.broken_replicas = 0;
    }

    /// How a transfer was settled, if it was.
    pub fn settled(&self, transfer: &str) -> Option<Settled> {
        let state = self.inner.lock();
        state.settled.iter().find(|(id, _)| id == transfer).map(|(_, settled)| settled.clone())
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<proto::TransferRequest> {
        self.inner.lock().requests.clone()
    }

    /// The last request.
    pub fn last_request(&self) -> proto::TransferRequest {
        self.requests().pop().expect("no transfer was asked for")
    }

    /// The headers of the last request to the data port.
    pub fn last_data_head(&self) -> hyper::HeaderMap {
        self.inner.lock().data_heads.last().cloned().expect("nobody came to the data port")
    }

    /// What was to be verified and computed.
    pub fn verifications(&self) -> Vec<proto::VerifyReplicaRequest> {
        self.inner.lock().verifications.clone()
    }

    pub fn replicas(&self) -> Vec<String> {
        self.inner.lock().replicas.keys().cloned().collect()
    }

    pub fn deleted(&self) -> Vec<String> {
        self.inner.lock().deleted.clone()
    }

    /// Transfers that are not settled.
    pub fn unsettled(&self) -> usize {
        self.inner.lock().transfers.len()
    }

    /// What was queued is ready now.
    pub fn make_ready(&self) {
        for (id, transfer) in &self.inner.lock().transfers {
            transfer.event.send_if_modified(|event| {
                let queued = matches!(event, Event::Queued(_));
                if queued {
                    *event = self.inner.ready(id);
                }
                queued
            });
        }
    }

    /// Ends a transfer as if its client had never come.
    pub fn give_up(&self, transfer: &str) {
        let failed = proto::Failed { text: "the client did not come".into(), ..Default::default() };
        self.inner.lock().transfers[transfer].event.send_replace(Event::Failed(failed));
    }
}

fn grpc_runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

impl Drop for FakePool {
    fn drop(&mut self) {
        if let Some(runtime) = self.serving.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve_grpc(socket: PathBuf, inner: Inner) {
    let listener = UnixListener::bind(Path::new(&socket)).unwrap();
    tonic::transport::Server::builder()
        .add_service(PoolServer::new(inner))
        .serve_with_incoming(UnixListenerStream::new(listener))
        .await
        .unwrap();
}

async fn serve_data(listener: TcpListener, inner: Inner) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let inner = inner.clone();
        if inner.lock().faults.no_data_port {
            continue;
        }
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| inner.clone().move_bytes(request));
            // A client that goes away in the middle is part of some stories.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn reply(status: u16, text: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(Bytes::from(text))).unwrap()
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn ready(&self, id: &str) -> Event {
        let url = format!("http://{}/transfer/{id}", self.data_port);
        Event::Ready(proto::Ready { url, expires_at: None })
    }

    fn end(&self, id: &str, event: Event) {
        if let Some(transfer) = self.lock().transfers.get(id) {
            transfer.event.send_replace(event);
        }
    }

    async fn move_bytes(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let id = request.uri().path().trim_start_matches("/transfer/").to_owned();
        let known = {
            let mut state = self.lock();
            state.data_heads.push(request.headers().clone());
            let found = state.transfers.get(&id).filter(|transfer| !transfer.has_ended());
            found.map(|transfer| (transfer.request.clone(), transfer.settled.subscribe()))
        };
        let Some((transfer, settled)) = known else {
            let lost =
                Response::builder().status(307).header("location", "http://door/").body(Full::default());
            return Ok(lost.unwrap());
        };
        if self.lock().faults.refuse_body {
            self.end(
                &id,
                Event::Failed(proto::Failed { text: "no space left".into(), ..Default::default() }),
            );
            return Ok(reply(507, "no space left\n".into()));
        }
        Ok(if request.method() == Method::PUT {
            self.take(&id, &transfer, request, settled).await
        } else {
            self.give(&id, &transfer)
        })
    }

    fn give(&self, id: &str, transfer: &proto::TransferRequest) -> Response<Full<Bytes>> {
        let bytes = self.lock().replicas[&transfer.replica_id].clone();
        let finished = proto::Finished {
            size: bytes.len() as u64,
            bytes_moved: bytes.len() as u64,
            ..Default::default()
        };
        self.end(id, Event::Finished(finished));
        Response::builder()
            .header("etag", format!("\"{}\"", transfer.replica_id))
            .header("set-cookie", "not for the client")
            .body(Full::new(bytes))
            .unwrap()
    }

    async fn take(
        &self,
        id: &str,
        transfer: &proto::TransferRequest,
        request: Request<Incoming>,
        mut settled: watch::Receiver<Option<Settled>>,
    ) -> Response<Full<Bytes>> {
        let bad_digest = request.headers().get("digest").is_some_and(|digest| digest == "adler32=00000000");
        let fail = |text: &str| {
            self.end(id, Event::Failed(proto::Failed { text: text.into(), ..Default::default() }));
            reply(400, format!("{text}\n"))
        };
        let Ok(body) = request.into_body().collect().await else { return fail("the client went away") };
        if bad_digest {
            return fail("Checksum mismatch");
        }
        let bytes = body.to_bytes();
        let checksum = proto::Checksum {
            algorithm: proto::ChecksumAlgorithm::Adler32.into(),
            value: vec![0x03, 0xda, 0x01, 0x95],
        };
        let finished =
            proto::Finished { size: bytes.len() as u64, checksums: vec![checksum], ..Default::default() };
        self.lock().replicas.insert(transfer.replica_id.clone(), bytes);
        self.end(id, Event::Finished(finished));
        let settled = settled.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        if settled.disposition == Disposition::Discard {
            return reply(settled.http_status as u16, format!("{}\n", settled.reason));
        }
        let Some(Kind::Put(put)) = &transfer.kind else { return fail("not a PUT") };
        let mut answer = reply(put.success_status as u16, String::new());
        let etag = format!("\"{}\"", transfer.replica_id).parse().unwrap();
        answer.headers_mut().insert("etag", etag);
        answer
    }

    /// The events of a transfer: the present one, then what follows. Whether the transfer is cancelled when nobody
    /// hears them any more.
    fn events(&self, id: &str, cancel_on_disconnect: bool) -> Result<Answer<EventStream>, Status> {
        let state = self.lock();
        let transfer = state.transfers.get(id).ok_or_else(|| Status::not_found("no such transfer"))?;
        let (id, mut events) = (id.to_owned(), transfer.event.subscribe());
        let (sender, receiver) = mpsc::channel(4);
        let pool = self.clone();
        tokio::spawn(async move {
            loop {
                let event = events.borrow_and_update().clone();
                let message = proto::TransferEvent { transfer_id: id.clone(), at: None, event: Some(event) };
                if sender.send(Ok(message)).await.is_err() {
                    break;
                }
                tokio::select! {
                    changed = events.changed() => if changed.is_err() { return },
                    () = sender.closed() => break,
                }
            }
            if cancel_on_disconnect && !pool.lock().faults.ignore_disconnect {
                pool.cancel_running(&id, "the door has gone");
            }
        });
        Ok(Answer::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type EventStream = Streamed<proto::TransferEvent>;

#[tonic::async_trait]
impl Pool for Inner {
    type StartTransferStream = EventStream;
    type WatchStream = EventStream;
    type ListStream = Streamed<proto::TransferInfo>;
    type ListReplicasStream = Streamed<proto::ReplicaInfo>;
    type VerifyReplicaStream = Streamed<proto::VerifyReplicaEvent>;
    type WatchStatusStream = Streamed<proto::PoolStatus>;

    async fn start_transfer(
        &self,
        call: Call<proto::StartTransferRequest>,
    ) -> Result<Answer<EventStream>, Status> {
        let call = call.into_inner();
        let request = call.transfer.unwrap();
        let id = request.transfer_id.clone();
        {
            let mut state = self.lock();
            state.requests.push(request.clone());
            state.progress_period = call.progress_period;
            if let Some((code, text)) = state.faults.refuse_start {
                return Err(Status::new(code, text));
            }
            let reads = matches!(request.kind, Some(Kind::Get(_) | Kind::Push(_)));
            if reads && let Some(broken) = state.broken.iter().find(|b| b.replica_id == request.replica_id) {
                return Err(Status::data_loss(format!(
                    "FAILURE_CODE_REPLICA_BROKEN: replica {} is broken: {}",
                    broken.replica_id, broken.broken_because
                )));
            }
            if reads && !state.replicas.contains_key(&request.replica_id) {
                return Err(Status::not_found("no such replica"));
            }
            let copies = matches!(request.kind, Some(Kind::Pull(_) | Kind::Push(_) | Kind::LocalCopy(_)));
            let copied = match &request.kind {
                Some(Kind::LocalCopy(copy)) => match state.replicas.get(&copy.source_replica_id).cloned() {
                    Some(bytes) => Some(bytes),
                    None => return Err(Status::not_found("no such replica")),
                },
                _ => None,
            };
            let event = match state.faults.never_ready {
                false if let Some(bytes) = copied => {
                    let size = bytes.len() as u64;
                    state.replicas.insert(request.replica_id.clone(), bytes);
                    Event::Finished(copies::finished(size))
                }
                // What becomes of a copy is told by the story.
                _ if copies => Event::Progress(proto::Progress::default()),
                true => Event::Queued(proto::Queued::default()),
                false => self.ready(&id),
            };
            let transfer =
                Transfer { request, event: watch::Sender::new(event), settled: watch::Sender::new(None) };
            state.transfers.insert(id.clone(), transfer);
        }
        self.events(&id, call.cancel_on_disconnect)
    }

    async fn watch(&self, call: Call<proto::WatchRequest>) -> Result<Answer<EventStream>, Status> {
        self.events(&call.into_inner().transfer_id, false)
    }

    async fn cancel(
        &self,
        call: Call<proto::CancelRequest>,
    ) -> Result<Answer<proto::CancelResponse>, Status> {
        let request = call.into_inner();
        if !self.lock().transfers.contains_key(&request.transfer_id) {
            return Err(Status::not_found("no such transfer"));
        }
        self.lock().cancels.push((request.transfer_id.clone(), request.reason.clone()));
        let cancelled = self.cancel_running(&request.transfer_id, &request.reason);
        Ok(Answer::new(proto::CancelResponse { cancelled }))
    }

    async fn renew_token(
        &self,
        call: Call<proto::RenewTokenRequest>,
    ) -> Result<Answer<proto::RenewTokenResponse>, Status> {
        let id = call.into_inner().transfer_id;
        let known = self.lock().transfers.contains_key(&id);
        if known { Ok(Answer::new(proto::RenewTokenResponse {})) } else { Err(Status::not_found(id)) }
    }

    async fn acknowledge(
        &self,
        call: Call<proto::AcknowledgeRequest>,
    ) -> Result<Answer<proto::AcknowledgeResponse>, Status> {
        let request = call.into_inner();
        let mut state = self.lock();
        if state.faults.lose_acknowledgements > 0 {
            state.faults.lose_acknowledgements -= 1;
            return Err(Status::unavailable("lost"));
        }
        let Some(transfer) = state.transfers.remove(&request.transfer_id) else {
            return Ok(Answer::new(proto::AcknowledgeResponse { known: false }));
        };
        let settled = Settled {
            disposition: request.disposition(),
            reason: request.reason,
            http_status: request.http_status,
        };
        if settled.disposition == Disposition::Discard {
            state.replicas.remove(&transfer.request.replica_id);
        }
        transfer.settled.send_replace(Some(settled.clone()));
        state.settled.push((request.transfer_id, settled));
        Ok(Answer::new(proto::AcknowledgeResponse { known: true }))
    }

    async fn list(&self, _: Call<proto::ListRequest>) -> Result<Answer<Self::ListStream>, Status> {
        let state = self.lock();
        let infos: Vec<_> = state
            .transfers
            .iter()
            .map(|(id, transfer)| {
                let event = transfer.event.borrow().clone();
                let outcome = transfer.has_ended().then(|| proto::TransferEvent {
                    transfer_id: id.clone(),
                    at: None,
                    event: Some(event),
                });
                Ok(proto::TransferInfo { request: Some(transfer.request.clone()), progress: None, outcome })
            })
            .collect();
        Ok(Answer::new(Box::pin(tokio_stream::iter(infos))))
    }

    async fn delete_replica(
        &self,
        call: Call<proto::DeleteReplicaRequest>,
    ) -> Result<Answer<proto::DeleteReplicaResponse>, Status> {
        let mut state = self.lock();
        if state.faults.lose_deletions > 0 {
            state.faults.lose_deletions -= 1;
            return Err(Status::unavailable("lost"));
        }
        let id = call.into_inner().replica_id;
        let existed = state.replicas.remove(&id).is_some();
        state.deleted.push(id);
        Ok(Answer::new(proto::DeleteReplicaResponse { existed }))
    }

    async fn watch_status(
        &self,
        _: Call<proto::WatchStatusRequest>,
    ) -> Result<Answer<Self::WatchStatusStream>, Status> {
        let inner = self.clone();
        let period = std::time::Duration::from_millis(20);
        let ticks = tokio_stream::wrappers::IntervalStream::new(tokio::time::interval(period));
        Ok(Answer::new(Box::pin(ticks.map(move |_| Ok(inner.lock().status.clone())))))
    }

    async fn list_replicas(
        &self,
        call: Call<proto::ListReplicasRequest>,
    ) -> Result<Answer<Self::ListReplicasStream>, Status> {
        let mut state = self.lock();
        assert_eq!(call.into_inner().states, [i32::from(proto::ReplicaState::Broken)]);
        if state.faults.lose_lists > 0 {
            state.faults.lose_lists -= 1;
            return Err(Status::unavailable("lost"));
        }
        let broken: Vec<_> = state.broken.iter().cloned().map(Ok).collect();
        Ok(Answer::new(Box::pin(tokio_stream::iter(broken))))
    }

    async fn stat_replica(
        &self,
        _: Call<proto::StatReplicaRequest>,
    ) -> Result<Answer<proto::ReplicaInfo>, Status> {
        Err(Status::unimplemented("the door does not ask this"))
    }

    async fn claim_replicas(
        &self,
        _: Call<proto::ClaimReplicasRequest>,
    ) -> Result<Answer<proto::ClaimReplicasResponse>, Status> {
        Err(Status::unimplemented("the door does not ask this"))
    }

    async fn verify_replica(
        &self,
        call: Call<proto::VerifyReplicaRequest>,
    ) -> Result<Answer<Self::VerifyReplicaStream>, Status> {
        let request = call.into_inner();
        let mut state = self.lock();
        state.verifications.push(request.clone());
        if state.faults.never_computed {
            return Ok(Answer::new(Box::pin(tokio_stream::pending())));
        }
        let computed = |algorithm: &i32| {
            let length = match proto::ChecksumAlgorithm::try_from(*algorithm) {
                Ok(proto::ChecksumAlgorithm::Md5) => 16,
                Ok(proto::ChecksumAlgorithm::Sha256) => 32,
                other => panic!("the stories do not ask for {other:?}"),
            };
            proto::Checksum { algorithm: *algorithm, value: vec![7; length] }
        };
        let checksums = copies::finished(0).checksums.into_iter();
        let result = proto::VerifyResult {
            good: true,
            checksums: checksums.chain(request.compute.iter().map(computed)).collect(),
            problems: Vec::new(),
        };
        let progress = proto::VerifyReplicaEvent::default();
        let last = proto::VerifyReplicaEvent { result: Some(result), ..Default::default() };
        Ok(Answer::new(Box::pin(tokio_stream::iter([Ok(progress), Ok(last)]))))
    }

    async fn drain(&self, _: Call<proto::DrainRequest>) -> Result<Answer<proto::DrainResponse>, Status> {
        Err(Status::unimplemented("the door does not ask this"))
    }

    async fn start_scrub(
        &self,
        _: Call<proto::StartScrubRequest>,
    ) -> Result<Answer<proto::ScrubStatus>, Status> {
        Err(Status::unimplemented("the door does not ask this"))
    }

    async fn stop_scrub(
        &self,
        _: Call<proto::StopScrubRequest>,
    ) -> Result<Answer<proto::ScrubStatus>, Status> {
        Err(Status::unimplemented("the door does not ask this"))
    }

    async fn get_scrub(&self, _: Call<proto::GetScrubRequest>) -> Result<Answer<proto::ScrubStatus>, Status> {
        Err(Status::unimplemented("the door does not ask this"))
    }

    async fn recover(
        &self,
        _: Call<proto::RecoverRequest>,
    ) -> Result<Answer<proto::RecoverResponse>, Status> {
        Err(Status::unimplemented("the door does not ask this"))
    }

    async fn resume(&self, _: Call<proto::ResumeRequest>) -> Result<Answer<proto::ResumeResponse>, Status> {
        Err(Status::unimplemented("the door does not ask this"))
    }
}
