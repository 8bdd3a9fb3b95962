//! Reads one replica from its file, block by block, and holds it against all that is recorded of it.
//!
//! Nothing is called broken on one reading: a block that differs is read a second time at once, a file that differs
//! as a whole is read a second time from its start. What is right at the second reading was spoilt on its way from the
//! disk, which is worth a warning but no reason to give up the replica.
//!
//! Has a handle of its own on the file and does not count among the replica's readers, which are transfers.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::buffer::Buffer;
use crate::checksum::{
    Algorithm, AlgorithmSet, BLOCK_SIZE_BYTES, BlockChecksums, Checksum, MultiHasher, check_block,
};
use crate::engine::disk::{DIRECT_ALIGNMENT_BYTES, Disk, File, ReadMode};
use crate::store::{Identity, ReplicaId, ReplicaState, Store, StoreError};

const BLOCK_BYTES: u64 = BLOCK_SIZE_BYTES as u64;
/// Bad blocks that are named; further ones are only counted.
const NAMED_BLOCKS: usize = 4;

/// A replica while it is read.
#[derive(Debug)]
pub struct Reading {
    id: ReplicaId,
    identity: Identity,
    state: ReplicaState,
    file: File,
    direct: bool,
    recorded: Vec<Checksum>,
    recorded_blocks: Option<Arc<[u32]>>,
    algorithms: AlgorithmSet,
    attempt: Attempt,
    /// What was wrong at the first reading of a block, or of the whole, and right at the second.
    misread: Option<String>,
}

/// One reading from the start of the file.
#[derive(Debug)]
struct Attempt {
    first: bool,
    offset: u64,
    hasher: MultiHasher,
    blocks: Vec<u32>,
    /// Blocks that differed twice: the first of them in words, and how many.
    bad: Vec<String>,
    bad_count: u64,
    /// The file was shorter than it should be.
    ends_at: Option<u64>,
}

/// What came of a step.
#[derive(Debug)]
pub enum Step {
    /// So many bytes were read; there is more to do.
    More {
        /// Bytes that the disk gave, those of a second reading included.
        bytes: u64,
    },
    /// That was the last.
    Ended {
        /// As in [`Step::More`].
        bytes: u64,
        /// What the replica is.
        judgement: Judgement,
    },
}

/// What a replica was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Everything agrees that is recorded.
    Good {
        /// Something was recorded to agree with.
        compared: bool,
        /// Of the whole file: the recorded ones, and those that were asked for.
        checksums: Vec<Checksum>,
        /// CRC32C of every block.
        blocks: Vec<u32>,
        /// The recorded checksums of blocks are missing, or are not those of the file although its own agree.
        blocks_are_news: bool,
        /// What was read wrong once, and right when it was read again.
        misread: Option<String>,
    },
    /// It differs, and did so twice.
    Broken {
        /// Of the whole file, as computed.
        checksums: Vec<Checksum>,
        /// One line each.
        problems: Vec<String>,
    },
}

impl Attempt {
    fn new(first: bool, algorithms: AlgorithmSet) -> Self {
        Self {
            first,
            offset: 0,
            hasher: MultiHasher::new(algorithms.iter()),
            blocks: Vec::new(),
            bad: Vec::new(),
            bad_count: 0,
            ends_at: None,
        }
    }
}

