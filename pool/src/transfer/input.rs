//! A connection and the bytes of it that were received but not used yet: heads, chunk sizes, pipelined requests.

use std::io;
use std::time::Duration;

use crate::engine::net::Received;
use crate::tls::Wire;

/// Room for a head and a small body, as almost all are; who has more gets more. That of thousands of connections which
/// have just asked something counts in what the process takes from the system, even when it is given back soon after.
const FIRST_BYTES: usize = 8 << 10;

/// Receives heads and other small things. Bulk data goes past it, straight into slots.
pub struct Input {
    connection: Wire,
    /// Allocated while there is something to receive; an idle connection holds nothing.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    capacity: usize,
}

impl Input {
    /// At most `capacity` bytes wait here.
    pub fn new(connection: impl Into<Wire>, capacity: usize) -> Input {
        Input { connection: connection.into(), buffer: Vec::new(), start: 0, end: 0, capacity }
    }

    /// The connection.
    pub fn connection(&self) -> &Wire {
        &self.connection
    }

    /// What was received and not used.
    pub fn unread(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Marks the first `count` unread bytes as used.
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// No room is left behind the unread bytes.
    pub fn is_full(&self) -> bool {
        self.end - self.start >= self.capacity
    }

    /// Gives the memory back if nothing is unread.
    pub fn release(&mut self) {
        if self.unread().is_empty() {
            self.buffer = Vec::new();
            (self.start, self.end) = (0, 0);
        }
    }

    /// Receives more behind what is unread, for at most `patience`. The caller has seen that it is not full.
    pub async fn receive_more(&mut self, patience: Duration) -> io::Result<Received> {
        let mut buffer = std::mem::take(&mut self.buffer);
        if self.start > 0 {
            buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == buffer.len() {
            let more = (self.end * 2).max(FIRST_BYTES).min(self.capacity);
            buffer.resize(more, 0);
        }
        let part = self.end..buffer.len();
        let (received, buffer) = self.connection.receive_within(buffer, part, false, patience).await;
        self.buffer = buffer;
        if let Ok(Received::Bytes(count) | Received::Paused(count)) = &received {
            self.end += count;
        }
        received
    }
}
