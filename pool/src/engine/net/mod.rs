//! Connections of a shard, and the listeners they come from.
#![allow(unsafe_code)]

pub mod connect;
pub mod flow_label;
pub mod listener;
pub mod socket;
pub mod zero_copy;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::time::Duration;

use futures_util::future::{Either, select};

use super::arena::Slot;
use super::buffer::{self, Source, Target};
use super::core::Core;
use super::disk::File;
use super::op::{Late, Operation};
use super::ring::Op;
use socket::{SocketHandle, TcpFacts};
use zero_copy::ZeroCopy;

/// One TCP connection, on the shard that accepted or made it.
#[derive(Clone)]
pub struct Connection {
    core: Rc<Core>,
    socket: Rc<dyn SocketHandle>,
    zero_copy: Rc<ZeroCopy>,
}

/// A connection that somebody else has.
#[derive(Clone)]
pub struct Watched(Weak<dyn SocketHandle>);

impl Watched {
    /// What the kernel knows of the path; `None` once the connection is closed.
    pub fn tcp_facts(&self) -> Option<TcpFacts> {
        self.0.upgrade()?.tcp_facts()
    }
}

/// How a receive ended that was not to hold its buffer for long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// So many bytes came.
    Bytes(usize),
    /// The other side has closed its half.
    End,
    /// Nothing, or only so many bytes, came in the given time.
    Paused(usize),
}

impl Connection {
    /// A connection over an open socket.
    pub fn new(core: Rc<Core>, socket: Rc<dyn SocketHandle>) -> Connection {
        let zero_copy = Rc::new(ZeroCopy::new(core.sends_zero_copy()));
        Connection { core, socket, zero_copy }
    }

    /// The shard.
    pub fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// The other side's address.
    pub fn peer(&self) -> SocketAddr {
        self.socket.peer()
    }

    /// Our address.
    pub fn local(&self) -> SocketAddr {
        self.socket.local()
    }

    /// What the kernel knows of the path.
    pub fn tcp_facts(&self) -> Option<TcpFacts> {
        self.socket.tcp_facts()
    }

    /// The IPv6 flow label that its packets carry; 0: none that we know of.
    pub fn flow_label(&self) -> u32 {
        self.socket.flow_label()
    }

    /// Looks at it without keeping it open.
    pub fn watch(&self) -> Watched {
        Watched(Rc::downgrade(&self.socket))
    }

    /// Limits how fast the kernel sends (SO_MAX_PACING_RATE).
    pub fn limit_send_rate(&self, bytes_per_second: u64) -> io::Result<()> {
        self.socket.limit_send_rate(bytes_per_second)
    }

    /// Says that nothing more will be sent.
    pub fn shutdown_send(&self) {
        self.socket.shutdown_send();
    }

    /// Receives into part of a buffer; see [`Op::Receive`].
    pub fn receive<B: Target>(
        &self,
        mut buffer: B,
        part: Range<usize>,
        fill: bool,
    ) -> Operation<(B, Rc<dyn SocketHandle>)> {
        let memory = buffer::target(&mut buffer, part);
        let op = Op::Receive { socket: self.socket.raw(), memory, fill };
        // SAFETY: buffer and socket belong to the operation, and the memory is the buffer's own.
        unsafe { self.core.start(op, (buffer, Rc::clone(&self.socket)), Late::Ignore) }
    }

    /// Receives, but gives the buffer back when what was asked for does not come within `patience`. With `fill`
    /// (where the kernel can, see [`Core::keeps_partial`]) it waits for the whole part.
    pub async fn receive_within<B: Target>(
        &self,
        buffer: B,
        part: Range<usize>,
        fill: bool,
        patience: Duration,
    ) -> (io::Result<Received>, B) {
        let fill = fill && self.core.keeps_partial();
        let wanted = part.len();
        let operation = self.receive(buffer, part, fill);
        let (result, paused, buffer) = match select(operation, self.core.sleep(patience)).await {
            Either::Left(((result, (buffer, _)), _)) => (result, false, buffer),
            Either::Right(((), operation)) => {
                operation.cancel();
                let (result, (buffer, _)) = operation.await;
                (result, true, buffer)
            }
        };
        let received = match result {
            Ok(count) if paused && (count as usize) < wanted => Ok(Received::Paused(count as usize)),
            Ok(0) => Ok(Received::End),
            Ok(count) => Ok(Received::Bytes(count as usize)),
            Err(error) if paused && is_cancelled(&error) => Ok(Received::Paused(0)),
            Err(error) => Err(error),
        };
        (received, buffer)
    }

