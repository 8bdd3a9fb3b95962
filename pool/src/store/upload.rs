//! An upload: from the promise of space to a replica that is whole and durable, or to nothing.
//!
//! admit (id free, size allowed, space promised) → open (unnamed file, space allocated) → bytes, through the ring →
//! commit: cut to length → attributes → sync file → name → sync directory. Only then may anybody be told that the
//! replica is there. Whatever ends earlier, ends with the file closed, which has no name and so is gone.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use super::access::io_error;
use super::attributes::{ATTRIBUTE_NAME, Attributes};
use super::directories::Directory;
use super::error::StoreError;
use super::health::ReadOnly;
use super::id::ReplicaId;
use super::index::{Change, Intent, Record, Ticket};
use super::layout::Shelf;
use super::replica::{Identity, ReplicaStat, ReplicaState};
use super::space::{NoSpace, Reservation};
use super::{Inner, Store, interchange};
use crate::checksum::BLOCK_SIZE_BYTES;
use crate::engine::disk::{DIRECT_ALIGNMENT_BYTES, File, Metadata};

/// What an upload of unknown length is given at first; what has been given doubles from step to step.
const FIRST_STEP_BYTES: u64 = 64 << 20;
/// The largest step.
const LAST_STEP_BYTES: u64 = 1 << 30;
const _: () =
    assert!(FIRST_STEP_BYTES <= LAST_STEP_BYTES && FIRST_STEP_BYTES.is_multiple_of(DIRECT_ALIGNMENT_BYTES));

/// What a replica takes besides its bytes: a block of attributes, a block of the extent tree, and at most two
/// directories made for it, in the blocks of 4 KiB that ext4 and XFS have.
const OVERHEAD_BYTES: u64 = 4 * 4096;

/// What is to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSpec {
    /// The id that it will have.
    pub replica: ReplicaId,
    /// The transfer that brings it.
    pub transfer: String,
    /// The path that it is made under.
    pub path: String,
    /// Its storage class, or nothing.
    pub class: String,
    /// Its length, where that is known.
    pub size: Option<u64>,
    /// The largest length that the door allows; the pool's own limit holds besides.
    pub maximum_size: Option<u64>,
}

/// What is known when the last byte has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The replica's length in bytes.
    pub size: u64,
    /// Whole-file checksums: lower-case hex by the algorithm's name.
    pub checksums: BTreeMap<String, String>,
    /// CRC32C of each block of 1 MiB; none where they are not known.
    pub blocks: Vec<u32>,
    /// When the replica was made.
    pub created_at: Timestamp,
}

/// An upload that has its space and its id, but no file yet.
pub struct Admission {
    spec: Arc<UploadSpec>,
    limit: Option<u64>,
    // In this order: the space goes back before the id is free again.
    reservation: Reservation,
    claim: Claim,
}

/// An upload with a file to write to. Dropped without commit, it leaves nothing; dropping closes a file, which blocks.
pub struct Upload {
    file: File,
    direct: bool,
    /// Bytes from the start of the file that may be written to.
    allocated: u64,
    admission: Admission,
}

/// The right to make the replica of one id.
struct Claim {
    store: Arc<Inner>,
    replica: ReplicaId,
    /// Under way to the index: that this upload goes on.
    intent: Intent,
    ticket: Ticket,
    /// How the index shall learn of the end.
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It has left nothing.
    Nothing,
    /// It has left a replica, or something that only a look at the disk can tell. The intent stays: in the first case
    /// until the transfer's result is kept, in the second until the next start.
    Something,
}

impl Claim {
    /// From now on the name may be there although it is not durable yet, so nobody is to see it.
    fn start_naming(&mut self) {
        if let Some(uploading) = self.store.claims().get_mut(&self.replica) {
            uploading.stage = Stage::Naming;
        }
        self.end = End::Something;
    }

    /// Waits until a crash can leave nothing that the next start does not look at.
    fn wait(&self) -> Result<(), StoreError> {
        let because = match self.store.index.wait(self.ticket) {
            Ok(()) => return Ok(()),
            Err(because) => because,
        };
        Err(StoreError::Index { step: "begin an upload", because })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // In this order: the next upload of this id comes to the index after the end of this one.
        if self.end == End::Nothing {
            self.store.index.submit([Change::Settle(self.replica.clone(), self.intent.clone())]);
        }
        self.store.claims().remove(&self.replica);
    }
}

