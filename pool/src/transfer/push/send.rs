//! Sends the checked bytes of a replica as the body of a PUT.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, select};

use super::acks::Acks;
use crate::checksum::MultiHasher;
use crate::http1::AnswerHead;
use crate::remote::error::plain;
use crate::remote::{RemoteError, Wire};
use crate::transfer::Limit;
use crate::transfer::source::{Piece, ReadError, Source};
use crate::transfer::strand::Strand;

/// A destination that takes nothing for so long gives the buffers back.
const PATIENCE: Duration = Duration::from_millis(25);
/// A destination that closed its side may have said why; that is there already, or never comes.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a body was not sent to its end.
pub(super) enum Halt {
    /// The connection broke.
    Lost(String),
    /// The destination took nothing for too long.
    Stalled,
    /// It answered before the end.
    Answered(AnswerHead),
    /// It took all and did not answer.
    Unanswered(RemoteError),
    /// The replica cannot be read.
    Unreadable(ReadError),
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Halt {
        Halt::Unreadable(error)
    }
}

/// A body on its way.
pub(super) struct Sending<'a> {
    pub(super) wire: &'a mut Wire,
    pub(super) source: &'a Source,
    pub(super) acks: &'a Acks<'a>,
    pub(super) strand: &'a Strand,
    /// Computes what is not on record of the replica.
    pub(super) hasher: &'a RefCell<MultiHasher>,
    pub(super) idle_timeout: Duration,
}

/// What became of one piece.
enum Outcome {
    Sent,
    /// The destination paused after so many bytes of it.
    Paused,
}

impl Sending<'_> {
    /// Sends all of it.
    pub(super) async fn run(&mut self) -> Result<(), Halt> {
        let (mut offset, size) = (0, self.source.replica().size());
        while offset < size {
            let stretch = self.source.stretch(offset..size);
            let mut blocks = self.source.blocks(stretch).await?;
            let mut paused = false;
            while let Some(piece) = blocks.next(&|limit| self.strand.enter(limit)).await? {
                if let Outcome::Paused = self.send(piece, &mut offset).await? {
                    paused = true;
                    break;
                }
            }
            // Whoever waits for the destination holds no buffer.
            drop(blocks);
            self.source.set_slow(paused);
            if paused {
                self.wait_for_room().await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, piece: Piece, offset: &mut u64) -> Result<Outcome, Halt> {
        let Piece { slot, mut part, .. } = piece;
        let mut slot = Rc::new(slot);
        self.strand.enter(Limit::Network);
        while !part.is_empty() {
            let connection = self.wire.input.connection().clone();
            let (result, back) = connection.send_slot_within(slot, part.clone(), PATIENCE).await;
            slot = back;
            let (count, paused) = match result {
                Ok(sent) => sent,
                Err(error) => return Err(self.lost(&error).await),
            };
            self.hasher.borrow_mut().update(&slot[part.start..part.start + count]);
            part.start += count;
            *offset += count as u64;
            self.acks.sent(count as u64);
            if paused && !part.is_empty() {
                return Ok(Outcome::Paused);
            }
        }
        Ok(Outcome::Sent)
    }

    /// Waits until the destination takes more, or says something.
    async fn wait_for_room(&mut self) -> Result<(), Halt> {
        self.strand.enter(Limit::Network);
        let connection = self.wire.input.connection().clone();
        let core = Rc::clone(connection.core());
        let either = async {
            if connection.tls().is_some() {
                // What can be received may be of TLS itself, and giving up sending in the middle would end it.
                return (connection.writable().await, false);
            }
            match select(pin!(connection.writable()), pin!(connection.readable())).await {
                Either::Left((room, _)) => (room, false),
                Either::Right((said, _)) => (said, true),
            }
        };
        match core.within(self.idle_timeout, either).await {
            Some((Ok(()), false)) => Ok(()),
            Some((Ok(()), true)) => match self.wire.answer(LAST_WORDS).await {
                Ok(head) => Err(Halt::Answered(head)),
                Err(error) => Err(Halt::Lost(error.to_string())),
            },
            Some((Err(error), _)) => Err(self.lost(&error).await),
            None => Err(Halt::Stalled),
        }
    }

    /// The connection does not take more: what the destination said before it closed goes before that.
    async fn lost(&mut self, error: &std::io::Error) -> Halt {
        match self.wire.answer(LAST_WORDS).await {
            Ok(head) => Halt::Answered(head),
            Err(_) => Halt::Lost(plain(error)),
        }
    }
}
