//! The registry: every transfer that waits, runs, or has ended and waits for its door's Acknowledge.
//!
//! One mutex over plain maps, held for look-ups and bookkeeping only. A transfer's own state lives in
//! [`Transfer`]; whenever that changes, its bell calls [`Registry::settle`], which frees places, admits the next in
//! the queue and counts the outcome. Lock order: registry, then transfer; a transfer never calls with its lock held.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use penstock_door_proto::v1;
use penstock_service::trace::Tracer;
use thiserror::Error;
use tokio::sync::Notify;
use tracing::info;

use super::chronicle::Chronicle;
use super::data_port::DataPort;
use super::doors::Doors;
use super::entry::{Bell, Entry, Subject};
use super::kept::Kept;
use super::metrics::Metrics;
use super::queue::{QueueError, QueueLimits, QueueStatus, Queues};
use super::redirect::Redirects;
use super::table::{Place, Row, Table};
use super::traces;
use crate::marking::{Direction, Marking};
use crate::store::ReplicaId;
use crate::transfer::request::RequestError;
use crate::transfer::{
    Capability, Claim, ClaimMethod, Clock, Desk, Failure, Moment, Refusal, State, Timeouts, Transfer,
    TransferId, TransferRequest, Verdict,
};

/// In `drain_ends_us`: no drain has a deadline.
const NO_DEADLINE: u64 = u64::MAX;

/// While draining, how long a ready transfer's client may still stay away: long enough for one that is on its way.
const DRAINING_PATIENCE: Duration = Duration::from_secs(10);

/// What the registry may hold, and how long things may take.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// The queues.
    pub queues: Vec<QueueLimits>,
    /// Transfers at once, ended ones that wait for their Acknowledge included.
    pub max_transfers: usize,
    /// Client, linger and claim times.
    pub timeouts: Timeouts,
    /// Doors and their URLs, by name.
    pub doors: HashMap<String, String>,
}

/// What may change while the pool runs.
#[derive(Debug)]
struct LiveLimits {
    max_transfers: usize,
    timeouts: Timeouts,
}

/// Why a transfer was not started.
#[derive(Debug, Error)]
pub enum StartError {
    /// A field is wrong, or the kind is not among the pool's features.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The queue does not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The id belongs to another request.
    #[error("transfer {id} exists with a different request; transfer ids must be unique for all time")]
    OtherRequest {
        /// The id.
        id: TransferId,
    },
    /// Another upload of the same replica runs.
    #[error("replica {replica} is being uploaded by transfer {by}")]
    UploadRuns {
        /// The replica.
        replica: ReplicaId,
        /// The other transfer.
        by: TransferId,
    },
    /// No further transfer fits.
    #[error(
        "the pool holds {limit} transfers, as many as it may; acknowledge those that ended, or try again later"
    )]
    TooMany {
        /// limits.transfers.
        limit: usize,
    },
    /// The pool takes no new transfers.
    #[error("the pool is draining: it takes no new transfers")]
    Draining,
    /// The kernel gives no random bytes.
    #[error("no random bytes for the transfer's URL: {0}")]
    Random(#[from] getrandom::Error),
}

/// What stands in a transfer's way at acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("transfer {id} has not ended: it is {state}; cancel it first")]
pub struct NotEnded {
    /// The transfer.
    pub id: TransferId,
    /// Its state.
    pub state: crate::transfer::state::StateName,
}

