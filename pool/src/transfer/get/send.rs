//! Sends bytes of a replica to a client: heads and small ranges in one call, cached bytes without a copy, all others
//! from slots.
//!
//! A client that takes nothing for a while holds no buffer: what was read ahead is dropped and read again.

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::store::Replica;
use crate::tls::Wire;
use crate::transfer::port::Port;
use crate::transfer::source::{Piece, ReadError, Source, Stretch, Way};
use crate::transfer::{Claim, Limit};

/// A client that takes nothing for so long gives its buffers back.
const PATIENCE: Duration = Duration::from_millis(25);
/// Up to that size, head and bytes go out in one call.
const SMALL_BYTES: u64 = 64 << 10;
/// After so many steps without waiting, others of the shard have their turn.
const STEPS_IN_A_ROW: u32 = 4;

/// Why sending ended early.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The client's side.
    #[error("{0}")]
    Connection(io::Error),
    /// The client takes nothing.
    #[error("the client took nothing for {0} s")]
    Stalled(u64),
    /// The replica.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Sends parts of one replica over one connection.
pub struct Sender<'a> {
    connection: &'a Wire,
    source: Source,
    port: &'a Port,
    claim: &'a Claim,
    began: Cell<bool>,
}

impl<'a> Sender<'a> {
    /// For one request.
    pub fn new(
        connection: &'a Wire,
        replica: &'a Arc<Replica>,
        port: &'a Port,
        claim: &'a Claim,
    ) -> Sender<'a> {
        let source = Source::new(connection.core(), &port.reading, replica, claim.transfer());
        Sender { connection, source, port, claim, began: Cell::new(false) }
    }

    /// Whether anything may have been sent: then nothing else can be told to the client any more, and after an error
    /// the connection has to be closed short.
    pub fn began(&self) -> bool {
        self.began.get()
    }

    /// Sends bytes that are not the replica's, or were checked.
    pub async fn send_bytes(&self, bytes: Vec<u8>, more: bool) -> Result<(), SendError> {
        self.began.set(true);
        self.claim.enter(Limit::Network);
        self.connection
            .send_all(bytes, more, self.port.settings.idle_limit)
            .await
            .0
            .map_err(SendError::Connection)
    }

    /// Sends a head and a range of the replica behind it.
    pub async fn send_behind(&self, head: Vec<u8>, range: Range<u64>) -> Result<(), SendError> {
        let length = range.end - range.start;
        if length > SMALL_BYTES {
            self.send_bytes(head, true).await?;
            return self.send(range).await;
        }
        if length == 0 {
            return self.send_bytes(head, false).await;
        }
        // One call for head and bytes: for small files the calls are what counts.
        let bytes = self.source.small(head, range, &|limit| self.claim.enter(limit)).await?;
        self.send_bytes(bytes, false).await?;
        self.sent(length);
        Ok(())
    }

    /// Sends a range of the replica.
    async fn send(&self, range: Range<u64>) -> Result<(), SendError> {
        let mut offset = range.start;
        while offset < range.end {
            let stretch = self.source.stretch(offset..range.end);
            offset = match stretch.way {
                Way::Cached if self.connection.can_send_cached() => self.hand_over(stretch.range).await?,
                Way::Cached => {
                    self.port.reading.counters().sendfile_fallbacks.fetch_add(1, Ordering::Relaxed);
                    self.send_blocks(stretch).await?
                }
                Way::Through { .. } | Way::Past { .. } => self.send_blocks(stretch).await?,
            };
        }
        Ok(())
    }

    /// Hands cached bytes to the socket as they are, until the end of the range, or until the socket was full once (what
    /// comes then may have left the cache). Gives the next offset.
    async fn hand_over(&self, range: Range<u64>) -> Result<u64, SendError> {
        let (mut offset, mut steps) = (range.start, 0);
        let file = self.source.replica().file();
        while offset < range.end {
            let length = u32::try_from(range.end - offset).unwrap_or(u32::MAX);
            match self.connection.send_cached(file, offset, length) {
                Ok(0) => return Err(self.source.truncated(offset).await.into()),
                Ok(count) => {
                    offset += u64::from(count);
                    self.source.handed_over(u64::from(count));
                    self.sent(u64::from(count));
                    steps += 1;
                    if steps >= STEPS_IN_A_ROW {
                        yield_now().await;
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.port.reading.counters().sendfile_waits.fetch_add(1, Ordering::Relaxed);
                    self.wait_for_room().await?;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_disk_error(&error) => {
                    return Err(self.source.disk_error(offset, error).await.into());
                }
                Err(error) => return Err(SendError::Connection(error)),
            }
        }
        Ok(offset)
    }

    /// Reads into slots and sends them until the end of the stretch, or until the client pauses. Gives the next
    /// offset.
    async fn send_blocks(&self, stretch: Stretch) -> Result<u64, SendError> {
        let mut offset = stretch.range.start;
        let mut blocks = self.source.blocks(stretch).await?;
        while let Some(piece) = blocks.next(&|limit| self.claim.enter(limit)).await? {
            let paused = self.send_piece(piece, &mut offset).await?;
            self.source.set_slow(paused);
            if paused {
                drop(blocks);
                self.wait_for_room().await?;
                return Ok(offset);
            }
        }
        Ok(offset)
    }

    /// Sends a piece. True when the client paused before its end.
    async fn send_piece(&self, piece: Piece, offset: &mut u64) -> Result<bool, SendError> {
        let Piece { slot, mut part, .. } = piece;
        let mut slot = Rc::new(slot);
        self.claim.enter(Limit::Network);
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
