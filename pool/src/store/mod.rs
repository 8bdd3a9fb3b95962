//! Replicas on the disk: where they lie, how one comes to be there whole or not at all, what it is, and the space.
//!
//! A replica is a plain file; what else is known of it is in one extended attribute of that file, which is the truth
//! ([`attributes`]). An upload writes a file without a name and gives it its name when all of it is durable
//! ([`upload`]); so a crash at any point leaves a whole replica or nothing. Nothing is ever overwritten.
//!
//! The [`index`] says what is there without looking, and what was going on when the pool stopped ([`start`]).
//!
//! All functions here block: they run on blocking threads, never on a shard. Bulk bytes do not pass through here; the
//! shards' rings move them between the files' numbers and the network.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

pub mod attributes;
pub mod error;
pub mod health;
pub mod id;
pub mod import;
pub mod interchange;
pub mod layout;
pub mod list;
pub mod rebuild;
pub mod replica;
pub mod results;
pub mod scan;
pub mod space;
pub mod start;
pub mod upload;

mod access;
mod counts;
mod directories;
mod index;
mod reading;
mod state;

pub use attributes::Attributes;
pub use counts::ReplicaCounts;
pub use error::{StoreError, http_status_of, is_disk_error};
pub use health::{ReadOnly, StoreHealth, WRITE_ERRORS_MAX};
pub use id::{InvalidReplicaId, ReplicaId};
pub use layout::{Marker, RootError};
pub use list::{IdPage, Page};
pub use rebuild::{RebuildDepth, RebuildReport, rebuild};
pub use replica::{Identity, Replica, ReplicaStat, ReplicaState};
pub use results::Results;
pub use scan::ScanReport;
pub use space::{NoSpace, SpaceStatus};
pub use start::RecoveredUpload;
pub use upload::{Admission, Commit, Upload, UploadSpec};

use self::counts::Counts;
use self::directories::Directories;
use self::health::Writes;
use self::index::Index;
use self::layout::{Layout, Root};
use self::replica::OpenReplicas;
use self::space::Space;
use self::start::Started;
use self::upload::Claims;
use crate::engine::disk::{Disk, File};

/// How a pool keeps its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The pool's directory.
    pub root: PathBuf,
    /// The pool's name; a root that another pool made is refused.
    pub pool_name: String,
    /// The most bytes that replicas may take on the disk; `None`: all that the file system has.
    pub capacity: Option<u64>,
    /// Bytes of the file system that uploads never take.
    pub reserve_bytes: u64,
    /// The largest replica, in bytes; `None`: what fits.
    pub max_file_size: Option<u64>,
    /// Whether uploads go past the page cache, where the file system can.
    pub direct: bool,
}

/// Why a store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The root is not usable.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Its content cannot be read.
    #[error(transparent)]
    Scan(#[from] StoreError),
}

/// The replicas of a pool. Clones share it; the root is released when the last of them, and the last upload, is gone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    layout: Layout,
    marker: Marker,
    space: Space,
    directories: Directories,
    index: Arc<Index>,
    open: Arc<OpenReplicas>,
    /// Ids that an upload has claimed; bounded by the number of transfers.
    uploading: Mutex<Claims>,
    counts: Counts,
    writes: Writes,
    max_file_size: Option<u64>,
    direct: bool,
    /// Whether the file system has files without a name.
    unnamed_files: bool,
    report: ScanReport,
    recovered: Vec<RecoveredUpload>,
    /// Held, not used.
    _lock: File,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.index.close();
    }
}

impl Store {
    /// Takes a root into use, making it at the first start, and learns what is in it: from the index, or, where there is
    /// none that can be used, from every file. Blocks.
    pub fn open_root(disk: Arc<dyn Disk>, config: &StoreConfig) -> Result<Self, OpenError> {
        let Root { layout, marker, lock } = Root::open(&disk, &config.root, &config.pool_name)?;
        let Started { index, report, directories, totals, recovered } =
            start::start(&disk, &layout, &marker.uuid)?;
        let space = Space::new(
            disk.clone(),
            &config.pool_name,
            layout.data(),
            config.capacity,
            config.reserve_bytes,
            totals.used,
        );
        let directories =
            Directories::new(disk.clone(), layout.clone(), space.clone(), index.clone(), directories);
        // Where that cannot be told, what a file system without them needs is done.
        let unnamed_files = disk.has_unnamed_files(layout.data()).unwrap_or(false);
        index.start();
        let inner = Inner {
            disk,
            layout,
            marker,
            space,
            directories,
            index,
            open: Arc::default(),
            uploading: Mutex::default(),
            counts: Counts::new(totals.counts),
            writes: Writes::default(),
            max_file_size: config.max_file_size,
            direct: config.direct,
            unnamed_files,
            report,
            recovered,
            _lock: lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whose root this is.
    pub fn marker(&self) -> &Marker {
        &self.inner.marker
    }

    /// What was found at the start.
    pub fn scan_report(&self) -> &ScanReport {
        &self.inner.report
    }

    /// How the space stands. Blocks.
    pub fn space(&self) -> Result<SpaceStatus, NoSpace> {
        self.inner.space.status()
    }

    /// Other limits of the space, from now on: the most that replicas may take, and what uploads never take of the file
    /// system. What is there beyond them stays.
    pub fn limit_space(&self, capacity: Option<u64>, reserve_bytes: u64) {
        self.inner.space.set_limits(capacity, reserve_bytes);
    }

    /// How many replicas there are.
    pub fn counts(&self) -> ReplicaCounts {
        self.inner.counts.read()
    }

    /// The file system that the replicas lie in, for the bulk I/O and the cache of their files.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.inner.disk
    }
}

impl Inner {
    fn claims(&self) -> MutexGuard<'_, Claims> {
        // Each change is one insertion or removal.
        self.uploading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("marker", &self.inner.marker)
            .field("space", &self.inner.space)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
