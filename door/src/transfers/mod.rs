//! Transfers: asking a pool for one, following it to its end, and settling what it left.
//!
//! * [`request`]: what a client wants moved. [`start`]: asking the pool, until it is ready.
//!   `replica_id`: what its replica is called.
//! * [`follow`]: from ready to the end. [`upload`], [`download`]: the two kinds. [`copy`]: third-party copies.
//! * [`damage`]: what pools know to be damaged. [`computation`]: checksums that are not stored.
//! * [`settle`]: what ended while the door was away. [`removal`]: replicas that pools still have to delete.
//! * [`keeper`]: one task for each pool, which runs the last two whenever there is something to do.
//!
//! A transfer belongs to the door, not to the client's connection: each is attended by a task of its own.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashSet};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use penstock_door_proto::v1 as proto;
use penstock_service::trace::context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::audit::Audit;
use crate::metrics::Metrics;
use crate::namespace::Namespace;
use crate::pools::Pools;

pub mod computation;
pub mod copy;
pub mod damage;
pub mod download;
pub mod error;
pub mod follow;
pub mod keeper;
pub mod removal;
mod replica_id;
pub mod request;
pub mod settle;
pub mod start;
pub mod upload;

pub use computation::Computed;
pub use damage::BrokenFiles;
pub use error::TransferError;
pub use request::{DownloadRequest, Ready, UploadRequest};

/// How long a stopping door waits for calls to pools that are under way.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Everything that transfers need; shared by all requests.
#[derive(Debug)]
pub struct Transfers {
    namespace: Namespace,
    pools: Pools,
    door: proto::DoorIdentity,
    create_parents: bool,
    start_timeout: Duration,
    marker_period: Duration,
    metrics: Metrics,
    audit: Arc<Audit>,
    broken: Mutex<BTreeMap<String, BrokenFiles>>,
    computations: computation::Computations,
    /// One for each request that copies.
    copies: Arc<Semaphore>,
    /// One for each transfer that is attended.
    permits: Arc<Semaphore>,
    attended: Mutex<HashSet<String>>,
    /// Sends at every change that leaves a replica to be removed.
    removals: watch::Sender<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What [`Transfers::new`] needs besides namespace and pools.
#[derive(Debug, Clone)]
pub struct TransferRules {
    /// How pools know this door.
    pub door: proto::DoorIdentity,
    /// Uploads make missing directories.
    pub create_parents: bool,
    /// From asking a pool to its being ready.
    pub start_timeout: Duration,
    /// Transfers attended at once.
    pub limit: u32,
    /// Third-party copies at once.
    pub copies: u32,
    /// Between two of their markers.
    pub marker_period: Duration,
}

impl Transfers {
    /// Nothing runs yet: see [`Transfers::keep_pools`].
    pub fn new(
        namespace: Namespace,
        pools: Pools,
        rules: TransferRules,
        metrics: Metrics,
        audit: Arc<Audit>,
    ) -> Arc<Self> {
        Arc::new(Self {
            namespace,
            pools,
            door: rules.door,
            create_parents: rules.create_parents,
            start_timeout: rules.start_timeout,
            marker_period: rules.marker_period,
            metrics,
            audit,
            broken: Mutex::default(),
            computations: computation::Computations::default(),
            copies: Arc::new(Semaphore::new(rules.copies as usize)),
            permits: Arc::new(Semaphore::new(rules.limit as usize)),
            attended: Mutex::default(),
            removals: watch::Sender::new(()),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    /// The pools.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Whether uploads make missing directories.
    pub fn create_parents(&self) -> bool {
        self.create_parents
    }

    /// A name has gone, so that a replica is owed to its pool.
    pub fn replica_owed(&self) {
        self.removals.send_replace(());
    }

    /// Transfers that are attended now.
    pub fn running(&self) -> usize {
        self.lock_attended().len()
    }

    /// Stops attending. What is not settled then is settled after the next start.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        // A task may wait for a pool that does not answer. It can be left at any point, as after a crash.
        let _ = tokio::time::timeout(STOP_PATIENCE, self.tasks.wait()).await;
    }

    /// Does what has to come to its end whatever becomes of who waits for it. [`Transfers::stop`] waits for it, too.
    pub async fn see_through<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let done = self.tasks.spawn(context::carried(work.in_current_span())).await;
        match done.map_err(JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime ends, and with it whoever waits here.
            Err(Err(_)) => std::future::pending().await,
        }
    }

    fn lock_attended(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // A set of ids is whole whatever happened to the thread that held it.
        self.attended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a transfer as attended until the guard goes. `None` when it is already.
    fn attend(self: &Arc<Self>, id: &str, permit: OwnedSemaphorePermit) -> Option<Attended> {
        let new = self.lock_attended().insert(id.to_owned());
        new.then(|| Attended { transfers: Arc::clone(self), id: id.to_owned(), _permit: permit })
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, TransferError> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| TransferError::TooMany)
    }
}

/// A transfer that a task of this door attends.
#[derive(Debug)]
struct Attended {
    transfers: Arc<Transfers>,
    id: String,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.transfers.lock_attended().remove(&self.id);
    }
}