impl Reading {
    /// Begins to read a replica. `compute`: checksums that are wanted beside the recorded ones. Blocks.
    pub fn open(store: &Store, id: &ReplicaId, compute: AlgorithmSet) -> Result<Self, StoreError> {
        let replica = store.open(id)?;
        let open_error = |source| StoreError::Io { step: "open the file", replica: id.clone(), source };
        let reopen = |mode| store.disk().reopen(replica.file(), mode);
        let (file, direct) = match reopen(ReadMode::Direct) {
            Ok(file) => (file, true),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                (reopen(ReadMode::Buffered).map_err(open_error)?, false)
            }
            Err(error) => return Err(open_error(error)),
        };
        let recorded = recorded(&replica.attributes().checksums);
        let algorithms = recorded.iter().map(Checksum::algorithm).collect::<AlgorithmSet>().union(compute);
        let count = replica.size().div_ceil(BLOCK_BYTES);
        Ok(Self {
            id: id.clone(),
            identity: replica.identity(),
            state: replica.state(),
            file,
            direct,
            recorded_blocks: replica.blocks().filter(|blocks| blocks.len() as u64 == count),
            recorded,
            algorithms,
            attempt: Attempt::new(true, algorithms),
            misread: None,
        })
    }

    /// Whose bytes these are.
    pub fn id(&self) -> &ReplicaId {
        &self.id
    }

    /// Which bytes these are.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Its state when it was opened.
    pub fn state(&self) -> ReplicaState {
        self.state
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.identity.size
    }

    /// How far it has come, in bytes. Begins again when the whole file has to be read a second time.
    pub fn offset(&self) -> u64 {
        self.attempt.offset
    }

    /// Reads the next block, twice if need be. An error is the disk's. Blocks.
    pub fn step(&mut self, disk: &dyn Disk, buffer: &mut Buffer) -> Result<Step, StoreError> {
        let mut bytes = 0;
        if self.attempt.offset < self.size() {
            bytes = self.block(disk, buffer)?;
        }
        if self.attempt.offset < self.size() {
            return Ok(Step::More { bytes });
        }
        Ok(match self.judge() {
            Some(judgement) => Step::Ended { bytes, judgement },
            None => Step::More { bytes },
        })
    }

    fn block(&mut self, disk: &dyn Disk, buffer: &mut Buffer) -> Result<u64, StoreError> {
        let (offset, index) = (self.attempt.offset, self.attempt.blocks.len());
        let wanted = (self.size() - offset).min(BLOCK_BYTES);
        // Through the page cache where there is no other way, but not at the cost of what clients read.
        let cached = || disk.cached(&self.file, offset, wanted).ok().flatten();
        let was_cold = !self.direct && cached().is_some_and(|cached| cached.cached == 0);
        let mut length = self.read(disk, buffer, offset, wanted)?;
        let mut bytes = length as u64;
        if let Some(recorded) = &self.recorded_blocks
            && !check_block(recorded, index, &buffer.block()[..length])
        {
            let recorded = Arc::clone(recorded);
            let text = describe(index, offset, wanted, &buffer.block()[..length], recorded[index]);
            if !self.direct {
                // A bad copy in memory is no bad disk.
                let _ = disk.drop_cached(&self.file, offset, wanted);
            }
            length = self.read(disk, buffer, offset, wanted)?;
            bytes += length as u64;
            if check_block(&recorded, index, &buffer.block()[..length]) {
                self.misread.get_or_insert(text);
            } else {
                self.attempt.bad_count += 1;
                if self.attempt.bad.len() < NAMED_BLOCKS {
                    self.attempt.bad.push(text);
                }
            }
        }
        let data = &buffer.block()[..length];
        self.attempt.hasher.update(data);
        if !data.is_empty() {
            self.attempt.blocks.push(crc32c(data));
        }
        if was_cold {
            // It may stay: then it is as if somebody had read it.
            let _ = disk.drop_cached(&self.file, offset, wanted);
        }
        self.attempt.offset += wanted;
        if (length as u64) < wanted {
            self.attempt.ends_at = Some(offset + length as u64);
            self.attempt.offset = self.size();
        }
        Ok(bytes)
    }

    /// Reads up to `wanted` bytes into the buffer; fewer only at the end of the file.
    fn read(
        &mut self,
        disk: &dyn Disk,
        buffer: &mut Buffer,
        offset: u64,
        wanted: u64,
    ) -> Result<usize, StoreError> {
        let failed = |source| StoreError::Io { step: "read the bytes", replica: self.id.clone(), source };
        let wanted = usize::try_from(wanted).unwrap_or(BLOCK_SIZE_BYTES).min(BLOCK_SIZE_BYTES);
        let room = buffer.block();
        let mut filled = 0;
        while filled < wanted {
            // A direct read goes on at an aligned place; what is read twice is the same.
            let unaligned = if self.direct { filled % DIRECT_ALIGNMENT_BYTES as usize } else { 0 };
            let from = filled - unaligned;
            match disk.read_at(&self.file, &mut room[from..], offset + from as u64) {
                Ok(count) if from + count <= filled => break,
                Ok(count) => filled = from + count,
                // Some file systems take O_DIRECT at the opening and refuse it at the reading.
                Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => {
                    self.file = disk.reopen(&self.file, ReadMode::Buffered).map_err(failed)?;
                    self.direct = false;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(filled.min(wanted))
    }

    /// At the end of the file: what it is, or `None` where it has to be read again.
    fn judge(&mut self) -> Option<Judgement> {
        let again = Attempt::new(false, self.algorithms);
        let attempt = std::mem::replace(&mut self.attempt, again);
        let first = attempt.first;
        let checksums = attempt.hasher.finish();
        let mut problems = Vec::new();
        if let Some(ends_at) = attempt.ends_at {
            problems.push(format!("the file has {ends_at} bytes, recorded are {}", self.size()));
        }
        for expected in &self.recorded {
            let algorithm = expected.algorithm();
            match checksums.iter().find(|actual| actual.algorithm() == algorithm) {
                Some(actual) if actual == expected => {}
                Some(actual) => problems.push(format!(
                    "{algorithm} of the file is {}, recorded {}",
                    actual.hex(),
                    expected.hex()
                )),
                None => problems.push(format!("{algorithm} could not be computed")),
            }
        }
        let whole_agrees = problems.is_empty() && !self.recorded.is_empty();
        if attempt.bad_count > 0 && !whole_agrees {
            // Twice read already, block by block.
            let more = attempt.bad_count - attempt.bad.len() as u64;
            let mut all = attempt.bad;
            if more > 0 {
                all.push(format!("{more} more blocks differ"));
            }
            all.extend(problems);
            return Some(Judgement::Broken { checksums, problems: all });
        }
        if !problems.is_empty() {
            if first {
                self.misread.get_or_insert(problems.join("; "));
                return None;
            }
            return Some(Judgement::Broken { checksums, problems });
        }
        let blocks_differ = attempt.bad_count > 0;
        let compared = !self.recorded.is_empty() || self.recorded_blocks.is_some();
        Some(Judgement::Good {
            compared,
            blocks_are_news: blocks_differ || self.recorded_blocks.is_none(),
            checksums,
            blocks: attempt.blocks,
            misread: self.misread.take(),
        })
    }
}

/// The checksums of an attribute line. What a later release wrote is not understood and left out.
pub fn recorded(checksums: &BTreeMap<String, String>) -> Vec<Checksum> {
    let typed = |(name, hex): (&String, &String)| Checksum::from_hex(Algorithm::from_name(name)?, hex).ok();
    checksums.iter().filter_map(typed).collect()
}

fn describe(index: usize, offset: u64, length: u64, data: &[u8], recorded: u32) -> String {
    let last = offset + length.max(1) - 1;
    format!("block {index} (bytes {offset}-{last}) has crc32c {:08x}, recorded {recorded:08x}", crc32c(data))
}

fn crc32c(data: &[u8]) -> u32 {
    let mut block = BlockChecksums::new();
    block.update(data);
    // Nothing has the checksum of nothing, and a block makes one block.
    block.finish().first().copied().unwrap_or(0)
}
