//! The files of the server: made up, different in each block, and of a known checksum.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;

use penstock_pool::checksum::{Algorithm, Checksum, MultiHasher};

use crate::measure::payload;

/// Blocks differ in their first bytes only, which are their number: bytes that end up in a wrong place show.
pub const BLOCK_BYTES: usize = 1 << 20;

/// The files that there are, by their sizes.
#[derive(Debug)]
pub struct Content {
    block: Vec<u8>,
    checksums: BTreeMap<u64, Checksum>,
}

impl Content {
    /// Files of these sizes.
    pub fn new(sizes: &[u64]) -> Self {
        let mut content = Self { block: payload(BLOCK_BYTES), checksums: BTreeMap::new() };
        for size in sizes {
            let mut hasher = Hasher::default();
            // Writing into a hasher does not fail.
            let _ = content.write(&mut hasher, &mut content.scratch(), 0..*size);
            let checksum = hasher.finish();
            content.checksums.extend(checksum.map(|checksum| (*size, checksum)));
        }
        content
    }

    /// The adler32 of a file of that size, if there is one.
    pub fn checksum(&self, size: u64) -> Option<&Checksum> {
        self.checksums.get(&size)
    }

    /// What [`Content::write`] needs; to be kept for the next time.
    pub fn scratch(&self) -> Vec<u8> {
        self.block.clone()
    }

    /// Writes a part of a file.
    pub fn write(&self, out: &mut impl Write, scratch: &mut [u8], range: Range<u64>) -> io::Result<()> {
        let mut offset = range.start;
        while offset < range.end {
            let number = offset / BLOCK_BYTES as u64;
            scratch[..8].copy_from_slice(&number.to_be_bytes());
            let from = (offset % BLOCK_BYTES as u64) as usize;
            let left = usize::try_from(range.end - offset).unwrap_or(usize::MAX);
            let to = BLOCK_BYTES.min(from.saturating_add(left));
            out.write_all(&scratch[from..to])?;
            offset += (to - from) as u64;
        }
        Ok(())
    }
}

/// Computes the adler32 of what is written to it.
pub struct Hasher(MultiHasher);

impl Default for Hasher {
    fn default() -> Self {
        Self(MultiHasher::new([Algorithm::Adler32]))
    }
}

impl Hasher {
    /// More bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum.
    pub fn finish(self) -> Option<Checksum> {
        self.0.finish().into_iter().next()
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(content: &Content, range: Range<u64>) -> Vec<u8> {
        let mut out = Vec::new();
        content.write(&mut out, &mut content.scratch(), range).unwrap();
        out
    }

    #[test]
    fn parts_are_parts_of_the_whole() {
        const SIZE: u64 = (3 << 20) + 17;
        let content = Content::new(&[SIZE]);
        let whole = bytes(&content, 0..SIZE);
        assert_eq!(whole.len() as u64, SIZE);
        for range in [0..1, 5..12, (1 << 20) - 3..(1 << 20) + 9, (2 << 20) + 1..SIZE, SIZE..SIZE] {
            let part = &whole[range.start as usize..range.end as usize];
            assert_eq!(bytes(&content, range.clone()), part, "{range:?}");
        }
    }

    #[test]
    fn no_block_is_like_another_and_the_checksum_is_that_of_the_bytes() {
        const SIZE: u64 = 2 << 20;
        let content = Content::new(&[SIZE]);
        let whole = bytes(&content, 0..SIZE);
        assert_ne!(whole[..BLOCK_BYTES], whole[BLOCK_BYTES..]);
        let expected = adler32::RollingAdler32::from_buffer(&whole).hash();
        assert_eq!(content.checksum(SIZE), Some(&Checksum::adler32(expected)));
        assert_eq!(content.checksum(SIZE + 1), None);
    }
}
