//! One client's socket, shared between hyper, which reads and writes it, and a handler that wants to know whether the
//! client has already begun to send a body for which it was to wait.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long, and for how many bytes, a connection is still read after its last answer, when the client was sending a
/// body that nobody reads: closing at once would make its kernel throw the answer away (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 8 << 20;

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    body_left_unread: AtomicBool,
}

impl Connection {
    /// An accepted connection.
    pub fn new(stream: TcpStream, peer: SocketAddr) -> Arc<Self> {
        Arc::new(Self { stream, peer, body_left_unread: AtomicBool::new(false) })
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether bytes have arrived that nobody has read yet.
    pub fn has_unread_bytes(&self) -> bool {
        let mut byte = [0];
        matches!(self.stream.peek(&mut byte).now_or_never(), Some(Ok(1)))
    }

    /// The last answer was given without reading the request's body.
    pub fn leave_body_unread(&self) {
        self.body_left_unread.store(true, Ordering::Relaxed);
    }

    /// From now on the connection breaks when the client's kernel takes nothing of what is sent for so long: because
    /// the client does not read, or because it cannot be reached any more (RFC 5482).
    pub fn give_up_when_unread(&self, after: Duration) {
        if let Err(error) = socket2::SockRef::from(&self.stream).set_tcp_user_timeout(Some(after)) {
            // It has been closed already, or is no TCP socket; both show where it is used.
            tracing::debug!(%error, "cannot set a connection's user timeout");
        }
    }

    /// Says one thing and ends. What fits into an empty buffer of the kernel's is taken at once.
    pub async fn refuse(&self, answer: &[u8]) {
        if self.stream.writable().await.is_ok() && self.stream.try_write(answer).is_ok() {
            // When the client has gone there is nobody to be refused.
            let _ = socket2::SockRef::from(&self.stream).shutdown(Shutdown::Write);
            self.leave_body_unread();
            self.linger().await;
        }
    }

    /// Waits, for a bounded time, until the client has read the last answer and closes.
    pub async fn linger(&self) {
        if !self.body_left_unread.load(Ordering::Relaxed) {
            return;
        }
        let drain = async {
            let mut scratch = vec![0; 64 * 1024];
            let mut left = LINGER_BYTES;
            while self.stream.readable().await.is_ok() {
                match self.stream.try_read(&mut scratch) {
                    Ok(0) => return,
                    Ok(count) => left = left.saturating_sub(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
                if left == 0 {
                    return;
                }
            }
        };
        // A client that does not close in time has had its chance.
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}

/// hyper's side of a connection.
#[derive(Debug)]
pub struct Side(pub Arc<Connection>);

impl AsyncRead for Side {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &self.0.stream;
        loop {
            ready!(stream.poll_read_ready(context))?;
            match stream.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Side {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = &self.0.stream;
        loop {
            ready!(stream.poll_write_ready(context))?;
            match stream.try_write_vectored(slices) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The kernel has it.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(socket2::SockRef::from(&self.0.stream).shutdown(Shutdown::Write))
    }
}
