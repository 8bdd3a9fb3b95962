//! Memory that an operation can own.
#![allow(unsafe_code)]

use std::ops::Range;
use std::rc::Rc;

use super::arena::Slot;
use super::ring::Memory;

/// Memory that the kernel may read while an operation owns it.
///
/// # Safety
/// The bytes stay at their address when the value moves, and nobody writes to them while it is borrowed or owned by
/// an operation.
pub unsafe trait Source: 'static {
    /// The bytes.
    fn bytes(&self) -> &[u8];
    /// They lie in the shard's registered arena.
    fn registered(&self) -> bool {
        false
    }
}

/// Memory that the kernel may write while an operation owns it.
///
/// # Safety
/// As for [`Source`]; moreover nobody else can read the bytes while an operation owns the value.
pub unsafe trait Target: 'static {
    /// The bytes.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// They lie in the shard's registered arena.
    fn registered(&self) -> bool {
        false
    }
}

pub(super) fn source(buffer: &impl Source, range: Range<usize>) -> Memory {
    let registered = buffer.registered();
    let bytes = &buffer.bytes()[range];
    Memory { pointer: bytes.as_ptr().cast_mut(), length: length(bytes), registered }
}

pub(super) fn target(buffer: &mut impl Target, range: Range<usize>) -> Memory {
    let registered = buffer.registered();
    let bytes = &mut buffer.bytes_mut()[range];
    Memory { pointer: bytes.as_mut_ptr(), length: length(bytes), registered }
}

/// An operation takes at most 1 GiB; more is done in several, as with every short result.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(1 << 30)
}

// SAFETY: a vector's bytes are on the heap and do not move with it; an operation owns the vector.
unsafe impl Source for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

// SAFETY: as above.
unsafe impl Target for Vec<u8> {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }
}

// SAFETY: a slot's bytes are in the arena; an operation owns the slot.
unsafe impl Source for Slot {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn registered(&self) -> bool {
        Slot::registered(self)
    }
}

// SAFETY: as above.
unsafe impl Target for Slot {
    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }

    fn registered(&self) -> bool {
        Slot::registered(self)
    }
}

// SAFETY: a shared slot can only be read, by whoever holds a share.
unsafe impl Source for Rc<Slot> {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn registered(&self) -> bool {
        Slot::registered(self)
    }
}
