//! A replica that is open for reading, and what can be told of one that is not.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use super::attributes::Attributes;
use super::id::ReplicaId;
pub use super::state::ReplicaState;
use crate::engine::disk::{Disk, File, Metadata, ReadMode};

/// Which bytes these are: as long as this does not change, the file's content has not.
///
/// As text (`Display`) it is a strong entity tag without its quotes (RFC 9110 §8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Number of the file in its file system.
    pub inode: u64,
    /// Length in bytes.
    pub size: u64,
    /// Last change of the bytes.
    pub modified_at: SystemTime,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { inode: metadata.inode, size: metadata.size, modified_at: metadata.modified_at }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let modified = self.modified_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        write!(f, "{:x}-{:x}-{modified:x}", self.inode, self.size)
    }
}

/// What is known of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStat {
    /// Its id.
    pub id: ReplicaId,
    /// Length in bytes.
    pub size: u64,
    /// Bytes on the disk.
    pub allocated: u64,
    /// Which bytes these are.
    pub identity: Identity,
    /// Everything else.
    pub attributes: Attributes,
}

/// An open replica. Whoever holds it can read its bytes, even after it has been deleted.
///
/// All who open the same replica at one time share one of these.
pub struct Replica {
    id: ReplicaId,
    file: File,
    identity: Identity,
    disk: Arc<dyn Disk>,
    /// The second handle, past the page cache; `None` inside where the file system refuses that.
    direct: OnceLock<Option<File>>,
    change: Mutex<Change>,
    readers: Arc<OpenReplicas>,
}

/// What of an open replica can change.
pub(super) struct Change {
    pub attributes: Attributes,
    pub allocated: u64,
    pub deleted: bool,
    pub blocks: Option<Arc<[u32]>>,
}

impl Replica {
    pub(super) fn new(
        id: ReplicaId,
        file: File,
        metadata: &Metadata,
        attributes: Attributes,
        blocks: Option<Arc<[u32]>>,
        disk: Arc<dyn Disk>,
        readers: Arc<OpenReplicas>,
    ) -> Self {
        let change = Mutex::new(Change { attributes, allocated: metadata.allocated, deleted: false, blocks });
        let identity = Identity::of(metadata);
        Self { id, file, identity, disk, direct: OnceLock::new(), change, readers }
    }

    /// Its id.
    pub fn id(&self) -> &ReplicaId {
        &self.id
    }

    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.identity.size
    }

    /// Which bytes these are.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The file, to be read through the page cache.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file, to be read past the page cache; `None` where the file system refuses that. Blocks the first time.
    pub fn direct(&self) -> io::Result<Option<&File>> {
        if let Some(file) = self.direct.get() {
            return Ok(file.as_ref());
        }
        let file = match self.disk.reopen(&self.file, ReadMode::Direct) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => None,
            Err(error) => return Err(error),
        };
        Ok(self.direct.get_or_init(|| file).as_ref())
    }

    /// Its attributes, as they are now.
    pub fn attributes(&self) -> Attributes {
        self.change().attributes.clone()
    }

    /// CRC32C of each of its blocks of 1 MiB, where they are known.
    pub fn blocks(&self) -> Option<Arc<[u32]>> {
        self.change().blocks.clone()
    }

    /// Its state, as it is now.
    pub fn state(&self) -> ReplicaState {
        self.change().attributes.state
    }

    /// Whether it has been deleted since it was opened.
    pub fn is_deleted(&self) -> bool {
        self.change().deleted
    }

    /// All that is known of it.
    pub fn stat(&self) -> ReplicaStat {
        self.stat_of(&self.change())
    }

    pub(super) fn stat_of(&self, change: &Change) -> ReplicaStat {
        ReplicaStat {
            id: self.id.clone(),
            size: self.identity.size,
            allocated: change.allocated,
            identity: self.identity,
            attributes: change.attributes.clone(),
        }
    }

    /// Held while a change is written, so that changes of one replica happen one after the other.
    pub(super) fn change(&self) -> MutexGuard<'_, Change> {
        // What is inside is assigned whole, after the disk has it.
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.readers.forget_closed(&self.id);
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("id", &self.id)
            .field("file", &self.file)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// The replicas that are open now, so that all readers of one share it. As many as there are readers.
#[derive(Default)]
pub(super) struct OpenReplicas {
    by_id: Mutex<HashMap<ReplicaId, Weak<Replica>>>,
}

impl OpenReplicas {
    /// The replica, if somebody has it open.
    pub fn get(&self, id: &ReplicaId) -> Option<Arc<Replica>> {
        self.by_id().get(id)?.upgrade()
    }

    /// How many hold the replica open.
    pub fn count(&self, id: &ReplicaId) -> usize {
        self.by_id().get(id).map_or(0, Weak::strong_count)
    }

    /// Shares a replica that was just opened, unless another thread was faster: then that one's is given back. Asks
    /// `is_current` whether the name still stands for this file, under the lock that `remove` takes after the name is
    /// gone: so a deleted file is never shared.
    pub fn share(
        &self,
        replica: Replica,
        is_current: impl FnOnce(&Replica) -> io::Result<bool>,
    ) -> io::Result<Option<Arc<Replica>>> {
        let replica = Arc::new(replica);
        let mut by_id = self.by_id();
        if let Some(open) = by_id.get(&replica.id).and_then(Weak::upgrade) {
            // Dropping ours takes the lock.
            drop(by_id);
            return Ok(Some(open));
        }
        match is_current(&replica) {
            Ok(true) => {
                by_id.insert(replica.id.clone(), Arc::downgrade(&replica));
                drop(by_id);
                Ok(Some(replica))
            }
            refused => {
                drop(by_id);
                refused.map(|_| None)
            }
        }
    }

    /// Stops sharing a replica whose name is gone.
    pub fn remove(&self, id: &ReplicaId) {
        self.by_id().remove(id);
    }

    fn forget_closed(&self, id: &ReplicaId) {
        let mut by_id = self.by_id();
        if by_id.get(id).is_some_and(|open| open.strong_count() == 0) {
            by_id.remove(id);
        }
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<ReplicaId, Weak<Replica>>> {
        // Each change is one insertion or removal.
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
