//! Bits that flip under a stored replica while it is read.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use crate::checksum::BLOCK_SIZE_BYTES;
use crate::engine::sim::disk::SimDisk;
use crate::engine::sim::random::Random;
use crate::transfer::source::VerifyReads;

const BLOCK_BYTES: u64 = BLOCK_SIZE_BYTES as u64;

/// What has rotted so far.
#[derive(Debug, Default)]
pub struct Rot {
    blocks: BTreeSet<u64>,
}

impl Rot {
    /// Flips a bit somewhere: on the medium, or, where nothing in the page cache is believed, in the page cache.
    pub fn strike(
        &mut self,
        disk: &SimDisk,
        path: &Path,
        size: u64,
        verify: VerifyReads,
        random: &mut Random,
    ) {
        if size == 0 {
            return;
        }
        let (byte, bit) = (random.below(size), random.below(8) as u8);
        let struck = match (verify, random.below(3)) {
            (VerifyReads::Always, 0) => disk.corrupt_cached(path, byte, bit),
            (VerifyReads::Always, 1) => disk.corrupt(path, byte, bit),
            _ => disk.corrupt_medium(path, byte, bit),
        };
        assert!(struck, "there is nothing to rot");
        self.blocks.insert(byte / BLOCK_BYTES);
    }

    /// Whether a range touches a block that has rotted.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        !range.is_empty()
            && self.blocks.range(range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES)).next().is_some()
    }

    /// Whether an answer may end before this byte: because the block that it is in has rotted. (Not always at the block's
    /// start: some of it may have been sent from a good copy in the page cache, which then was evicted.)
    pub fn explains(&self, end: u64) -> bool {
        self.blocks.contains(&(end / BLOCK_BYTES))
    }
}
