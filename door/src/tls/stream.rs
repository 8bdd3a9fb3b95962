//! TLS over one client's socket. Unlike the usual streams this one is shared: hyper reads and writes, and a handler may
//! ask whether there is something to read.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustls::pki_types::CertificateDer;
use rustls::{HandshakeKind, ServerConfig, ServerConnection};
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

/// Ciphertext that waits for the socket, at most, in bytes.
const OUTGOING_BYTES: usize = 256 * 1024;
/// Ciphertext that is read at once, in bytes: two records. A connection that waits holds none of it.
const INCOMING_BYTES: usize = 32 * 1024;

/// A client's connection with TLS.
pub struct TlsStream {
    tcp: TcpStream,
    state: Mutex<State>,
}

struct State {
    session: ServerConnection,
    incoming: Incoming,
}

/// Ciphertext that the session has not taken yet.
#[derive(Default)]
struct Incoming {
    bytes: Vec<u8>,
    taken: usize,
}

impl std::fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsStream").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

impl TlsStream {
    /// Shakes hands with a client. Waits as long as the client lets it.
    pub async fn accept(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(OUTGOING_BYTES));
        let stream = Self { tcp, state: Mutex::new(State { session, incoming: Incoming::default() }) };
        std::future::poll_fn(|context| stream.poll_handshake(context)).await?;
        Ok(stream)
    }

    /// The socket.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The certificates that the client has shown, its own first; also when it has come again with a ticket.
    pub fn client_chain(&self) -> Option<Vec<CertificateDer<'static>>> {
        self.state().session.peer_certificates().map(|chain| {
            let owned = chain.iter().map(|certificate| certificate.clone().into_owned());
            owned.collect()
        })
    }

    /// Whether the client has come with a ticket of a connection before.
    pub fn is_resumed(&self) -> bool {
        self.state().session.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// "TLSv1_3", for the log.
    pub fn version(&self) -> &'static str {
        self.state().session.protocol_version().and_then(|version| version.as_str()).unwrap_or("?")
    }

    /// Whether bytes have arrived that nobody has read yet. Bytes of the protocol itself do not count.
    pub fn has_unread_bytes(&self) -> bool {
        let mut state = self.state();
        loop {
            match state.feed() {
                Ok(true) => return true,
                // What is wrong comes out where it is read.
                Err(_) => return false,
                Ok(false) => {}
            }
            if !matches!(state.receive(&self.tcp), Ok(1..)) {
                return false;
            }
        }
    }

    /// As `AsyncRead`.
    pub fn poll_read(&self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            {
                let mut state = self.state();
                match state.session.reader().read(buffer.initialize_unfilled()) {
                    Ok(count) => {
                        buffer.advance(count);
                        return Poll::Ready(Ok(()));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
                if self.feed(&mut state)? {
                    continue;
                }
            }
            ready!(self.tcp.poll_read_ready(context))?;
            self.receive()?;
        }
    }

    /// As `AsyncWrite`.
    pub fn poll_write_vectored(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            {
                let mut state = self.state();
                let taken = state.session.writer().write_vectored(slices)?;
                // What the socket does not take now waits for the next call, or for a flush.
                state.send(&self.tcp)?;
                if taken > 0 || slices.iter().all(|slice| slice.is_empty()) {
                    return Poll::Ready(Ok(taken));
                }
            }
            ready!(self.tcp.poll_write_ready(context))?;
        }
    }

    /// As `AsyncWrite`.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.state().send(&self.tcp)? {
                return Poll::Ready(Ok(()));
            }
            ready!(self.tcp.poll_write_ready(context))?;
        }
    }

    /// As `AsyncWrite`: says that nothing more comes (RFC 8446 §6.1), and ends the sending side.
    pub fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Only the first call does anything.
        self.state().session.send_close_notify();
        ready!(self.poll_flush(context))?;
        Poll::Ready(socket2::SockRef::from(&self.tcp).shutdown(Shutdown::Write))
    }

    fn poll_handshake(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.state().session.is_handshaking() {
                // A client that has closed already misses nothing by the tickets that it does not get; what it said
                // before is still there to be read.
                return self.poll_flush(context).map(|_| Ok(()));
            }
            ready!(self.poll_flush(context))?;
            {
                let mut state = self.state();
                if state.incoming.has_some() {
                    self.feed(&mut state)?;
                    continue;
                }
            }
            ready!(self.tcp.poll_read_ready(context))?;
            if self.receive()? == Some(0) {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// How many bytes came; `None`: none yet.
    fn receive(&self) -> io::Result<Option<usize>> {
        match self.state().receive(&self.tcp) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the session what came; true when there is plaintext to read.
    fn feed(&self, state: &mut State) -> io::Result<bool> {
        let fed = state.feed();
        // Answers of the protocol: a new key, or an alert that says what is wrong. A client that has gone misses
        // nothing by it.
        let _ = state.send(&self.tcp);
        fed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A session that a panic has left in the middle of something refuses to go on by itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reads what the socket has now; 0 at its end.
    fn receive(&mut self, tcp: &TcpStream) -> io::Result<usize> {
        if self.incoming.has_some() {
            return Ok(self.incoming.rest().len());
        }
        self.incoming.bytes.resize(INCOMING_BYTES, 0);
        self.incoming.taken = 0;
        let read = tcp.try_read(&mut self.incoming.bytes);
        self.incoming.bytes.truncate(*read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                // How the session learns of the end.
                self.session.read_tls(&mut io::empty())?;
                Ok(0)
            }
            Ok(count) => Ok(count),
            Err(error) => {
                self.incoming = Incoming::default();
                Err(error)
            }
        }
    }

    /// Gives the session what came, until there is plaintext: then true.
    fn feed(&mut self) -> io::Result<bool> {
        loop {
            let facts = self
                .session
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if facts.plaintext_bytes_to_read() > 0 {
                return Ok(true);
            }
            if !self.incoming.has_some() {
                return Ok(false);
            }
            let count = self.session.read_tls(&mut self.incoming.rest())?;
            self.incoming.taken += count;
        }
    }

    /// Sends what the socket takes now; true when nothing is left.
    fn send(&mut self, tcp: &TcpStream) -> io::Result<bool> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Socket(tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

impl Incoming {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn has_some(&self) -> bool {
        self.taken < self.bytes.len()
    }
}

/// A socket as rustls writes to it.
struct Socket<'a>(&'a TcpStream);

impl io::Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
