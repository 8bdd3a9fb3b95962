//! The contract's service. Each call is checked here and carried out by the registry or the store.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use futures_util::stream;
use penstock_door_proto::v1;
use penstock_door_proto::v1::pool_server::Pool;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::{info, warn};
use v1::acknowledge_request::Disposition;

use super::entry::{Entry, MAX_FOLLOWERS};
use super::follow::{Events, SHORTEST_PERIOD, Wishes, follow};
use super::registry::{Registry, StartError};
use super::replicas::{self, blocking};
use super::results::Results;
use super::status::StatusSource;
use super::traces;
use super::wire;
use crate::checksum::{Algorithm, AlgorithmSet};
use crate::scrub::Scrub;
use crate::store::{ReadOnly, Replica, ReplicaId, ReplicaState, Store, StoreError};
use crate::transfer::request::{Door, KindName, RequestError};
use crate::transfer::{FailureCode, Kind, TransferId, TransferRequest, Verdict};

/// Replicas that are read from the store at once for a listing.
const REPLICAS_PER_PAGE: usize = 256;
/// Listed items on their way to a door that reads slowly.
const ITEMS_UNDERWAY: usize = 64;
/// How often the pool's state is told unless the door wishes otherwise.
const STATUS_PERIOD: Duration = Duration::from_secs(10);
/// Verifications at once: each reads a whole file on a thread of its own.
const MAX_VERIFICATIONS: usize = 4;
/// Replicas that are claimed in one call.
const MAX_CLAIMS: usize = 1000;
/// The status that the client of a discarded upload gets unless the door says otherwise.
const DISCARDED_STATUS: u16 = 500;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The pool, as a door sees it.
#[derive(Debug, Clone)]
pub struct PoolService {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    parts: Parts,
    /// Held while a replica's fate is decided, so that an orphan is not made of what was just claimed.
    fates: Mutex<()>,
    verifications: Arc<tokio::sync::Semaphore>,
}

impl std::ops::Deref for Shared {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// What the service works with.
#[derive(Debug)]
pub struct Parts {
    /// Every transfer.
    pub registry: Arc<Registry>,
    /// Every replica.
    pub store: Arc<Store>,
    /// How the pool is.
    pub status: Arc<StatusSource>,
    /// What the disk keeps of transfers.
    pub results: Arc<Results>,
    /// The verification of all replicas.
    pub scrub: Arc<Scrub>,
    /// The largest replica.
    pub max_file_size: Option<u64>,
    /// Rings at every change of health.
    pub health: watch::Sender<u64>,
}

impl PoolService {
    /// The service over the parts of a pool.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let verifications = Arc::new(tokio::sync::Semaphore::new(MAX_VERIFICATIONS));
        Self { shared: Arc::new(Shared { parts, fates: Mutex::new(()), verifications }) }
    }

    /// Marks the replicas of uploads whose claim time has run out; called several times a second.
    pub async fn note_orphans(&self) {
        let shared = &self.shared;
        for entry in shared.registry.take_new_orphans() {
            let _deciding = shared.fates.lock().await;
            let id = entry.replica().clone();
            if shared.registry.find(entry.id()).is_none() {
                continue; // claimed at the last moment
            }
            warn!(transfer = %entry.id(), replica = %id, path = entry.asked().transfer_path,
                "no door has claimed this upload in time: it is kept as an orphan, see ListReplicas");
            let marked = blocking(&shared.store, move |store| replicas::orphan(store, &id)).await;
            let marked = marked.map_err(|e| e.to_string()).and_then(|m| m.map_err(|e| e.to_string()));
            match marked {
                Ok(()) => shared.registry.orphaned(&entry),
                Err(error) => {
                    warn!(transfer = %entry.id(), replica = %entry.replica(), error, "an orphan cannot be marked");
                }
            }
        }
    }

