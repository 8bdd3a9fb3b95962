//! The contract's service. Each call is checked here and carried out by the registry or the store.

use std::num::NonZeroU64;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{Stream, stream};
use penstock_door_proto::v1;
use penstock_door_proto::v1::pool_server::Pool;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tracing::info;

use super::fields::{period, replica_id, transfer_id};
use super::follow::{Events, Wishes, follow};
use super::listing::send_replicas;
use super::refusals::{request_status, start_status, store_status};
use super::replicas::{self, blocking};
use crate::checksum::{Algorithm, AlgorithmSet};
use crate::control::messages::wire;
use crate::control::registry::entry::{Entry, MAX_FOLLOWERS};
use crate::control::registry::results::Results;
use crate::control::registry::{Registry, traces};
use crate::control::status::StatusSource;
use crate::scrub::Scrub;
use crate::store::{Store, StoreError};
use crate::transfer::request::{Door, KindName};

/// Listed items on their way to a door that reads slowly.
const ITEMS_UNDERWAY: usize = 64;
/// How often the pool's state is told unless the door wishes otherwise.
const STATUS_PERIOD: Duration = Duration::from_secs(10);
/// Verifications at once: each reads a whole file on a thread of its own.
const MAX_VERIFICATIONS: usize = 4;
/// Replicas that are claimed in one call.
const MAX_CLAIMS: usize = 1000;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The pool, as a door sees it.
#[derive(Debug, Clone)]
pub struct PoolService {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    parts: Parts,
    /// Held while a replica's fate is decided, so that an orphan is not made of what was just claimed.
    pub(super) fates: Mutex<()>,
    verifications: Arc<Semaphore>,
}

impl Deref for Shared {
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
        let verifications = Arc::new(Semaphore::new(MAX_VERIFICATIONS));
        Self { shared: Arc::new(Shared { parts, fates: Mutex::new(()), verifications }) }
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