    /// Sends part of a buffer; the count may be short.
    pub fn send<B: Source>(
        &self,
        buffer: B,
        part: Range<usize>,
        more: bool,
    ) -> Operation<(B, Rc<dyn SocketHandle>)> {
        let memory = buffer::source(&buffer, part);
        let op = Op::Send { socket: self.socket.raw(), memory, more };
        // SAFETY: buffer and socket belong to the operation, and the memory is the buffer's own.
        unsafe { self.core.start(op, (buffer, Rc::clone(&self.socket)), Late::Ignore) }
    }

    /// Sends part of a slot, for at most `patience`, without copying it where that is of use ([`zero_copy`]); the slot
    /// then stays in use until the other side has acknowledged. Gives the number of bytes sent, and whether time ran
    /// out.
    pub async fn send_slot_within(
        &self,
        slot: Rc<Slot>,
        part: Range<usize>,
        patience: Duration,
    ) -> (io::Result<(usize, bool)>, Rc<Slot>) {
        let arena = self.core.arena();
        let (room, tally) = (arena.used() * 2 <= arena.slots(), self.core.zero_copy_tally());
        let Some(copied) = self.zero_copy.choose(part.len(), room, tally) else {
            return self.send_within(slot, part, false, patience).await;
        };
        let operation = self.send_zero_copy(slot, part, copied);
        let (sent, slot) = self.settle_send(operation, patience).await;
        if matches!(sent, Ok((_, true))) {
            self.zero_copy.paused(tally);
        }
        (sent, slot)
    }

    fn send_zero_copy(
        &self,
        slot: Rc<Slot>,
        part: Range<usize>,
        copied: Rc<Cell<Option<bool>>>,
    ) -> Operation<(Rc<Slot>, Rc<dyn SocketHandle>)> {
        let memory = buffer::source(&slot, part);
        let op = Op::SendZeroCopy { socket: self.socket.raw(), memory };
        // SAFETY: slot and socket belong to the operation and to its clone in the table; a shared slot is only read.
        unsafe { self.core.start_zero_copy(op, (slot, Rc::clone(&self.socket)), copied) }
    }

    /// Sends part of a buffer, for at most `patience`. Gives the number of bytes sent, and whether time ran out.
    pub async fn send_within<B: Source>(
        &self,
        buffer: B,
        part: Range<usize>,
        more: bool,
        patience: Duration,
    ) -> (io::Result<(usize, bool)>, B) {
        self.settle_send(self.send(buffer, part, more), patience).await
    }

    async fn settle_send<B>(
        &self,
        operation: Operation<(B, Rc<dyn SocketHandle>)>,
        patience: Duration,
    ) -> (io::Result<(usize, bool)>, B) {
        match select(operation, self.core.sleep(patience)).await {
            Either::Left(((result, (buffer, _)), _)) => (result.map(|count| (count as usize, false)), buffer),
            Either::Right(((), operation)) => {
                operation.cancel();
                let (result, (buffer, _)) = operation.await;
                let sent = match result {
                    Ok(count) => Ok((count as usize, true)),
                    Err(error) if is_cancelled(&error) => Ok((0, true)),
                    Err(error) => Err(error),
                };
                (sent, buffer)
            }
        }
    }

    /// Sends all of a buffer, waiting at most `idle_limit` for each bit of progress.
    pub async fn send_all<B: Source>(
        &self,
        mut buffer: B,
        more: bool,
        idle_limit: Duration,
    ) -> (io::Result<()>, B) {
        let mut done = 0;
        let length = buffer.bytes().len();
        while done < length {
            let (result, back) = self.send_within(buffer, done..length, more, idle_limit).await;
            buffer = back;
            match result {
                Ok((0, _)) => return (Err(io::Error::from(io::ErrorKind::TimedOut)), buffer),
                Ok((count, _)) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    /// Sends cached bytes of a file without copying them; see [`super::ring::Ring::send_cached`].
    pub fn send_cached(&self, file: &File, offset: u64, length: u32) -> io::Result<u32> {
        self.core.send_cached(self.socket.raw(), file.raw(), offset, length)
    }

    /// Completes when there is something to receive (or the connection ended), with nothing held meanwhile.
    pub async fn readable(&self) -> io::Result<()> {
        self.poll(false).await
    }

    /// Completes when there is room to send (or the connection ended).
    pub async fn writable(&self) -> io::Result<()> {
        self.poll(true).await
    }

    async fn poll(&self, writable: bool) -> io::Result<()> {
        let op = Op::Poll { fd: self.socket.raw(), writable };
        // SAFETY: the socket belongs to the operation.
        let operation = unsafe { self.core.start(op, Rc::clone(&self.socket), Late::Ignore) };
        operation.await.0.map(|_| ())
    }
}

/// The operation ended because it was asked to.
fn is_cancelled(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR))
}
