//! Simulated connections: two ends, each with a receive buffer of bounded size.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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
    /// Where connections can be made to, with those that wait to be accepted.
    listening: HashMap<SocketAddr, Listening>,
    opened: i32,
}

struct Listening {
    capacity: usize,
    waiting: VecDeque<Rc<dyn SocketHandle>>,
}

struct End {
    other: i32,
    received: VecDeque<u8>,
    capacity: usize,
    /// The other end will send no more.
    ended: bool,
    reset: bool,
}

impl Sockets {
    /// Makes `first` and the socket of the next number the two ends of a connection.
    fn link(&mut self, first: i32, capacity: usize) {
        for (fd, other) in [(first, first + 1), (first + 1, first)] {
            let end = End { other, received: VecDeque::new(), capacity, ended: false, reset: false };
            self.ends.insert(fd, end);
        }
    }
}

/// What an accepted connection sees as its peer.
const CLIENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 40_000);

impl SimNet {
    /// A connection; each end can hold so many bytes that its owner has not taken yet.
    pub fn pair(&self, capacity: usize) -> (Rc<dyn SocketHandle>, Rc<dyn SocketHandle>) {
        let mut sockets = self.0.borrow_mut();
        let first = FIRST_SOCKET + sockets.opened;
        sockets.opened += 2;
        sockets.link(first, capacity);
        (
            Rc::new(SimSocket { net: self.clone(), fd: first, peer: CLIENT }),
            Rc::new(SimSocket { net: self.clone(), fd: first + 1, peer: CLIENT }),
        )
    }

    /// Lets connections be made to an address; each end can hold so many bytes. They are taken with
    /// [`SimNet::accept`].
    pub fn listen(&self, address: SocketAddr, capacity: usize) {
        let listening = Listening { capacity, waiting: VecDeque::new() };
        self.0.borrow_mut().listening.insert(address, listening);
    }

    /// A connection that was made to an address, if there is one.
    pub fn accept(&self, address: SocketAddr) -> Option<Rc<dyn SocketHandle>> {
        self.0.borrow_mut().listening.get_mut(&address)?.waiting.pop_front()
    }

    /// A socket that is not connected.
    pub(super) fn open_socket(&self, peer: SocketAddr) -> Rc<dyn SocketHandle> {
        let mut sockets = self.0.borrow_mut();
        let fd = FIRST_SOCKET + sockets.opened;
        sockets.opened += 2;
        Rc::new(SimSocket { net: self.clone(), fd, peer })
    }

    /// Connects it.
    pub(super) fn connect(&self, fd: i32, peer: SocketAddr) -> io::Result<usize> {
        let refused = || io::Error::from_raw_os_error(libc::ECONNREFUSED);
        let mut sockets = self.0.borrow_mut();
        let capacity = sockets.listening.get(&peer).ok_or_else(refused)?.capacity;
        sockets.link(fd, capacity);
        let other = Rc::new(SimSocket { net: self.clone(), fd: fd + 1, peer: CLIENT });
        sockets.listening.get_mut(&peer).ok_or_else(refused)?.waiting.push_back(other);
        Ok(0)
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
    peer: SocketAddr,
}

impl SocketHandle for SimSocket {
    fn raw(&self) -> i32 {
        self.fd
    }

    fn peer(&self) -> SocketAddr {
        self.peer
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

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
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
