//! The body of an upload, taken straight from the socket into slots, whatever its coding.

use std::io;
use std::time::Duration;

use crate::engine::arena::Slot;
use crate::engine::net::Received;
use crate::http1::{ChunkError, ChunkedDecoder, Step};
use crate::transfer::input::Input;

/// What is still to come of a body.
pub enum Body {
    /// So many bytes (RFC 9112 §6.2).
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked(ChunkedDecoder),
    /// Whatever comes before the other side closes (RFC 9112 §6.3, item 8); only answers end that way.
    UntilClose {
        /// It has closed.
        ended: bool,
    },
}

/// How far a slot was filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// To the end of the part.
    Full,
    /// So far; the body has ended.
    End(usize),
    /// So far; no more came for a while.
    Paused(usize),
}

/// Why a body cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The chunked coding is wrong.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The client closed before the end.
    #[error("the client closed the connection")]
    Closed,
    /// The connection broke.
    #[error(transparent)]
    Connection(#[from] io::Error),
}

impl Body {
    /// Whether all of it has been read. A chunked body of no bytes has still its last chunk to come.
    pub fn is_over(&self) -> bool {
        match self {
            Body::Length(remaining) => *remaining == 0,
            Body::Chunked(decoder) => decoder.is_end(),
            Body::UntilClose { ended } => *ended,
        }
    }

    /// Bytes that are certain to come.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Body::Length(remaining) => Some(*remaining),
            Body::Chunked(_) | Body::UntilClose { .. } => None,
        }
    }

    /// Fills `slot[filled..end]` with the next bytes. With `eager`, one receive waits for all of them; otherwise what
    /// is there is taken.
    pub async fn fill(
        &mut self,
        input: &mut Input,
        slot: Slot,
        mut filled: usize,
        end: usize,
        eager: bool,
        patience: Duration,
    ) -> (Result<Filled, BodyError>, Slot) {
        self.fill_up(input, slot, &mut filled, end, eager, patience).await
    }

    /// The same, and after an error too `filled` tells how far the slot is filled.
    pub async fn fill_up(
        &mut self,
        input: &mut Input,
        mut slot: Slot,
        filled: &mut usize,
        end: usize,
        eager: bool,
        patience: Duration,
    ) -> (Result<Filled, BodyError>, Slot) {
        while *filled < end {
            if self.is_over() {
                return (Ok(Filled::End(*filled)), slot);
            }
            if !input.unread().is_empty() {
                // No more than fits: what the decoder calls data has to be taken at once.
                let here = &input.unread()[..input.unread().len().min(end - *filled)];
                let (skip, length) = match self.sort(here) {
                    Ok(sorted) => sorted,
                    Err(error) => return (Err(error), slot),
                };
                slot[*filled..*filled + length].copy_from_slice(&here[skip..skip + length]);
                input.consume(skip + length);
                *filled += length;
                continue;
            }
            let certain = self.certain();
            if certain == 0 {
                // A chunk's size comes next; some data behind it may come along.
                match input.receive_more(patience).await {
                    Ok(Received::Bytes(_)) => continue,
                    Ok(Received::Paused(0)) => return (Ok(Filled::Paused(*filled)), slot),
                    Ok(Received::Paused(_)) => continue,
                    Ok(Received::End) => return (Err(BodyError::Closed), slot),
                    Err(error) => return (Err(error.into()), slot),
                }
            }
            let wanted = usize::try_from(certain).unwrap_or(usize::MAX).min(end - *filled);
            let part = *filled..*filled + wanted;
            let connection = input.connection().clone();
            let (received, back) = connection.receive_within(slot, part, eager, patience).await;
            slot = back;
            match received {
                Ok(Received::Bytes(count)) => {
                    self.took(count);
                    *filled += count;
                    if !eager && *filled < end && !self.is_over() {
                        return (Ok(Filled::Paused(*filled)), slot);
                    }
                }
                Ok(Received::Paused(count)) => {
                    self.took(count);
                    *filled += count;
                    return (Ok(Filled::Paused(*filled)), slot);
                }
                Ok(Received::End) => match self {
                    Body::UntilClose { ended } => *ended = true,
                    Body::Length(_) | Body::Chunked(_) => return (Err(BodyError::Closed), slot),
                },
                Err(error) => return (Err(error.into()), slot),
            }
        }
        // A last chunk that is already here belongs to this body.
        (Ok(if self.is_over() { Filled::End(*filled) } else { Filled::Full }), slot)
    }

    /// How many bytes of what was received are framing, and how many behind them are data.
    fn sort(&mut self, here: &[u8]) -> Result<(usize, usize), BodyError> {
        match self {
            Body::Length(remaining) => {
                let length = usize::try_from(*remaining).unwrap_or(usize::MAX).min(here.len());
                *remaining -= length as u64;
                Ok((0, length))
            }
            Body::Chunked(decoder) => Ok(match decoder.decode(here)? {
                Step::Data { skip, len } => (skip, len),
                Step::NeedMore { consumed } | Step::End { consumed } => (consumed, 0),
            }),
            Body::UntilClose { .. } => Ok((0, here.len())),
        }
    }

    /// How many of the next bytes are data for certain.
    fn certain(&self) -> u64 {
        match self {
            Body::Length(remaining) => *remaining,
            Body::Chunked(decoder) => decoder.remaining_in_chunk(),
            Body::UntilClose { .. } => u64::MAX,
        }
    }

    fn took(&mut self, count: usize) {
        match self {
            Body::Length(remaining) => *remaining = remaining.saturating_sub(count as u64),
            Body::Chunked(decoder) => decoder.advance(count as u64),
            Body::UntilClose { .. } => {}
        }
    }
}
