//! One client's connection, shared between hyper, which reads and writes it, and a handler that wants to know whether the
//! client has already begun to send a body for which it was to wait.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::OwnedSemaphorePermit;

use super::client_limit::Place;
use crate::auth::certificate::CertificateError;
use crate::auth::identity::Identity;
use crate::tls::{Shown, TlsStream};

/// How long, and for how many bytes, a connection is still read after its last answer, when the client was sending a
/// body that nobody reads: closing at once would make its kernel throw the answer away (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 8 << 20;

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    transport: Transport,
    peer: SocketAddr,
    shown: Shown,
    body_left_unread: AtomicBool,
    /// What hyper has read last did not end where a head ends.
    read_beyond_head: AtomicBool,
    /// The method and the target before its "#", where a request line had one.
    fragment: Mutex<Option<String>>,
    held: OnceLock<Held>,
}

/// What a connection takes of what the door has: it is free again when the last request on it has ended, which may be after
/// the client has gone.
#[derive(Debug)]
pub struct Held {
    /// Of the door's connections.
    pub permit: OwnedSemaphorePermit,
    /// Of the client's.
    pub place: Place,
}

#[derive(Debug)]
enum Transport {
    /// hyper's side has the other half: only who owns it can read until nothing is left without asking the kernel once
    /// more whether that is so.
    Plain(OwnedWriteHalf),
    Tls(Box<TlsStream>),
}

impl Connection {
    /// An accepted connection, without TLS, and hyper's side of it.
    pub fn plain(stream: TcpStream, peer: SocketAddr) -> (Arc<Self>, Side) {
        let (reading, writing) = stream.into_split();
        Self::over(Transport::Plain(writing), Some(reading), peer, None)
    }

    /// A connection with TLS, and what the client has shown in the handshake.
    pub fn secure(stream: Box<TlsStream>, peer: SocketAddr, shown: Shown) -> (Arc<Self>, Side) {
        Self::over(Transport::Tls(stream), None, peer, shown)
    }

    fn over(
        transport: Transport,
        plain: Option<OwnedReadHalf>,
        peer: SocketAddr,
        shown: Shown,
    ) -> (Arc<Self>, Side) {
        let connection = Arc::new(Self {
            transport,
            peer,
            shown,
            body_left_unread: AtomicBool::new(false),
            read_beyond_head: AtomicBool::new(false),
            fragment: Mutex::new(None),
            held: OnceLock::new(),
        });
        let side = Side { connection: Arc::clone(&connection), plain, has_read: false, last: [0; 4] };
        (connection, side)
    }

    /// Keeps what the connection takes, until nobody has it any more. Once.
    pub fn keep(&self, held: Held) {
        // It has none yet.
        let _ = self.held.set(held);
    }

    /// The client's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether it has come by https.
    pub fn encrypted(&self) -> bool {
        match &self.transport {
            Transport::Plain(_) => false,
            Transport::Tls(_) => true,
        }
    }