/// An upload that runs.
#[derive(Debug, Clone)]
pub(super) struct Uploading {
    pub stage: Stage,
    pub since: Timestamp,
    pub spec: Arc<UploadSpec>,
}

/// How far the upload of a claimed id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is no name; if there is, it is another's, and the claim is about to be refused.
    Receiving,
    /// The name is being made, and made durable.
    Naming,
}

/// The ids that uploads have claimed.
pub(super) type Claims = HashMap<ReplicaId, Uploading>;

fn round_up(bytes: u64) -> Option<u64> {
    bytes.checked_next_multiple_of(DIRECT_ALIGNMENT_BYTES)
}

impl Store {
    /// Checks that a replica may come, and promises it its space: before the first byte is asked for. Blocks.
    pub fn admit(&self, spec: UploadSpec) -> Result<Admission, StoreError> {
        if let Some(ReadOnly { since, because }) = self.inner.writes.read_only() {
            return Err(StoreError::ReadOnly { since, because });
        }
        let spec = Arc::new(spec);
        let limit = spec.maximum_size.into_iter().chain(self.inner.max_file_size).min();
        if let Some(size) = spec.size {
            check_limit(&spec.replica, size, limit)?;
        }
        let claim = self.claim(&spec)?;
        let no_space = |source| StoreError::NoSpace { replica: spec.replica.clone(), source };
        let mut reservation = self.inner.space.reserve_nothing();
        match spec.size {
            Some(size) => {
                // A length beyond what can be counted cannot fit either.
                let bytes = round_up(size).and_then(|bytes| bytes.checked_add(OVERHEAD_BYTES));
                reservation.grow(bytes.unwrap_or(u64::MAX)).map_err(no_space)?;
            }
            None => {
                let most =
                    limit.and_then(round_up).map_or(FIRST_STEP_BYTES, |limit| limit.min(FIRST_STEP_BYTES));
                let least = DIRECT_ALIGNMENT_BYTES.min(most);
                reservation.grow_between(OVERHEAD_BYTES + least, OVERHEAD_BYTES + most).map_err(no_space)?;
            }
        }
        Ok(Admission { spec, limit, reservation, claim })
    }

    /// Admits an upload and opens its file: for those who need not do the one before the other. Blocks.
    pub fn begin_upload(&self, spec: UploadSpec) -> Result<Upload, StoreError> {
        self.admit(spec)?.open()
    }

    fn claim(&self, spec: &Arc<UploadSpec>) -> Result<Claim, StoreError> {
        let replica = &spec.replica;
        let exists = || StoreError::Exists { replica: replica.clone() };
        let uploading = Uploading { stage: Stage::Receiving, since: Timestamp::now(), spec: spec.clone() };
        match self.inner.claims().entry(replica.clone()) {
            Entry::Occupied(_) => return Err(exists()),
            Entry::Vacant(free) => free.insert(uploading),
        };
        let unclaim = |error| {
            self.inner.claims().remove(replica);
            Err(error)
        };
        match self.inner.disk.stat(&self.inner.layout.replica(replica)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) => return unclaim(exists()),
            Err(source) => {
                self.inner.writes.failed(&source);
                return unclaim(io_error(replica, "look for the file", source));
            }
        }
        let intent = Intent::Upload(spec.transfer.clone());
        let ticket = self.inner.index.submit_soon([
            // Of an earlier replica, whose removal could not be made durable: it must not hit this one.
            Change::Settle(replica.clone(), Intent::Removal),
            Change::Intend(replica.clone(), intent.clone()),
        ]);
        Ok(Claim { store: self.inner.clone(), replica: replica.clone(), intent, ticket, end: End::Nothing })
    }
}

impl Admission {
    /// What is to be uploaded.
    pub fn spec(&self) -> &UploadSpec {
        &self.spec
    }

