//! The registry: every transfer that waits, runs, or has ended and waits for its door's Acknowledge.
//!
//! One mutex over plain maps, held for look-ups and bookkeeping only. A transfer's own state lives in
//! [`Transfer`]; whenever that changes, its bell calls [`Registry::settle`], which frees places, admits the next in
//! the queue and counts the outcome. Lock order: registry, then transfer; a transfer never calls with its lock held.
//!
//! * [`entry`]: a transfer, with its door's words; `table`: how they are found.
//! * `start`, `settle`, `drain`: a transfer comes, changes, and must come to an end.
//! * `desk`, [`redirect`], [`doors`]: where clients are sent, what they may do there, and where lost ones go.
//! * [`results`], [`kept`]: what the disk keeps of transfers until their doors acknowledge them.
//! * [`chronicle`], [`records`]: what is remembered of them after that; `traces`: as parts of traces (OpenTelemetry).
//! * `metrics`: what Prometheus sees of those that are there.

pub mod chronicle;
mod desk;
pub mod doors;
mod drain;
pub mod entry;
mod errors;
pub mod kept;
pub(super) mod metrics;
pub mod records;
pub mod redirect;
pub mod results;
mod settle;
mod start;
mod table;
pub(super) mod traces;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use penstock_service::trace::Tracer;
use tokio::sync::Notify;

use self::chronicle::Chronicle;
use self::doors::Doors;
use self::entry::Entry;
use self::redirect::Redirects;
use self::table::{Place, Table};
use super::data_port::DataPort;
use super::metrics::Metrics;
use super::queue::{QueueLimits, QueueStatus, Queues};
use crate::marking::Marking;
use crate::transfer::{Clock, Timeouts, Transfer, TransferId};

pub use errors::{NotEnded, StartError};

/// In `drain_ends_us`: no drain has a deadline.
const NO_DEADLINE: u64 = u64::MAX;

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

    /// Every queue's numbers.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueStatus> {
        self.lock().queues.status()
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
