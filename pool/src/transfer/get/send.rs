//! Sends bytes of a replica to a client, by the way that fits where they are.
//!
//! * In the page cache: handed to the socket as they are, without a copy, as long as the socket takes them.
//! * Mostly there, or read before lately: read through the page cache into slots, which brings the rest into it.
//! * On the disk: read past the page cache into slots, several ahead of the sending.
//!
//! A client that takes nothing for a while holds no buffer: what was read ahead is dropped and read again.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::arena::{SLOT_BYTES, Slot};
use crate::engine::disk::File;
use crate::engine::file::{self, DIRECT_ALIGNMENT, IoMode};
use crate::engine::op::Operation;
use crate::store::Replica;
use crate::tls::Wire;
use crate::transfer::port::Port;
use crate::transfer::{Claim, Limit};

/// One look at the page cache, and one call that hands cached bytes over.
const HOT_STEP_BYTES: u64 = 1 << 20;
/// Reads ahead of the sending.
const READS_AHEAD: usize = 4;
/// Reading past the page cache goes on for so many bytes before looking at it again.
const PAST_STRETCH_BYTES: u64 = 32 << 20;
/// The same for reading through it.
const THROUGH_STRETCH_BYTES: u64 = 8 << 20;
/// A client that takes nothing for so long gives its buffers back.
const PATIENCE: Duration = Duration::from_millis(25);
/// Up to that size, head and bytes go out in one call.
const SMALL_BYTES: u64 = 64 << 10;
/// After so many steps without waiting, others of the shard have their turn.
const STEPS_IN_A_ROW: u32 = 4;

/// Why sending ended early. Nothing can be told to the client any more: the connection has to be closed short.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The client's side.
    #[error("{0}")]
    Connection(io::Error),
    /// The client takes nothing.
    #[error("the client took nothing for {0} s")]
    Stalled(u64),
    /// The disk.
    #[error("reading at byte {offset} failed: {error}")]
    Disk {
        /// Where.
        offset: u64,
        /// What.
        error: io::Error,
    },
    /// The file is shorter than it should be.
    #[error("the file ends at byte {0}, before its recorded size")]
    Truncated(u64),
}

/// Sends parts of one replica over one connection.
pub struct Sender<'a> {
    connection: &'a Wire,
    replica: &'a Arc<Replica>,
    port: &'a Port,
    claim: &'a Claim,
    /// Whether the replica was read from the disk lately; known once it is from the disk now.
    read_lately: Cell<Option<bool>>,
    /// The file system has refused reads that leave nothing in the page cache.
    uncached_refused: Cell<bool>,
}

/// Where the next bytes are, and so which way they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Cached,
    Through { stretch_bytes: u64 },
    Past,
}