    /// Checks that need the disk, before a transfer is taken. Gives the replica that a GET, a push or a local copy will
    /// read.
    async fn check_replica(&self, asked: &v1::TransferRequest) -> Result<Option<Arc<Replica>>, Status> {
        let request = TransferRequest::try_from(asked.clone()).map_err(request_status)?;
        let id = request.replica.clone();
        let known = {
            let id = id.clone();
            blocking(&self.shared.store, move |store| store.open(&id)).await?
        };
        match (&request.kind, known) {
            (kind @ (Kind::Get(_) | Kind::Push(_)), known) => {
                let rescue = matches!(kind, Kind::Get(get) if get.allow_broken);
                readable(&id, known, rescue).map(Some)
            }
            (Kind::Put(_) | Kind::Pull(_) | Kind::LocalCopy(_), Ok(_)) => {
                Err(store_status(&StoreError::Exists { replica: id }))
            }
            (Kind::Put(put), Err(StoreError::NotFound { .. })) => {
                self.check_room(&id, put.size, put.maximum_size.map(Into::into)).await.map(|()| None)
            }
            (Kind::Pull(pull), Err(StoreError::NotFound { .. })) => {
                self.check_room(&id, pull.size, pull.maximum_size.map(Into::into)).await.map(|()| None)
            }
            (Kind::LocalCopy(copy), Err(StoreError::NotFound { .. })) => {
                let (source, opening) = (copy.source.clone(), copy.source.clone());
                let known = blocking(&self.shared.store, move |store| store.open(&opening)).await?;
                let original = readable(&source, known, false)?;
                self.check_room(&id, Some(original.size()), None).await.map(|()| Some(original))
            }
            (Kind::Put(_) | Kind::Pull(_) | Kind::LocalCopy(_), Err(error)) => {
                // A disk that cannot say whether a name is free is as ill as one that does not take it.
                let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
                if let Some(cause) = cause {
                    self.shared.store.note_write_error(cause);
                }
                Err(store_status(&error))
            }
        }
    }

    /// What cannot fit is refused before its client is sent here.
    async fn check_room(&self, id: &ReplicaId, size: Option<u64>, limit: Option<u64>) -> Result<(), Status> {
        if let Some(ReadOnly { since, because }) = self.shared.store.health().read_only {
            return Err(store_status(&StoreError::ReadOnly { since, because }));
        }
        let limit = [limit, self.shared.max_file_size].into_iter().flatten().min();
        if let (Some(size), Some(limit)) = (size, limit)
            && size > limit
        {
            return Err(store_status(&StoreError::TooLarge { replica: id.clone(), size, limit }));
        }
        let space = blocking(&self.shared.store, Store::space).await?;
        let space = space
            .map_err(|error| coded(tonic::Code::Unavailable, FailureCode::DiskError, &error.to_string()))?;
        // One byte at least: a full pool takes no upload of unknown size either.
        let needed = size.unwrap_or(1);
        if needed > space.available {
            let text = format!("{needed} bytes are needed, {} are available in this pool", space.available);
            return Err(coded(tonic::Code::ResourceExhausted, FailureCode::NoSpace, &text));
        }
        Ok(())
    }

    fn follow(&self, entry: &Arc<Entry>, wishes: Wishes) -> Result<Response<Events>, Status> {
        let following = entry.follow().ok_or_else(|| {
            Status::resource_exhausted(format!(
                "{MAX_FOLLOWERS} streams follow this transfer, as many as may"
            ))
        })?;
        Ok(Response::new(follow(Arc::clone(&self.shared.registry), following, wishes)))
    }

    /// Lets the disk know what is new of a transfer, and of others.
    async fn keep(&self, entry: &Entry) -> Result<(), Status> {
        if entry.kind() == KindName::Get {
            return Ok(());
        }
        self.shared
            .results
            .flush_soon()
            .await
            .map_err(|error| Status::internal(format!("a transfer cannot be kept on the disk: {error}")))
    }

