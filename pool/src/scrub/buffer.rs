//! The memory that replicas are read into: one block, aligned as direct reads demand.

use crate::checksum::BLOCK_SIZE_BYTES;
use crate::engine::disk::DIRECT_ALIGNMENT_BYTES;

const ALIGNMENT: usize = DIRECT_ALIGNMENT_BYTES as usize;
const _: () = assert!(BLOCK_SIZE_BYTES.is_multiple_of(ALIGNMENT));

/// Room for one block.
pub struct Buffer {
    memory: Box<[u8]>,
    start: usize,
}

impl Buffer {
    /// Allocated once, for many blocks.
    pub fn new() -> Self {
        let memory = vec![0; BLOCK_SIZE_BYTES + ALIGNMENT].into_boxed_slice();
        // Never beyond the room left for it; where it cannot be told (`usize::MAX`), direct reads fail and buffered
        // ones follow.
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start }
    }

    /// The room, aligned.
    pub fn block(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + BLOCK_SIZE_BYTES]
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_a_block_and_aligned() {
        let mut buffer = Buffer::new();
        assert_eq!(buffer.block().len(), BLOCK_SIZE_BYTES);
        assert_eq!(buffer.block().as_ptr() as usize % ALIGNMENT, 0);
    }
}
