//! A TLS connection of a shard.
//!
//! Receiving asks the socket for a batch of records at a time, decrypts them in place and puts the plaintext where it
//! is wanted: that is the one copy that brings it to a block's boundary for direct writes. Sending encrypts a batch
//! into a buffer of its own and hands it to the socket in one call.
//!
//! Both may be given up at any time, as on a plain connection; the direction that was given up in the middle of an
//! operation cannot be used again, as nobody knows how far it got.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion};

use super::machine::{Machine, Plaintext, certain_to_come};
use super::spare::{self, BATCH_BYTES};
use super::state::{Failure, State, given_up};
use crate::engine::buffer::{Source, Target};
use crate::engine::core::Core;
use crate::engine::net::{Connection, Received};

/// One receive during the handshake.
const HANDSHAKE_RECEIVE_BYTES: usize = 4 << 10;
/// Least plaintext that a receive asks for: what a record can hold comes in one call.
const LEAST_RECEIVE_BYTES: usize = 1 << 14;
/// How long one try to send what is kept may take before waiting for room again.
const FLUSH_PATIENCE: Duration = Duration::from_millis(25);

/// What was agreed on in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsFacts {
    /// 1.3 rather than 1.2.
    pub version_13: bool,
    /// The handshake was shortened with a ticket of an earlier one.
    pub resumed: bool,
}