    /// What becomes of an upload's replica is settled before the transfer is forgotten. The caller holds `fates`.
    async fn settle_upload(&self, entry: &Entry, wish: &v1::AcknowledgeRequest) -> Result<(), Status> {
        let id = entry.replica().clone();
        match wish.disposition() {
            Disposition::Unspecified | Disposition::Keep => {
                // The first word counts: only an upload that was given up needs to be taken back. Of one from an earlier
                // life, the replica may say so, and what is kept of the transfer not yet.
                let given_up = !entry.decide(Verdict::Keep) && entry.verdict() == Some(Verdict::Timeout);
                if given_up || entry.transfer().is_none() {
                    blocking(&self.shared.store, move |store| replicas::adopt(store, &id))
                        .await?
                        .map_err(|error| store_status(&error))?;
                }
            }
            Disposition::Discard => {
                if entry.verdict() == Some(Verdict::Keep) {
                    return Err(Status::failed_precondition(format!(
                        "transfer {} was acknowledged with KEEP before; delete the replica instead",
                        entry.id()
                    )));
                }
                blocking(&self.shared.store, move |store| replicas::remove(store, &id))
                    .await?
                    .map_err(|error| store_status(&error))?;
                let status =
                    u16::try_from(wish.http_status).ok().filter(|status| (400..600).contains(status));
                let reason = wish.reason.clone();
                entry.decide(Verdict::Discard { status: status.unwrap_or(DISCARDED_STATUS), reason });
            }
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl Pool for PoolService {
    type StartTransferStream = Events;
    type WatchStream = Events;
    type ListStream = Answers<v1::TransferInfo>;
    type ListReplicasStream = Answers<v1::ReplicaInfo>;
    type VerifyReplicaStream = Answers<v1::VerifyReplicaEvent>;
    type WatchStatusStream = Answers<v1::PoolStatus>;

    async fn start_transfer(
        &self,
        request: Request<v1::StartTransferRequest>,
    ) -> Result<Response<Events>, Status> {
        let trace = traces::context(request.metadata());
        let request = request.into_inner();
        let asked = request.transfer.ok_or_else(|| Status::invalid_argument("transfer: is missing"))?;
        let registry = &self.shared.registry;
        let entry = match registry.known(&asked).map_err(start_status)? {
            Some(entry) => entry,
            None => {
                let replica = self.check_replica(&asked).await?;
                let entry = registry.start(asked).map_err(start_status)?;
                if let Some(trace) = trace {
                    // New as it is, it has none.
                    let _ = entry.trace.set(trace);
                }
                if let (Some(replica), Some(transfer)) = (replica, entry.transfer()) {
                    transfer.hold(replica);
                }
                // Before anything of it can reach the disk.
                self.keep(&entry).await?;
                entry
            }
        };
        let progress_period = request.progress_period.map(|p| period("progress_period", p)).transpose()?;
        self.follow(&entry, Wishes { progress_period, cancel_on_disconnect: request.cancel_on_disconnect })
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Events>, Status> {
        let request = request.into_inner();
        let id = transfer_id(&request.transfer_id)?;
        let unknown = || Status::not_found(format!("transfer {id} is not known here, or was acknowledged"));
        let entry = self.shared.registry.find(&id).ok_or_else(unknown)?;
        let progress_period = request.progress_period.map(|p| period("progress_period", p)).transpose()?;
        self.follow(&entry, Wishes { progress_period, cancel_on_disconnect: false })
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let request = request.into_inner();
        let id = transfer_id(&request.transfer_id)?;
        let reason =
            if request.reason.is_empty() { "cancelled by the door" } else { request.reason.as_str() };
        let cancelled = self.shared.registry.find(&id).is_some_and(|entry| entry.cancel(reason));
        Ok(Response::new(v1::CancelResponse { cancelled }))
    }

    async fn renew_token(
        &self,
        request: Request<v1::RenewTokenRequest>,
    ) -> Result<Response<v1::RenewTokenResponse>, Status> {
        let request = request.into_inner();
        let id = transfer_id(&request.transfer_id)?;
        let given = request.token.ok_or_else(|| Status::invalid_argument("token: is missing"))?;
        let entry = self.shared.registry.find(&id);
        let entry = entry.ok_or_else(|| Status::not_found(format!("transfer {id} is not known here")))?;
        let Some(transfer) = entry.transfer() else {
            // Its end is all that is left of it.
            return Ok(Response::new(v1::RenewTokenResponse {}));
        };
        let token = transfer.request().kind.door_token();
        let token = token.ok_or_else(|| {
            Status::failed_precondition(format!("transfer {id} shows no token that could be renewed"))
        })?;
        let ends_at = given.expires_at.and_then(|at| SystemTime::try_from(at).ok());
        token
            .renew(&given.access_token, ends_at)
            .map_err(|_| Status::invalid_argument("token: is not printable ASCII, or too long"))?;
        Ok(Response::new(v1::RenewTokenResponse {}))
    }

    async fn acknowledge(
        &self,
        request: Request<v1::AcknowledgeRequest>,
    ) -> Result<Response<v1::AcknowledgeResponse>, Status> {
        let request = request.into_inner();
        let id = transfer_id(&request.transfer_id)?;
        let registry = &self.shared.registry;
        let Some(entry) = registry.find(&id) else {
            return Ok(Response::new(v1::AcknowledgeResponse { known: false }));
        };
        let deciding = self.shared.fates.lock().await;
        if entry.has_stored() {
            self.settle_upload(&entry, &request).await?;
        }
        let known =
            registry.acknowledge(&id).map_err(|error| Status::failed_precondition(error.to_string()))?;
        drop(deciding);
        self.keep(&entry).await?;
        Ok(Response::new(v1::AcknowledgeResponse { known }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<Self::ListStream>, Status> {
        let request = request.into_inner();
        let wanted = move |entry: &Arc<Entry>| {
            let by_door = request.door_name.is_empty() || entry.door_name() == request.door_name;
            by_door && (!request.unacknowledged_only || entry.outcome().is_some())
        };
        let entries = self.shared.registry.list().into_iter().filter(wanted);
        let infos = entries.map(|entry| Ok(entry.info()));
        Ok(Response::new(Box::pin(stream::iter(infos.collect::<Vec<_>>()))))
    }

    async fn list_replicas(
        &self,
        request: Request<v1::ListReplicasRequest>,
    ) -> Result<Response<Self::ListReplicasStream>, Status> {
        let request = request.into_inner();
        let after = if request.after_id.is_empty() { None } else { Some(replica_id(&request.after_id)?) };
        let states: Vec<v1::ReplicaState> = request.states().collect();
        let left = if request.limit == 0 { u64::MAX } else { request.limit };
        let (sender, receiver) = mpsc::channel(ITEMS_UNDERWAY);
        let store = Arc::clone(&self.shared.store);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = send_replicas(&store, after, &states, left, &sender) {
                // The door may have gone; then nobody wants to know.
                let _ = sender.blocking_send(Err(store_status(&error)));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn stat_replica(
        &self,
        request: Request<v1::StatReplicaRequest>,
    ) -> Result<Response<v1::ReplicaInfo>, Status> {
        let id = replica_id(&request.into_inner().replica_id)?;
        let info = blocking(&self.shared.store, move |store| replicas::stat(store, &id)).await?;
        info.map(Response::new).map_err(|error| store_status(&error))
    }

    async fn delete_replica(
        &self,
        request: Request<v1::DeleteReplicaRequest>,
    ) -> Result<Response<v1::DeleteReplicaResponse>, Status> {
        let request = request.into_inner();
        let id = replica_id(&request.replica_id)?;
        let removing = id.clone();
        let removed = blocking(&self.shared.store, move |store| replicas::remove(store, &removing)).await?;
        let existed = removed.map_err(|error| store_status(&error))?;
        if !existed && !request.missing_ok {
            return Err(store_status(&StoreError::NotFound { replica: id }));
        }
        if existed {
            info!(replica = %id, "replica deleted on request");
        }
        Ok(Response::new(v1::DeleteReplicaResponse { existed }))
    }

    async fn claim_replicas(
        &self,
        request: Request<v1::ClaimReplicasRequest>,
    ) -> Result<Response<v1::ClaimReplicasResponse>, Status> {
        let ids = request.into_inner().replica_ids;
        if ids.len() > MAX_CLAIMS {
            return Err(Status::invalid_argument(format!(
                "replica_ids: {} are given, at most {MAX_CLAIMS} are taken at once",
                ids.len()
            )));
        }
        let ids = ids.iter().map(|id| replica_id(id)).collect::<Result<Vec<_>, _>>()?;
        // No upload among them is given up meanwhile.
        let _deciding = self.shared.fates.lock().await;
        let missing_ids = blocking(&self.shared.store, move |store| replicas::adopt_all(store, &ids)).await?;
        let missing_ids = missing_ids.map_err(|error| store_status(&error))?;
        Ok(Response::new(v1::ClaimReplicasResponse { missing_ids }))
    }

    async fn verify_replica(
        &self,
        request: Request<v1::VerifyReplicaRequest>,
    ) -> Result<Response<Self::VerifyReplicaStream>, Status> {
        let request = request.into_inner();
        let id = replica_id(&request.replica_id)?;
        let algorithms = request.compute.iter().map(|number| Algorithm::try_from(*number));
        let compute: AlgorithmSet = algorithms
            .collect::<Result<_, _>>()
            .map_err(|error| Status::invalid_argument(format!("compute: {error}")))?;
        let place = Arc::clone(&self.shared.verifications).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!(
                "{MAX_VERIFICATIONS} verifications run, as many as may; try again later"
            ))
        })?;
        let (sender, receiver) = mpsc::channel(ITEMS_UNDERWAY);
        let store = Arc::clone(&self.shared.store);
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let event =
                |bytes_read, bytes_total| v1::VerifyReplicaEvent { bytes_read, bytes_total, result: None };
            let (mut bytes_read, mut bytes_total) = (0, 0);
            let verified = replicas::verify(&store, &id, compute, |read, total| {
                (bytes_read, bytes_total) = (read, total);
                sender.blocking_send(Ok(event(read, total))).is_ok()
            });
            let last = match verified {
                Ok(Some(result)) => {
                    Ok(v1::VerifyReplicaEvent { result: Some(result), ..event(bytes_read, bytes_total) })
                }
                Ok(None) => return,
                Err(error) => Err(store_status(&error)),
            };
            // The door may have gone at the last moment.
            let _ = sender.blocking_send(last);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn watch_status(
        &self,
        request: Request<v1::WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let request = request.into_inner();
        let period = request.period.map(|p| period("period", p)).transpose()?.unwrap_or(STATUS_PERIOD);
        if let Some(door) = request.door {
            self.shared.registry.doors().saw(&Door::try_from(door).map_err(request_status)?);
        }
        let (sender, receiver) = mpsc::channel(1);
        let status = Arc::clone(&self.shared.status);
        let mut health = self.shared.health.subscribe();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    changed = health.changed() => if changed.is_err() { return },
                    () = sender.closed() => return,
                }
                let status = Arc::clone(&status);
                let Ok(now) = tokio::task::spawn_blocking(move || status.now()).await else { return };
                if sender.send(Ok(now)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        let request = request.into_inner();
        let deadline = request.deadline.map(|d| period("deadline", d)).transpose()?;
        info!(reason = request.reason, ?deadline, "draining: no new transfers");
        let registry = &self.shared.registry;
        registry.drain();
        registry.tick();
        self.shared.health.send_modify(|version| *version = version.wrapping_add(1));
        if let Some(deadline) = deadline {
            registry.end_drain_at(registry.clock().now(), deadline);
        }
        let remaining = u32::try_from(registry.remaining()).unwrap_or(u32::MAX);
        Ok(Response::new(v1::DrainResponse { remaining }))
    }

    async fn start_scrub(
        &self,
        request: Request<v1::StartScrubRequest>,
    ) -> Result<Response<v1::ScrubStatus>, Status> {
        let request = request.into_inner();
        let rate = NonZeroU64::new(request.rate_bytes_per_second);
        let status = self.shared.scrub.start(request.restart, rate);
        let status = status.map_err(|error| Status::failed_precondition(error.to_string()))?;
        info!(restart = request.restart, rate, "scrub: started on request");
        Ok(Response::new(wire::scrub(&status)))
    }

    async fn stop_scrub(
        &self,
        _request: Request<v1::StopScrubRequest>,
    ) -> Result<Response<v1::ScrubStatus>, Status> {
        info!("scrub: stopped on request");
        Ok(Response::new(wire::scrub(&self.shared.scrub.stop())))
    }

    async fn get_scrub(
        &self,
        _request: Request<v1::GetScrubRequest>,
    ) -> Result<Response<v1::ScrubStatus>, Status> {
        Ok(Response::new(wire::scrub(&self.shared.scrub.status())))
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        let request = request.into_inner();
        if self.shared.store.health().read_only.is_none() {
            return Ok(Response::new(v1::RecoverResponse { recovered: false }));
        }
        blocking(&self.shared.store, Store::recover)
            .await?
            .map_err(|error| Status::failed_precondition(format!("the pool stays read-only: {error}")))?;
        info!(reason = request.reason, "recovered: the pool takes uploads again");
        self.shared.health.send_modify(|version| *version = version.wrapping_add(1));
        Ok(Response::new(v1::RecoverResponse { recovered: true }))
    }

    async fn resume(
        &self,
        _request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::ResumeResponse>, Status> {
        info!("resumed: new transfers are taken");
        self.shared.registry.resume();
        self.shared.health.send_modify(|version| *version = version.wrapping_add(1));
        Ok(Response::new(v1::ResumeResponse {}))
    }
}

/// A replica that may be read; with `rescue` also a broken one.
fn readable(
    id: &ReplicaId,
    known: Result<Arc<Replica>, StoreError>,
    rescue: bool,
) -> Result<Arc<Replica>, Status> {
    let replica = known.map_err(|error| store_status(&error))?;
    match replica.state() {
        ReplicaState::Ready | ReplicaState::Orphaned => Ok(replica),
        ReplicaState::Broken if rescue => Ok(replica),
        ReplicaState::Broken => {
            let because = replica.attributes().broken_because.unwrap_or_default();
            let text = format!("replica {id} is broken: {because}");
            Err(coded(tonic::Code::FailedPrecondition, FailureCode::ReplicaBroken, &text))
        }
        ReplicaState::Uploading | ReplicaState::Removing => {
            Err(store_status(&StoreError::NotFound { replica: id.clone() }))
        }
    }
}

/// Sends replicas page by page. The channel closing is no error: nobody listens any more.
fn send_replicas(
    store: &Store,
    mut after: Option<ReplicaId>,
    states: &[v1::ReplicaState],
    mut left: u64,
    sender: &mpsc::Sender<Result<v1::ReplicaInfo, Status>>,
) -> Result<(), StoreError> {
    loop {
        let page = store.list(after.as_ref(), REPLICAS_PER_PAGE)?;
        let without_blocks = match page.replicas.last() {
            Some(last) => replicas::without_blocks(store, after.as_ref(), &last.id),
            None => BTreeSet::new(),
        };
        for stat in &page.replicas {
            let state = replicas::state_number(stat.attributes.state);
            if !states.is_empty() && !states.contains(&state) {
                continue;
            }
            let whole = stat.attributes.state != ReplicaState::Uploading;
            let info = replicas::info(store, stat, whole && !without_blocks.contains(&stat.id));
            if left == 0 || sender.blocking_send(Ok(info)).is_err() {
                return Ok(());
            }
            left -= 1;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

fn transfer_id(text: &str) -> Result<TransferId, Status> {
    TransferId::new(text).map_err(request_status)
}

fn replica_id(text: &str) -> Result<ReplicaId, Status> {
    ReplicaId::new(text).map_err(|error| Status::invalid_argument(format!("replica_id: {error}")))
}

fn period(field: &str, asked: prost_types::Duration) -> Result<Duration, Status> {
    let period = Duration::try_from(asked)
        .map_err(|_| Status::invalid_argument(format!("{field}: must not be negative")))?;
    Ok(period.max(SHORTEST_PERIOD))
}

/// An error whose text begins with its FailureCode, as the contract says.
fn coded(code: tonic::Code, failure: FailureCode, text: &str) -> Status {
    Status::new(code, format!("{}: {text}", failure.as_str_name()))
}

fn request_status(error: RequestError) -> Status {
    match error {
        RequestError::Field { .. } => Status::invalid_argument(error.to_string()),
        RequestError::NotSupported { .. } => Status::unimplemented(error.to_string()),
    }
}

fn start_status(error: StartError) -> Status {
    let text = error.to_string();
    match error {
        StartError::Request(error) => request_status(error),
        StartError::Queue(super::queue::QueueError::Unknown { .. }) => Status::invalid_argument(text),
        StartError::Queue(super::queue::QueueError::Full { .. }) | StartError::TooMany { .. } => {
            Status::resource_exhausted(text)
        }
        StartError::OtherRequest { .. } => Status::already_exists(text),
        StartError::UploadRuns { .. } => coded(tonic::Code::AlreadyExists, FailureCode::Exists, &text),
        StartError::Draining => Status::unavailable(text),
        StartError::Random(_) => Status::internal(text),
    }
}

fn store_status(error: &StoreError) -> Status {
    let (code, failure) = match error {
        StoreError::NoSpace { .. } => (tonic::Code::ResourceExhausted, FailureCode::NoSpace),
        StoreError::TooLarge { .. } => (tonic::Code::ResourceExhausted, FailureCode::TooLarge),
        StoreError::Exists { .. } => (tonic::Code::AlreadyExists, FailureCode::Exists),
        StoreError::NotFound { .. } => (tonic::Code::NotFound, FailureCode::NotFound),
        StoreError::SizeMismatch { .. } => (tonic::Code::FailedPrecondition, FailureCode::SizeMismatch),
        StoreError::State { .. } => (tonic::Code::FailedPrecondition, FailureCode::BadRequest),
        StoreError::Attributes { .. }
        | StoreError::WrongLength { .. }
        | StoreError::ChecksumDiffers { .. } => (tonic::Code::DataLoss, FailureCode::ReplicaBroken),
        StoreError::ReadOnly { .. } => (tonic::Code::Unavailable, FailureCode::DiskError),
        StoreError::BlockCount { .. } => (tonic::Code::Internal, FailureCode::Internal),
        StoreError::Io { .. } | StoreError::Pool { .. } | StoreError::Index { .. } => {
            (tonic::Code::Internal, FailureCode::DiskError)
        }
    };
    coded(code, failure, &error.to_string())
}
