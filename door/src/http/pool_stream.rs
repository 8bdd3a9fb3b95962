//! A connection to a pool's data port that listens to the end: a pool that refuses a body says why, closes, and is sent
//! more meanwhile. What cannot be sent any more is no error then, as long as its answer has not been read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The connection, encrypted or not, as hyper's client uses it.
#[derive(Debug)]
pub struct PoolStream<S> {
    stream: S,
    /// The other side takes nothing any more. What it has said before, or the error, is there to be read.
    is_deaf: bool,
}

impl<S> PoolStream<S> {
    /// Over a socket, or TLS over one.
    pub fn new(stream: S) -> Self {
        Self { stream, is_deaf: false }
    }

    /// Lets whoever sends wait for ever where the other side has gone: reading tells how the connection has ended.
    fn unless_deaf<T>(&mut self, sent: io::Result<T>) -> Poll<io::Result<T>> {
        match sent {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.is_deaf = true;
                Poll::Pending
            }
            sent => Poll::Ready(sent),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PoolStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PoolStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_deaf {
            return Poll::Pending;
        }
        let sent = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices));
        self.unless_deaf(sent)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_deaf {
            return Poll::Pending;
        }
        let sent = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.unless_deaf(sent)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn who_closes_while_much_is_sent_is_heard_all_the_same() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut pool, _) = listener.accept().await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(PoolStream::new(stream));
        writing.write_all(&[0; 1000]).await.unwrap();
        pool.write_all(b"no space left").await.unwrap();
        // With bytes unread, so that its kernel resets the connection.
        drop(pool);

        let sending = async {
            loop {
                writing.write_all(&[0; 1000]).await.unwrap();
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(200), sending).await.is_err(), "it only waits");
        let mut said = vec![0; 13];
        reading.read_exact(&mut said).await.unwrap();

        assert_eq!(said, b"no space left");
    }
}
