//! What reading counts over all shards.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes and blocks, by what was done to them.
#[derive(Debug, Default)]
pub struct ReadCounters {
    /// Bytes that were read past the page cache and agreed with their checksums.
    pub verified_direct_bytes: AtomicU64,
    /// Bytes that were read through the page cache and agreed with their checksums.
    pub verified_cached_bytes: AtomicU64,
    /// Bytes that were sent without a check, as they had been checked and had stayed in the page cache.
    pub known_good_bytes: AtomicU64,
    /// Bytes that were sent without ever having been checked: their checksums are not known, or checking is off.
    pub unverified_bytes: AtomicU64,
    /// Stretches of known good bytes that were copied all the same, as their connection encrypts.
    pub sendfile_fallbacks: AtomicU64,
    /// Times that a socket was full while cached bytes were handed to it.
    pub sendfile_waits: AtomicU64,
    /// Blocks whose bytes were not those that were stored, however they were read.
    pub bad_blocks: AtomicU64,
    /// Blocks that were bad when read in one way and good when read in another.
    pub rescued_blocks: AtomicU64,
}

/// Counts more of something.
pub(super) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
