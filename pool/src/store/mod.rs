//! Replicas on the disk: where they lie, how one comes to be there whole or not at all, what it is, and the space.
//!
//! A replica is a plain file; what else is known of it is in one extended attribute of that file, which is the truth
//! ([`attributes`]). An upload writes a file without a name and gives it its name when all of it is durable
//! ([`upload`]); so a crash at any point leaves a whole replica or nothing. Nothing is ever overwritten.
//!
//! All functions here block: they run on blocking threads, never on a shard. Bulk bytes do not pass through here; the
//! shards' rings move them between the files' numbers and the network.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

pub mod attributes;
pub mod error;
pub mod id;
pub mod interchange;
pub mod layout;
pub mod replica;
pub mod scan;
pub mod space;
pub mod upload;

mod access;
mod directories;
mod state;

pub use attributes::Attributes;
pub use error::{StoreError, http_status_of, is_disk_error};
pub use id::{InvalidReplicaId, ReplicaId};
pub use layout::{Marker, RootError};
pub use replica::{Identity, Replica, ReplicaStat, ReplicaState};
pub use scan::{Page, ScanReport};
pub use space::{NoSpace, SpaceStatus};
pub use upload::{Admission, Commit, Upload, UploadSpec};

use self::directories::Directories;
use self::layout::{Layout, Root};
use self::replica::OpenReplicas;
use self::space::Space;
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

/// How many replicas there are, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaCounts {
    /// All of them.
    pub all: u64,
    /// Of these, broken ones.
    pub broken: u64,
    /// Of these, orphaned ones.
    pub orphaned: u64,
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
    open: Arc<OpenReplicas>,
    /// Ids that an upload has claimed; bounded by the number of transfers.
    uploading: Mutex<Claims>,
    blocks: Mutex<HashMap<ReplicaId, Arc<[u32]>>>,
    counts: Counts,
    max_file_size: Option<u64>,
    direct: bool,
    report: ScanReport,
    /// Held, not used.
    _lock: File,
}

impl Store {
    /// Takes a root into use, making it at the first start, and looks at all that is in it. Blocks.
    pub fn open_root(disk: Arc<dyn Disk>, config: &StoreConfig) -> Result<Self, OpenError> {
        let Root { layout, marker, lock } = Root::open(&disk, &config.root, &config.pool_name)?;
        let scan::Scanned { report, directories, counts } = scan::scan(&*disk, &layout)?;
        let space = Space::new(
            disk.clone(),
            &config.pool_name,
            layout.data(),
            config.capacity,
            config.reserve_bytes,
            report.used,
        );
        let directories = Directories::new(disk.clone(), layout.clone(), space.clone(), directories);
        let inner = Inner {
            disk,
            layout,
            marker,
            space,
            directories,
            open: Arc::default(),
            uploading: Mutex::default(),
            blocks: Mutex::default(),
            counts,
            max_file_size: config.max_file_size,
            direct: config.direct,
            report,
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
    fn blocks(&self) -> MutexGuard<'_, HashMap<ReplicaId, Arc<[u32]>>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

/// Replicas by state, counted as they come and go.
#[derive(Debug, Default)]
struct Counts {
    all: AtomicU64,
    broken: AtomicU64,
    orphaned: AtomicU64,
}

impl Counts {
    fn of(&self, state: ReplicaState) -> Option<&AtomicU64> {
        match state {
            ReplicaState::Broken => Some(&self.broken),
            ReplicaState::Orphaned => Some(&self.orphaned),
            ReplicaState::Uploading | ReplicaState::Ready | ReplicaState::Removing => None,
        }
    }

    fn add(&self, state: ReplicaState) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if let Some(count) = self.of(state) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn remove(&self, state: ReplicaState) {
        for count in [Some(&self.all), self.of(state)].into_iter().flatten() {
            // Never below none, should somebody have changed files behind our back.
            let less = |count: u64| Some(count.saturating_sub(1));
            let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    fn read(&self) -> ReplicaCounts {
        ReplicaCounts {
            all: self.all.load(Ordering::Relaxed),
            broken: self.broken.load(Ordering::Relaxed),
            orphaned: self.orphaned.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests;
