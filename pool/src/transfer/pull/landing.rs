//! Bytes of one piece of a pulled file, from the socket into slots, through the checksums, to their place on the disk.
//!
//! Works as an upload does: a fast source fills whole slots; a slow one keeps none while it thinks, and what has come
//! is written as far as whole disk blocks go. What differs: a piece may begin anywhere, and go on where it stopped over
//! another connection.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::checksum::Checksum;
use crate::engine::arena::{SLOT_BYTES, Slot};
use crate::engine::core::Core;
use crate::engine::file::DIRECT_ALIGNMENT;
use crate::store::{Upload, http_status_of};
use crate::transfer::input::Input;
use crate::transfer::put::body::{Body, BodyError};
use crate::transfer::put::digests::Digests;
use crate::transfer::put::failure_of;
use crate::transfer::put::write::{DEPTH, Writes};
use crate::transfer::strand::Strand;
use crate::transfer::{Failure, FailureCode, Limit, Side};

/// A source that sends nothing for so long gives its slot back.
const PATIENCE: Duration = Duration::from_millis(25);
/// A slow source's bytes are let gather for so long before a slot is taken for them.
const GATHER: Duration = Duration::from_millis(20);

/// The file that is being pulled, shared by all of its pieces.
pub(super) struct Ground {
    pub(super) core: Rc<Core>,
    pub(super) writes: Writes,
    /// The replica in the making; away while its space is extended.
    pub(super) upload: RefCell<Option<Upload>>,
    pub(super) direct: bool,
    /// Larger fails.
    pub(super) maximum_size: Option<u64>,
    /// Without a byte for so long a source has stalled.
    pub(super) idle_timeout: Duration,
    /// How fast the bytes of all streams together may come.
    pub(super) pace: Option<Pace>,
}

/// A limit on the rate of a transfer: the average since its start.
pub(super) struct Pace {
    bytes_per_second: u64,
    began_at: Instant,
    taken: Cell<u64>,
}

impl Pace {
    /// From now on.
    pub(super) fn new(bytes_per_second: u64, now: Instant) -> Pace {
        Pace { bytes_per_second: bytes_per_second.max(1), began_at: now, taken: Cell::new(0) }
    }

    /// When the bytes that were taken are due, and so the next may be.
    fn due_at(&self) -> Instant {
        self.began_at + Duration::from_secs_f64(self.taken.get() as f64 / self.bytes_per_second as f64)
    }
}

/// Why a piece is not complete.
pub(super) enum Halt {
    /// The connection; the piece may go on over another one.
    Lost(String),
    /// Nothing came for too long; the same.
    Stalled,
    /// Whatever is tried.
    Fatal(Failure),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Halt {
        Halt::Fatal(failure)
    }
}

/// One piece.
pub(super) struct Landing<'a> {
    ground: &'a Ground,
    digests: Digests,
    /// Of the file.
    pub(super) start: u64,
    /// Of the file; `None` while the file's size is not known.
    pub(super) end: Option<u64>,
    /// Bytes up to here went to the disk: whole blocks, but for the end of the file.
    offset: u64,
    /// Less than a disk block that follows them.
    aside: Vec<u8>,
}

impl<'a> Landing<'a> {
    /// Nothing of it is there. `start` is at the beginning of a checksum block.
    pub(super) fn new(ground: &'a Ground, digests: Digests, start: u64, end: Option<u64>) -> Landing<'a> {
        Landing { ground, digests, start, end, offset: start, aside: Vec::new() }
    }

    /// The byte that comes next.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.aside.len() as u64
    }

    /// All of it is there, if that can be known.
    pub(super) fn is_complete(&self) -> bool {
        self.end == Some(self.position()) && self.aside.is_empty()
    }

    /// Takes a body to its end, which need not be the piece's.
    pub(super) async fn receive(
        &mut self,
        input: &mut Input,
        body: &mut Body,
        strand: &Strand,
    ) -> Result<(), Halt> {
        let core = Rc::clone(&self.ground.core);
        let mut eager = true;
        while !body.is_over() {
            strand.enter(Limit::Queue);
            if let Some(pace) = &self.ground.pace {
                core.sleep_until(pace.due_at()).await;
            }
            let mut slot = core.arena().take().await;
            let aside = self.aside.len();
            slot[..aside].copy_from_slice(&self.aside);
            self.aside.clear();
            strand.enter(if self.ground.writes.behind() { Limit::Disk } else { Limit::Source });
            // Up to the end of a checksum block, so that those behind a pause are filled in one go again.
            let room = SLOT_BYTES - (self.offset % SLOT_BYTES as u64) as usize;
            let mut filled = aside;
            let (outcome, slot) = body.fill_up(input, slot, &mut filled, room, eager, PATIENCE).await;
            strand.received((filled - aside) as u64);
            if let Some(pace) = &self.ground.pace {
                pace.taken.set(pace.taken.get() + (filled - aside) as u64);
            }
            eager = filled - aside >= SLOT_BYTES / 2 || filled == room;
            let trouble = outcome.err();
            self.check_size(self.offset + filled as u64)?;
            let last = body.is_over() && self.end.is_none_or(|end| end == self.offset + filled as u64);
            if last || filled == room {
                self.write(&core, slot, filled, strand).await?;
            } else {
                self.keep(&core, slot, filled, strand).await?;
            }
            match trouble {
                None => {}
                Some(BodyError::Chunk(error)) => {
                    let text = format!(
                        "failed GET: the answer's body is wrong after byte {}: {error}",
                        self.position()
                    );
                    return Err(Failure::new(FailureCode::RemoteProtocol, Side::Source, text).into());
                }
                Some(BodyError::Closed) => return Err(Halt::Lost("the source closed the connection".into())),
                Some(BodyError::Connection(error)) => {
                    return Err(Halt::Lost(crate::remote::error::plain(&error)));
                }
            }
            if !body.is_over() && filled < room {
                self.wait(&core, input, body, strand).await?;
            }
        }
        Ok(())
    }