impl<'a> Sender<'a> {
    /// For one request.
    pub fn new(
        connection: &'a Wire,
        replica: &'a Arc<Replica>,
        port: &'a Port,
        claim: &'a Claim,
    ) -> Sender<'a> {
        let (read_lately, uncached_refused) = (Cell::new(None), Cell::new(false));
        Sender { connection, replica, port, claim, read_lately, uncached_refused }
    }

    /// Sends bytes that are not the replica's.
    pub async fn send_bytes(&self, bytes: Vec<u8>, more: bool) -> Result<(), SendError> {
        self.connection
            .send_all(bytes, more, self.port.settings.idle_limit)
            .await
            .0
            .map_err(SendError::Connection)
    }

    /// Sends a head and a range of the replica behind it.
    pub async fn send_behind(&self, mut head: Vec<u8>, range: Range<u64>) -> Result<(), SendError> {
        let length = range.end - range.start;
        if length > SMALL_BYTES {
            self.send_bytes(head, true).await?;
            return self.send(range).await;
        }
        if length > 0 {
            // One call for head and bytes: for small files the calls are what counts.
            let start = head.len();
            head.resize(start + length as usize, 0);
            head = self.read_small(head, start, range.start).await?;
            self.send_bytes(head, false).await?;
            self.sent(length);
            return Ok(());
        }
        self.send_bytes(head, false).await
    }

    /// Reads through the page cache into `buffer[filled..]`.
    async fn read_small(
        &self,
        mut buffer: Vec<u8>,
        mut filled: usize,
        start: u64,
    ) -> Result<Vec<u8>, SendError> {
        self.claim.enter(Limit::Disk);
        let (core, end, head) = (self.connection.core(), buffer.len(), filled);
        while filled < end {
            let offset = start + (filled - head) as u64;
            let (result, (back, _)) =
                file::read(core, self.replica.file(), buffer, filled..end, offset, false).await;
            buffer = back;
            match result {
                Ok(0) => return Err(SendError::Truncated(offset)),
                Ok(count) => filled += count as usize,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SendError::Disk { offset, error }),
            }
        }
        self.claim.enter(Limit::Network);
        Ok(buffer)
    }

    /// Sends a range of the replica.
    async fn send(&self, range: Range<u64>) -> Result<(), SendError> {
        let mut offset = range.start;
        while offset < range.end {
            let step = (range.end - offset).min(HOT_STEP_BYTES);
            offset = match self.way(offset, step) {
                Way::Cached => self.send_cached(offset, offset + step).await?,
                Way::Through { stretch_bytes } => {
                    let end = range.end.min(offset + stretch_bytes);
                    self.send_read(offset, end, None, false).await?
                }
                Way::Past => {
                    let end = range.end.min(offset + PAST_STRETCH_BYTES);
                    let direct = self.direct(offset).await?;
                    self.send_read(offset, end, direct.as_ref(), direct.is_none()).await?
                }
            };
        }
        Ok(())
    }

    fn way(&self, offset: u64, length: u64) -> Way {
        let cached = match self.port.store.disk().cached(self.replica.file(), offset, length) {
            Ok(Some(cached)) => cached.cached,
            Ok(None) | Err(_) => 0,
        };
        if cached >= length && self.connection.can_send_cached() {
            return Way::Cached;
        }
        let buffered = match self.port.settings.io_mode {
            IoMode::Direct => false,
            IoMode::Dontcache => self.uncached_refused.get(),
            IoMode::Buffered => true,
        };
        if buffered {
            return Way::Through { stretch_bytes: THROUGH_STRETCH_BYTES };
        }
        if cached >= length / 2 {
            return Way::Through { stretch_bytes: length };
        }
        let read_lately = self.read_lately.get().unwrap_or_else(|| {
            let lately = self.port.recent.note(self.replica.id().as_str(), self.connection.core().now());
            self.read_lately.set(Some(lately));
            lately
        });
        if read_lately { Way::Through { stretch_bytes: THROUGH_STRETCH_BYTES } } else { Way::Past }
    }

    /// The replica past the page cache, where the file system can. Opening it may wait for the disk.
    async fn direct(&self, offset: u64) -> Result<Option<File>, SendError> {
        if self.port.settings.io_mode != IoMode::Direct {
            return Ok(None);
        }
        let replica = Arc::clone(self.replica);
        let opened =
            self.connection.core().blocking(move || replica.direct().map(Option::<&File>::cloned)).await;
        opened.and_then(|opened| opened).map_err(|error| SendError::Disk { offset, error })
    }

    /// Hands cached bytes over until `end`, or until the socket was full once (what comes then may have left the
    /// cache). Gives the next offset.
    async fn send_cached(&self, mut offset: u64, end: u64) -> Result<u64, SendError> {
        let mut steps = 0;
        while offset < end {
            let length = u32::try_from(end - offset).unwrap_or(u32::MAX);
            match self.connection.send_cached(self.replica.file(), offset, length) {
                Ok(0) => return Err(SendError::Truncated(offset)),
                Ok(count) => {
                    offset += u64::from(count);
                    self.sent(u64::from(count));
                    steps += 1;
                    if steps >= STEPS_IN_A_ROW {
                        yield_now().await;
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for_room().await?;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_disk_error(&error) => return Err(SendError::Disk { offset, error }),
                Err(error) => return Err(SendError::Connection(error)),
            }
        }
        Ok(offset)
    }

    /// Reads into slots and sends them until `end`, or until the client pauses. Gives the next offset.
    async fn send_read(
        &self,
        mut offset: u64,
        end: u64,
        direct: Option<&File>,
        uncached: bool,
    ) -> Result<u64, SendError> {
        let uncached = uncached && !self.uncached_refused.get();
        let core = self.connection.core();
        let source = direct.unwrap_or_else(|| self.replica.file());
        let alignment = if direct.is_some() { DIRECT_ALIGNMENT as u64 } else { 1 };
        let mut next_read = offset - offset % alignment;
        let mut ahead: VecDeque<(Reading, u64)> = VecDeque::new();
        while offset < end {
            while ahead.len() < READS_AHEAD && next_read < end {
                // Only the first slot is waited for: who holds one never waits for another.
                let slot = match core.arena().try_take() {
                    Some(slot) => slot,
                    None if ahead.is_empty() => {
                        self.claim.enter(Limit::Queue);
                        core.arena().take().await
                    }
                    None => break,
                };
                let length = read_length(end - next_read, alignment);
                ahead.push_back((file::read(core, source, slot, 0..length, next_read, uncached), next_read));
                next_read += length as u64;
            }
            let Some((reading, start)) = ahead.pop_front() else { break };
            self.claim.enter(Limit::Disk);
            let started_at = core.now();
            let (result, (slot, _)) = reading.await;
            let count = match result {
                Ok(count) => u64::from(count),
                Err(error) if uncached && file::refuses_uncached(&error) => {
                    self.uncached_refused.set(true);
                    return Ok(offset);
                }
                Err(error) => return Err(SendError::Disk { offset, error }),
            };
            self.claim.transfer().progress().disk_read(count, core.now() - started_at);
            let stop = end.min(start + count);
            if stop <= offset {
                return Err(SendError::Truncated(offset));
            }
            let part = (offset - start) as usize..(stop - start) as usize;
            let expected = end.min(next_expected(start, alignment, end));
            let paused = self.send_slot(slot, part, &mut offset).await?;
            if paused {
                drop(ahead);
                self.wait_for_room().await?;
                return Ok(offset);
            }
            if offset < expected {
                // A short read: what was read ahead does not follow.
                return Ok(offset);
            }
        }
        Ok(offset)
    }

    /// Sends a part of a slot. True when the client paused before its end.
    async fn send_slot(
        &self,
        slot: Slot,
        mut part: Range<usize>,
        offset: &mut u64,
    ) -> Result<bool, SendError> {
        self.claim.enter(Limit::Network);
        let mut slot = Rc::new(slot);
        while !part.is_empty() {
            let (result, back) = self.connection.send_slot_within(slot, part.clone(), PATIENCE).await;
            slot = back;
            let (count, paused) = result.map_err(SendError::Connection)?;
            part.start += count;
            *offset += count as u64;
            self.sent(count as u64);
            if paused && !part.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn wait_for_room(&self) -> Result<(), SendError> {
        self.claim.enter(Limit::Network);
        match self.connection.core().within(self.port.settings.idle_limit, self.connection.writable()).await {
            Some(result) => result.map_err(SendError::Connection),
            None => Err(SendError::Stalled(self.port.settings.idle_limit.as_secs())),
        }
    }

    fn sent(&self, count: u64) {
        self.claim.moved(count);
        if let Some(link) = self.claim.link() {
            link.sent(count);
        }
    }
}

type Reading = Operation<(Slot, File)>;

/// A slot full, or what is left, rounded up to what O_DIRECT takes.
fn read_length(left: u64, alignment: u64) -> usize {
    left.next_multiple_of(alignment).min(SLOT_BYTES as u64) as usize
}

/// Where the read after the one at `start` begins.
fn next_expected(start: u64, alignment: u64, end: u64) -> u64 {
    start + read_length(end - start, alignment) as u64
}

/// sendfile reports both sides' errors; these are the file's.
fn is_disk_error(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::EUCLEAN | libc::ENODATA | libc::EREMOTEIO | libc::EBADMSG)
    )
}

/// Lets other tasks of the shard go first.
async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
