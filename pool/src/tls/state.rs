//! What a TLS connection keeps between calls, and what it does without input and output.

use std::io;

use super::batch::Batch;
use super::incoming::Incoming;
use super::machine::{Machine, Plaintext, Reached, Run, encrypted_room};
use super::spare;

/// What a TLS connection keeps between calls.
pub(super) struct State {
    pub machine: Machine,
    /// Ciphertext that came and is not used up.
    pub incoming: Incoming,
    /// Plaintext that came beside what was wanted: less than a record, mostly.
    pub plain: Vec<u8>,
    /// So much of it was given away.
    pub plain_taken: usize,
    /// Ciphertext that is to be sent before anything else.
    pub outgoing: Vec<u8>,
    /// Plaintext in `outgoing` that the sender was not told of: it is at the start of what it sends next.
    pub ahead: usize,
    /// Bytes at the start of `outgoing` that may wait for the first data: tickets.
    pub may_wait: usize,
    /// How much is encrypted next.
    pub batch: Batch,
    /// See [`Machine::overhead_bytes`].
    pub overhead_bytes: usize,
    /// The other side has said that nothing more will come.
    pub closed: bool,
    /// A receive is under way, or was given up.
    pub receiving: bool,
    /// A send is under way, or was given up.
    pub sending: bool,
    /// Nothing can be received any more.
    pub receive_failure: Option<Failure>,
    /// Nothing can be sent any more.
    pub send_failure: Option<Failure>,
}

/// An error that stays.
#[derive(Clone)]
pub(super) struct Failure {
    pub kind: io::ErrorKind,
    text: String,
}

impl Failure {
    pub fn new(kind: io::ErrorKind, text: impl Into<String>) -> Failure {
        Failure { kind, text: text.into() }
    }

    pub fn error(&self) -> io::Error {
        io::Error::new(self.kind, self.text.clone())
    }
}

/// An operation was given up in the middle; nobody knows how far it got.
pub(super) fn given_up() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "an operation on this TLS connection was given up before",
    )
}

impl State {
    pub fn new(machine: Machine) -> State {
        State {
            machine,
            incoming: Incoming::default(),
            plain: Vec::new(),
            plain_taken: 0,
            outgoing: Vec::new(),
            ahead: 0,
            may_wait: 0,
            batch: Batch::default(),
            overhead_bytes: 0,
            closed: false,
            receiving: false,
            sending: false,
            receive_failure: None,
            send_failure: None,
        }
    }

    /// Takes plaintext that is here, decrypting what is to be decrypted. Gives how much it was.
    pub fn take(&mut self, wanted: &mut [u8]) -> usize {
        let here = &self.plain[self.plain_taken..];
        let count = here.len().min(wanted.len());
        wanted[..count].copy_from_slice(&here[..count]);
        self.plain_taken += count;
        if self.plain_taken < self.plain.len() {
            return count;
        }
        (self.plain, self.plain_taken) = (Vec::new(), 0);
        if count == wanted.len() || self.incoming.is_empty() || self.receive_failure.is_some() {
            return count;
        }
        let mut plain = Plaintext { wanted: &mut wanted[count..], filled: 0, rest: &mut self.plain };
        let run = self.machine.receive(self.incoming.bytes_mut(), &mut self.outgoing, &mut plain);
        let filled = plain.filled;
        self.ran(run);
        count + filled
    }

    /// Keeps what a run of the machine has changed. Gives how much it encrypted.
    pub fn ran(&mut self, run: Run) -> Option<usize> {
        self.incoming.consume(run.used);
        self.closed |= run.closed;
        match run.reached {
            Ok(Reached::Open(count)) => Some(count),
            Ok(Reached::Handshake | Reached::Full) => None,
            Err(error) => {
                let failure = Failure::new(io::ErrorKind::InvalidData, format!("TLS: {error}"));
                self.receive_failure.get_or_insert_with(|| failure.clone());
                self.send_failure.get_or_insert(failure);
                None
            }
        }
    }

    /// The socket paused before it had taken a batch of so many bytes: what is left of it is kept.
    pub fn paused(&mut self, unsent: &[u8], bytes: usize) {
        self.keep(unsent);
        self.ahead = bytes;
        self.batch.paused();
    }

    /// Encrypts into a buffer behind what is to be sent before. Gives the buffer and the number of bytes in it.
    pub fn encrypt(&mut self, bytes: &[u8]) -> io::Result<(Vec<u8>, usize)> {
        let before = std::mem::take(&mut self.outgoing);
        self.may_wait = 0;
        let start = before.len();
        let mut buffer = spare::take(start + encrypted_room(bytes.len()));
        buffer[..start].copy_from_slice(&before);
        let run = self.machine.encrypt(
            bytes,
            &mut buffer[start..],
            self.incoming.bytes_mut(),
            &mut self.outgoing,
            &mut self.plain,
        );
        let Some(count) = self.ran(run) else {
            let unknown = || Failure::new(io::ErrorKind::NotConnected, "TLS: the connection is not open");
            return Err(self.send_failure.get_or_insert_with(unknown).error());
        };
        if self.outgoing.is_empty() {
            return Ok((buffer, start + count));
        }
        // What the protocol had to say (an answer to a change of keys) comes before what was encrypted after it.
        let messages = std::mem::take(&mut self.outgoing);
        let mut joined = before;
        joined.extend_from_slice(&messages);
        joined.extend_from_slice(&buffer[start..start + count]);
        spare::give_back(buffer);
        let length = joined.len();
        Ok((joined, length))
    }

    /// The protocol has something to say that is not to wait for the next data (an alert), and nothing stands before it.
    pub fn has_news(&self) -> bool {
        self.outgoing.len() > self.may_wait && self.ahead == 0 && !self.sending
    }

    /// Keeps ciphertext that was not sent, before what has come up meanwhile.
    pub fn keep(&mut self, unsent: &[u8]) {
        self.outgoing.splice(..0, unsent.iter().copied());
    }
}
