//! An ordered stream of pieces of a replica, in slots, read ahead and checked.
//!
//! With checksums, a read is a whole block whatever of it is wanted: that is what can be checked. Without, only what
//! is wanted is read.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::known_good::Version;
use super::verify::BLOCK_BYTES;
use super::{ReadError, Source, Stretch, Way, count};
use crate::engine::arena::{SLOT_BYTES, Slot};
use crate::engine::disk::File;
use crate::engine::file::{self, DIRECT_ALIGNMENT, IoMode};
use crate::engine::op::Operation;
use crate::transfer::Limit;

/// Bytes of a replica that may leave.
pub struct Piece {
    /// Where they are.
    pub slot: Slot,
    /// Which part of the slot they are. Never empty.
    pub part: Range<usize>,
    /// The first one's place in the replica.
    pub offset: u64,
}

/// Pieces of a stretch, in order and without gaps. Dropping it ends the reads that are under way.
pub struct Blocks<'a> {
    source: &'a Source,
    path: Path,
    depth: usize,
    checked: bool,
    /// What is still to be given.
    wanted: Range<u64>,
    next_read: u64,
    ahead: VecDeque<Ahead>,
}

/// How bytes come into a slot.
#[derive(Debug, Clone)]
pub(super) enum Path {
    /// Past the page cache.
    Direct(File),
    /// Through it, leaving nothing in it that was not there before.
    Uncached,
    /// Through it.
    Cached,
}

/// A read under way.
struct Ahead {
    reading: Operation<(Slot, File)>,
    path: Path,
    range: Range<u64>,
    /// Of the file, when the read began; only where what is read is remembered as good.
    version: Option<Version>,
}

