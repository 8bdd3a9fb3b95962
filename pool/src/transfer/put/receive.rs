//! Receives the body of an upload into slots, checksums it in place and hands it to the disk.
//!
//! A fast client fills whole slots, one after the other. A slow one must not keep a slot while it thinks: after a
//! short wait what has come is written as far as whole disk blocks go, the rest (less than a block) is kept aside,
//! and the slot goes back until the socket has more.

use std::rc::Rc;
use std::time::Duration;

use super::body::{Body, BodyError, Filled};
use super::digests::Digests;
use super::write::{DEPTH, Writes};
use crate::engine::arena::{SLOT_BYTES, Slot};
use crate::engine::core::Core;
use crate::engine::file::DIRECT_ALIGNMENT;
use crate::store::{Upload, http_status_of};
use crate::transfer::input::Input;
use crate::transfer::{Claim, Failure, FailureCode, Limit, Side};

/// A client that sends nothing for so long gives its slot back.
const PATIENCE: Duration = Duration::from_millis(25);
/// A slow client's bytes are let gather for so long before a slot is taken for them.
const GATHER: Duration = Duration::from_millis(20);

/// An upload's body on its way to the disk.
pub struct Receiving<'a> {
    /// The client.
    pub input: &'a mut Input,
    /// What it sends.
    pub body: Body,
    /// Where it goes.
    pub writes: &'a Writes,
    /// The replica in the making; given away while its space is extended.
    pub upload: Option<Upload>,
    /// Its checksums.
    pub digests: &'a mut Digests,
    /// For progress.
    pub claim: &'a Claim,
    /// Larger is refused.
    pub maximum_size: Option<u64>,
    /// A client that sends nothing for so long has stalled.
    pub idle_limit: Duration,
    /// Bytes handed to the disk: whole blocks, but for the end.
    offset: u64,
    /// Less than a disk block that follows them.
    aside: Vec<u8>,
}