    /// Makes the file, with space for all bytes where their number is known. Blocks.
    pub fn open(mut self) -> Result<Upload, StoreError> {
        let file = self.create_file()?;
        let disk = &self.claim.store.disk;
        let wanted = self.claim.store.direct;
        let direct =
            wanted && disk.set_direct(&file, true).map_err(|error| self.error("open the file", error))?;
        // What is promised beyond the overhead, in whole blocks.
        let promised = self.reservation.bytes().saturating_sub(OVERHEAD_BYTES);
        let allocated = promised - promised % DIRECT_ALIGNMENT_BYTES;
        disk.allocate(&file, 0, allocated).map_err(|error| self.error("allocate the space", error))?;
        self.reservation.placed(allocated);
        Ok(Upload { file, direct, allocated, admission: self })
    }

    /// Stores a replica whose bytes are all there, through the page cache: the whole upload in one call. Blocks.
    pub fn store_small(mut self, data: &[u8], commit: Commit) -> Result<ReplicaStat, StoreError> {
        self.check_size(commit.size)?;
        self.check_data(data, commit.size)?;
        // More than was promised to an upload of unknown length.
        let needed = round_up(commit.size).unwrap_or(u64::MAX).saturating_add(OVERHEAD_BYTES);
        let missing = needed.saturating_sub(self.reservation.bytes());
        let replica = &self.spec.replica;
        let no_space = |source| StoreError::NoSpace { replica: replica.clone(), source };
        self.reservation.grow(missing).map_err(no_space)?;
        let file = self.create_file()?;
        let written = self.claim.store.disk.write_all_at(&file, data, 0);
        written.map_err(|error| self.error("write the bytes", error))?;
        self.finish(file, commit)
    }

