//! A connection as transfers use it, with TLS or without.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::stream::{TlsFacts, TlsStream};
use crate::engine::arena::Slot;
use crate::engine::buffer::{Source, Target};
use crate::engine::core::Core;
use crate::engine::disk::File;
use crate::engine::net::socket::TcpFacts;
use crate::engine::net::{Connection, Received};

/// A connection of a shard. Clones share it.
#[derive(Clone)]
pub enum Wire {
    /// Bytes go as they are.
    Plain(Connection),
    /// Bytes are encrypted.
    Tls(TlsStream),
}

impl From<Connection> for Wire {
    fn from(connection: Connection) -> Wire {
        Wire::Plain(connection)
    }
}

impl From<TlsStream> for Wire {
    fn from(stream: TlsStream) -> Wire {
        Wire::Tls(stream)
    }
}

impl Wire {
    /// The TCP connection.
    pub fn tcp(&self) -> &Connection {
        match self {
            Wire::Plain(connection) => connection,
            Wire::Tls(stream) => stream.tcp(),
        }
    }

    /// What TLS has agreed on; `None` without it.
    pub fn tls(&self) -> Option<TlsFacts> {
        match self {
            Wire::Plain(_) => None,
            Wire::Tls(stream) => Some(stream.facts()),
        }
    }

    /// The shard.
    pub fn core(&self) -> &Rc<Core> {
        self.tcp().core()
    }

    /// The other side's address.
    pub fn peer(&self) -> SocketAddr {
        self.tcp().peer()
    }

    /// Our address.
    pub fn local(&self) -> SocketAddr {
        self.tcp().local()
    }

    /// What the kernel knows of the path.
    pub fn tcp_facts(&self) -> Option<TcpFacts> {
        self.tcp().tcp_facts()
    }

    /// Limits how fast the kernel sends; see [`Connection::limit_send_rate`].
    pub fn limit_send_rate(&self, bytes_per_second: u64) -> io::Result<()> {
        self.tcp().limit_send_rate(bytes_per_second)
    }

    /// See [`Connection::receive_within`] and [`TlsStream::receive_within`].
    pub async fn receive_within<B: Target>(
        &self,
        buffer: B,
        part: Range<usize>,
        fill: bool,
        patience: Duration,
    ) -> (io::Result<Received>, B) {
        match self {
            Wire::Plain(connection) => connection.receive_within(buffer, part, fill, patience).await,
            Wire::Tls(stream) => stream.receive_within(buffer, part, fill, patience).await,
        }
    }

    /// See [`Connection::send_within`] and [`TlsStream::send_within`].
    pub async fn send_within<B: Source>(
        &self,
        buffer: B,
        part: Range<usize>,
        more: bool,
        patience: Duration,
    ) -> (io::Result<(usize, bool)>, B) {
        match self {
            Wire::Plain(connection) => connection.send_within(buffer, part, more, patience).await,
            Wire::Tls(stream) => stream.send_within(buffer, part, more, patience).await,
        }
    }

    /// Sends part of a slot; see [`Connection::send_slot_within`]. What is encrypted first is copied anyhow.
    pub async fn send_slot_within(
        &self,
        slot: Rc<Slot>,
        part: Range<usize>,
        patience: Duration,
    ) -> (io::Result<(usize, bool)>, Rc<Slot>) {
        match self {
            Wire::Plain(connection) => connection.send_slot_within(slot, part, patience).await,
            Wire::Tls(stream) => stream.send_within(slot, part, false, patience).await,
        }
    }

    /// Sends all of a buffer, waiting at most `idle_limit` for each bit of progress.
    pub async fn send_all<B: Source>(
        &self,
        mut buffer: B,
        more: bool,
        idle_limit: Duration,
    ) -> (io::Result<()>, B) {
        let stream = match self {
            Wire::Plain(connection) => return connection.send_all(buffer, more, idle_limit).await,
            Wire::Tls(stream) => stream,
        };
        let mut done = 0;
        let length = buffer.bytes().len();
        while done < length {
            let (result, back) = stream.send_within(buffer, done..length, more, idle_limit).await;
            buffer = back;
            match result {
                Ok((0, _)) => return (Err(io::Error::from(io::ErrorKind::TimedOut)), buffer),
                Ok((count, _)) => done += count,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }

    /// Whether bytes can go from the page cache to the socket as they are.
    pub fn can_send_cached(&self) -> bool {
        matches!(self, Wire::Plain(_))
    }

    /// Sends cached bytes of a file without copying them; see [`Connection::send_cached`]. Bytes that have to be
    /// encrypted cannot go that way: ask [`Wire::can_send_cached`] first.
    pub fn send_cached(&self, file: &File, offset: u64, length: u32) -> io::Result<u32> {
        match self {
            Wire::Plain(connection) => connection.send_cached(file, offset, length),
            Wire::Tls(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }

    /// Completes when there is something to receive (or the connection ended), with nothing held meanwhile.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Wire::Plain(connection) => connection.readable().await,
            Wire::Tls(stream) => stream.readable().await,
        }
    }

    /// Completes when there is room to send (or the connection ended).
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Wire::Plain(connection) => connection.writable().await,
            Wire::Tls(stream) => stream.writable().await,
        }
    }

    /// Says that nothing more will be sent: a close_notify, for which it waits at most `patience`, and a half close.
    pub async fn end(&self, patience: Duration) {
        match self {
            Wire::Plain(connection) => connection.shutdown_send(),
            Wire::Tls(stream) => stream.end(patience).await,
        }
    }
}