impl<'a> Receiving<'a> {
    /// Nothing received yet.
    #[expect(clippy::too_many_arguments, reason = "the parts of one upload, named at the only call")]
    pub fn new(
        input: &'a mut Input,
        body: Body,
        writes: &'a Writes,
        upload: Upload,
        digests: &'a mut Digests,
        claim: &'a Claim,
        maximum_size: Option<u64>,
        idle_limit: Duration,
    ) -> Receiving<'a> {
        Receiving {
            input,
            body,
            writes,
            upload: Some(upload),
            digests,
            claim,
            maximum_size,
            idle_limit,
            offset: 0,
            aside: Vec::new(),
        }
    }

    /// Receives all of it. Gives the size.
    pub async fn run(&mut self) -> Result<u64, Failure> {
        let core = Rc::clone(self.input.connection().core());
        let mut eager = true;
        while !self.body.is_over() {
            self.claim.enter(Limit::Queue);
            let mut slot = core.arena().take().await;
            let aside = self.aside.len();
            slot[..aside].copy_from_slice(&self.aside);
            self.aside.clear();
            self.claim.enter(if self.writes.behind() { Limit::Disk } else { Limit::Source });
            let (filled, slot) = self.body.fill(self.input, slot, aside, SLOT_BYTES, eager, PATIENCE).await;
            let filled = filled.map_err(|error| self.broken(error))?;
            let length = match filled {
                Filled::Full => SLOT_BYTES,
                Filled::End(length) | Filled::Paused(length) => length,
            };
            if let Some(link) = self.claim.link() {
                link.received((length - aside) as u64);
            }
            self.check_size(self.offset + length as u64)?;
            match filled {
                Filled::Full | Filled::End(_) => {
                    eager = true;
                    self.write(&core, slot, length).await?;
                }
                Filled::Paused(_) => {
                    // Half a slot in one go is not slow.
                    eager = length - aside >= SLOT_BYTES / 2;
                    self.pause(&core, slot, length).await?;
                }
            }
        }
        // What was kept aside when the end came without more bytes (the last chunk of a chunked body).
        if !self.aside.is_empty() {
            let mut slot = core.arena().take().await;
            let length = self.aside.len();
            slot[..length].copy_from_slice(&self.aside);
            self.write(&core, slot, length).await?;
        }
        self.claim.enter(Limit::Disk);
        self.writes.settled().await.map_err(|error| self.disk_error(&error))?;
        Ok(self.offset)
    }

    /// Writes the whole blocks of a slot, gives it back, and waits for more.
    async fn pause(&mut self, core: &Rc<Core>, slot: Slot, length: usize) -> Result<(), Failure> {
        let whole = length - length % DIRECT_ALIGNMENT;
        self.aside.extend_from_slice(&slot[whole..length]);
        if whole > 0 {
            self.write(core, slot, whole).await?;
        } else {
            drop(slot);
        }
        self.claim.enter(Limit::Source);
        if !self.input.unread().is_empty() {
            return Ok(());
        }
        self.input.release();
        let connection = self.input.connection();
        match core.within(self.idle_limit, connection.readable()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(self.broken(error.into())),
            None => return Err(self.stalled()),
        }
        // Not for the last few bytes: nothing more would gather.
        if self.body.remaining().is_none_or(|remaining| remaining > DIRECT_ALIGNMENT as u64) {
            core.sleep(GATHER).await;
        }
        Ok(())
    }

    /// Checksums the first `length` bytes of a slot and starts to write them, padded to whole blocks at the end of
    /// the file where the file is open for direct writes.
    async fn write(&mut self, core: &Rc<Core>, mut slot: Slot, length: usize) -> Result<(), Failure> {
        if length == 0 {
            return Ok(());
        }
        let direct = self.upload.as_ref().is_some_and(Upload::direct);
        let padded = if direct { length.next_multiple_of(DIRECT_ALIGNMENT) } else { length };
        slot[length..padded].fill(0);
        self.make_room(core, self.offset + padded as u64).await?;
        let slot = Rc::new(slot);
        self.claim.enter(Limit::Checksum);
        self.digests
            .update(core, &slot, length)
            .await
            .map_err(|error| Failure::internal(format!("checksums cannot be computed: {error}")))?;
        if self.writes.behind() {
            self.claim.enter(Limit::Disk);
        }
        self.writes.fewer_than(DEPTH).await.map_err(|error| self.disk_error(&error))?;
        self.writes.start(slot, padded, length, self.offset);
        self.offset += length as u64;
        Ok(())
    }

    /// Sees to it that the file has space up to `end` (uploads of unknown size grow in steps).
    async fn make_room(&mut self, core: &Rc<Core>, end: u64) -> Result<(), Failure> {
        let Some(mut upload) = self.upload.take_if(|upload| upload.allocated() < end) else { return Ok(()) };
        self.claim.enter(Limit::Disk);
        let (upload, result) = core
            .blocking(move || {
                let result = upload.ensure(end);
                (upload, result)
            })
            .await
            .map_err(|error| Failure::internal(format!("the upload's space cannot be extended: {error}")))?;
        self.upload = Some(upload);
        result.map_err(|error| super::failure_of(&error))
    }

    fn check_size(&self, size: u64) -> Result<(), Failure> {
        match self.maximum_size {
            Some(maximum) if size > maximum => Err(Failure::too_large(format!(
                "the upload is larger than the {maximum} bytes that are allowed; it was stopped after {size} bytes"
            ))),
            _ => Ok(()),
        }
    }

    fn received(&self) -> u64 {
        self.offset + self.aside.len() as u64
    }

    fn broken(&self, error: BodyError) -> Failure {
        let (received, peer) = (self.received(), self.input.connection().peer());
        match error {
            BodyError::Chunk(error) => {
                Failure::bad_request(format!("the chunked body is wrong after {received} bytes: {error}"))
            }
            error => Failure::connection_lost(format!(
                "the upload from {peer} broke off after {received} bytes{}: {error}",
                self.pending()
            )),
        }
    }

    fn stalled(&self) -> Failure {
        Failure::stalled(format!(
            "the upload from {} stalled: nothing came for {} s after {} bytes{}",
            self.input.connection().peer(),
            self.idle_limit.as_secs(),
            self.received(),
            self.pending()
        ))
    }

    fn pending(&self) -> String {
        self.body
            .remaining()
            .map_or_else(String::new, |remaining| format!(" ({remaining} more were to come)"))
    }

    fn disk_error(&self, error: &std::io::Error) -> Failure {
        let status = http_status_of(error);
        let code = if status == 507 { FailureCode::NoSpace } else { FailureCode::DiskError };
        Failure::new(
            code,
            Side::Pool,
            format!("writing the replica failed near byte {}: {error}", self.offset),
        )
        .with_status(status)
    }
}
