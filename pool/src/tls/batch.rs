//! How much is encrypted at once.
//!
//! What was encrypted for a socket that then does not take it has to be kept, by each of many slow connections. So
//! batches are a part of what the socket took in a row: little is kept at a pause, and fast connections have their
//! batches of full size after 8 MiB.

use super::machine::RECORD_PLAINTEXT_BYTES;
use super::spare::BATCH_BYTES;

/// A batch is this part of what was taken without a pause.
const PART: u64 = 64;

/// The size of a connection's next batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    taken_in_a_row: u64,
}

impl Batch {
    /// Plaintext in bytes: whole records.
    pub fn bytes(&self) -> usize {
        let records = self.taken_in_a_row / PART / RECORD_PLAINTEXT_BYTES as u64;
        let records = usize::try_from(records).unwrap_or(usize::MAX);
        records.clamp(1, BATCH_BYTES / RECORD_PLAINTEXT_BYTES) * RECORD_PLAINTEXT_BYTES
    }

    /// The socket has taken so much of it.
    pub fn took(&mut self, bytes: usize) {
        self.taken_in_a_row = self.taken_in_a_row.saturating_add(bytes as u64);
    }

    /// The socket has paused in the middle of it.
    pub fn paused(&mut self) {
        self.taken_in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_with_what_is_taken_and_begin_anew_after_a_pause() {
        let mut batch = Batch::default();
        assert_eq!(batch.bytes(), RECORD_PLAINTEXT_BYTES);
        batch.took(2 << 20);
        assert_eq!(batch.bytes(), 2 * RECORD_PLAINTEXT_BYTES);
        batch.took(6 << 20);
        assert_eq!(batch.bytes(), BATCH_BYTES);
        batch.took(usize::MAX);
        assert_eq!(batch.bytes(), BATCH_BYTES);
        batch.paused();
        assert_eq!(batch.bytes(), RECORD_PLAINTEXT_BYTES);
    }

    #[test]
    fn a_pause_keeps_little_of_what_was_taken_before() {
        let mut batch = Batch::default();
        let mut taken = 0;
        while batch.bytes() < BATCH_BYTES {
            assert!(batch.bytes() as u64 <= (taken / PART).max(RECORD_PLAINTEXT_BYTES as u64));
            taken += batch.bytes() as u64;
            batch.took(batch.bytes());
        }
    }
}
