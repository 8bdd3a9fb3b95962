//! One file written or read on a shard: as many operations in flight as asked for, each timed.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use penstock_pool::engine::arena::Slot;
use penstock_pool::engine::core::Core;
use penstock_pool::engine::disk::{Disk, File, KernelDisk};
use penstock_pool::engine::file;

use super::case::Direction;
use crate::measure::Latencies;
use crate::terminal::Interrupt;

/// How often a job looks whether all others are ready.
const LOOK: Duration = Duration::from_micros(200);

/// What a job is to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// To write or to read.
    pub direction: Direction,
    /// The file, opened for its mode.
    pub file: File,
    /// Its length.
    pub size_bytes: u64,
    /// Bytes of an operation.
    pub block_bytes: usize,
    /// Operations in flight.
    pub depth: u32,
    /// Leave nothing in the page cache.
    pub uncached: bool,
    /// The end, if it takes that long.
    pub longest: Duration,
    /// What is written.
    pub payload: Arc<Vec<u8>>,
    /// Set once every job is ready.
    pub go: Arc<AtomicBool>,
    /// Ends it early.
    pub interrupt: Interrupt,
}

/// What it did.
#[derive(Debug)]
pub struct Done {
    /// Bytes moved.
    pub bytes: u64,
    /// How long each operation took.
    pub latencies: Latencies,
    /// How long the final sync took.
    pub sync: Duration,
    /// When its last byte was moved, and durable.
    pub ended_at: Instant,
}

/// What the operations of a job share.
struct Shared {
    next: Cell<u64>,
    moved: Cell<u64>,
    latencies: RefCell<Latencies>,
    until: Cell<Instant>,
}

/// Does a job. Says when it is `ready`, and waits for the others then.
pub async fn run(core: Rc<Core>, job: Job, ready: impl FnOnce()) -> io::Result<Done> {
    let mut slots = Vec::new();
    for _ in 0..job.depth {
        let mut slot = core.arena().take().await;
        if job.direction == Direction::Write {
            slot[..job.block_bytes].copy_from_slice(&job.payload[..job.block_bytes]);
        }
        slots.push(slot);
    }
    ready();
    while !job.go.load(Ordering::Acquire) {
        if job.interrupt.came() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        core.sleep(LOOK).await;
    }
    let shared = Shared {
        next: Cell::new(0),
        moved: Cell::new(0),
        latencies: RefCell::new(Latencies::new()),
        until: Cell::new(Instant::now() + job.longest),
    };
    let lanes = slots.into_iter().map(|slot| lane(&core, &job, &shared, slot));
    // The first error counts; all operations have ended then.
    for result in join_all(lanes).await {
        result?;
    }
    let syncing_since = Instant::now();
    if job.direction == Direction::Write {
        let file = File::clone(&job.file);
        core.blocking(move || KernelDisk.sync_data(&file)).await.and_then(|result| result)?;
    }
    let ended_at = Instant::now();
    Ok(Done {
        bytes: shared.moved.get(),
        latencies: shared.latencies.into_inner(),
        sync: ended_at - syncing_since,
        ended_at,
    })
}

/// One operation after the other, in one buffer.
async fn lane(core: &Rc<Core>, job: &Job, shared: &Shared, mut slot: Slot) -> io::Result<()> {
    loop {
        let offset = shared.next.get();
        let started_at = Instant::now();
        if offset >= job.size_bytes || job.interrupt.came() || started_at >= shared.until.get() {
            return Ok(());
        }
        shared.next.set(offset + job.block_bytes as u64);
        let part = 0..job.block_bytes;
        match job.direction {
            Direction::Write => {
                let (result, back) = file::write_all(core, &job.file, slot, part, offset, job.uncached).await;
                slot = back;
                result?;
            }
            Direction::Read => {
                let mut filled = 0;
                while filled < job.block_bytes {
                    let part = filled..job.block_bytes;
                    let at = offset + filled as u64;
                    let (result, (back, _)) = file::read(core, &job.file, slot, part, at, job.uncached).await;
                    slot = back;
                    match result? as usize {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        count => filled += count,
                    }
                }
            }
        }
        shared.latencies.borrow_mut().record(started_at.elapsed());
        shared.moved.set(shared.moved.get() + job.block_bytes as u64);
    }
}
