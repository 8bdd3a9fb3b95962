//! Hands out the pieces of a file to its streams, and puts the checksums of the pieces together.
//!
//! Pieces are large at first and become smaller towards the end, so that there are few requests, and streams of
//! different speed end at about the same time.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::checksum::{
    Algorithm, BLOCK_SIZE_BYTES, Checksum, adler32_combine, crc32_combine, crc32c_combine,
};

/// A piece is at least so large, but for the last one: a request costs a round trip.
pub(super) const LEAST_PIECE_BYTES: u64 = 16 << 20;
const _: () = assert!(LEAST_PIECE_BYTES.is_multiple_of(BLOCK_SIZE_BYTES as u64));

/// A file in pieces.
pub(super) struct Pieces {
    next: u64,
    size: u64,
    streams: u64,
    /// By their first byte.
    done: BTreeMap<u64, Sums>,
}

/// What was computed of a piece.
struct Sums {
    length: u64,
    checksums: Vec<Checksum>,
    blocks: Vec<u32>,
}

impl Pieces {
    /// For so many streams.
    pub(super) fn new(size: u64, streams: usize) -> Pieces {
        Pieces { next: 0, size, streams: streams.max(1) as u64, done: BTreeMap::new() }
    }

    /// The next piece, if there is one: it begins at the start of a checksum block.
    pub(super) fn hand_out(&mut self) -> Option<Range<u64>> {
        let left = self.size - self.next;
        if left == 0 {
            return None;
        }
        let share = left / (2 * self.streams);
        let piece = share.next_multiple_of(BLOCK_SIZE_BYTES as u64).max(LEAST_PIECE_BYTES).min(left);
        let range = self.next..self.next + piece;
        self.next = range.end;
        Some(range)
    }

    /// A piece is complete.
    pub(super) fn done(&mut self, start: u64, length: u64, checksums: Vec<Checksum>, blocks: Vec<u32>) {
        self.done.insert(start, Sums { length, checksums, blocks });
    }

    /// Every piece is complete.
    pub(super) fn is_complete(&self) -> bool {
        self.done.values().map(|sums| sums.length).sum::<u64>() == self.size
    }

    /// The checksums of the whole, and those of its blocks.
    pub(super) fn put_together(self) -> (Vec<Checksum>, Vec<u32>) {
        let mut whole: Vec<Checksum> = Vec::new();
        let mut blocks = Vec::new();
        for (number, sums) in self.done.into_values().enumerate() {
            blocks.extend(sums.blocks);
            if number == 0 {
                whole = sums.checksums;
                continue;
            }
            for left in &mut whole {
                let of_same = |right: &&Checksum| right.algorithm() == left.algorithm();
                if let Some(right) = sums.checksums.iter().find(of_same) {
                    *left = combine(left, right, sums.length);
                }
            }
        }
        whole.retain(|checksum| checksum.algorithm().inline());
        (whole, blocks)
    }
}

fn combine(left: &Checksum, right: &Checksum, right_bytes: u64) -> Checksum {
    let number = |checksum: &Checksum| {
        checksum.value().iter().take(4).fold(0u32, |number, byte| number << 8 | u32::from(*byte))
    };
    let (a, b) = (number(left), number(right));
    match left.algorithm() {
        Algorithm::Adler32 => Checksum::adler32(adler32_combine(a, b, right_bytes)),
        Algorithm::Crc32 => Checksum::crc32(crc32_combine(a, b, right_bytes)),
        Algorithm::Crc32c => Checksum::crc32c(crc32c_combine(a, b, right_bytes)),
        // Cannot be put together; dropped at the end.
        Algorithm::Md5 | Algorithm::Sha1 | Algorithm::Sha256 | Algorithm::Sha512 => *left,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checksum::{BlockChecksums, MultiHasher};

    const INLINE: [Algorithm; 3] = [Algorithm::Adler32, Algorithm::Crc32, Algorithm::Crc32c];

    proptest! {
        #[test]
        fn pieces_cover_the_file_without_gap_or_overlap(size in 0u64..20 << 30, streams in 1usize..32) {
            let mut pieces = Pieces::new(size, streams);
            let (mut end, mut count) = (0, 0);
            while let Some(piece) = pieces.hand_out() {
                prop_assert_eq!(piece.start, end);
                prop_assert!(piece.end > piece.start && piece.start % BLOCK_SIZE_BYTES as u64 == 0);
                end = piece.end;
                count += 1;
            }
            prop_assert_eq!(end, size);
            // Few requests: they grow with the logarithm of the size, and with the streams.
            prop_assert!(count <= 16 * streams + 2 * streams * 12, "{} pieces", count);
        }
    }

    #[test]
    fn pieces_that_end_in_any_order_give_the_checksums_of_the_whole() {
        let data: Vec<u8> = (0..40_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let sums = |bytes: &[u8]| {
            let (mut whole, mut blocks) = (MultiHasher::new(INLINE), BlockChecksums::new());
            whole.update(bytes);
            blocks.update(bytes);
            (whole.finish(), blocks.finish())
        };
        let mut pieces = Pieces::new(data.len() as u64, 2);
        let ranges: Vec<_> = std::iter::from_fn(|| pieces.hand_out()).collect();
        assert!(ranges.len() > 2);
        for range in ranges.into_iter().rev() {
            assert!(!pieces.is_complete());
            let (checksums, blocks) = sums(&data[range.start as usize..range.end as usize]);
            pieces.done(range.start, range.end - range.start, checksums, blocks);
        }
        assert!(pieces.is_complete());
        assert_eq!(pieces.put_together(), sums(&data));
    }
}
