//! Where the bytes of a download or a push come from: a replica, read by the way that fits where its bytes are, each
//! block held against its checksum before any of it may leave.
//!
//! ```text
//! Source::stretch   where the next bytes are (page cache or disk), and so how to go on
//! Source::blocks    an ordered stream of checked pieces in slots, read ahead ([`Blocks`])
//! Source::small     a few KiB in one go, checked
//! ```
//!
//! * [`Reading`]: what all readers of a pool share. * [`known_good`]: which blocks in the page cache need no second
//!   check. * [`second`]: what happens to a block that is bad. * [`damage`]: telling the store.
//!
//! A stretch that is [`Way::Cached`] may also be handed to a socket as it is, without a copy; whoever cannot do that
//! (because the bytes have to be encrypted) asks for its blocks like those of any other stretch.

mod blocks;
mod counters;
mod damage;
mod error;
#[cfg(test)]
mod kernel_stories;
mod known_good;
mod recent;
mod second;
mod small;
#[cfg(test)]
mod stories;
mod verify;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

pub use self::blocks::{Blocks, Piece};
pub use self::counters::ReadCounters;
pub use self::error::ReadError;
pub use self::verify::{BadBlock, VerifyReads};

use self::counters::count;
use self::known_good::{KnownGood, Version};
use self::recent::Recent;
use self::verify::{BLOCK_BYTES, Expected};
use super::Transfer;
use crate::engine::core::Core;
use crate::engine::disk::File;
use crate::engine::file::IoMode;
use crate::store::{Replica, ReplicaId, ReplicaState, Store};

/// Reads ahead of the sending.
const READS_AHEAD: usize = 4;
/// Reading past the page cache goes on for so many bytes before looking at it again.
const PAST_STRETCH_BYTES: u64 = 32 << 20;
/// The same for reading through it.
const THROUGH_STRETCH_BYTES: u64 = 8 << 20;
/// Behind a read of ours, the kernel's read-ahead brings in at most so many blocks: twice the window, which is
/// `read_ahead_kb` of the device (128 KiB by default) or the read itself (1 MiB), whichever is more. So this is enough
/// for windows up to 8 MiB.
const READ_AHEAD_REACH_BLOCKS: u64 = 16;

/// What all readers of a pool share.
pub struct Reading {
    store: Arc<Store>,
    io_mode: IoMode,
    verify: VerifyReads,
    recent: Recent,
    known_good: KnownGood,
    counters: ReadCounters,
}

impl Reading {
    /// How a pool reads the replicas of its store.
    pub fn new(store: Arc<Store>, io_mode: IoMode, verify: VerifyReads) -> Reading {
        Reading {
            store,
            io_mode,
            verify,
            recent: Recent::default(),
            known_good: KnownGood::default(),
            counters: ReadCounters::default(),
        }
    }

    /// What was read, by what was checked of it.
    pub fn counters(&self) -> &ReadCounters {
        &self.counters
    }

    /// Nothing of a replica in the page cache counts as checked any more. For those who read a replica through the
    /// page cache by another way than a [`Source`], which may bring bytes into it that nobody has checked.
    pub fn forget(&self, replica: &ReplicaId) {
        self.known_good.forget(replica);
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading")
            .field("io_mode", &self.io_mode)
            .field("verify", &self.verify)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// One transfer's reading of one replica, on one shard.
pub struct Source {
    core: Rc<Core>,
    reading: Arc<Reading>,
    replica: Arc<Replica>,
    transfer: Arc<Transfer>,
    /// `None`: nothing is checked.
    expected: Option<Expected>,
    /// Whether somebody else has read the replica from the disk lately, or does so beside this one; known once it is
    /// read from the disk now.
    read_lately: Cell<Option<bool>>,
    /// The file system has refused reads that leave nothing in the page cache.
    uncached_refused: Cell<bool>,
    /// The receiver has paused within the last block.
    slow: Cell<bool>,
}

/// Where the next bytes are, and so which way they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In the page cache, and nothing stands against sending them from there as they are.
    Cached,
    /// Through the page cache, which fills it.
    Through {
        /// Reads ahead.
        depth: usize,
    },
    /// Past the page cache, or at least without leaving anything in it.
    Past {
        /// Reads ahead.
        depth: usize,
    },
}

/// Bytes that go one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Which bytes of the replica.
    pub range: Range<u64>,
    /// Which way.
    pub way: Way,
}

