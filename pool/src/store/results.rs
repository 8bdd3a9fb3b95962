//! Results of transfers that no door has acknowledged, and the scrub's place: what control and scrub keep over a restart.

use super::Store;
use super::error::StoreError;
use super::id::ReplicaId;
use super::index::Change;
use super::start::RecoveredUpload;

/// The results that are kept, by transfer.
#[derive(Debug, Clone, Copy)]
pub struct Results<'a> {
    store: &'a Store,
}

impl Store {
    /// The results that are kept. Their number is for their owner to bound.
    pub fn results(&self) -> Results<'_> {
        Results { store: self }
    }

    /// Uploads whose replica is whole and whose result was not kept before the pool stopped. Each is told again at the
    /// next start unless a result of its transfer, with its replica, is kept by then, or the replica is deleted.
    pub fn recovered(&self) -> &[RecoveredUpload] {
        &self.inner.recovered
    }

    /// How far the scrub is, in its own words.
    pub fn scrub_cursor(&self) -> Option<Vec<u8>> {
        self.inner.index.scrub()
    }

    /// Keeps how far the scrub is; a crash soon after may lose it.
    pub fn set_scrub_cursor(&self, cursor: Vec<u8>) {
        self.inner.index.submit([Change::Scrub(cursor)]);
    }
}

impl Results<'_> {
    /// Keeps a result, durably; one of the same transfer is replaced. `replica` is the one that the transfer has
    /// uploaded, if it did: from now on its upload need not be recovered. Blocks; results that are put at one time
    /// share one write.
    pub fn put(&self, transfer: &str, replica: Option<&ReplicaId>, bytes: Vec<u8>) -> Result<(), StoreError> {
        let index = &self.store.inner.index;
        let change = Change::Result(transfer.to_owned(), replica.cloned(), bytes);
        let ticket = index.submit_soon([change]);
        index
            .wait_kept(ticket)
            .map_err(|because| StoreError::Index { step: "keep a transfer's result", because })
    }

    /// Keeps a result a little later, without waiting. For an upload's that is enough: should the pool stop before, its
    /// upload is recovered.
    pub fn put_soon(&self, transfer: &str, replica: Option<&ReplicaId>, bytes: Vec<u8>) {
        self.store.inner.index.submit([Change::Result(transfer.to_owned(), replica.cloned(), bytes)]);
    }

    /// Whether there is room for many at once, so that nobody has to wait to hand them over.
    pub fn has_room(&self) -> bool {
        self.store.inner.index.has_room()
    }

    /// Lets a result go that its door has acknowledged. A crash soon after may bring it back.
    pub fn remove(&self, transfer: &str) {
        self.store.inner.index.submit([Change::NoResult(transfer.to_owned())]);
    }

    /// All of them. Blocks.
    pub fn all(&self) -> Vec<(String, Vec<u8>)> {
        self.store.inner.index.results().unwrap_or_default()
    }
}
