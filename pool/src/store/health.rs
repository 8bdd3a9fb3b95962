//! Whether the pool can write: repeated write errors make it read-only, until somebody has repaired the disk and says
//! so.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rustix::io::Errno;

use super::Store;
use super::error::{StoreError, is_disk_error};
use crate::engine::disk::{Disk, ReadMode};

/// Write errors in a row after which nothing more is tried. One can be a single bad sector; three without a success
/// between are a disk that does not write.
pub const WRITE_ERRORS_MAX: u32 = 3;

/// The name of the file that a recovery writes.
const PROBE_NAME: &str = ".penstock-tmp-recovery-probe";
/// Its length: some blocks of every file system.
const PROBE_BYTES: usize = 64 << 10;

/// Why a pool takes no uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnly {
    /// Since when.
    pub since: Timestamp,
    /// The last error.
    pub because: String,
}

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreHealth {
    /// Set when it takes no uploads.
    pub read_only: Option<ReadOnly>,
    /// Set when it works without its index, and why: listings read all names, checksums of blocks are not there, and
    /// results of transfers do not survive a restart. The next start makes a new index.
    pub index_lost: Option<String>,
}

/// Counts write errors.
#[derive(Debug, Default)]
pub(super) struct Writes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    errors_in_a_row: u32,
    read_only: Option<ReadOnly>,
}

impl Writes {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn failed(&self, error: &io::Error) {
        if !is_disk_error(error) {
            return;
        }
        let mut state = self.state();
        state.errors_in_a_row = state.errors_in_a_row.saturating_add(1);
        // A file system that was remounted read-only (its answer to errors) does not recover by itself.
        let for_certain = Errno::from_io_error(error) == Some(Errno::ROFS);
        if state.read_only.is_none() && (for_certain || state.errors_in_a_row >= WRITE_ERRORS_MAX) {
            let because = error.to_string();
            tracing::error!(because, "the pool is read-only from now on: its disk does not write");
            state.read_only = Some(ReadOnly { since: Timestamp::now(), because });
        }
    }

    /// The index can neither be written nor set aside, so that nothing may be changed.
    fn refuse(&self, because: String) {
        let mut state = self.state();
        if state.read_only.is_none() {
            tracing::error!(
                because,
                "the pool is read-only from now on: its index can neither be written nor set aside"
            );
            state.read_only = Some(ReadOnly { since: Timestamp::now(), because });
        }
    }

    pub fn succeeded(&self) {
        self.state().errors_in_a_row = 0;
    }

    pub fn read_only(&self) -> Option<ReadOnly> {
        self.state().read_only.clone()
    }
}

impl Store {
    /// How the store is.
    pub fn health(&self) -> StoreHealth {
        if let Some(because) = self.inner.index.forbids_changes() {
            self.inner.writes.refuse(because);
        }
        StoreHealth { read_only: self.inner.writes.read_only(), index_lost: self.inner.index.lost() }
    }

    /// Takes note that writing the bytes of a replica failed, where others do that (the ring). What is no sign of an ill
    /// disk, a full one included, does not count.
    pub fn note_write_error(&self, error: &io::Error) {
        self.inner.writes.failed(error);
    }

    /// Leaves the read-only state, if a file can be written where the replicas are, made durable, read back and removed,
    /// and the index can be changed, or set aside so that the next start makes a new one. Blocks.
    pub fn recover(&self) -> Result<(), StoreError> {
        let root = self.inner.layout.data();
        let failed = |step| move |source| StoreError::Pool { step, path: root.to_owned(), source };
        let path = root.join(PROBE_NAME);
        let disk = &*self.inner.disk;
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove an old probe")(error));
            }
            _ => {}
        }
        let written = write_probe(disk, root, &path);
        // Whatever came of it, no trace of it is to stay.
        let removed = match disk.remove(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        written.map_err(failed("write and read back a probe"))?;
        removed.and_then(|()| disk.sync_dir(root)).map_err(failed("remove the probe"))?;
        self.inner
            .index
            .require_set_aside()
            .map_err(|error| failed("change the index")(io::Error::other(error)))?;
        let mut state = self.inner.writes.state();
        state.errors_in_a_row = 0;
        if state.read_only.take().is_some() {
            tracing::info!("the disk writes again: the pool takes uploads");
        }
        Ok(())
    }
}

fn write_probe(disk: &dyn Disk, root: &std::path::Path, path: &std::path::Path) -> io::Result<()> {
    // Not all the same, so that nothing stands for something.
    let content: Vec<u8> = (0..PROBE_BYTES).map(|position| (position / 7) as u8).collect();
    let file = disk.create_unnamed(root)?;
    disk.write_all_at(&file, &content, 0)?;
    disk.sync_all(&file)?;
    disk.link(&file, path)?;
    disk.sync_dir(root)?;
    let file = disk.open(path, ReadMode::Buffered)?;
    let mut found = vec![0; PROBE_BYTES];
    let mut done = 0;
    while done < found.len() {
        match disk.read_at(&file, &mut found[done..], done as u64)? {
            0 => break,
            read => done += read,
        }
    }
    if found == content { Ok(()) } else { Err(io::Error::other("what was written is not what is read")) }
}
