//! Which blocks in the page cache were checked, and so may leave it without being looked at again.
//!
//! A bit for each block, for some thousands of replicas. What a set bit means, and why it may be believed:
//!
//! * It is set when all of a block has been read through the page cache and agreed with its checksum.
//! * It counts for one version of the file only: inode, size, mtime and ctime as `fstat` tells them now. Whoever
//!   writes to the file, or to its attributes, changes the ctime, which cannot be set back.
//! * It counts only while the bytes to be sent are all in the page cache, as `cachestat` tells now. A block that is seen
//!   not wholly cached loses its bit, so that it is checked when it comes from the disk again.
//! * A page that was evicted and came back between two looks would be taken for the one that was checked. It can only
//!   come back because somebody reads it. A read of ours that misses a page of its own block checks that block. The
//!   kernel's read-ahead, however, brings in pages behind what was asked for: so before every read that may go to the
//!   disk, the blocks that read-ahead can reach lose their bits unless they are wholly cached
//!   ([`Source::before_fill`](super::Source)). The marks that read-ahead leaves in the cache, which set off more of it, lie
//!   in pages that we have not read yet; reading a block to check it takes the marks in it away. So sending a block
//!   whose bit is set reads nothing ahead.
//!
//! (Switching read-ahead off with POSIX_FADV_RANDOM would be simpler, but then the page cache is filled with single
//! pages instead of large folios, and every later send from it costs twice as much: docs/decisions.md.)
//!
//! What is left open:
//!
//! * Somebody else on this machine who reads the file through the page cache (a backup, `md5sum`): a page that is
//!   evicted after it was checked and brought back by that reader, between two looks of ours, is sent unchecked once it
//!   is cached again.
//! * A page that is evicted in the microseconds between the look and the call that sends it.
//! * Memory that goes bad under a page after it was checked.
//!
//! `verify_reads = "always"` closes all three: then nothing is believed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::engine::disk::Metadata;
use crate::store::ReplicaId;

/// Memory of one generation; there are two. A bit stands for 1 MiB, so this is for 32 TiB of checked blocks, or for
/// some 20 000 replicas.
const GENERATION_BYTES: usize = 4 << 20;
/// What an entry takes besides its bits.
const ENTRY_BYTES: usize = 200;
const WORD_BITS: u64 = u64::BITS as u64;

/// Which content of which file the bits are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    inode: u64,
    size_bytes: u64,
    modified_at: SystemTime,
    changed_at: SystemTime,
}

impl Version {
    /// The version that a file has now.
    pub fn of(metadata: &Metadata) -> Version {
        Version {
            inode: metadata.inode,
            size_bytes: metadata.size,
            modified_at: metadata.modified_at,
            changed_at: metadata.changed_at,
        }
    }
}

/// The checked blocks of one version of one replica.
#[derive(Debug)]
pub(super) struct KnownBlocks {
    version: Version,
    words: Box<[AtomicU64]>,
}

impl KnownBlocks {
    fn new(version: Version, blocks: u64) -> KnownBlocks {
        let words = (0..blocks.div_ceil(WORD_BITS)).map(|_| AtomicU64::new(0)).collect();
        KnownBlocks { version, words }
    }

    fn word(&self, block: u64) -> Option<(&AtomicU64, u64)> {
        let word = self.words.get(usize::try_from(block / WORD_BITS).ok()?)?;
        Some((word, 1 << (block % WORD_BITS)))
    }

