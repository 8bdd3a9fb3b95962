//! Reading a file whole, for those who must know that it is what it is said to be, or what it is.

use std::collections::BTreeMap;
use std::io;

use crate::checksum::{AlgorithmSet, BlockChecksums, Checksum, MultiHasher};
use crate::engine::disk::{Disk, File};

/// Bytes read at once: large enough for the disk, small enough to be told of often.
const PIECE_BYTES: usize = 1 << 20;

/// What was read.
pub(super) struct Read {
    pub size: u64,
    /// CRC32C of each block of 1 MiB.
    pub blocks: Vec<u32>,
    /// Of the whole file: lower-case hex by the algorithm's name.
    pub checksums: BTreeMap<String, String>,
}

/// Reads a file to its end. `progress` is told of each piece; its `false` ends the work with `None`.
pub(super) fn read_whole(
    disk: &dyn Disk,
    file: &File,
    algorithms: AlgorithmSet,
    progress: &mut dyn FnMut(u64) -> bool,
) -> io::Result<Option<Read>> {
    let mut hasher = MultiHasher::new(algorithms.iter());
    let mut blocks = BlockChecksums::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut size = 0;
    loop {
        let count = disk.read_at(file, &mut piece, size)?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        blocks.update(&piece[..count]);
        size += count as u64;
        if !progress(count as u64) {
            return Ok(None);
        }
    }
    let named = |checksum: Checksum| (checksum.algorithm().name().to_owned(), checksum.hex().to_string());
    let checksums = hasher.finish().into_iter().map(named).collect();
    Ok(Some(Read { size, blocks: blocks.finish(), checksums }))
}