/// Why a connection did not come to speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Something else than TLS came.
    #[error("the client does not speak TLS")]
    NotTls,
    /// It took too long.
    #[error("the TLS handshake was not over within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The other side closed the connection.
    #[error("the connection was closed during the TLS handshake")]
    Closed,
    /// The connection broke.
    #[error("the connection broke during the TLS handshake: {0}")]
    Connection(#[from] io::Error),
    /// The two sides do not agree, or a certificate is not good.
    #[error("the TLS handshake failed: {0}")]
    Tls(#[from] rustls::Error),
}

/// A connection over which TLS is spoken. Clones share it.
#[derive(Clone)]
pub struct TlsStream {
    tcp: Connection,
    state: Rc<RefCell<State>>,
}

impl TlsStream {
    /// Goes through the handshake, for at most `limit`.
    pub(super) async fn handshake(
        tcp: Connection,
        machine: Machine,
        limit: Duration,
    ) -> Result<TlsStream, HandshakeError> {
        let core = Rc::clone(tcp.core());
        let stream = TlsStream { tcp, state: Rc::new(RefCell::new(State::new(machine))) };
        match core.within(limit, stream.shake_hands(limit)).await {
            Some(result) => result?,
            None => return Err(HandshakeError::Timeout(limit)),
        }
        Ok(stream)
    }

    async fn shake_hands(&self, limit: Duration) -> Result<(), HandshakeError> {
        loop {
            let (reached, over, tickets_wait) = {
                let state = &mut *self.state.borrow_mut();
                let is_server = matches!(state.machine, Machine::Server(_));
                // RFC 8446 §5.1: a record begins with its type, none of which is a letter; a method does.
                let is_first = is_server && state.machine.common().protocol_version().is_none();
                if is_first && state.incoming.bytes().first().is_some_and(u8::is_ascii_alphabetic) {
                    return Err(HandshakeError::NotTls);
                }
                let mut plain = Plaintext { wanted: &mut [], filled: 0, rest: &mut state.plain };
                let run = state.machine.receive(state.incoming.bytes_mut(), &mut state.outgoing, &mut plain);
                let reached = run.reached.clone();
                state.ran(run);
                // The tickets that end a server's handshake with TLS 1.3 may go with the first answer.
                let common = state.machine.common();
                let tickets = is_server && common.protocol_version() == Some(ProtocolVersion::TLSv1_3);
                // A server could send earlier already; but to whom, it knows only now.
                let over = !common.is_handshaking();
                (reached, over, over && tickets)
            };
            if !tickets_wait {
                // An alert that tells the other side why not is sent, too.
                let sent = self.flush(limit).await;
                if reached.is_ok() && !sent? {
                    return Err(HandshakeError::Timeout(limit));
                }
            }
            reached?;
            {
                let state = &mut *self.state.borrow_mut();
                if over {
                    state.overhead_bytes = state.machine.overhead_bytes();
                    state.may_wait = state.outgoing.len();
                    return Ok(());
                }
                if state.closed {
                    return Err(HandshakeError::Closed);
                }
            }
            match self.receive_ciphertext(HANDSHAKE_RECEIVE_BYTES, false, limit).await? {
                Received::Bytes(_) => {}
                Received::End => return Err(HandshakeError::Closed),
                Received::Paused(_) => return Err(HandshakeError::Timeout(limit)),
            }
        }
    }

    /// The connection underneath.
    pub fn tcp(&self) -> &Connection {
        &self.tcp
    }

    /// The shard.
    pub fn core(&self) -> &Rc<Core> {
        self.tcp.core()
    }

    /// The other side's address.
    pub fn peer(&self) -> SocketAddr {
        self.tcp.peer()
    }

    /// What was agreed on.
    pub fn facts(&self) -> TlsFacts {
        let state = self.state.borrow();
        let common = state.machine.common();
        TlsFacts {
            version_13: common.protocol_version() == Some(ProtocolVersion::TLSv1_3),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Receives plaintext; as [`Connection::receive_within`]. A connection that ends without a close_notify is an
    /// error: somebody may have cut it (RFC 8446 §6.1).
    pub async fn receive_within<B: Target>(
        &self,
        mut buffer: B,
        part: Range<usize>,
        fill: bool,
        patience: Duration,
    ) -> (io::Result<Received>, B) {
        let received = self.receive_into(&mut buffer, part, fill, patience).await;
        self.state.borrow_mut().incoming.settle();
        (received, buffer)
    }

    async fn receive_into<B: Target>(
        &self,
        buffer: &mut B,
        part: Range<usize>,
        fill: bool,
        patience: Duration,
    ) -> io::Result<Received> {
        let core = self.core();
        let fill = fill && core.keeps_partial();
        let due_at = core.now() + patience;
        // Slots are held for a short time and not by everybody; what is held while a request is awaited has to be small.
        let batch_bytes = if part.len() >= BATCH_BYTES || fill { BATCH_BYTES } else { LEAST_RECEIVE_BYTES };
        let (mut filled, mut paused, mut drained) = (part.start, false, true);
        loop {
            let asked = {
                let state = &mut *self.state.borrow_mut();
                filled += state.take(&mut buffer.bytes_mut()[filled..part.end]);
                let count = filled - part.start;
                if filled == part.end || (count > 0 && !fill && drained) {
                    return Ok(Received::Bytes(count));
                }
                match &state.receive_failure {
                    Some(_) if count > 0 => return Ok(Received::Bytes(count)),
                    Some(failure) => Err(failure.error()),
                    None if state.closed && count > 0 => return Ok(Received::Bytes(count)),
                    None if state.closed => return Ok(Received::End),
                    None if paused && count > 0 && !fill => return Ok(Received::Bytes(count)),
                    None if paused => return Ok(Received::Paused(count)),
                    None => {
                        let wanted = (part.end - filled).min(batch_bytes);
                        let wanted = if fill { wanted } else { wanted.max(LEAST_RECEIVE_BYTES) };
                        Ok(certain_to_come(wanted, state.overhead_bytes, state.incoming.bytes()))
                    }
                }
            };
            let asked = match asked {
                Ok(asked) => asked,
                Err(error) => {
                    self.send_alert(&error).await;
                    return Err(error);
                }
            };
            if self.state.borrow().has_news() {
                // Whether it can be sent or not, there may be more to receive.
                let _ = self.flush(FLUSH_PATIENCE).await;
            }
            // What is there beyond the first batch is taken, too, but not waited for.
            let more = filled > part.start && !fill;
            let patience = if more { Duration::ZERO } else { due_at.saturating_duration_since(core.now()) };
            match self.receive_ciphertext(asked, fill, patience).await {
                Ok(Received::Bytes(count)) => drained = count < asked || batch_bytes < BATCH_BYTES,
                Ok(Received::Paused(_)) => paused = true,
                Ok(Received::End) => {
                    let text = "the connection was cut: it ended without a TLS close_notify";
                    let failure = Failure::new(io::ErrorKind::UnexpectedEof, text);
                    self.state.borrow_mut().receive_failure.get_or_insert(failure);
                }
                Err(error) => {
                    let failure = Failure::new(error.kind(), error.to_string());
                    self.state.borrow_mut().receive_failure.get_or_insert(failure);
                }
            }
        }
    }

    /// Receives so many bytes of ciphertext behind those that are here.
    async fn receive_ciphertext(&self, asked: usize, fill: bool, patience: Duration) -> io::Result<Received> {
        let (buffer, start) = {
            let state = &mut *self.state.borrow_mut();
            if std::mem::replace(&mut state.receiving, true) {
                return Err(given_up());
            }
            state.incoming.settle();
            let here = state.incoming.bytes();
            let mut buffer = spare::take(here.len() + asked);
            buffer[..here.len()].copy_from_slice(here);
            (buffer, here.len())
        };
        let (received, buffer) = self.tcp.receive_within(buffer, start..start + asked, fill, patience).await;
        let state = &mut *self.state.borrow_mut();
        state.receiving = false;
        match received {
            Ok(Received::Bytes(count) | Received::Paused(count)) => {
                state.incoming.replace(buffer, start + count);
            }
            Ok(Received::End) | Err(_) => spare::give_back(buffer),
        }
        received
    }

    /// Tells the other side of an error of the protocol.
    async fn send_alert(&self, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData {
            // Whether it arrives or not, the connection is over.
            let _ = self.flush(FLUSH_PATIENCE).await;
        }
    }

    /// Sends part of a buffer, for at most `patience`; as [`Connection::send_within`]. What was encrypted for a socket
    /// that did not take it is kept and not counted as sent; so the caller goes on, as anybody would, with the bytes
    /// that follow those counted, in pieces of any length, and they must be the same bytes then.
    pub async fn send_within<B: Source>(
        &self,
        buffer: B,
        part: Range<usize>,
        more: bool,
        patience: Duration,
    ) -> (io::Result<(usize, bool)>, B) {
        let sent = self.send_from(&buffer, part, more, patience).await;
        (sent, buffer)
    }

    async fn send_from<B: Source>(
        &self,
        buffer: &B,
        part: Range<usize>,
        more: bool,
        patience: Duration,
    ) -> io::Result<(usize, bool)> {
        let core = self.core();
        let due_at = core.now() + patience;
        let ahead = self.state.borrow().ahead;
        if ahead > 0 && !self.flush(patience).await? {
            return Ok((0, true));
        }
        // Who goes on after a pause may do so in shorter pieces than the one that was begun.
        let begun = ahead.min(part.len());
        self.state.borrow_mut().ahead = ahead - begun;
        let mut at = part.start + begun;
        while at < part.end {
            if at > part.start && core.now() >= due_at {
                return Ok((at - part.start, true));
            }
            let (chunk, mut ciphertext, length) = {
                let state = &mut *self.state.borrow_mut();
                if let Some(failure) = &state.send_failure {
                    return Err(failure.error());
                }
                if state.sending {
                    return Err(given_up());
                }
                let chunk = (part.end - at).min(state.batch.bytes());
                let (ciphertext, length) = state.encrypt(&buffer.bytes()[at..at + chunk])?;
                state.sending = true;
                (chunk, ciphertext, length)
            };
            let more = more || at + chunk < part.end;
            let mut done = 0;
            let paused = loop {
                let patience = due_at.saturating_duration_since(core.now());
                let (result, back) = self.tcp.send_within(ciphertext, done..length, more, patience).await;
                ciphertext = back;
                match result {
                    Ok((count, paused)) => {
                        done += count;
                        if done == length || paused {
                            break done < length;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        let state = &mut *self.state.borrow_mut();
                        state.send_failure = Some(Failure::new(error.kind(), error.to_string()));
                        state.sending = false;
                        return Err(error);
                    }
                }
            };
            let state = &mut *self.state.borrow_mut();
            state.sending = false;
            if paused {
                state.paused(&ciphertext[done..length], chunk);
                spare::give_back(ciphertext);
                return Ok((at - part.start, true));
            }
            spare::give_back(ciphertext);
            state.batch.took(chunk);
            at += chunk;
        }
        Ok((part.len(), false))
    }

    /// Sends what is kept. True when nothing is left.
    async fn flush(&self, patience: Duration) -> io::Result<bool> {
        loop {
            let outgoing = {
                let state = &mut *self.state.borrow_mut();
                if state.outgoing.is_empty() {
                    return Ok(true);
                }
                match &state.send_failure {
                    // An alert is sent although, and because, nothing else can be.
                    Some(failure) if failure.kind != io::ErrorKind::InvalidData => {
                        return Err(failure.error());
                    }
                    Some(_) | None => {}
                }
                if std::mem::replace(&mut state.sending, true) {
                    return Err(given_up());
                }
                state.may_wait = 0;
                std::mem::take(&mut state.outgoing)
            };
            let length = outgoing.len();
            let (result, outgoing) = self.tcp.send_within(outgoing, 0..length, false, patience).await;
            let state = &mut *self.state.borrow_mut();
            state.sending = false;
            match result {
                Ok((count, paused)) => {
                    state.keep(&outgoing[count..]);
                    if paused && count < length {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => state.keep(&outgoing),
                Err(error) => {
                    state.send_failure = Some(Failure::new(error.kind(), error.to_string()));
                    return Err(error);
                }
            }
        }
    }

    /// Completes when there is something to receive (or the connection ended), with nothing held meanwhile. May be waited
    /// for beside [`TlsStream::writable`].
    pub async fn readable(&self) -> io::Result<()> {
        {
            let state = self.state.borrow();
            let here = state.plain_taken < state.plain.len() || state.incoming.has_record();
            if here || state.closed || state.receive_failure.is_some() {
                return Ok(());
            }
        }
        self.tcp.readable().await
    }

    /// Completes when there is room to send and what was kept is sent (or the connection ended).
    pub async fn writable(&self) -> io::Result<()> {
        loop {
            self.tcp.writable().await?;
            if self.state.borrow().outgoing.is_empty() {
                return Ok(());
            }
            self.flush(FLUSH_PATIENCE).await?;
        }
    }

    /// Says that nothing more will be sent, for at most `patience`.
    pub async fn end(&self, patience: Duration) {
        {
            let state = &mut *self.state.borrow_mut();
            if state.send_failure.is_none() {
                let run =
                    state.machine.close(state.incoming.bytes_mut(), &mut state.outgoing, &mut state.plain);
                state.ran(run);
            }
        }
        // Whoever does not take it sees the connection end without it.
        let _ = self.flush(patience).await;
        self.tcp.shutdown_send();
    }
}