/// All transfers of a pool.
#[derive(Debug)]
pub struct Registry {
    me: Weak<Registry>,
    clock: Arc<dyn Clock>,
    limits: Mutex<LiveLimits>,
    doors: Doors,
    metrics: Arc<Metrics>,
    redirects: Redirects,
    /// What transfers are marked with.
    marking: OnceLock<Arc<Marking>>,
    /// What is remembered of those that have ended.
    chronicle: OnceLock<Arc<Chronicle>>,
    /// Who is told of transfers that are parts of traces.
    tracer: OnceLock<Tracer>,
    /// Where transfers go that the pool makes by itself.
    data_port: OnceLock<Weak<dyn DataPort>>,
    /// No new transfers.
    draining: AtomicBool,
    /// No claims either.
    stopping: AtomicBool,
    /// When a drain ends whatever still runs, on the monotonic clock; [`NO_DEADLINE`]: never.
    drain_ends_us: AtomicU64,
    /// Rings when there is something to keep on the disk.
    to_keep: Notify,
    table: Mutex<Table>,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new(settings: RegistrySettings, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            clock,
            doors: Doors::new(settings.doors.clone()),
            metrics,
            redirects: Redirects::default(),
            marking: OnceLock::new(),
            chronicle: OnceLock::new(),
            tracer: OnceLock::new(),
            data_port: OnceLock::new(),
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            drain_ends_us: AtomicU64::new(NO_DEADLINE),
            to_keep: Notify::new(),
            table: Mutex::new(Table::new(Queues::new(settings.queues.clone()))),
            limits: Mutex::new(LiveLimits {
                max_transfers: settings.max_transfers,
                timeouts: settings.timeouts,
            }),
        })
    }

    /// How transfers are marked. Set once, before the first transfer; without it, none is.
    pub fn set_marking(&self, marking: &Arc<Marking>) {
        let _ = self.marking.set(Arc::clone(marking));
    }

    /// Who remembers the transfers that have ended. Set once, before the first transfer.
    pub fn set_chronicle(&self, chronicle: Arc<Chronicle>) {
        // A second one would not have what the first one remembers.
        let _ = self.chronicle.set(chronicle);
    }

    /// Who remembers the transfers that have ended.
    #[must_use]
    pub fn chronicle(&self) -> &Arc<Chronicle> {
        self.chronicle.get_or_init(Arc::default)
    }

    /// Who is told of transfers that are parts of traces. Set once, before the first transfer.
    pub fn set_tracer(&self, tracer: Tracer) {
        let _ = self.tracer.set(tracer);
    }

    /// Who carries out the transfers that the pool makes by itself. Set once, before the first transfer.
    pub fn set_data_port(&self, data_port: &Arc<dyn DataPort>) {
        // A second one would not have those that the first one has.
        let _ = self.data_port.set(Arc::downgrade(data_port));
    }

    /// Where clients are sent.
    #[must_use]
    pub fn redirects(&self) -> &Redirects {
        &self.redirects
    }

    /// The URL that a ready transfer's client is sent to. Holds the capability: never logged.
    #[must_use]
    pub fn redirect_url(&self, transfer: &Transfer) -> String {
        self.redirects.url(transfer, self.data_port().as_deref())
    }

    /// The doors that are known.
    #[must_use]
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// The time as transfers see it.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Client, linger and claim times.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.limits().timeouts
    }

    /// Other limits and times, from now on; doors and the set of queues stay. What runs beyond a lower limit goes on.
    pub fn set_limits(&self, settings: &RegistrySettings) {
        *self.limits() = LiveLimits { max_transfers: settings.max_transfers, timeouts: settings.timeouts };
        let mut table = self.lock();
        table.queues.set_limits(&settings.queues);
        let queues = table.queues.names();
        let admitted = queues.iter().flat_map(|queue| table.admit_all(queue)).collect();
        drop(table);
        self.admit(admitted);
    }

    /// The transfer of a request that was made before, if it is the same request.
    pub fn known(&self, asked: &v1::TransferRequest) -> Result<Option<Arc<Entry>>, StartError> {
        let Ok(id) = TransferId::new(asked.transfer_id.as_str()) else { return Ok(None) };
        match self.lock().rows.get(&id) {
            Some(row) if row.entry.is_asked_by(asked) => Ok(Some(Arc::clone(&row.entry))),
            Some(_) => Err(StartError::OtherRequest { id }),
            None => Ok(None),
        }
    }

    /// Starts a transfer, or finds the same one again.
    pub fn start(&self, asked: v1::TransferRequest) -> Result<Arc<Entry>, StartError> {
        let request = TransferRequest::try_from(asked.clone())?;
        let capability = Capability::random()?;
        self.doors.saw(&request.door);
        let (id, queue) = (request.id.clone(), request.queue.clone());

        let mut table = self.lock();
        if let Some(row) = table.rows.get(&id) {
            return match row.entry.is_asked_by(&asked) {
                true => Ok(Arc::clone(&row.entry)),
                false => Err(StartError::OtherRequest { id }),
            };
        }
        if self.draining() {
            return Err(StartError::Draining);
        }
        if request.kind.stores()
            && let Some(by) = table.uploads.get(&request.replica)
        {
            return Err(StartError::UploadRuns { replica: request.replica, by: by.clone() });
        }
        let max_transfers = self.limits().max_transfers;
        if table.rows.len() >= max_transfers && !table.forget_oldest() {
            return Err(StartError::TooMany { limit: max_transfers });
        }
        let turn = table.queues.enqueue(&queue, request.priority, id.clone())?;
        if request.kind.stores() {
            table.uploads.insert(request.replica.clone(), id.clone());
        }
        let bell = Arc::new(Bell::new(id.clone(), self.me.clone()));
        let wish = request.marking;
        let transfer = Transfer::new(request, capability, Arc::clone(&self.clock), bell.clone());
        if let Some(mark) = self.marking.get().and_then(|marking| marking.mark(wish)) {
            transfer.mark_with(mark);
        }
        let number = table.arrivals;
        table.arrivals += 1;
        let entry = Arc::new(Entry::live(Arc::new(transfer), asked, number, bell));
        table.by_capability.insert(capability, id.clone());
        table.rows.insert(id, Row::new(Arc::clone(&entry), Place::Waiting(turn), false));
        table.keep(&entry);
        let admitted = table.admit_all(&queue);
        drop(table);
        self.admit(admitted);
        Ok(entry)
    }

    /// Takes back what earlier lives of the daemon left. Before the first transfer. Gives the entries, oldest first.
    pub(super) fn restore(&self, mut kept: Vec<Kept>) -> Vec<Arc<Entry>> {
        kept.sort_by_cached_key(|kept| (kept.submitted_at(), kept.id().clone()));
        let mut table = self.lock();
        let mut restored = Vec::with_capacity(kept.len());
        for kept in kept {
            let id = kept.id().clone();
            let number = table.arrivals;
            table.arrivals += 1;
            let bell = Arc::new(Bell::new(id.clone(), self.me.clone()));
            let entry = Arc::new(Entry::kept(kept, number, bell));
            if !entry.has_stored() {
                table.forgettable.insert(number, id.clone());
            }
            table.rows.insert(id, Row::new(Arc::clone(&entry), Place::None, true));
            restored.push(entry);
        }
        restored
    }

    /// What the disk does not know yet.
    pub(super) fn take_unkept(&self) -> Vec<Arc<Entry>> {
        std::mem::take(&mut self.lock().unkept).into_values().collect()
    }

    /// Completes when there may be something that the disk does not know.
    pub(super) async fn something_to_keep(&self) {
        self.to_keep.notified().await;
    }

    /// A transfer by its id.
    #[must_use]
    pub fn find(&self, id: &TransferId) -> Option<Arc<Entry>> {
        self.lock().rows.get(id).map(|row| Arc::clone(&row.entry))
    }

    /// Every transfer, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Entry>> {
        let mut entries: Vec<_> = self.lock().rows.values().map(|row| Arc::clone(&row.entry)).collect();
        entries.sort_unstable_by_key(|entry| entry.number);
        entries
    }

    /// How many are served before a waiting transfer; `None` when it does not wait.
    #[must_use]
    pub fn ahead(&self, id: &TransferId) -> Option<usize> {
        let table = self.lock();
        let row = table.rows.get(id)?;
        match row.place {
            Place::Waiting(turn) => {
                let transfer = row.entry.transfer()?;
                Some(table.queues.ahead(&transfer.request().queue, turn))
            }
            Place::Running | Place::None => None,
        }
    }

    /// Forgets an ended transfer. `false` when it is not known. What becomes of an upload's replica was decided
    /// before, by [`Entry::decide`].
    pub fn acknowledge(&self, id: &TransferId) -> Result<bool, NotEnded> {
        let mut table = self.lock();
        let Some(row) = table.rows.get_mut(id) else { return Ok(false) };
        let state = row.entry.state();
        if !row.ended {
            return Err(NotEnded { id: id.clone(), state });
        }
        row.acknowledged = true;
        if row.place == Place::None {
            table.forget(id);
        }
        Ok(true)
    }

    /// Uploads whose claim time has run out since this was last asked: their replicas are orphans now.
    #[must_use]
    pub fn take_new_orphans(&self) -> Vec<Arc<Entry>> {
        let mut table = self.lock();
        let new = table
            .rows
            .values_mut()
            .filter(|row| !row.orphan_noted && row.entry.verdict() == Some(Verdict::Timeout));
        new.map(|row| {
            row.orphan_noted = true;
            Arc::clone(&row.entry)
        })
        .collect()
    }

    /// The replica of an upload that no door has claimed is marked as an orphan, durably: should room be needed, its
    /// transfer may be forgotten. Its door can still find the replica.
    pub(super) fn orphaned(&self, entry: &Arc<Entry>) {
        let mut table = self.lock();
        if table.rows.contains_key(entry.id()) {
            table.forgettable.insert(entry.number, entry.id().clone());
            table.keep(entry);
        }
        drop(table);
        self.to_keep.notify_one();
    }

    /// Does what time demands, for all transfers; called several times a second.
    pub fn tick(&self) {
        let hurry = self.draining();
        let mut timeouts = self.timeouts();
        if hurry {
            timeouts.client = timeouts.client.min(DRAINING_PATIENCE);
        }
        let now = self.clock.now();
        if hurry && now.monotonic_us >= self.drain_ends_us.load(Ordering::Acquire) {
            self.abort_all("the pool is drained and its deadline has passed");
        }
        for entry in self.list() {
            entry.tick(&timeouts, hurry, now);
            self.count_bytes(&entry);
        }
    }

    /// Counts the bytes that have moved since they were last counted.
    fn count_bytes(&self, entry: &Entry) {
        let bytes = entry.take_uncounted_bytes();
        self.metrics.moved(entry.kind(), bytes);
        if let Some(mark) = entry.transfer().and_then(|transfer| transfer.mark()) {
            let direction = if entry.kind().stores() { Direction::In } else { Direction::Out };
            mark.moved(direction, bytes);
        }
    }

    /// Ends every transfer that has not ended.
    pub fn abort_all(&self, why: &str) {
        for entry in self.list() {
            if let Some(transfer) = entry.transfer() {
                transfer.abort(Failure::shutdown(why));
            }
        }
    }

    /// No new transfers from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// What still runs `after` this moment of the drain is ended then.
    pub fn end_drain_at(&self, now: Moment, after: Duration) {
        let after_us = u64::try_from(after.as_micros()).unwrap_or(NO_DEADLINE);
        self.drain_ends_us.store(now.monotonic_us.saturating_add(after_us), Ordering::Release);
    }

    /// New transfers again.
    pub fn resume(&self) {
        self.drain_ends_us.store(NO_DEADLINE, Ordering::Release);
        self.draining.store(false, Ordering::Release);
    }

    /// It takes no new transfers.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// No claims any more: the end of the process is near.
    pub fn stop(&self) {
        self.drain();
        self.stopping.store(true, Ordering::Release);
    }

    /// Transfers that wait or run, uploads that wait for the door's verdict included.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.lock().rows.values().filter(|row| !row.ended || row.entry.open_claims() > 0).count()
    }

    /// Transfers that ended and wait for their Acknowledge.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.lock().rows.values().filter(|row| row.ended && !row.acknowledged).count()
    }

    /// Every queue's numbers.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueStatus> {
        self.lock().queues.status()
    }

    /// A transfer has changed: frees its place, admits who is next, counts its outcome.
    pub(super) fn settle(&self, id: &TransferId) {
        let mut table = self.lock();
        let Some(row) = table.rows.get_mut(id) else { return };
        // Only a live one has a bell that rings.
        let Subject::Live(transfer) = row.entry.subject() else { return };
        let transfer = Arc::clone(transfer);
        let state = transfer.state();
        if !state.has_ended() {
            return;
        }
        let place = row.place;
        // A failed transfer holds its place until the shards have let go of it; a finished one has nothing left to
        // do but wait for its door.
        let free = matches!(state, State::Done(_)) || transfer.open_claims() == 0;
        if free {
            row.place = Place::None;
        }
        let first_time = !std::mem::replace(&mut row.ended, true);
        let (acknowledged, number, entry) = (row.acknowledged, row.entry.number, Arc::clone(&row.entry));
        let request = transfer.request();
        let mut admitted = Vec::new();
        if free {
            match place {
                Place::Waiting(turn) => table.queues.leave(&request.queue, turn),
                Place::Running => table.queues.release(&request.queue),
                Place::None => {}
            }
            admitted = table.admit_all(&request.queue);
        }
        if first_time {
            if request.kind.stores() {
                table.uploads.remove(&request.replica);
            }
            if !entry.has_stored() {
                table.forgettable.insert(number, id.clone());
            }
            table.keep(&entry);
        }
        if acknowledged && free {
            table.forget(id);
        }
        drop(table);
        self.to_keep.notify_one();
        if first_time {
            self.count_bytes(&entry);
            self.metrics.ended(&transfer);
            self.chronicle().ended(&entry);
            log_end(&transfer, &state);
            if let Some(tracer) = self.tracer.get() {
                traces::ended(tracer, entry.trace.get().copied(), &transfer, &state);
            }
        }
        self.admit(admitted);
    }

    /// Admits transfers that were taken out of a queue, and starts those that need no client. One that was cancelled
    /// meanwhile has settled itself.
    fn admit(&self, transfers: Vec<Arc<Transfer>>) {
        for transfer in transfers {
            if transfer.admit().is_err() || !transfer.request().kind.runs_by_itself() {
                continue;
            }
            match self.data_port() {
                Some(data_port) => data_port.launch(&transfer),
                None => {
                    transfer.abort(Failure::shutdown("the pool's data port does not run"));
                }
            }
        }
    }

    fn data_port(&self) -> Option<Arc<dyn DataPort>> {
        self.data_port.get().and_then(Weak::upgrade)
    }

    /// Held for a look or a change; never while another lock is asked for.
    fn limits(&self) -> MutexGuard<'_, LiveLimits> {
        // Each change of it is whole.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_end(transfer: &Transfer, state: &State) {
    let request = transfer.request();
    let progress = transfer.progress();
    info!(
        transfer = %request.id,
        kind = %request.kind.name(),
        outcome = %state.name(),
        why = state.why(),
        replica = %request.replica,
        path = request.path,
        bytes = progress.bytes_moved(),
        seconds = Duration::as_secs_f64(&progress.transfer_time()),
        client = request.client.address,
        subject = request.client.subject,
        door = request.door.name,
        experiment = transfer.mark().map(|mark| mark.names().experiment.as_str()),
        activity = transfer.mark().map(|mark| mark.names().activity.as_str()),
        "transfer ended"
    );
}

impl Desk for Registry {
    fn claim(
        &self,
        capability: &Capability,
        method: ClaimMethod,
        path: &str,
        door: Option<&str>,
        _peer: SocketAddr,
    ) -> Result<Claim, Refusal> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refusal::Draining);
        }
        let found = {
            let table = self.lock();
            let row = table.by_capability.get(capability).and_then(|id| table.rows.get(id));
            row.and_then(|row| row.entry.transfer().cloned())
        };
        match found {
            Some(transfer) => transfer.claim(method, path),
            None => Err(Refusal::Unknown { back_to: door.and_then(|name| self.doors.url(name)) }),
        }
    }

    fn door_url(&self, door: &str) -> Option<String> {
        self.doors.url(door)
    }
}
