//! The pool's own engine: a shard with its ring and its registered buffers, doing what the pool's data port does,
//! without its bookkeeping.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use penstock_pool::engine::arena::SLOT_BYTES;
use penstock_pool::engine::blocking::Blocking;
use penstock_pool::engine::core::Core;
use penstock_pool::engine::disk::{Disk, File, KernelDisk, ReadMode};
use penstock_pool::engine::file::{self, DIRECT_ALIGNMENT};
use penstock_pool::engine::net::listener::Listener;
use penstock_pool::engine::net::{Connection, Received};
use penstock_pool::engine::shard::Shard;

use super::head::{self, Asked, CREATED, HEAD_BYTES};

/// Reads ahead of the sending, and writes behind the receiving, as in the pool.
const READS_AHEAD: usize = 4;
const WRITES_BEHIND: usize = 6;
/// A connection never has more buffers than that, so nobody ever waits for one.
const SLOTS_PER_CONNECTION: usize = WRITES_BEHIND + 1;
/// One call that hands cached pages over.
const CACHED_STEP_BYTES: u64 = 1 << 20;
/// Threads for calls that block.
const BLOCKING_THREADS: usize = 4;
/// A client that moves nothing for so long has gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves until the shard is dropped.
pub fn start(listener: TcpListener, directory: &'static Path, clients: usize) -> anyhow::Result<Shard> {
    let shard = Shard::start(0, clients.max(1) * SLOTS_PER_CONNECTION, Blocking::new(BLOCKING_THREADS))?;
    listener.set_nonblocking(true).context("cannot set up the listener")?;
    shard
        .submit(move |core: Rc<Core>| async move {
            let listener = Listener::new(Rc::clone(&core), listener.into());
            while let Ok(connection) = listener.accept().await {
                core.spawn(async move {
                    // The client tells of what breaks.
                    let _ = answer(&connection, directory).await;
                });
            }
        })
        .context("the shard takes no work")?;
    Ok(shard)
}

async fn answer(connection: &Connection, directory: &'static Path) -> io::Result<()> {
    let mut bytes = vec![0; HEAD_BYTES];
    let mut filled = 0;
    loop {
        if let Some((asked, consumed)) = head::asked(&bytes[..filled], directory)? {
            bytes.copy_within(consumed..filled, 0);
            filled -= consumed;
            match asked {
                Asked::Get { path, hot: true } => send_cached(connection, path).await?,
                Asked::Get { path, hot: false } => send_read(connection, path).await?,
                Asked::Put { size_bytes } => {
                    receive(connection, directory, size_bytes, &bytes[..filled]).await?;
                    filled = 0;
                }
            }
            continue;
        }
        let (received, back) = connection.receive_within(bytes, filled..HEAD_BYTES, false, PATIENCE).await;
        bytes = back;
        match received? {
            Received::Bytes(count) => filled += count,
            Received::Paused(_) | Received::End => return Ok(()),
        }
    }
}

async fn open(core: &Rc<Core>, path: PathBuf, mode: ReadMode) -> io::Result<(File, u64)> {
    let open = move || {
        let file = match KernelDisk.open(&path, mode) {
            // A file system without O_DIRECT.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                KernelDisk.open(&path, ReadMode::Buffered)?
            }
            other => other?,
        };
        let size = KernelDisk.metadata(&file)?.size;
        Ok((file, size))
    };
    core.blocking(open).await.flatten()
}

async fn send_cached(connection: &Connection, path: PathBuf) -> io::Result<()> {
    let (file, length) = open(connection.core(), path, ReadMode::Buffered).await?;
    connection.send_all(head::ok(length), true, PATIENCE).await.0?;
    let mut offset = 0;
    while offset < length {
        let step = (length - offset).min(CACHED_STEP_BYTES) as u32;
        match connection.send_cached(&file, offset, step) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => offset += u64::from(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn send_read(connection: &Connection, path: PathBuf) -> io::Result<()> {
    let core = connection.core();
    let (file, length) = open(core, path, ReadMode::Direct).await?;
    connection.send_all(head::ok(length), true, PATIENCE).await.0?;
    let (mut ahead, mut next, mut sent) = (VecDeque::new(), 0u64, 0u64);
    while sent < length {
        while ahead.len() < READS_AHEAD && next < length {
            let slot = core.arena().take().await;
            let wanted =
                (length - next).next_multiple_of(DIRECT_ALIGNMENT as u64).min(SLOT_BYTES as u64) as usize;
            ahead.push_back(file::read(core, &file, slot, 0..wanted, next, false));
            next += wanted as u64;
        }
        let Some(reading) = ahead.pop_front() else { break };
        let (result, (mut slot, _)) = reading.await;
        let whole = (length - sent).min(SLOT_BYTES as u64) as usize;
        if (result? as usize) < whole {
            // What is read ahead would not follow; regular files on a disk do not do this.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        while done < whole {
            let (result, back) = connection.send_within(slot, done..whole, false, PATIENCE).await;
            slot = back;
            match result? {
                (0, _) => return Err(io::ErrorKind::TimedOut.into()),
                (count, _) => done += count,
            }
        }
        sent += whole as u64;
    }
    Ok(())
}

async fn receive(
    connection: &Connection,
    directory: &'static Path,
    size_bytes: u64,
    first: &[u8],
) -> io::Result<()> {
    let core = connection.core();
    let make = move || {
        let file = KernelDisk.create_unnamed(directory)?;
        KernelDisk.allocate(&file, 0, size_bytes.next_multiple_of(DIRECT_ALIGNMENT as u64))?;
        // Where it is refused the same writes go through the page cache.
        KernelDisk.set_direct(&file, true)?;
        Ok(file)
    };
    let file: File = core.blocking(make).await.flatten()?;
    let mut writes = FuturesUnordered::new();
    let (mut offset, mut first) = (0u64, first);
    while offset < size_bytes {
        let wanted = usize::try_from(size_bytes - offset).unwrap_or(usize::MAX).min(SLOT_BYTES);
        let mut slot = core.arena().take().await;
        let here = first.len().min(wanted);
        slot[..here].copy_from_slice(&first[..here]);
        first = &first[here..];
        let mut filled = here;
        while filled < wanted {
            let (received, back) = connection.receive_within(slot, filled..wanted, true, PATIENCE).await;
            slot = back;
            match received? {
                Received::Bytes(count) => filled += count,
                Received::Paused(_) | Received::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let padded = wanted.next_multiple_of(DIRECT_ALIGNMENT);
        slot[wanted..padded].fill(0);
        if writes.len() >= WRITES_BEHIND {
            finished(writes.next().await)?;
        }
        writes.push(file::write_all(core, &file, slot, 0..padded, offset, false));
        offset += wanted as u64;
        // A write is only begun when it is asked after.
        if let Some(result) = futures_util::FutureExt::now_or_never(writes.next()) {
            finished(result)?;
        }
    }
    while let Some(result) = writes.next().await {
        finished(Some(result))?;
    }
    drop(writes);
    let settle = move || {
        KernelDisk.truncate(&file, size_bytes)?;
        KernelDisk.sync_data(&file)
    };
    core.blocking(settle).await.flatten()?;
    connection.send_all(CREATED.to_vec(), false, PATIENCE).await.0
}

fn finished<B>(write: Option<(io::Result<()>, B)>) -> io::Result<()> {
    write.map_or(Ok(()), |(result, _)| result)
}
