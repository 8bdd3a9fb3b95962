//! A transfer as the registry holds it: with the door's own words, and the bell that wakes its followers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use penstock_door_proto::v1;
use tokio::sync::watch;

use super::registry::Registry;
use crate::transfer::{Observer, Transfer, TransferId};

/// Doors that follow one transfer at once.
pub const MAX_FOLLOWERS: usize = 16;

/// A transfer in the registry.
#[derive(Debug)]
pub struct Entry {
    transfer: Arc<Transfer>,
    /// As the door asked, to tell a repeated request from another, and for listings.
    asked: v1::TransferRequest,
    /// In order of arrival.
    pub(super) number: u64,
    bell: Arc<Bell>,
    followers: AtomicUsize,
    /// Of the bytes moved, those that the totals have.
    counted_bytes: AtomicU64,
}

impl Entry {
    pub(super) fn new(
        transfer: Arc<Transfer>,
        asked: v1::TransferRequest,
        number: u64,
        bell: Arc<Bell>,
    ) -> Self {
        Self {
            transfer,
            asked,
            number,
            bell,
            followers: AtomicUsize::new(0),
            counted_bytes: AtomicU64::new(0),
        }
    }

    /// The transfer.
    #[must_use]
    pub fn transfer(&self) -> &Arc<Transfer> {
        &self.transfer
    }

    /// As the door asked.
    #[must_use]
    pub fn asked(&self) -> &v1::TransferRequest {
        &self.asked
    }

    /// A place among the followers; `None` when there are too many.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> Option<Following> {
        let one_more = |count: usize| (count < MAX_FOLLOWERS).then_some(count + 1);
        self.followers.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Following { entry: Arc::clone(self), changes: self.bell.version.subscribe() })
    }

    /// Bytes moved since this was last asked.
    pub(super) fn take_uncounted_bytes(&self) -> u64 {
        let moved = self.transfer.progress().bytes_moved();
        moved.saturating_sub(self.counted_bytes.swap(moved, Ordering::AcqRel))
    }
}

/// One follower's place.
#[derive(Debug)]
pub struct Following {
    entry: Arc<Entry>,
    /// Changes with every change of the transfer.
    pub(super) changes: watch::Receiver<u64>,
}

impl Following {
    /// What is followed.
    #[must_use]
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.entry.followers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Rings when the transfer changed: wakes its followers, and lets the registry settle what follows from it.
#[derive(Debug)]
pub(super) struct Bell {
    id: TransferId,
    version: watch::Sender<u64>,
    registry: Weak<Registry>,
}

impl Bell {
    pub(super) fn new(id: TransferId, registry: Weak<Registry>) -> Self {
        Self { id, version: watch::Sender::new(0), registry }
    }
}

impl Observer for Bell {
    fn changed(&self) {
        // The registry first: whoever is woken finds its books settled.
        if let Some(registry) = self.registry.upgrade() {
            registry.settle(&self.id);
        }
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }
}
