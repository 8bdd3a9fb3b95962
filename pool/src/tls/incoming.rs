//! Ciphertext that came and is not used up.

use super::spare;

/// A buffer, and which part of it is to be used. Large only while a receive is under way.
#[derive(Default)]
pub struct Incoming {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Incoming {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The bytes, to be decrypted in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// A whole record is here.
    pub fn has_record(&self) -> bool {
        match self.bytes() {
            // RFC 8446 §5.1: type, version, length.
            [_, _, _, high, low, rest @ ..] => rest.len() >= usize::from(u16::from_be_bytes([*high, *low])),
            _ => false,
        }
    }

    /// The first `count` bytes are used up.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Takes a buffer that holds the old bytes and new ones behind them, `end` in all.
    pub fn replace(&mut self, buffer: Vec<u8>, end: usize) {
        spare::give_back(std::mem::replace(&mut self.buffer, buffer));
        (self.start, self.end) = (0, end);
    }

    /// Gives the buffer back, and keeps what is left of the bytes in one of their size.
    pub fn settle(&mut self) {
        let fits = self.start == 0 && self.end == self.buffer.len() && self.end < spare::BUFFER_BYTES;
        if fits {
            return;
        }
        let rest = self.bytes().to_vec();
        let end = rest.len();
        self.replace(rest, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_kept_in_a_buffer_of_its_size() {
        let mut incoming = Incoming::default();
        let mut buffer = spare::take(spare::BATCH_BYTES);
        buffer[..8].copy_from_slice(&[23, 3, 3, 0, 2, 1, 2, 9]);
        incoming.replace(buffer, 8);
        assert!(incoming.has_record());
        incoming.consume(7);
        assert!(!incoming.has_record());
        incoming.settle();
        assert_eq!((incoming.bytes(), incoming.buffer.len()), (&[9][..], 1));
        incoming.consume(5);
        incoming.settle();
        assert!(incoming.is_empty() && incoming.buffer.is_empty());
    }
}
