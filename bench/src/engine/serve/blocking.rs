//! A thread for each connection: sendfile, recv and pwrite.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::head::{self, Asked, CREATED, HEAD_BYTES};

/// One call of sendfile.
const SENDFILE_BYTES: u64 = 2 << 20;
/// One buffer of an upload.
const BUFFER_BYTES: usize = 1 << 20;

/// Serves for ever.
pub fn serve(listener: &TcpListener, directory: &'static Path) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().context("cannot accept")?;
        std::thread::spawn(move || {
            // The client tells of what breaks.
            let _ = answer(stream, directory);
        });
    }
}

fn answer(mut stream: TcpStream, directory: &Path) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = vec![0; HEAD_BYTES.max(BUFFER_BYTES)];
    let mut filled = 0;
    loop {
        if let Some((asked, consumed)) = head::asked(&bytes[..filled.min(HEAD_BYTES)], directory)? {
            bytes.copy_within(consumed..filled, 0);
            filled -= consumed;
            match asked {
                Asked::Get { path, .. } => send(&mut stream, &path)?,
                Asked::Put { size_bytes } => {
                    receive(&mut stream, directory, size_bytes, &mut bytes, filled)?;
                    filled = 0;
                }
            }
            continue;
        }
        match stream.read(&mut bytes[filled..HEAD_BYTES])? {
            0 => return Ok(()),
            count => filled += count,
        }
    }
}

fn send(stream: &mut TcpStream, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    stream.write_all(&head::ok(length))?;
    let mut offset = 0;
    while offset < length {
        let step = (length - offset).min(SENDFILE_BYTES) as usize;
        if rustix::fs::sendfile(&*stream, &file, Some(&mut offset), step)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// `filled` bytes of the body are in the buffer already; the client sends nothing behind it before its answer.
fn receive(
    stream: &mut TcpStream,
    directory: &Path,
    size_bytes: u64,
    buffer: &mut [u8],
    filled: usize,
) -> io::Result<()> {
    let file = head::new_file(directory)?;
    let (mut offset, mut filled) = (0u64, filled);
    while offset < size_bytes {
        let wanted = usize::try_from(size_bytes - offset).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        while filled < wanted {
            match stream.read(&mut buffer[filled..wanted])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
        }
        file.write_all_at(&buffer[..wanted], offset)?;
        offset += wanted as u64;
        filled = 0;
    }
    file.sync_data()?;
    stream.write_all(CREATED)
}
