//! The crate tokio-uring, as its documentation would have it: owned buffers, one read and one write after the other.

use std::io;
use std::net::TcpListener;
use std::path::Path;

use anyhow::Context as _;
use tokio_uring::buf::BoundedBuf as _;
use tokio_uring::fs::File;
use tokio_uring::net::TcpStream;

use super::head::{self, Asked, CREATED, HEAD_BYTES};

/// One read of a download.
const READ_BYTES: usize = 512 << 10;
/// One write of an upload.
const WRITE_BYTES: usize = 1 << 20;
/// Entries of its ring.
const ENTRIES: u32 = 256;

/// Serves for ever.
pub fn serve(listener: TcpListener, directory: &'static Path) -> anyhow::Result<()> {
    let mut builder = tokio_uring::builder();
    builder.entries(ENTRIES);
    let runtime = tokio_uring::Runtime::new(&builder).context("tokio-uring does not start")?;
    runtime.block_on(async {
        let listener = tokio_uring::net::TcpListener::from_std(listener);
        loop {
            let (stream, _) = listener.accept().await.context("cannot accept")?;
            tokio_uring::spawn(async move {
                // The client tells of what breaks.
                let _ = answer(&stream, directory).await;
            });
        }
    })
}

async fn answer(stream: &TcpStream, directory: &Path) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = vec![0; WRITE_BYTES];
    let mut filled = 0;
    loop {
        if let Some((asked, consumed)) = head::asked(&bytes[..filled.min(HEAD_BYTES)], directory)? {
            bytes.copy_within(consumed..filled, 0);
            filled -= consumed;
            match asked {
                Asked::Get { path, .. } => bytes = send(stream, &path, bytes).await?,
                Asked::Put { size_bytes } => {
                    bytes = receive(stream, directory, size_bytes, bytes, filled).await?;
                    filled = 0;
                }
            }
            continue;
        }
        let (result, slice) = stream.read(bytes.slice(filled..HEAD_BYTES)).await;
        bytes = slice.into_inner();
        match result? {
            0 => return Ok(()),
            count => filled += count,
        }
    }
}

async fn send(stream: &TcpStream, path: &Path, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let file = File::from_std(file);
    stream.write_all(head::ok(length)).await.0?;
    let mut offset = 0;
    while offset < length {
        let (result, slice) = file.read_at(bytes.slice(..READ_BYTES), offset).await;
        bytes = slice.into_inner();
        let count = result?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (result, slice) = stream.write_all(bytes.slice(..count)).await;
        bytes = slice.into_inner();
        result?;
        offset += count as u64;
    }
    file.close().await?;
    Ok(bytes)
}

/// `filled` bytes of the body are in the buffer already.
async fn receive(
    stream: &TcpStream,
    directory: &Path,
    size_bytes: u64,
    mut bytes: Vec<u8>,
    mut filled: usize,
) -> io::Result<Vec<u8>> {
    let file = File::from_std(head::new_file(directory)?);
    let mut offset = 0u64;
    while offset < size_bytes {
        let wanted = usize::try_from(size_bytes - offset).unwrap_or(usize::MAX).min(WRITE_BYTES);
        while filled < wanted {
            let (result, slice) = stream.read(bytes.slice(filled..wanted)).await;
            bytes = slice.into_inner();
            match result? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        let (result, slice) = file.write_all_at(bytes.slice(..wanted), offset).await;
        bytes = slice.into_inner();
        result?;
        offset += wanted as u64;
        filled = 0;
    }
    file.sync_data().await?;
    file.close().await?;
    stream.write_all(CREATED.to_vec()).await.0?;
    Ok(bytes)
}