    /// Whether a block was checked.
    pub fn contains(&self, block: u64) -> bool {
        self.word(block).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    /// A block has been checked.
    pub fn insert(&self, block: u64) {
        if let Some((word, bit)) = self.word(block) {
            word.fetch_or(bit, Ordering::Release);
        }
    }

    /// A block has to be checked again.
    pub fn remove(&self, block: u64) {
        if let Some((word, bit)) = self.word(block) {
            word.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + size_of_val(&*self.words)
    }
}

/// The checked blocks of the replicas that were read last.
#[derive(Debug, Default)]
pub(super) struct KnownGood {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<ReplicaId, Arc<KnownBlocks>>,
    young_bytes: usize,
    old: HashMap<ReplicaId, Arc<KnownBlocks>>,
}

impl Generations {
    fn insert(&mut self, id: &ReplicaId, known: &Arc<KnownBlocks>) {
        if self.young_bytes + known.bytes() > GENERATION_BYTES && !self.young.is_empty() {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += known.bytes();
        if let Some(before) = self.young.insert(id.clone(), Arc::clone(known)) {
            self.young_bytes -= before.bytes();
        }
    }
}

impl KnownGood {
    /// The checked blocks of a replica in this version, if any are remembered. Never to be kept for longer than one
    /// look or one mark: what others clear must be clear for all.
    pub fn get(&self, id: &ReplicaId, version: &Version) -> Option<Arc<KnownBlocks>> {
        let mut generations = self.lock();
        if let Some(known) = generations.young.get(id) {
            return (known.version == *version).then(|| Arc::clone(known));
        }
        let known = generations.old.remove(id)?;
        generations.insert(id, &known);
        (known.version == *version).then_some(known)
    }

    /// A block of a replica has been checked, which has so many of them in this version.
    pub fn insert(&self, id: &ReplicaId, version: Version, blocks: u64, block: u64) {
        if let Some(known) = self.get(id, &version) {
            return known.insert(block);
        }
        let known = Arc::new(KnownBlocks::new(version, blocks));
        // A bitmap that would fill a generation by itself would push out all others again and again.
        if known.bytes() <= GENERATION_BYTES {
            known.insert(block);
            self.lock().insert(id, &known);
        }
    }

    /// Nothing of a replica is known any more.
    pub fn forget(&self, id: &ReplicaId) {
        let mut generations = self.lock();
        generations.old.remove(id);
        if let Some(known) = generations.young.remove(id) {
            generations.young_bytes -= known.bytes();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        // Should a panic elsewhere have left a wrong count of bytes, generations end a little early or late.
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(text: &str) -> ReplicaId {
        ReplicaId::new(text).unwrap()
    }

    fn version(second: u64) -> Version {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        Version { inode: 7, size_bytes: 1 << 30, modified_at: at, changed_at: at }
    }

    #[test]
    fn a_block_is_known_until_it_is_removed_and_no_other_is() {
        let good = KnownGood::default();
        good.insert(&id("a"), version(1), 1024, 63);
        good.insert(&id("a"), version(1), 1024, 64);
        let known = good.get(&id("a"), &version(1)).unwrap();
        assert_eq!(
            (62..66).map(|block| known.contains(block)).collect::<Vec<_>>(),
            [false, true, true, false]
        );
        known.remove(63);
        assert!(!known.contains(63) && known.contains(64));
        assert!(!known.contains(u64::MAX), "there is no such block");
        assert!(good.get(&id("b"), &version(1)).is_none());
    }

    #[test]
    fn nothing_is_known_of_a_file_that_changed_in_any_way() {
        let changes: [fn(&mut Version); 4] = [
            |version| version.inode += 1,
            |version| version.size_bytes += 1,
            |version| version.modified_at += Duration::from_nanos(1),
            |version| version.changed_at += Duration::from_nanos(1),
        ];
        for change in changes {
            let good = KnownGood::default();
            good.insert(&id("a"), version(1), 8, 0);
            let mut other = version(1);
            change(&mut other);
            assert!(good.get(&id("a"), &other).is_none());
        }
    }

    #[test]
    fn a_new_version_takes_the_place_of_the_old_one() {
        let good = KnownGood::default();
        good.insert(&id("a"), version(1), 8, 0);
        good.insert(&id("a"), version(2), 8, 1);
        let known = good.get(&id("a"), &version(2)).unwrap();
        assert!(known.contains(1) && !known.contains(0));
        assert!(good.get(&id("a"), &version(1)).is_none());
    }

    #[test]
    fn what_is_forgotten_is_forgotten_in_both_generations() {
        let good = KnownGood::default();
        good.insert(&id("a"), version(1), 8, 0);
        let young = std::mem::take(&mut *good.lock()).young;
        good.lock().old = young;
        good.insert(&id("b"), version(1), 8, 0);
        good.forget(&id("a"));
        good.forget(&id("b"));
        assert!(good.get(&id("a"), &version(1)).is_none() && good.get(&id("b"), &version(1)).is_none());
        assert_eq!(good.lock().young_bytes, 0);
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let good = KnownGood::default();
        good.insert(&id("used"), version(1), 10_000, 9_999);
        for number in 0..30_000 {
            good.insert(&id(&format!("other-{number}")), version(1), 10_000, 0);
            assert!(good.get(&id("used"), &version(1)).is_some_and(|known| known.contains(9_999)));
        }
        let generations = good.lock();
        for entries in [&generations.young, &generations.old] {
            let bytes: usize = entries.values().map(|known| known.bytes()).sum();
            assert!(bytes <= GENERATION_BYTES, "{bytes} bytes");
        }
        let counted: usize = generations.young.values().map(|known| known.bytes()).sum();
        assert_eq!(generations.young_bytes, counted);
    }

    #[test]
    fn a_replica_of_petabytes_is_not_remembered_at_all() {
        let good = KnownGood::default();
        good.insert(&id("huge"), version(1), 1 << 40 >> 10, 0);
        assert!(good.get(&id("huge"), &version(1)).is_none());
    }
}