    /// "http" or "https".
    pub fn scheme(&self) -> &'static str {
        if self.encrypted() { "https" } else { "http" }
    }

    /// Whose certificate the client has shown, or why that is not believed; `None` when it has shown none.
    pub fn certificate(&self) -> Option<Result<&Identity, &CertificateError>> {
        static ENDED: CertificateError = CertificateError::EndedMeanwhile;
        self.shown.as_ref().map(|shown| match shown {
            Ok(identity) if identity.expires_at.is_some_and(|end| end < Timestamp::now()) => Err(&ENDED),
            Ok(identity) => Ok(identity),
            Err(error) => Err(error),
        })
    }

    /// The certificates that the client has shown, its own first, whatever they are worth.
    pub fn client_chain(&self) -> Option<Vec<CertificateDer<'static>>> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(stream) => stream.client_chain(),
        }
    }

    /// Whether bytes have arrived behind the head of the request that is being answered.
    pub fn body_has_begun(&self) -> bool {
        self.read_beyond_head.load(Ordering::Relaxed) || self.has_unread_bytes()
    }

    /// Whether the request of this method and target had a fragment, which hyper leaves out.
    pub fn fragment_behind(&self, method: &str, target: &str) -> bool {
        let found = self.lock_fragment().take();
        found.is_some_and(|found| found.split_once(' ') == Some((method, target)))
    }

    fn lock_fragment(&self) -> MutexGuard<'_, Option<String>> {
        // Replaced as a whole.
        self.fragment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_unread_bytes(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => {
                // The kernel knows now what the runtime may hear of later.
                let socket = socket2::SockRef::from(stream.as_ref());
                matches!(socket.peek(&mut [MaybeUninit::uninit()]), Ok(1))
            }
            Transport::Tls(stream) => stream.has_unread_bytes(),
        }
    }

    /// The last answer was given without reading the request's body.
    pub fn leave_body_unread(&self) {
        self.body_left_unread.store(true, Ordering::Relaxed);
    }

    /// From now on the connection breaks when the client's kernel takes nothing of what is sent for so long: because
    /// the client does not read, or because it cannot be reached any more (RFC 5482).
    pub fn give_up_when_unread(&self, after: Duration) {
        if let Err(error) = socket2::SockRef::from(self.tcp()).set_tcp_user_timeout(Some(after)) {
            // It has been closed already, or is no TCP socket; both show where it is used.
            tracing::debug!(%error, "cannot set a connection's user timeout");
        }
    }

    /// Says one thing in plain HTTP and ends. What fits into an empty buffer of the kernel's is taken at once.
    pub async fn refuse(&self, answer: &[u8]) {
        let stream = self.tcp();
        if stream.writable().await.is_ok() && stream.try_write(answer).is_ok() {
            // When the client has gone there is nobody to be refused.
            let _ = socket2::SockRef::from(stream).shutdown(Shutdown::Write);
            self.leave_body_unread();
            self.linger().await;
        }
    }

    /// Waits, for a bounded time, until the client has read the last answer and closes. What comes meanwhile is thrown
    /// away as it comes, encrypted or not.
    pub async fn linger(&self) {
        if !self.body_left_unread.load(Ordering::Relaxed) {
            return;
        }
        let stream = self.tcp();
        let drain = async {
            let mut scratch = vec![0; 64 * 1024];
            let mut left = LINGER_BYTES;
            while stream.readable().await.is_ok() {
                match stream.try_read(&mut scratch) {
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

    fn tcp(&self) -> &TcpStream {
        match &self.transport {
            Transport::Plain(stream) => stream.as_ref(),
            Transport::Tls(stream) => stream.tcp(),
        }
    }
}

/// hyper's side of a connection.
#[derive(Debug)]
pub struct Side {
    connection: Arc<Connection>,
    /// What is read of a connection without TLS.
    plain: Option<OwnedReadHalf>,
    /// Bytes were read since the end was last looked for.
    has_read: bool,
    /// The last bytes that were read.
    last: [u8; 4],
}

impl Side {
    /// Keeps in mind what hyper does not tell of the bytes that it reads.
    fn note(&mut self, bytes: &[u8]) {
        for byte in &bytes[bytes.len().saturating_sub(self.last.len())..] {
            self.last.rotate_left(1);
            self.last[3] = *byte;
        }
        // hyper takes lines that end without a carriage return, too.
        let at_end = self.last.ends_with(b"\n\r\n") || self.last.ends_with(b"\n\n");
        self.connection.read_beyond_head.store(!at_end, Ordering::Relaxed);
        if let Some(found) = fragment(bytes) {
            *self.connection.lock_fragment() = Some(found);
        }
    }

    fn poll_receive(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match (&self.connection.transport, &mut self.plain) {
            (Transport::Tls(stream), _) => stream.poll_read(context, buffer),
            (Transport::Plain(_), Some(half)) => Pin::new(half).poll_read(context, buffer),
            // `Connection::over` gives it one.
            (Transport::Plain(_), None) => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Side {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(self.poll_receive(context, buffer))?;
        let is_end = buffer.filled().len() == before && buffer.remaining() > 0;
        // hyper looks for the end as soon as it has read a request, and gives up the request when it finds it, before
        // anybody was asked to answer. Who closes right behind what they said is heard all the same.
        if is_end && std::mem::take(&mut self.has_read) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_read = !is_end;
        if !is_end {
            self.note(&buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
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
        let stream = match &self.connection.transport {
            Transport::Plain(half) => half.as_ref(),
            Transport::Tls(stream) => return stream.poll_write_vectored(context, slices),
        };
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

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.connection.transport {
            // The kernel has it.
            Transport::Plain(_) => Poll::Ready(Ok(())),
            Transport::Tls(stream) => stream.poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.connection.transport {
            Transport::Plain(half) => {
                Poll::Ready(socket2::SockRef::from(half.as_ref()).shutdown(Shutdown::Write))
            }
            Transport::Tls(stream) => stream.poll_shutdown(context),
        }
    }
}

/// Of bytes that begin with a request line: the method and, of a target with a "#", what stands before it. Bodies that look
/// like that do no harm, as it is held against the next request.
fn fragment(bytes: &[u8]) -> Option<String> {
    const LONGEST_LINE: usize = 16 << 10;
    let line = bytes[..bytes.len().min(LONGEST_LINE)].split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let (request, version) = line.rsplit_once(' ')?;
    let (before, _) = request.split_once('#').filter(|_| version.starts_with("HTTP/1."))?;
    let (method, target) = before.split_once(' ')?;
    // RFC 9112 §3.2.2: the whole URL stands for its path.
    let path = match target.split_once("://") {
        Some((_, behind)) if !target.starts_with('/') => behind.find('/').map_or("/", |at| &behind[at..]),
        _ => target,
    };
    Some(format!("{method} {path}"))
}

#[cfg(test)]
mod tests {
    use super::fragment;

    #[test]
    fn a_fragment_is_found_in_a_request_line_and_nowhere_else() {
        let table: [(&[u8], Option<&str>); 9] = [
            (b"DELETE http://door:80/run#12 HTTP/1.1\r\n", Some("DELETE /run")),
            (b"DELETE /a://b/run#12 HTTP/1.1\r\n", Some("DELETE /a://b/run")),
            (b"DELETE /run#12 HTTP/1.1\r\nHost: a\r\n\r\n", Some("DELETE /run")),
            (b"GET /a?b#c d HTTP/1.0\n\n", Some("GET /a?b")),
            (b"GET /a HTTP/1.1\r\nX: #\r\n\r\n", None),
            (b"GET /a%23 HTTP/1.1\r\n", None),
            (b"# a comment in a file\n", None),
            (b"GET /\xff# HTTP/1.1\r\n", None),
            (b"", None),
        ];
        for (bytes, expected) in table {
            assert_eq!(fragment(bytes).as_deref(), expected, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
