//! A client that sends exactly the bytes it is told to: for what no honest client sends.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// The least that Linux gives, nearly.
const LITTLE_ROOM_BYTES: usize = 4096;
/// How long it waits for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// A TCP connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer with a `Content-Length` (or none at all).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// The head as it came.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Raw {
    /// Connects.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Raw {
        Self::over(TcpStream::connect_timeout(&address, ANSWER_TIME).expect("the daemon accepts connections"))
    }

    /// Connects as a client for which the kernel keeps hardly anything that it has not read.
    #[must_use]
    pub fn connect_with_little_room(address: SocketAddr) -> Raw {
        use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket(family, SocketType::STREAM, None).expect("there are sockets");
        // Before it connects: the window is agreed on then.
        sockopt::set_socket_recv_buffer_size(&socket, LITTLE_ROOM_BYTES).expect("a socket has a buffer");
        connect(&socket, &address).expect("the daemon accepts connections");
        Self::over(TcpStream::from(socket))
    }

    fn over(stream: TcpStream) -> Raw {
        stream.set_read_timeout(Some(ANSWER_TIME)).expect("a socket has a read timeout");
        stream.set_write_timeout(Some(ANSWER_TIME)).expect("a socket has a write timeout");
        stream.set_nodelay(true).expect("a TCP socket has no delay");
        Raw { stream, unread: Vec::new() }
    }

    /// Sends; a connection that the daemon has closed is no error (it may refuse before all was sent).
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends nothing more.
    pub fn end_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next answer to a request other than HEAD.
    #[must_use]
    pub fn answer(&mut self) -> RawAnswer {
        let head = self.head();
        let status = status(&head);
        // RFC 9112 §6.3: these have no body, whatever the head says.
        let length = match status {
            100..200 | 204 | 304 => 0,
            _ => header(&head, "content-length")
                .map_or(0, |value| value.parse().expect("a length is a number")),
        };
        while self.unread.len() < length {
            assert!(self.receive() > 0, "the body ended after {} of {length} bytes", self.unread.len());
        }
        let body = self.unread.drain(..length).collect();
        RawAnswer { status, head, body }
    }

    /// The next answer's head.
    #[must_use]
    pub fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.unread.drain(..end + 4).collect::<Vec<_>>();
                return String::from_utf8_lossy(&head).into_owned();
            }
            let so_far = self.unread.len();
            assert!(self.receive() > 0, "the connection ended after {so_far} bytes of an answer's head");
        }
    }

    /// Whether nothing comes for that long.
    #[must_use]
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        if !self.unread.is_empty() {
            return false;
        }
        self.stream.set_read_timeout(Some(time)).expect("a socket has a read timeout");
        let mut piece = [0; 1024];
        let read = self.stream.read(&mut piece);
        self.stream.set_read_timeout(Some(ANSWER_TIME)).expect("a socket has a read timeout");
        match read {
            Ok(count) => {
                self.unread.extend_from_slice(&piece[..count]);
                false
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Everything until the daemon closes the connection.
    #[must_use]
    pub fn rest(&mut self) -> Vec<u8> {
        while self.receive() > 0 {}
        std::mem::take(&mut self.unread)
    }

    /// Receives so many bytes and drops them.
    pub fn skip(&mut self, count: usize) {
        while self.unread.len() < count {
            assert!(self.receive() > 0, "the connection ended after {} of {count} bytes", self.unread.len());
        }
        self.unread.drain(..count);
    }

    /// 0 at the end; a reset is one too.
    fn receive(&mut self) -> usize {
        let mut piece = [0; 64 << 10];
        match self.stream.read(&mut piece) {
            Ok(count) => {
                self.unread.extend_from_slice(&piece[..count]);
                count
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("no answer within {ANSWER_TIME:?}: {error}"),
        }
    }
}

impl RawAnswer {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no head: {head:?}"))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}
