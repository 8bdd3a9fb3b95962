//! Simulated connections: two ends, each with a receive buffer of bounded size.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::engine::net::socket::{SocketHandle, TcpFacts};

/// Sockets are numbered from here on, files below.
pub const FIRST_SOCKET: i32 = 1 << 24;

/// All connections of a simulation.
#[derive(Clone, Default)]
pub struct SimNet(Rc<RefCell<Sockets>>);

#[derive(Default)]
struct Sockets {
    ends: HashMap<i32, End>,
    opened: i32,
}

struct End {
    other: i32,
    received: VecDeque<u8>,
    capacity: usize,
    /// The other end will send no more.
    ended: bool,
    reset: bool,
}

impl SimNet {
    /// A connection; each end can hold so many bytes that its owner has not taken yet.
    pub fn pair(&self, capacity: usize) -> (Rc<dyn SocketHandle>, Rc<dyn SocketHandle>) {
        let mut sockets = self.0.borrow_mut();
        let first = FIRST_SOCKET + sockets.opened;
        sockets.opened += 2;
        for (fd, other) in [(first, first + 1), (first + 1, first)] {
            let end = End { other, received: VecDeque::new(), capacity, ended: false, reset: false };
            sockets.ends.insert(fd, end);
        }
        (
            Rc::new(SimSocket { net: self.clone(), fd: first }),
            Rc::new(SimSocket { net: self.clone(), fd: first + 1 }),
        )
    }

    /// Ends of connections that somebody still holds.
    pub fn open(&self) -> usize {
        self.0.borrow().ends.len()
    }

    pub(super) fn receive(&self, fd: i32, target: &mut [u8]) -> io::Result<usize> {
        let mut sockets = self.0.borrow_mut();
        let end = sockets.ends.get_mut(&fd).ok_or_else(bad_descriptor)?;
        if end.reset {
            return Err(io::Error::from_raw_os_error(libc::ECONNRESET));
        }
        if end.received.is_empty() {
            return if end.ended { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = target.len().min(end.received.len());
        let (front, back) = end.received.as_slices();
        let from_front = count.min(front.len());
        target[..from_front].copy_from_slice(&front[..from_front]);
        target[from_front..count].copy_from_slice(&back[..count - from_front]);
        end.received.drain(..count);
        Ok(count)
    }

    pub(super) fn send(&self, fd: i32, bytes: &[u8]) -> io::Result<usize> {
        let mut sockets = self.0.borrow_mut();
        let end = sockets.ends.get(&fd).ok_or_else(bad_descriptor)?;
        if end.reset {
            return Err(io::Error::from_raw_os_error(libc::ECONNRESET));
        }
        let other = end.other;
        let Some(other) = sockets.ends.get_mut(&other) else {
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        };
        let count = bytes.len().min(other.capacity - other.received.len());
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        other.received.extend(&bytes[..count]);
        Ok(count)
    }

    /// Whether a poll would end at once.
    pub(super) fn is_ready(&self, fd: i32, writable: bool) -> bool {
        let sockets = self.0.borrow();
        let Some(end) = sockets.ends.get(&fd) else { return true };
        if end.reset {
            return true;
        }
        match sockets.ends.get(&end.other) {
            Some(other) if writable => other.received.len() < other.capacity,
            _ if writable => true,
            _ => end.ended || !end.received.is_empty(),
        }
    }

    /// Breaks a connection at both ends.
    pub(super) fn reset(&self, fd: i32) {
        let mut sockets = self.0.borrow_mut();
        let Some(other) = sockets.ends.get_mut(&fd).map(|end| {
            end.reset = true;
            end.other
        }) else {
            return;
        };
        if let Some(end) = sockets.ends.get_mut(&other) {
            end.reset = true;
        }
    }

    fn end(&self, fd: i32) {
        let mut sockets = self.0.borrow_mut();
        if let Some(other) = sockets.ends.get(&fd).map(|end| end.other)
            && let Some(other) = sockets.ends.get_mut(&other)
        {
            other.ended = true;
        }
    }
}

fn bad_descriptor() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

struct SimSocket {
    net: SimNet,
    fd: i32,
}

impl SocketHandle for SimSocket {
    fn raw(&self) -> i32 {
        self.fd
    }

    fn peer(&self) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 2], 40_000))
    }

    fn local(&self) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 2881))
    }

    fn tcp_facts(&self) -> Option<TcpFacts> {
        None
    }

    fn limit_send_rate(&self, _bytes_per_second: u64) -> io::Result<()> {
        Ok(())
    }

    fn shutdown_send(&self) {
        self.net.end(self.fd);
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        // Closing with bytes unread resets the connection, as TCP does.
        let unread = self.net.0.borrow().ends.get(&self.fd).is_some_and(|end| !end.received.is_empty());
        self.net.end(self.fd);
        if unread {
            self.net.reset(self.fd);
        }
        self.net.0.borrow_mut().ends.remove(&self.fd);
    }
}
