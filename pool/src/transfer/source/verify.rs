//! What is checked before it leaves, and holding one block against its record.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::checksum::{BLOCK_SIZE_BYTES, block_checksum, block_count};
use crate::engine::arena::SLOT_BYTES;
use crate::store::Replica;

// A block is read into one slot, checked there and sent from there.
const _: () = assert!(BLOCK_SIZE_BYTES == SLOT_BYTES);
pub(super) const BLOCK_BYTES: u64 = BLOCK_SIZE_BYTES as u64;

/// What is held against the checksums of its blocks before it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerifyReads {
    /// Every byte, each time. Nothing is handed from the page cache to the socket unseen.
    Always,
    /// What comes from the disk, each time it does. What was checked and has stayed in the page cache since is not
    /// checked again (see [`super::known_good`]).
    FromDisk,
    /// Nothing.
    Never,
}

impl fmt::Display for VerifyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VerifyReads::Always => "always",
            VerifyReads::FromDisk => "from-disk",
            VerifyReads::Never => "never",
        })
    }
}

/// A block whose bytes are not those that were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "block {number} (1 MiB from byte {offset} on) is not what was stored: its CRC32C is {found:08x} instead of \
     {expected:08x}; nothing of it was sent"
)]
pub struct BadBlock {
    /// Which one, from 0.
    pub number: u64,
    /// Its first byte.
    pub offset: u64,
    /// The checksum on record.
    pub expected: u32,
    /// That of the bytes that were read.
    pub found: u32,
}

/// The checksums that a replica's blocks must have.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    blocks: Arc<[u32]>,
    size_bytes: u64,
}

impl Expected {
    /// `None` where they are not known. A record of another number of blocks than the replica has is no record: it
    /// cannot say which bytes are wrong.
    pub fn of(replica: &Replica) -> Option<Expected> {
        let (blocks, size_bytes) = (replica.blocks()?, replica.size());
        (blocks.len() as u64 == block_count(size_bytes)).then_some(Expected { blocks, size_bytes })
    }

    /// The bytes of a block.
    pub fn block(&self, number: u64) -> Range<u64> {
        let start = number * BLOCK_BYTES;
        start..(start + BLOCK_BYTES).min(self.size_bytes)
    }

    /// The blocks that a range touches; together they are a range, too.
    pub fn whole(&self, range: &Range<u64>) -> Range<u64> {
        if range.is_empty() {
            return range.clone();
        }
        self.block(range.start / BLOCK_BYTES).start..self.block((range.end - 1) / BLOCK_BYTES).end
    }

    /// Holds whole blocks, the first of which begins at `offset`, against the record.
    pub fn check(&self, offset: u64, bytes: &[u8]) -> Result<(), BadBlock> {
        for (block, number) in bytes.chunks(BLOCK_SIZE_BYTES).zip(offset / BLOCK_BYTES..) {
            let found = block_checksum(block);
            // The number of blocks is the replica's, so a missing record means that more was read than there is.
            let expected = self.blocks.get(number as usize).copied();
            if expected != Some(found) {
                let expected = expected.unwrap_or_default();
                return Err(BadBlock { number, offset: number * BLOCK_BYTES, expected, found });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(content: &[u8]) -> Expected {
        let blocks = content.chunks(BLOCK_SIZE_BYTES).map(block_checksum).collect();
        Expected { blocks, size_bytes: content.len() as u64 }
    }

    #[test]
    fn a_range_is_widened_to_the_blocks_that_it_touches() {
        let block = BLOCK_BYTES;
        let expected = expected(&vec![7; 2 * BLOCK_SIZE_BYTES + 10]);
        let cases = [
            (0..1, 0..block),
            (block - 1..block, 0..block),
            (block..block + 1, block..2 * block),
            (block - 1..block + 1, 0..2 * block),
            (2 * block + 3..2 * block + 4, 2 * block..2 * block + 10),
            (0..2 * block + 10, 0..2 * block + 10),
        ];
        for (range, whole) in cases {
            assert_eq!(expected.whole(&range), whole, "of {range:?}");
        }
    }

    #[test]
    fn a_bad_block_is_named_with_both_checksums() {
        let mut content = vec![7; 2 * BLOCK_SIZE_BYTES + 10];
        let expected = expected(&content);
        assert_eq!(expected.check(0, &content), Ok(()));
        content[BLOCK_SIZE_BYTES + 5] ^= 1;
        let bad = expected.check(0, &content).unwrap_err();
        assert_eq!((bad.number, bad.offset), (1, BLOCK_BYTES));
        assert_ne!(bad.expected, bad.found);
        assert_eq!(expected.check(2 * BLOCK_BYTES, &content[2 * BLOCK_SIZE_BYTES..]), Ok(()));
    }
}