impl Source {
    /// The replica, to be read for a transfer.
    pub fn new(
        core: &Rc<Core>,
        reading: &Arc<Reading>,
        replica: &Arc<Replica>,
        transfer: &Arc<Transfer>,
    ) -> Source {
        // What is known to be broken is read only by those who ask for what is left of it.
        let checks = reading.verify != VerifyReads::Never && replica.state() != ReplicaState::Broken;
        Source {
            core: Rc::clone(core),
            reading: Arc::clone(reading),
            replica: Arc::clone(replica),
            transfer: Arc::clone(transfer),
            expected: if checks { Expected::of(replica) } else { None },
            read_lately: Cell::new(None),
            uncached_refused: Cell::new(false),
            slow: Cell::new(false),
        }
    }

    /// The replica.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.replica
    }

    /// Which way the first bytes of a range go, and how far. The range is not empty.
    ///
    /// What is said of the page cache holds now; after any waiting it has to be asked again.
    pub fn stretch(&self, range: Range<u64>) -> Stretch {
        let (start, end) = (range.start, range.end);
        let up_to = |bytes: u64| start..end.min(start.saturating_add(bytes));
        let block_end = (start / BLOCK_BYTES + 1) * BLOCK_BYTES;
        let step = start..end.min(block_end);
        // A reader that pauses gets one block at a time, which it can go on with where it paused.
        let depth = if self.slow.get() { 1 } else { READS_AHEAD };
        let (cached, whole) = match &self.expected {
            Some(_) if self.is_known_good(&step) => return Stretch { range: step, way: Way::Cached },
            Some(expected) => self.cached(&expected.whole(&step)),
            None => self.cached(&step),
        };
        if cached >= whole {
            let way = if self.expected.is_some() { Way::Through { depth: 1 } } else { Way::Cached };
            return Stretch { range: step, way };
        }
        let buffered = match self.reading.io_mode {
            IoMode::Direct => false,
            IoMode::Dontcache => self.uncached_refused.get(),
            IoMode::Buffered => true,
        };
        if buffered {
            return Stretch { range: up_to(THROUGH_STRETCH_BYTES), way: Way::Through { depth } };
        }
        // What is left of a block when its receiver pauses would have to be read whole and checked again; through the
        // page cache it is known good for the next time.
        let resumed = self.slow.get() && self.remembers();
        if resumed || cached >= whole / 2 {
            return Stretch { range: step, way: Way::Through { depth } };
        }
        if self.was_read_lately() {
            return Stretch { range: up_to(THROUGH_STRETCH_BYTES), way: Way::Through { depth } };
        }
        Stretch { range: up_to(PAST_STRETCH_BYTES), way: Way::Past { depth } }
    }

    /// The bytes of a stretch, in order. Opening a file past the page cache may wait for the disk.
    pub async fn blocks(&self, stretch: Stretch) -> Result<Blocks<'_>, ReadError> {
        Blocks::open(self, stretch).await
    }

    /// Bytes of a stretch that is [`Way::Cached`] were sent as they are.
    pub fn handed_over(&self, bytes: u64) {
        let counters = &self.reading.counters;
        let counter =
            if self.expected.is_some() { &counters.known_good_bytes } else { &counters.unverified_bytes };
        count(counter, bytes);
    }

    /// Whether the receiver has paused within a block: then the next are not read far ahead.
    pub fn set_slow(&self, slow: bool) {
        self.slow.set(slow);
    }

    /// Reading failed by the disk's fault: the replica is suspect from now on.
    pub async fn disk_error(&self, offset: u64, error: io::Error) -> ReadError {
        let error = ReadError::Disk { offset, error };
        damage::mark_suspect(self, error.to_string()).await;
        error
    }

    /// The file ends too early: what is left is not what was stored.
    pub async fn truncated(&self, offset: u64) -> ReadError {
        let error = ReadError::Truncated(offset);
        damage::mark_broken(self, error.to_string()).await;
        error
    }

    fn was_read_lately(&self) -> bool {
        let replica = self.replica.id().as_str();
        let lately = match self.read_lately.get() {
            Some(true) => true,
            Some(false) => self.reading.recent.was_joined(replica),
            None => self.reading.recent.note(replica, self.core.now()),
        };
        self.read_lately.set(Some(lately));
        lately
    }

    /// Bytes of a range that are in the page cache, of how many. The range is widened to whole pages, which are what
    /// the kernel counts.
    fn cached(&self, range: &Range<u64>) -> (u64, u64) {
        let page = rustix::param::page_size() as u64;
        let start = range.start - range.start % page;
        let end = range.end.next_multiple_of(page).min(self.replica.size());
        let length = end.saturating_sub(start);
        match self.reading.store.disk().cached(self.replica.file(), start, length) {
            Ok(Some(cached)) => (cached.cached, length),
            Ok(None) | Err(_) => (0, length),
        }
    }

    /// Whether what is checked is remembered.
    fn remembers(&self) -> bool {
        self.expected.is_some() && self.reading.verify == VerifyReads::FromDisk
    }

    /// The file's version now.
    fn version(&self) -> Option<Version> {
        let metadata = self.reading.store.disk().metadata(self.replica.file()).ok()?;
        Some(Version::of(&metadata))
    }

    /// Whether bytes were checked and have stayed in the page cache since.
    fn is_known_good(&self, range: &Range<u64>) -> bool {
        if !self.remembers() {
            return false;
        }
        let known =
            self.version().and_then(|version| self.reading.known_good.get(self.replica.id(), &version));
        let Some(known) = known else { return false };
        let blocks = range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
        if !blocks.clone().all(|block| known.contains(block)) {
            return false;
        }
        let (cached, whole) = self.cached(range);
        if cached < whole {
            for block in blocks {
                known.remove(block);
            }
        }
        cached >= whole
    }

    /// A block agreed with its checksum when it was read through the page cache, from this version of the file.
    fn note_good(&self, version: Version, block: u64) {
        let blocks = self.replica.size().div_ceil(BLOCK_BYTES);
        self.reading.known_good.insert(self.replica.id(), version, blocks, block);
    }

    /// A block is about to be read through the page cache, perhaps from the disk: what read-ahead may bring in behind it
    /// is no longer known.
    fn before_fill(&self, block: u64) {
        if self.reading.verify != VerifyReads::FromDisk {
            return;
        }
        let Some(expected) = &self.expected else { return };
        let known =
            self.version().and_then(|version| self.reading.known_good.get(self.replica.id(), &version));
        let Some(known) = known else { return };
        for ahead in block + 1..=block + READ_AHEAD_REACH_BLOCKS {
            if known.contains(ahead) {
                let (cached, whole) = self.cached(&expected.block(ahead));
                if cached < whole {
                    known.remove(ahead);
                }
            }
        }
    }

    /// The file past the page cache, where the file system can. Opening it may wait for the disk.
    async fn direct(&self) -> io::Result<Option<File>> {
        let replica = Arc::clone(&self.replica);
        self.core.blocking(move || replica.direct().map(Option::<&File>::cloned)).await?
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("replica", &self.replica)
            .field("checked", &self.expected.is_some())
            .finish_non_exhaustive()
    }
}
