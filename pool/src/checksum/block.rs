//! CRC-32C of every block of a replica, so that any range can be checked before it leaves.

use super::hasher::{crc32c_value, new_crc32c};

/// Length of a block; the last one of a replica may be shorter.
pub const BLOCK_SIZE_BYTES: usize = 1 << 20;

/// Computes the blocks' checksums of a stream that comes in order, in pieces of any length.
#[derive(Clone)]
pub struct BlockChecksums {
    done: Vec<u32>,
    current: crc_fast::Digest,
    current_bytes: usize,
}

impl BlockChecksums {
    /// Starts over nothing.
    pub fn new() -> Self {
        Self { done: Vec::new(), current: new_crc32c(), current_bytes: 0 }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let (block, rest) = data.split_at(data.len().min(BLOCK_SIZE_BYTES - self.current_bytes));
            self.current.update(block);
            self.current_bytes += block.len();
            data = rest;
            if self.current_bytes == BLOCK_SIZE_BYTES {
                self.close_block();
            }
        }
    }

    /// One checksum per block, the last one over what it holds. None for no bytes.
    pub fn finish(mut self) -> Vec<u32> {
        if self.current_bytes > 0 {
            self.close_block();
        }
        self.done
    }

    fn close_block(&mut self) {
        self.done.push(crc32c_value(&self.current));
        self.current.reset();
        self.current_bytes = 0;
    }
}

impl Default for BlockChecksums {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for BlockChecksums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockChecksums({} blocks, {} bytes more)", self.done.len(), self.current_bytes)
    }
}

/// The checksum of one whole block that is at hand.
pub fn block_checksum(data: &[u8]) -> u32 {
    let mut digest = new_crc32c();
    digest.update(data);
    crc32c_value(&digest)
}

/// Does this whole block have the checksum that is on record? A block without a record does not.
pub fn check_block(checksums: &[u32], block_index: usize, data: &[u8]) -> bool {
    checksums.get(block_index) == Some(&block_checksum(data))
}

/// How many blocks a replica of that size has.
pub fn block_count(size_bytes: u64) -> u64 {
    size_bytes.div_ceil(BLOCK_SIZE_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checksum::{Algorithm, Checksum, Hasher};

    fn crc32c(data: &[u8]) -> u32 {
        let mut hasher = Hasher::new(Algorithm::Crc32c);
        hasher.update(data);
        u32::from_be_bytes(hasher.finish().value().try_into().unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn pieces_of_any_length_give_the_checksum_of_each_block(
            length in 0..3 * BLOCK_SIZE_BYTES + 2,
            pieces in prop::collection::vec(1..BLOCK_SIZE_BYTES * 2, 1..6),
            seed: u8,
        ) {
            let data: Vec<u8> = (0..length).map(|i| ((i * 31) >> 3) as u8 ^ seed).collect();
            let mut blocks = BlockChecksums::new();
            let (mut rest, mut pieces) = (&data[..], pieces.iter().cycle());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
                blocks.update(piece);
                rest = behind;
            }
            let expected: Vec<u32> = data.chunks(BLOCK_SIZE_BYTES).map(crc32c).collect();
            prop_assert_eq!(blocks.finish(), expected);
        }
    }

    #[test]
    fn a_changed_bit_a_missing_byte_and_an_unknown_block_are_found() {
        let mut data = vec![7; BLOCK_SIZE_BYTES + 3];
        let mut blocks = BlockChecksums::new();
        blocks.update(&data);
        let checksums = blocks.finish();

        assert!(check_block(&checksums, 0, &data[..BLOCK_SIZE_BYTES]));
        assert!(check_block(&checksums, 1, &data[BLOCK_SIZE_BYTES..]));
        assert!(!check_block(&checksums, 1, &data[BLOCK_SIZE_BYTES + 1..]));
        assert!(!check_block(&checksums, 2, &[]));
        data[BLOCK_SIZE_BYTES / 2] ^= 0x10;
        assert!(!check_block(&checksums, 0, &data[..BLOCK_SIZE_BYTES]));
    }

    #[test]
    fn there_are_as_many_blocks_as_it_takes() {
        let cases = [(0, 0), (1, 1), (BLOCK_SIZE_BYTES as u64, 1), (BLOCK_SIZE_BYTES as u64 + 1, 2)];
        for (size, count) in cases {
            assert_eq!(block_count(size), count, "of {size} bytes");
        }
    }

    #[test]
    fn the_first_block_of_a_small_file_is_its_crc32c() {
        let mut blocks = BlockChecksums::new();
        blocks.update(b"d");
        blocks.update(b"og");
        assert_eq!(
            blocks.finish().into_iter().map(Checksum::crc32c).collect::<Vec<_>>(),
            ["crc32c:0a72a4df".parse().unwrap()]
        );
    }
}