impl<'a> Blocks<'a> {
    pub(super) async fn open(source: &'a Source, stretch: Stretch) -> Result<Blocks<'a>, ReadError> {
        let Stretch { range, way } = stretch;
        let (path, depth) = match way {
            Way::Cached => (Path::Cached, 1),
            Way::Through { depth } => (Path::Cached, depth),
            Way::Past { depth } => {
                let direct = match source.reading.io_mode {
                    IoMode::Direct => source.direct().await,
                    IoMode::Dontcache | IoMode::Buffered => Ok(None),
                };
                match direct {
                    Ok(Some(file)) => (Path::Direct(file), depth),
                    Ok(None) if source.uncached_refused.get() => (Path::Cached, depth),
                    Ok(None) => (Path::Uncached, depth),
                    Err(error) => return Err(source.disk_error(range.start, error).await),
                }
            }
        };
        // What is known to be good needs no second look.
        let checked = source.expected.is_some() && way != Way::Cached;
        Ok(Self::along(source, range, path, depth, checked))
    }

    /// A stream of checked pieces through the page cache, one at a time.
    pub(super) fn through_cache(source: &'a Source, range: Range<u64>) -> Blocks<'a> {
        Self::along(source, range, Path::Cached, 1, source.expected.is_some())
    }

    fn along(source: &'a Source, wanted: Range<u64>, path: Path, depth: usize, checked: bool) -> Blocks<'a> {
        let alignment = match (&path, checked) {
            (_, true) => BLOCK_BYTES,
            (Path::Direct(_), false) => DIRECT_ALIGNMENT as u64,
            (Path::Uncached | Path::Cached, false) => 1,
        };
        let next_read = wanted.start - wanted.start % alignment;
        Blocks { source, path, depth, checked, wanted, next_read, ahead: VecDeque::new() }
    }

    /// The next piece; `None` at the end of the stretch. `enter` hears what is waited for.
    ///
    /// A future that was dropped before its end has lost its piece: the whole stream has to be dropped then. After an
    /// error, too, nothing more can be read from it.
    pub async fn next(&mut self, enter: &dyn Fn(Limit)) -> Result<Option<Piece>, ReadError> {
        self.read_ahead(enter).await;
        let Some(ahead) = self.ahead.pop_front() else { return Ok(None) };
        let Ahead { reading, path, range, version } = ahead;
        let source = self.source;
        let length = (range.end - range.start) as usize;
        enter(Limit::Disk);
        let started_at = source.core.now();
        let (result, (slot, _)) = reading.await;
        let slot = source.complete(result, slot, &path, &range).await?;
        source.transfer.progress().disk_read(length as u64, source.core.now() - started_at);
        let start = range.start;
        let stop = range.end.min(self.wanted.end);
        let part = (self.wanted.start - start) as usize..(stop - start) as usize;
        let counters = &source.reading.counters;
        let slot = match &source.expected {
            Some(expected) if self.checked => {
                enter(Limit::Checksum);
                match expected.check(start, &slot[..length]) {
                    Ok(()) => {
                        if let Some(version) = version {
                            source.note_good(version, start / BLOCK_BYTES);
                        }
                        count(path.verified(counters), length as u64);
                        slot
                    }
                    Err(bad) => {
                        enter(Limit::Disk);
                        source.read_again(slot, path, bad).await?
                    }
                }
            }
            Some(_) => {
                count(&counters.known_good_bytes, part.len() as u64);
                slot
            }
            None => {
                count(&counters.unverified_bytes, part.len() as u64);
                slot
            }
        };
        let piece = Piece { slot, part, offset: self.wanted.start };
        self.wanted.start = stop;
        Ok(Some(piece))
    }

    async fn read_ahead(&mut self, enter: &dyn Fn(Limit)) {
        while self.ahead.len() < self.depth && self.next_read < self.wanted.end {
            let arena = self.source.core.arena();
            // Only the first slot is waited for: who holds one never waits for another.
            let slot = match arena.try_take() {
                Some(slot) => slot,
                None if self.ahead.is_empty() => {
                    enter(Limit::Queue);
                    arena.take().await
                }
                None => break,
            };
            let start = self.next_read;
            let range = match &self.source.expected {
                Some(expected) if self.checked => expected.block(start / BLOCK_BYTES),
                _ => start..self.wanted.end.min(start + SLOT_BYTES as u64),
            };
            let remembered = self.checked && self.source.remembers() && matches!(self.path, Path::Cached);
            let version = if remembered { self.source.version() } else { None };
            let length = self.path.length((range.end - range.start) as usize);
            let reading = self.source.read(&self.path, slot, 0..length, start);
            self.next_read = range.end;
            self.ahead.push_back(Ahead { reading, path: self.path.clone(), range, version });
        }
    }
}

impl Path {
    /// What has to be asked for to get so many bytes, which begin at a slot's start.
    fn length(&self, length: usize) -> usize {
        match self {
            // At most a slot, whose size is a multiple of it.
            Path::Direct(_) => length.next_multiple_of(DIRECT_ALIGNMENT),
            Path::Uncached | Path::Cached => length,
        }
    }

    pub(super) fn verified<'c>(&self, counters: &'c super::ReadCounters) -> &'c std::sync::atomic::AtomicU64 {
        match self {
            Path::Direct(_) => &counters.verified_direct_bytes,
            Path::Uncached | Path::Cached => &counters.verified_cached_bytes,
        }
    }
}

impl Source {
    /// Starts to read into a part of a slot.
    pub(super) fn read(
        &self,
        path: &Path,
        slot: Slot,
        part: Range<usize>,
        offset: u64,
    ) -> Operation<(Slot, File)> {
        match path {
            Path::Direct(direct) => file::read(&self.core, direct, slot, part, offset, false),
            Path::Uncached | Path::Cached => {
                self.before_fill(offset / BLOCK_BYTES);
                let uncached = matches!(path, Path::Uncached);
                file::read(&self.core, self.replica.file(), slot, part, offset, uncached)
            }
        }
    }

    /// Reads on until all of a range is in the slot, after a first read of it has ended.
    pub(super) async fn complete(
        &self,
        first: io::Result<u32>,
        mut slot: Slot,
        path: &Path,
        range: &Range<u64>,
    ) -> Result<Slot, ReadError> {
        let length = (range.end - range.start) as usize;
        let (mut result, mut path, mut filled) = (first, path.clone(), 0);
        loop {
            let offset = range.start + filled as u64;
            match result {
                Ok(0) => return Err(self.truncated(offset).await),
                Ok(count) => filled += count as usize,
                Err(error) if matches!(path, Path::Uncached) && file::refuses_uncached(&error) => {
                    self.uncached_refused.set(true);
                    path = Path::Cached;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.disk_error(offset, error).await),
            }
            if filled >= length {
                return Ok(slot);
            }
            if matches!(path, Path::Direct(_)) && !filled.is_multiple_of(DIRECT_ALIGNMENT) {
                // Past the page cache a read cannot go on from here. This is where a file ends that is too short.
                path = Path::Cached;
            }
            let part = filled..path.length(length);
            let (next, (back, _)) = self.read(&path, slot, part, range.start + filled as u64).await;
            (result, slot) = (next, back);
        }
    }

    /// Reads a range into a slot from its start.
    pub(super) async fn read_whole(
        &self,
        slot: Slot,
        path: &Path,
        range: &Range<u64>,
    ) -> Result<Slot, ReadError> {
        let length = path.length((range.end - range.start) as usize);
        let (result, (slot, _)) = self.read(path, slot, 0..length, range.start).await;
        self.complete(result, slot, path, range).await
    }
}
