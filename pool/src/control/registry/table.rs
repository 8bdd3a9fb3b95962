//! The rows of the registry: one for each transfer, and the ways to find it. Plain maps; the registry has the lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entry::Entry;
use crate::control::queue::{Queues, Turn};
use crate::store::ReplicaId;
use crate::transfer::request::KindName;
use crate::transfer::{Capability, Transfer, TransferId};

#[derive(Debug)]
pub(super) struct Table {
    pub(super) rows: HashMap<TransferId, Row>,
    pub(super) by_capability: HashMap<Capability, TransferId>,
    /// Uploads that have not ended, by replica.
    pub(super) uploads: HashMap<ReplicaId, TransferId>,
    /// Ended transfers that may be forgotten when room is needed, oldest first.
    pub(super) forgettable: BTreeMap<u64, TransferId>,
    /// What the disk does not know yet: transfers that started, ended, or were forgotten. As many as there are rows,
    /// and those that were forgotten since somebody last waited for the disk, which everyone does who forgets.
    pub(super) unkept: HashMap<TransferId, Arc<Entry>>,
    pub(super) queues: Queues,
    pub(super) arrivals: u64,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) entry: Arc<Entry>,
    pub(super) place: Place,
    pub(super) ended: bool,
    pub(super) acknowledged: bool,
    pub(super) orphan_noted: bool,
}

/// What a transfer holds of its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Waiting(Turn),
    Running,
    None,
}

impl Row {
    pub(super) fn new(entry: Arc<Entry>, place: Place, ended: bool) -> Self {
        Self { entry, place, ended, acknowledged: false, orphan_noted: false }
    }
}

impl Table {
    /// No rows.
    pub(super) fn new(queues: Queues) -> Table {
        Table {
            rows: HashMap::new(),
            by_capability: HashMap::new(),
            uploads: HashMap::new(),
            forgettable: BTreeMap::new(),
            unkept: HashMap::new(),
            queues,
            arrivals: 0,
        }
    }

    /// Moves as many as may run out of the queue; their transfers are admitted once the lock is released.
    pub(super) fn admit_all(&mut self, queue: &str) -> Vec<Arc<Transfer>> {
        let mut admitted = Vec::new();
        while let Some(id) = self.queues.admit(queue) {
            match self.rows.get_mut(&id) {
                Some(row) => {
                    row.place = Place::Running;
                    admitted.extend(row.entry.transfer().cloned());
                }
                None => self.queues.release(queue),
            }
        }
        admitted
    }

    pub(super) fn forget(&mut self, id: &TransferId) {
        if let Some(row) = self.rows.remove(id) {
            if let Some(transfer) = row.entry.transfer() {
                self.by_capability.remove(transfer.capability());
            }
            self.forgettable.remove(&row.entry.number);
            row.entry.forgotten.store(true, Ordering::Release);
            self.keep(&row.entry);
        }
    }

    /// What the disk has of a transfer is no longer so. Nothing hangs on a download: the disk has nothing of it.
    pub(super) fn keep(&mut self, entry: &Arc<Entry>) {
        if entry.kind() != KindName::Get {
            self.unkept.insert(entry.id().clone(), Arc::clone(entry));
        }
    }

    /// Forgets the oldest ended transfer whose loss loses no data: a stored upload is never forgotten unasked.
    pub(super) fn forget_oldest(&mut self) -> bool {
        let free = |id: &&TransferId| self.rows.get(*id).is_some_and(|row| row.place == Place::None);
        let oldest = self.forgettable.values().find(free).cloned();
        if let Some(id) = &oldest {
            self.forget(id);
        }
        oldest.is_some()
    }
}