    /// An unnamed file where the replica will have its name: file systems place a file near its directory.
    fn create_file(&mut self) -> Result<File, StoreError> {
        let shelf = Shelf::of(&self.spec.replica);
        if self.claim.store.unnamed_files && self.claim.store.directories.has(shelf) {
            match self.try_create_file(shelf) {
                // Somebody tidied empty directories away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.claim.store.directories.forget(shelf);
                }
                other => return other.map_err(|error| self.error("create the file", error)),
            }
        }
        // A directory is left by a crash, and so is a temporary name.
        self.claim.wait()?;
        self.claim.end = End::Something;
        let file = self.try_create_file(shelf).map_err(|error| self.error("create the file", error))?;
        self.claim.end = End::Nothing;
        Ok(file)
    }

    fn try_create_file(&self, shelf: Shelf) -> io::Result<File> {
        let store = &self.claim.store;
        store.disk.create_unnamed(&store.directories.make(shelf)?)
    }

    fn error(&self, step: &'static str, source: io::Error) -> StoreError {
        self.claim.store.writes.failed(&source);
        io_error(&self.spec.replica, step, source)
    }

    fn check_size(&self, size: u64) -> Result<(), StoreError> {
        match self.spec.size {
            Some(announced) if announced != size => {
                Err(StoreError::SizeMismatch { replica: self.spec.replica.clone(), announced, arrived: size })
            }
            _ => check_limit(&self.spec.replica, size, self.limit),
        }
    }

    fn check_data(&self, data: &[u8], size: u64) -> Result<(), StoreError> {
        if data.len() as u64 == size {
            return Ok(());
        }
        let replica = self.spec.replica.clone();
        Err(StoreError::SizeMismatch { replica, announced: size, arrived: data.len() as u64 })
    }

    /// All bytes are written: makes them a replica.
    ///
    /// The file is closed before the claim ends: parameters are dropped from the last to the first.
    fn finish(mut self, file: File, commit: Commit) -> Result<ReplicaStat, StoreError> {
        let attributes = self.attributes(&commit);
        let metadata = self.make_whole(&file, &attributes)?;
        let stat = ReplicaStat {
            id: self.spec.replica.clone(),
            size: metadata.size,
            allocated: metadata.allocated,
            identity: Identity::of(&metadata),
            attributes,
        };
        self.make_visible(&file, &stat)?;
        self.record(&stat, commit.blocks);
        self.reservation.commit(metadata.allocated);
        self.claim.store.writes.succeeded();
        Ok(stat)
    }

    /// Tells the index of a replica that is there.
    fn record(&self, stat: &ReplicaStat, blocks: Vec<u32>) {
        let store = &self.claim.store;
        let mut changes = vec![Change::Record(stat.id.clone(), Record::of(stat))];
        if !blocks.is_empty() && blocks.len() as u64 == block_count(stat.size) {
            changes.push(Change::Blocks(stat.id.clone(), blocks.into()));
        }
        store.index.submit(changes);
        store.counts.add(&stat.attributes);
        // Should this fail, the directory's own few blocks are counted wrong until the next change of it.
        let _ = store.directories.count(Directory::Shelf(Shelf::of(&stat.id)));
    }

    fn attributes(&self, commit: &Commit) -> Attributes {
        let mut attributes = Attributes {
            size: commit.size,
            state: ReplicaState::Ready,
            transfer: self.spec.transfer.clone(),
            path: self.spec.path.clone(),
            class: self.spec.class.clone(),
            created_at: commit.created_at,
            verified_at: None,
            broken_because: None,
            suspect_because: None,
            checksums: commit.checksums.clone(),
            unknown: BTreeMap::new(),
        };
        attributes.fit();
        attributes
    }

    /// Length, attributes, and all of it on the disk: the file is then what the replica will be.
    fn make_whole(&self, file: &File, attributes: &Attributes) -> Result<Metadata, StoreError> {
        let disk = &self.claim.store.disk;
        let invalid = |source| StoreError::Attributes { replica: self.spec.replica.clone(), source };
        let line = attributes.checked_line().map_err(invalid)?;
        // Also where the length is right already: it frees what the file system gave beyond the end.
        disk.truncate(file, attributes.size).map_err(|error| self.error("set the length", error))?;
        disk.set_attribute(file, ATTRIBUTE_NAME, line.as_bytes())
            .map_err(|error| self.error("write the attributes", error))?;
        if let Some(adler32) =
            attributes.checksums.get("adler32").and_then(|hex| u32::from_str_radix(hex, 16).ok())
        {
            interchange::write_adler32(&**disk, file, adler32)
                .map_err(|error| self.error("write the attributes for other systems", error))?;
        }
        // Not fdatasync, which may leave the attributes out; for a new file both write the same.
        disk.sync_all(file).map_err(|error| self.error("make the bytes durable", error))?;
        disk.metadata(file).map_err(|error| self.error("read the size", error))
    }

    /// Gives the file its name, and makes that durable.
    fn make_visible(&mut self, file: &File, stat: &ReplicaStat) -> Result<(), StoreError> {
        // The name may outlive a crash from its first moment, so it is known before that whose it is.
        self.claim.wait()?;
        self.claim.start_naming();
        let store = &self.claim.store;
        let path = store.layout.replica(&self.spec.replica);
        if let Err(error) = store.disk.link(file, &path) {
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => StoreError::Exists { replica: self.spec.replica.clone() },
                _ => self.error("name the file", error),
            });
        }
        store.directories.make_durable(Shelf::of(&self.spec.replica)).map_err(|error| {
            // Nobody will be told of this replica, so nobody should find it.
            if store.disk.remove(&path).is_err() {
                // It stays, whole: counted, and to be deleted by whoever lists it.
                self.record(stat, Vec::new());
                store.space.changed(0, stat.allocated);
            }
            self.error("make the name durable", error)
        })
    }
}

/// Blocks of 1 MiB in so many bytes.
pub(super) fn block_count(size: u64) -> u64 {
    size.div_ceil(BLOCK_SIZE_BYTES as u64)
}

fn check_limit(replica: &ReplicaId, size: u64, limit: Option<u64>) -> Result<(), StoreError> {
    match limit {
        Some(limit) if size > limit => Err(StoreError::TooLarge { replica: replica.clone(), size, limit }),
        _ => Ok(()),
    }
}

impl Upload {
    /// What is being uploaded.
    pub fn spec(&self) -> &UploadSpec {
        &self.admission.spec
    }