    /// Writes the whole blocks of a slot, and keeps the rest aside until more comes.
    async fn keep(
        &mut self,
        core: &Rc<Core>,
        slot: Slot,
        filled: usize,
        strand: &Strand,
    ) -> Result<(), Failure> {
        let whole = filled - filled % DIRECT_ALIGNMENT;
        self.aside.extend_from_slice(&slot[whole..filled]);
        match whole {
            0 => drop(slot),
            _ => self.write(core, slot, whole, strand).await?,
        }
        Ok(())
    }

    /// Waits for a source that paused, with nothing held.
    async fn wait(&self, core: &Rc<Core>, input: &Input, body: &Body, strand: &Strand) -> Result<(), Halt> {
        strand.enter(Limit::Source);
        if !input.unread().is_empty() {
            return Ok(());
        }
        match core.within(self.ground.idle_timeout, input.connection().readable()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(Halt::Lost(crate::remote::error::plain(&error))),
            None => return Err(Halt::Stalled),
        }
        // Not for the last few bytes: nothing more would gather.
        if body.remaining().is_none_or(|remaining| remaining > DIRECT_ALIGNMENT as u64) {
            core.sleep(GATHER).await;
        }
        Ok(())
    }

    /// Writes what was kept aside at the end of a file whose size was not known, and gives the checksums of the piece
    /// and of its blocks.
    pub(super) async fn close(mut self, strand: &Strand) -> Result<(u64, Vec<Checksum>, Vec<u32>), Failure> {
        if !self.aside.is_empty() {
            let core = Rc::clone(&self.ground.core);
            strand.enter(Limit::Queue);
            let mut slot = core.arena().take().await;
            let length = self.aside.len();
            slot[..length].copy_from_slice(&self.aside);
            self.aside.clear();
            self.write(&core, slot, length, strand).await?;
        }
        let length = self.offset - self.start;
        strand.enter(Limit::Checksum);
        let (checksums, blocks) = self.digests.finish().await.map_err(|error| uncomputed(&error))?;
        Ok((length, checksums, blocks))
    }

    /// Checksums the first `length` bytes of a slot and starts to write them, padded to whole blocks at the end of
    /// the file where the file is open for direct writes.
    async fn write(
        &mut self,
        core: &Rc<Core>,
        mut slot: Slot,
        length: usize,
        strand: &Strand,
    ) -> Result<(), Failure> {
        if length == 0 {
            return Ok(());
        }
        let padded = if self.ground.direct { length.next_multiple_of(DIRECT_ALIGNMENT) } else { length };
        slot[length..padded].fill(0);
        self.make_room(core, self.offset + padded as u64, strand).await?;
        let slot = Rc::new(slot);
        strand.enter(Limit::Checksum);
        self.digests.update(core, &slot, length).await.map_err(|error| uncomputed(&error))?;
        if self.ground.writes.behind() {
            strand.enter(Limit::Disk);
        }
        self.ground.writes.fewer_than(DEPTH).await.map_err(|error| disk_error(&error, self.offset))?;
        self.ground.writes.start(slot, padded, length, self.offset);
        self.offset += length as u64;
        Ok(())
    }

    /// Sees to it that the file has space up to `end` (files of unknown size grow in steps; they have one piece).
    async fn make_room(&mut self, core: &Rc<Core>, end: u64, strand: &Strand) -> Result<(), Failure> {
        let Some(mut upload) = self.ground.upload.borrow_mut().take_if(|upload| upload.allocated() < end)
        else {
            return Ok(());
        };
        strand.enter(Limit::Disk);
        let (upload, result) = core
            .blocking(move || {
                let result = upload.ensure(end);
                (upload, result)
            })
            .await
            .map_err(|error| Failure::internal(format!("the file's space cannot be extended: {error}")))?;
        *self.ground.upload.borrow_mut() = Some(upload);
        result.map_err(|error| failure_of(&error))
    }

    fn check_size(&self, position: u64) -> Result<(), Failure> {
        if let Some(end) = self.end.filter(|end| position > *end) {
            let text =
                format!("size mismatch on GET: the source sent more than the {end} bytes that it announced");
            return Err(Failure::new(FailureCode::SizeMismatch, Side::Source, text));
        }
        match self.ground.maximum_size {
            Some(maximum) if position > maximum => Err(Failure::too_large(format!(
                "the source's file is larger than the {maximum} bytes that are allowed; it was stopped after \
                 {position} bytes"
            ))),
            _ => Ok(()),
        }
    }
}

/// Writing failed.
pub(super) fn disk_error(error: &std::io::Error, offset: u64) -> Failure {
    let status = http_status_of(error);
    let code = if status == 507 { FailureCode::NoSpace } else { FailureCode::DiskError };
    Failure::new(code, Side::Pool, format!("writing the replica failed near byte {offset}: {error}"))
        .with_status(status)
}

pub(super) fn uncomputed(error: &std::io::Error) -> Failure {
    Failure::internal(format!("checksums cannot be computed: {error}"))
}
