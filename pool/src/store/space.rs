//! The space of a pool: what is used, what is promised to uploads, what a new one can have.
//!
//! Two limits hold at once: the pool's capacity (its quota), and what the file system has free, less the margin that
//! is never used. An upload gets its space before its first byte, so what cannot fit is refused before it is sent.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::engine::disk::{Disk, FsSpace};

/// The space of a pool. Clones share it.
#[derive(Clone)]
pub struct Space {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    pool_name: String,
    data: PathBuf,
    ledger: Mutex<Ledger>,
}

/// Bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Ledger {
    /// Limits, which may change while the pool runs.
    capacity: Option<u64>,
    margin: u64,
    used: u64,
    reserved: u64,
    /// Of the reserved bytes, those that the file system has already handed out, and so counts as taken itself.
    placed: u64,
}

/// What a pool has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceStatus {
    /// The capacity, or the size of the file system where none is set.
    pub total: u64,
    /// Held by replicas.
    pub used: u64,
    /// Promised to uploads that run.
    pub reserved: u64,
    /// What a new upload can have.
    pub available: u64,
}

/// Why space could not be had.
#[derive(Debug, Error)]
pub enum NoSpace {
    /// There is not enough of it.
    #[error("pool {pool} has {available} bytes available, {needed} are needed")]
    TooLittle {
        /// The pool's name.
        pool: String,
        /// Bytes asked for.
        needed: u64,
        /// Bytes that could have been had.
        available: u64,
    },
    /// The file system does not tell what it has.
    #[error("pool {pool} cannot tell how much space is free in {}: {source}", path.display())]
    Unknown {
        /// The pool's name.
        pool: String,
        /// Where the data lies.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
}

/// Space promised to one upload. What is not committed goes back when this is dropped.
#[must_use = "the space goes back when the reservation is dropped"]
pub struct Reservation {
    space: Space,
    bytes: u64,
    placed: u64,
}

impl Space {
    /// The space of the pool `pool_name`, whose files lie below `data`, with `used` bytes in use already.
    pub fn new(
        disk: Arc<dyn Disk>,
        pool_name: &str,
        data: &Path,
        capacity: Option<u64>,
        margin: u64,
        used: u64,
    ) -> Self {
        let ledger = Mutex::new(Ledger { capacity, margin, used, ..Ledger::default() });
        let (pool_name, data) = (pool_name.to_owned(), data.to_owned());
        Self { inner: Arc::new(Inner { disk, pool_name, data, ledger }) }
    }

    /// Promises exactly `bytes`.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation, NoSpace> {
        let mut reservation = self.reserve_nothing();
        reservation.grow(bytes)?;
        Ok(reservation)
    }

    /// A reservation of nothing, to be grown.
    pub fn reserve_nothing(&self) -> Reservation {
        Reservation { space: self.clone(), bytes: 0, placed: 0 }
    }

    /// Takes note that files or directories got larger or smaller on the disk.
    pub fn changed(&self, before: u64, now: u64) {
        let mut ledger = self.ledger();
        ledger.used = ledger.used.saturating_add(now).saturating_sub(before);
    }

    /// Other limits, from now on. What is used or promised beyond them stays.
    pub fn set_limits(&self, capacity: Option<u64>, margin: u64) {
        let mut ledger = self.ledger();
        (ledger.capacity, ledger.margin) = (capacity, margin);
    }

    /// How things stand.
    pub fn status(&self) -> Result<SpaceStatus, NoSpace> {
        let ledger = self.ledger();
        let fs = self.file_system()?;
        Ok(SpaceStatus {
            total: ledger.capacity.unwrap_or(fs.total),
            used: ledger.used,
            reserved: ledger.reserved,
            available: self.available(&ledger, &fs),
        })
    }

    fn available(&self, ledger: &Ledger, fs: &FsSpace) -> u64 {
        let promised = ledger.reserved.saturating_sub(ledger.placed);
        let on_disk = fs.free.saturating_sub(promised).saturating_sub(ledger.margin);
        match ledger.capacity {
            Some(capacity) => {
                on_disk.min(capacity.saturating_sub(ledger.used).saturating_sub(ledger.reserved))
            }
            None => on_disk,
        }
    }

    fn file_system(&self) -> Result<FsSpace, NoSpace> {
        self.inner.disk.space(&self.inner.data).map_err(|source| NoSpace::Unknown {
            pool: self.inner.pool_name.clone(),
            path: self.inner.data.clone(),
            source,
        })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Each change is a few additions that cannot panic half-way.
        self.inner.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes between `least` and `most` bytes: all of `most` where there is plenty, else half of what is left, so that
    /// one upload of unknown length does not shut out every other.
    fn take(&self, least: u64, most: u64) -> Result<u64, NoSpace> {
        // The file system is asked under the lock: between two uploads' questions, none can take its share unseen.
        let mut ledger = self.ledger();
        let available = self.available(&ledger, &self.file_system()?);
        if least > available {
            let pool = self.inner.pool_name.clone();
            return Err(NoSpace::TooLittle { pool, needed: least, available });
        }
        let taken = most.min(available / 2).max(least);
        ledger.reserved += taken;
        Ok(taken)
    }
}

impl Reservation {
    /// Bytes promised.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Promises `bytes` more. On failure what was promised stays.
    pub fn grow(&mut self, bytes: u64) -> Result<(), NoSpace> {
        self.grow_between(bytes, bytes).map(|_| ())
    }

    /// Promises between `least` and `most` bytes more, as there is room, and tells how many.
    pub fn grow_between(&mut self, least: u64, most: u64) -> Result<u64, NoSpace> {
        let taken = self.space.take(least, most.max(least))?;
        self.bytes += taken;
        Ok(taken)
    }

    /// Gives `bytes` of the promise back.
    pub fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.set(self.bytes - bytes, self.placed.min(self.bytes - bytes), 0);
    }

    /// Takes note that the file system has handed `bytes` more of the promise out.
    pub fn placed(&mut self, bytes: u64) {
        self.set(self.bytes, self.placed.saturating_add(bytes).min(self.bytes), 0);
    }

    /// The upload is done: the promise ends, and `allocated` bytes are in use.
    pub fn commit(mut self, allocated: u64) {
        self.set(0, 0, allocated);
    }

    /// One change under one lock, so that nobody sees an upload's bytes as both promised and used.
    fn set(&mut self, bytes: u64, placed: u64, newly_used: u64) {
        let mut ledger = self.space.ledger();
        ledger.reserved = ledger.reserved - self.bytes + bytes;
        ledger.placed = ledger.placed - self.placed + placed;
        ledger.used = ledger.used.saturating_add(newly_used);
        (self.bytes, self.placed) = (bytes, placed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.set(0, 0, 0);
    }
}

impl std::fmt::Debug for Space {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Space")
            .field("pool_name", &self.inner.pool_name)
            .field("ledger", &*self.ledger())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation")
            .field("bytes", &self.bytes)
            .field("placed", &self.placed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
