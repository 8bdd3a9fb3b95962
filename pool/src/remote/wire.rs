//! One connection to a remote server, with a request and the head of its answer on it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::error::RemoteError;
use super::places::Place;
use super::url::Origin;
use crate::engine::net::Received;
use crate::http1::{AnswerHead, MAX_ANSWER_HEAD_BYTES, ParsedAnswer, parse_answer};
use crate::marking::Tag;
use crate::tls::Fingerprint;
use crate::transfer::input::Input;

/// Interim answers (1xx) before the answer that counts.
const MAX_INTERIM: usize = 16;

/// An open connection.
pub struct Wire {
    /// The connection, with what was received and not used.
    pub input: Input,
    origin: Origin,
    /// It served a request before, so the server may be about to close it.
    pub(super) reused: bool,
    /// Bytes of the last request's head, while nothing says that they have arrived.
    head_underway: usize,
    /// Of the transfers that it may serve.
    tag: Option<Tag>,
    /// What was shown when it was made, if it was not the pool's own.
    shown: Option<Fingerprint>,
    _place: Place,
}

/// What came first behind a request that waits for leave to send its body.
pub(super) enum First {
    /// 100 Continue.
    Continue,
    /// An answer; the body is not wanted, or not any more.
    Answer(AnswerHead),
    /// Nothing for so long.
    Nothing,
}

impl Wire {
    pub(super) fn new(
        connection: crate::tls::Wire,
        origin: Origin,
        place: Place,
        tag: Option<Tag>,
        shown: Option<Fingerprint>,
    ) -> Wire {
        let input = Input::new(connection, MAX_ANSWER_HEAD_BYTES);
        Wire { input, origin, reused: false, head_underway: 0, tag, shown, _place: place }
    }

    /// Whose certificate the server was shown, if it was not the pool's own.
    pub(super) fn shown(&self) -> Option<Fingerprint> {
        self.shown
    }

    /// What the transfers are marked with that it may serve.
    pub(super) fn tag(&self) -> Option<Tag> {
        self.tag
    }

    /// Whom it leads to.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The address it leads to.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.input.connection().peer()
    }

    /// Bytes of the request's head that may not have arrived yet.
    #[must_use]
    pub fn head_underway(&self) -> u64 {
        self.head_underway as u64
    }

    /// Sends a request's head.
    pub(super) async fn send(&mut self, head: Vec<u8>, idle_timeout: Duration) -> Result<(), RemoteError> {
        self.head_underway = head.len();
        let (sent, _) = self.input.connection().send_all(head, false, idle_timeout).await;
        sent.map_err(|error| self.broken(error))
    }

    /// The head of the answer, interim ones passed over. `limit` is for all of it, so that a server that sends a byte
    /// now and then does not hold a transfer.
    pub async fn answer(&mut self, limit: Duration) -> Result<AnswerHead, RemoteError> {
        match self.first(limit, false).await? {
            First::Answer(head) => Ok(head),
            First::Continue | First::Nothing => {
                Err(RemoteError::Silent { peer: self.peer(), seconds: limit.as_secs() })
            }
        }
    }

    /// As [`Wire::answer`], but a 100 ends the waiting as well.
    pub(super) async fn first(&mut self, limit: Duration, wants_leave: bool) -> Result<First, RemoteError> {
        let core = std::rc::Rc::clone(self.input.connection().core());
        let due_at = core.now() + limit;
        let peer = self.peer();
        let unusable = |error| RemoteError::Answer { peer, error };
        let mut interim = 0;
        loop {
            if !self.input.unread().is_empty() {
                match parse_answer(self.input.unread()).map_err(unusable)? {
                    ParsedAnswer::Complete { head, consumed } => {
                        self.input.consume(consumed);
                        self.head_underway = 0;
                        match head.status() {
                            100 if wants_leave => return Ok(First::Continue),
                            // RFC 9110 §15.2: any number of them; RFC 9110 §7.8: we asked for no other protocol.
                            100 | 102..200 if interim < MAX_INTERIM => interim += 1,
                            100..200 => return Err(unusable(crate::http1::AnswerError::NotHttp)),
                            _ => return Ok(First::Answer(*head)),
                        }
                        continue;
                    }
                    ParsedAnswer::Partial => {}
                }
            }
            let patience = due_at.saturating_duration_since(core.now());
            if patience.is_zero() {
                return Ok(First::Nothing);
            }
            match self.input.receive_more(patience).await {
                Ok(Received::Bytes(_) | Received::Paused(_)) => {}
                Ok(Received::End) => return Err(RemoteError::Closed { peer }),
                Err(error) => return Err(self.broken(error)),
            }
        }
    }

    fn broken(&self, error: io::Error) -> RemoteError {
        RemoteError::Broken { peer: self.peer(), error }
    }
}
