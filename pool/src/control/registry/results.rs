//! What is kept on the disk of transfers whose doors have not said Acknowledge, so that no door misses an outcome,
//! whatever becomes of this daemon.
//!
//! Of every transfer but downloads, on which nothing hangs, the request is kept when it starts and the outcome when
//! it ends; both go when the door acknowledges. All of that is handed to the store's writer in order and nobody waits
//! for the disk: the store keeps an upload's intent until the upload's outcome is kept, so a replica whose outcome was
//! lost in a crash is found by its intent, and its request lies there already.
//!
//! What is kept follows from an entry's state at the moment of writing, under one lock. So it does not matter in which
//! order news of one transfer arrive here.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use penstock_door_proto::v1;
use prost::Message;
use tracing::{info, warn};

use super::Registry;
use super::entry::{Entry, Subject};
use super::kept::Kept;
use crate::store::Store;

/// Keeps the registry's transfers on the disk.
#[derive(Debug)]
pub struct Results {
    registry: Arc<Registry>,
    store: Arc<Store>,
    writing: Mutex<()>,
}

impl Results {
    /// Results of `registry`'s transfers in `store`.
    #[must_use]
    pub fn new(registry: Arc<Registry>, store: Arc<Store>) -> Self {
        Self { registry, store, writing: Mutex::new(()) }
    }

    /// Brings what earlier lives of the daemon left back into the registry. Before anything else. Blocks.
    pub fn restore(&self) {
        let now = self.registry.clock().now();
        let mut infos = HashMap::new();
        for (transfer, bytes) in self.store.results().all() {
            match v1::TransferInfo::decode(bytes.as_slice()) {
                Ok(info) => {
                    infos.insert(transfer, info);
                }
                Err(error) => {
                    warn!(transfer, %error, "what is kept of this transfer cannot be read; it is given up");
                    self.store.results().remove(&transfer);
                }
            }
        }
        for recovered in self.store.recovered() {
            infos
                .entry(recovered.transfer.clone())
                .or_insert_with(|| Kept::unclaimed(&recovered.transfer, &recovered.stat));
        }
        let mut kept = Vec::new();
        for (transfer, info) in infos {
            match Kept::revive(info, &self.store, now) {
                Ok(Some(transfer)) => kept.push(transfer),
                Ok(None) => self.store.results().remove(&transfer),
                Err(error) => {
                    warn!(transfer, error, "what is kept of this transfer cannot be used; it is given up");
                    self.store.results().remove(&transfer);
                }
            }
        }
        if !kept.is_empty() {
            info!(transfers = kept.len(), "their doors have not acknowledged these transfers yet");
        }
        for entry in self.registry.restore(kept) {
            // As it is from now on: those that were cut short have an outcome now.
            self.put(&entry);
            if let Subject::Kept(kept) = entry.subject()
                && kept.was_cut_short()
            {
                self.registry.chronicle().ended(&entry);
            }
        }
    }

    /// Hands everything that changed to the store's writer. Blocks while that is behind.
    pub fn flush(&self) {
        self.hand_over(&self.writing.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The same on a thread of the runtime. Another thread, which would cost more than the work, is only asked for where
    /// it would wait.
    pub async fn flush_soon(self: &Arc<Self>) -> Result<(), tokio::task::JoinError> {
        let free = match self.writing.try_lock() {
            Ok(writing) => Some(writing),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(writing) = free.filter(|_| self.store.results().has_room()) {
            self.hand_over(&writing);
            return Ok(());
        }
        let results = Arc::clone(self);
        tokio::task::spawn_blocking(move || results.flush()).await
    }

    fn hand_over(&self, _writing: &MutexGuard<'_, ()>) {
        for entry in self.registry.take_unkept() {
            let ended = entry.outcome().is_some();
            let end_is_kept = ended && entry.end_kept.swap(true, Ordering::AcqRel);
            let forgotten = entry.forgotten.load(Ordering::Acquire);
            // An end is kept even if it is not needed any more: only then the store lets go of the upload.
            if !(end_is_kept && forgotten) {
                self.put(&entry);
            }
            if forgotten {
                self.store.results().remove(entry.id().as_str());
            }
        }
    }

    fn put(&self, entry: &Entry) {
        // Of a failed one there is no upload to let go of; its replica's id may be another's by now.
        let stored = entry.has_stored().then(|| entry.replica());
        self.store.results().put_soon(entry.id().as_str(), stored, entry.info().encode_to_vec());
    }
}