    /// The file, for the ring to write to; below [`Upload::allocated`] only.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether writes go past the page cache, and so must be aligned in memory, offset and length.
    pub fn direct(&self) -> bool {
        self.direct
    }

    /// Bytes from the start of the file that may be written to; a multiple of [`DIRECT_ALIGNMENT_BYTES`].
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Makes room for a replica of at least `length` bytes, where the length was not known. Blocks if it is not
    /// there already ([`Upload::allocated`]).
    pub fn ensure(&mut self, length: u64) -> Result<(), StoreError> {
        if length <= self.allocated {
            return Ok(());
        }
        let spec = &self.admission.spec;
        if let Some(announced) = spec.size {
            let replica = spec.replica.clone();
            return Err(StoreError::SizeMismatch { replica, announced, arrived: length });
        }
        let limit = self.admission.limit;
        check_limit(&spec.replica, length, limit)?;
        // Whole blocks of what is larger than anything: cannot be had, and is refused as such.
        let least = round_up(length).unwrap_or(u64::MAX) - self.allocated;
        let step = self.allocated.clamp(FIRST_STEP_BYTES, LAST_STEP_BYTES);
        let to_limit =
            limit.and_then(round_up).map_or(u64::MAX, |limit| limit.saturating_sub(self.allocated));
        self.grow(least, step.min(to_limit).max(least))
    }

    fn grow(&mut self, least: u64, most: u64) -> Result<(), StoreError> {
        let granted = self.promise(least, most)?;
        let mut result = self.allocate(granted);
        let full = result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOSPC));
        if full && granted > least {
            // Free space may be in too many pieces for a large step and still do for what is needed.
            self.admission.reservation.shrink(granted - least);
            result = self.allocate(least);
            if result.is_err() {
                self.admission.reservation.shrink(least);
            }
        } else if result.is_err() {
            self.admission.reservation.shrink(granted);
        }
        result.map_err(|error| self.admission.error("allocate the space", error))
    }

    fn promise(&mut self, least: u64, most: u64) -> Result<u64, StoreError> {
        let replica = &self.admission.spec.replica;
        let no_space = |source: NoSpace| StoreError::NoSpace { replica: replica.clone(), source };
        let granted = self.admission.reservation.grow_between(least, most).map_err(no_space)?;
        // Whole blocks; `least` is some.
        let excess = granted % DIRECT_ALIGNMENT_BYTES;
        self.admission.reservation.shrink(excess);
        Ok(granted - excess)
    }

    fn allocate(&mut self, bytes: u64) -> io::Result<()> {
        self.admission.claim.store.disk.allocate(&self.file, self.allocated, bytes)?;
        self.admission.reservation.placed(bytes);
        self.allocated += bytes;
        Ok(())
    }

    /// All bytes are written: makes them a replica, durably. Blocks.
    pub fn commit(self, commit: Commit) -> Result<ReplicaStat, StoreError> {
        self.admission.check_size(commit.size)?;
        if commit.size > self.allocated {
            let source = io::ErrorKind::InvalidInput.into();
            return Err(self.admission.error("take more bytes than there is room for", source));
        }
        let Self { file, admission, .. } = self;
        admission.finish(file, commit)
    }

    /// Writes all bytes through the page cache and commits: for what turned out to be small. Blocks.
    pub fn commit_small(mut self, data: &[u8], commit: Commit) -> Result<ReplicaStat, StoreError> {
        self.admission.check_data(data, commit.size)?;
        self.ensure(commit.size)?;
        let disk = &self.admission.claim.store.disk;
        if self.direct {
            disk.set_direct(&self.file, false)
                .map_err(|error| self.admission.error("write the bytes", error))?;
        }
        let written = disk.write_all_at(&self.file, data, 0);
        written.map_err(|error| self.admission.error("write the bytes", error))?;
        self.commit(commit)
    }

    /// Ends the upload and leaves nothing, as dropping it does. Blocks.
    pub fn abort(self) {
        drop(self);
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("spec", &self.spec)
            .field("reservation", &self.reservation)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("admission", &self.admission)
            .field("direct", &self.direct)
            .field("allocated", &self.allocated)
            .finish_non_exhaustive()
    }
}
