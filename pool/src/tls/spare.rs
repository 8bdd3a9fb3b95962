//! The buffers for ciphertext of a shard: taken for the time of one operation on a socket, and used again.
//!
//! They are not slots: with two of the arena for each transfer, who holds a slot would wait for another. Each is as
//! large as one batch, which stays in a core's L2 cache between encryption and the socket.

use std::cell::RefCell;

use super::machine::encrypted_room;

/// The most plaintext that is encrypted for one send, or that one receive asks for.
pub const BATCH_BYTES: usize = 128 << 10;
/// Room of a buffer: a batch, and behind it (or before it) a record that came in part.
pub const BUFFER_BYTES: usize = encrypted_room(BATCH_BYTES) + (20 << 10);
/// Buffers that a shard keeps; more are in use only while more connections are busy at the same instant.
const KEPT: usize = 8;
/// What needs no more than that has a buffer of its own size.
const SMALL_BYTES: usize = 32 << 10;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of at least so many bytes, all of them initialised.
pub fn take(bytes: usize) -> Vec<u8> {
    if bytes <= SMALL_BYTES {
        return vec![0; bytes];
    }
    let kept = FREE.with_borrow_mut(Vec::pop).filter(|buffer| buffer.len() >= bytes);
    kept.unwrap_or_else(|| vec![0; bytes.max(BUFFER_BYTES)])
}

/// Gives a buffer back.
pub fn give_back(buffer: Vec<u8>) {
    if buffer.len() < BUFFER_BYTES {
        return;
    }
    FREE.with_borrow_mut(|free| {
        if free.len() < KEPT {
            free.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_used_again_and_small_ones_have_their_own_size() {
        assert_eq!(take(100).len(), 100);
        let buffer = take(BATCH_BYTES);
        assert_eq!(buffer.len(), BUFFER_BYTES);
        let address = buffer.as_ptr();
        give_back(buffer);
        let again = take(BATCH_BYTES);
        assert_eq!(again.as_ptr(), address);
    }

    #[test]
    fn no_more_are_kept_than_a_shard_uses_at_once() {
        for buffer in (0..KEPT + 3).map(|_| take(BATCH_BYTES)).collect::<Vec<_>>() {
            give_back(buffer);
        }
        assert_eq!(FREE.with_borrow(Vec::len), KEPT);
    }
}
