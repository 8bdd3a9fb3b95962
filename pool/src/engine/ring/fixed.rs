//! Buffers that the kernel knows (io_uring_register_buffers(3)): the arena, in pieces of one huge page.
//!
//! A piece is made known when an operation first lies in it, and stays so. As the arena hands out its low slots first,
//! a pool that does little holds little memory, and one that is busy asks for nothing any more.
#![allow(unsafe_code)]

use std::io;
use std::ops::Range;

use io_uring::Submitter;

use super::Memory;
use crate::engine::arena::{Arena, HUGE_PAGE_BYTES};

/// The kernel takes no more buffers than that (`IORING_MAX_REG_BUFFERS`).
const MOST_PIECES: usize = 1 << 14;

/// What of the arena the kernel knows.
#[derive(Debug, Default)]
pub(super) struct Fixed {
    /// Addresses of the arena.
    region: Range<usize>,
    piece_bytes: usize,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// Nothing was done in it yet.
    Untouched,
    /// Its operations name it.
    Known,
    /// The kernel did not want it: the limit of locked memory, mostly. Its operations do without.
    Refused,
}

impl Fixed {
    /// Makes room for an arena, and its first piece known. Fails where the limit of locked memory does not allow that.
    pub fn register(&mut self, submitter: &Submitter<'_>, arena: &Arena) -> io::Result<()> {
        let (start, length) = arena.region();
        let start = start as usize;
        let pages = length.div_ceil(HUGE_PAGE_BYTES);
        let piece_bytes = pages.div_ceil(MOST_PIECES).max(1) * HUGE_PAGE_BYTES;
        let mut fixed = Fixed {
            region: start..start + length,
            piece_bytes,
            pieces: vec![Piece::Untouched; length.div_ceil(piece_bytes)],
        };
        // Linux 5.19. Before it there is no table with empty places, and all has to be known from the start.
        if submitter.register_buffers_sparse(fixed.pieces.len() as u32).is_ok() {
            fixed.make_known(submitter, 0)?;
        } else {
            let all: Vec<libc::iovec> = (0..fixed.pieces.len()).map(|number| fixed.iovec(number)).collect();
            // SAFETY: the arena's mapping outlives the ring: the shard drops its ring before its arena.
            unsafe { submitter.register_buffers(&all)? };
            fixed.pieces.fill(Piece::Known);
        }
        *self = fixed;
        Ok(())
    }

    /// Under which number the kernel knows the buffer that memory of the arena lies in, if it does.
    pub fn number_of(&mut self, submitter: &Submitter<'_>, memory: Memory) -> Option<u16> {
        let address = memory.pointer as usize;
        if !memory.registered || !self.region.contains(&address) {
            return None;
        }
        let number = (address - self.region.start) / self.piece_bytes;
        if self.pieces[number] == Piece::Untouched {
            let is_first = !self.pieces.contains(&Piece::Refused);
            // One that is refused costs speed and nothing else.
            if let Err(error) = self.make_known(submitter, number)
                && is_first
            {
                tracing::warn!(
                    %error,
                    "buffers are not registered, which costs speed: raise the memlock limit (LimitMEMLOCK=infinity)"
                );
            }
        }
        match self.pieces[number] {
            Piece::Known => u16::try_from(number).ok(),
            Piece::Untouched | Piece::Refused => None,
        }
    }

    fn make_known(&mut self, submitter: &Submitter<'_>, number: usize) -> io::Result<()> {
        // SAFETY: the arena's mapping outlives the ring: the shard drops its ring before its arena.
        let made = unsafe { submitter.register_buffers_update(number as u32, &[self.iovec(number)], None) };
        self.pieces[number] = if made.is_ok() { Piece::Known } else { Piece::Refused };
        made
    }

    fn iovec(&self, number: usize) -> libc::iovec {
        let start = self.region.start + number * self.piece_bytes;
        let length = self.piece_bytes.min(self.region.end - start);
        libc::iovec { iov_base: start as *mut libc::c_void, iov_len: length }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use io_uring::{IoUring, opcode, types};

    use super::*;
    use crate::engine::arena::{SLOT_BYTES, Slot};

    fn memory(slot: &mut Slot) -> Memory {
        Memory { pointer: slot.as_mut_ptr(), length: SLOT_BYTES as u32, registered: true }
    }

    #[test]
    fn the_kernel_knows_what_was_used() {
        let ring = IoUring::new(8).unwrap();
        let arena = Arena::new(5).unwrap();
        let mut slots: Vec<Slot> = (0..5).map(|_| arena.try_take().unwrap()).collect();
        let mut fixed = Fixed::default();
        fixed.register(&ring.submitter(), &arena).unwrap();
        assert_eq!(fixed.pieces, [Piece::Known, Piece::Untouched, Piece::Untouched]);

        assert_eq!(fixed.number_of(&ring.submitter(), memory(&mut slots[1])), Some(0));
        assert_eq!(fixed.number_of(&ring.submitter(), memory(&mut slots[4])), Some(2));

        assert_eq!(fixed.pieces, [Piece::Known, Piece::Untouched, Piece::Known]);
    }

    #[test]
    fn it_reads_into_a_buffer_by_its_number() {
        let mut ring = IoUring::new(8).unwrap();
        let arena = Arena::new(4).unwrap();
        let mut slots: Vec<Slot> = (0..4).map(|_| arena.try_take().unwrap()).collect();
        let mut fixed = Fixed::default();
        fixed.register(&ring.submitter(), &arena).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"known").unwrap();

        let memory = memory(&mut slots[3]);
        let number = fixed.number_of(&ring.submitter(), memory).unwrap();
        assert_eq!(read(&mut ring, &file, memory, number), 5);
        assert_eq!(&slots[3][..5], b"known");
        assert_eq!(read(&mut ring, &file, memory, 0), -libc::EFAULT, "it lies in another buffer");
    }

    fn read(ring: &mut IoUring, file: &File, memory: Memory, number: u16) -> i32 {
        let entry = opcode::ReadFixed::new(types::Fd(file.as_raw_fd()), memory.pointer, 5, number).build();
        // SAFETY: the memory is a slot that the test holds until after the completion.
        unsafe { ring.submission().push(&entry).unwrap() };
        ring.submit_and_wait(1).unwrap();
        ring.completion().next().unwrap().result()
    }

    #[test]
    fn other_memory_has_no_number() {
        let ring = IoUring::new(8).unwrap();
        let arena = Arena::new(1).unwrap();
        let mut slot = arena.try_take().unwrap();
        let mut fixed = Fixed::default();
        assert_eq!(fixed.number_of(&ring.submitter(), memory(&mut slot)), None, "nothing is registered");
        fixed.register(&ring.submitter(), &arena).unwrap();
        let mut heap = vec![0; 16];
        let elsewhere = Memory { pointer: heap.as_mut_ptr(), length: 16, registered: true };
        assert_eq!(fixed.number_of(&ring.submitter(), elsewhere), None);
        let unregistered = Memory { registered: false, ..memory(&mut slot) };
        assert_eq!(fixed.number_of(&ring.submitter(), unregistered), None);
    }
}
