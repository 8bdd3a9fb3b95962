//! Opening, describing, changing and deleting replicas that are there.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::Store;
use super::attributes::{ATTRIBUTE_NAME, Attributes, InvalidAttributes};
use super::directories::Directory;
use super::error::StoreError;
use super::id::ReplicaId;
use super::layout::Shelf;
use super::replica::{Change, Replica, ReplicaStat, ReplicaState};
use super::upload::Stage;
use crate::engine::disk::{Disk, File, Kind, Metadata, ReadMode};

/// Reads what is known of an open file, and holds it against the file.
pub(super) fn read_attributes(
    disk: &dyn Disk,
    file: &File,
    id: &ReplicaId,
) -> Result<(Metadata, Attributes), StoreError> {
    let io_error = |step| move |source| StoreError::Io { step, replica: id.clone(), source };
    let invalid = |source| StoreError::Attributes { replica: id.clone(), source };
    let line = disk.attribute(file, ATTRIBUTE_NAME).map_err(io_error("read the attributes"))?;
    let line = line.ok_or_else(|| invalid(InvalidAttributes::Absent))?;
    let attributes = Attributes::parse(&line).map_err(invalid)?;
    let metadata = disk.metadata(file).map_err(io_error("read the size"))?;
    if metadata.size != attributes.size {
        return Err(StoreError::WrongLength {
            replica: id.clone(),
            recorded: attributes.size,
            found: metadata.size,
        });
    }
    Ok((metadata, attributes))
}

impl Store {
    /// Opens a replica of whatever state: whether it may be served is for the caller to judge. Blocks.
    pub fn open(&self, id: &ReplicaId) -> Result<Arc<Replica>, StoreError> {
        let inner = &self.inner;
        if let Some(replica) = inner.open.get(id) {
            return Ok(replica);
        }
        let path = inner.layout.replica(id);
        let file = inner
            .disk
            .open(&path, ReadMode::Buffered)
            .map_err(|source| missing_or(id, "open the file", source))?;
        let (metadata, attributes) = read_attributes(&*inner.disk, &file, id)?;
        if metadata.kind != Kind::File {
            return Err(StoreError::NotFound { replica: id.clone() });
        }
        let replica = Replica::new(
            id.clone(),
            file,
            &metadata,
            attributes,
            inner.blocks().get(id).cloned(),
            inner.disk.clone(),
            inner.open.clone(),
        );
        let is_current = |replica: &Replica| {
            // In this order: what has its name and no longer a claim, has been made durable.
            let found = inner.disk.stat(&path)?;
            let naming = inner.claims().get(id) == Some(&Stage::Naming);
            Ok(found.inode == replica.identity().inode && !naming)
        };
        let shared = inner
            .open
            .share(replica, is_current)
            .map_err(|source| missing_or(id, "look at the file", source))?;
        shared.ok_or_else(|| StoreError::NotFound { replica: id.clone() })
    }

    /// What is known of a replica. Blocks.
    pub fn stat(&self, id: &ReplicaId) -> Result<ReplicaStat, StoreError> {
        Ok(self.open(id)?.stat())
    }

    /// How many read a replica now.
    pub fn readers(&self, id: &ReplicaId) -> usize {
        self.inner.open.count(id)
    }

    /// Deletes a replica, durably. Those who have it open read on; its space counts as free at once. Blocks.
    pub fn delete(&self, id: &ReplicaId) -> Result<(), StoreError> {
        match self.open(id) {
            Ok(replica) => {
                let mut change = replica.change();
                if change.deleted {
                    return Err(StoreError::NotFound { replica: id.clone() });
                }
                self.remove_file(id, change.allocated, || change.deleted = true)?;
                self.inner.counts.remove(change.attributes.state);
            }
            // Nobody can serve it, so nobody holds it: it can go without being opened.
            Err(StoreError::Attributes { .. } | StoreError::WrongLength { .. }) => {
                let path = self.inner.layout.replica(id);
                let metadata = self
                    .inner
                    .disk
                    .stat(&path)
                    .map_err(|source| missing_or(id, "look at the file", source))?;
                self.remove_file(id, metadata.allocated, || ())?;
            }
            Err(error) => return Err(error),
        }
        let shelf = Shelf::of(id);
        self.inner
            .disk
            .sync_dir(&self.inner.layout.shelf(shelf))
            .map_err(|source| io_error(id, "make the removal durable", source))?;
        // Should this fail, the directory's own few blocks are counted wrong until the next change of it.
        let _ = self.inner.directories.count(Directory::Shelf(shelf));
        Ok(())
    }

    /// Removes the name and what hangs on it in memory.
    fn remove_file(&self, id: &ReplicaId, allocated: u64, removed: impl FnOnce()) -> Result<(), StoreError> {
        let path = self.inner.layout.replica(id);
        self.inner.disk.remove(&path).map_err(|source| missing_or(id, "remove the file", source))?;
        removed();
        self.inner.open.remove(id);
        self.inner.blocks().remove(id);
        self.inner.space.changed(allocated, 0);
        Ok(())
    }

    /// Adds checksums that were computed of the whole replica, durably. One that is recorded already must be equal.
    /// Blocks.
    pub fn set_checksums(
        &self,
        id: &ReplicaId,
        checksums: &BTreeMap<String, String>,
    ) -> Result<ReplicaStat, StoreError> {
        self.change(id, |attributes| {
            for (algorithm, computed) in checksums {
                match attributes.checksums.get(algorithm) {
                    Some(recorded) if recorded != computed => {
                        return Err(StoreError::ChecksumDiffers {
                            replica: id.clone(),
                            algorithm: algorithm.clone(),
                            recorded: recorded.clone(),
                            computed: computed.clone(),
                        });
                    }
                    _ => attributes.checksums.insert(algorithm.clone(), computed.clone()),
                };
            }
            Ok(())
        })
    }

    /// Keeps the CRC32C of each block of 1 MiB, of a replica that was just found to be as it was stored. Blocks.
    pub fn set_blocks(&self, id: &ReplicaId, blocks: Vec<u32>) -> Result<(), StoreError> {
        let replica = self.open(id)?;
        let blocks: Arc<[u32]> = blocks.into();
        self.inner.blocks().insert(id.clone(), blocks.clone());
        replica.change().blocks = Some(blocks);
        Ok(())
    }

    /// Gives a replica another state, durably, with the reason where it becomes broken. Blocks.
    pub fn set_state(
        &self,
        id: &ReplicaId,
        state: ReplicaState,
        broken_because: Option<&str>,
    ) -> Result<ReplicaStat, StoreError> {
        self.change(id, |attributes| {
            let from = attributes.state;
            if !from.may_become(state) {
                return Err(StoreError::State { replica: id.clone(), from, to: state });
            }
            attributes.state = state;
            attributes.broken_because = broken_because.map(str::to_owned);
            Ok(())
        })
    }

    /// Rewrites the attributes: on the disk first, then for those who have the replica open.
    fn change(
        &self,
        id: &ReplicaId,
        edit: impl FnOnce(&mut Attributes) -> Result<(), StoreError>,
    ) -> Result<ReplicaStat, StoreError> {
        let replica = self.open(id)?;
        let mut change = replica.change();
        if change.deleted {
            return Err(StoreError::NotFound { replica: id.clone() });
        }
        let mut attributes = change.attributes.clone();
        edit(&mut attributes)?;
        attributes.fit();
        if attributes != change.attributes {
            let line = attributes
                .checked_line()
                .map_err(|source| StoreError::Attributes { replica: id.clone(), source })?;
            let allocated = self
                .write_attributes(&replica, &line)
                .map_err(|source| io_error(id, "write the attributes", source))?;
            self.inner.space.changed(change.allocated, allocated);
            self.inner.counts.remove(change.attributes.state);
            self.inner.counts.add(attributes.state);
            *change = Change { attributes, allocated, deleted: false, blocks: change.blocks.clone() };
        }
        drop(change);
        Ok(replica.stat())
    }

    fn write_attributes(&self, replica: &Replica, line: &str) -> io::Result<u64> {
        let disk = &self.inner.disk;
        disk.set_attribute(replica.file(), ATTRIBUTE_NAME, line.as_bytes())?;
        disk.sync_all(replica.file())?;
        Ok(disk.metadata(replica.file())?.allocated)
    }
}

pub(super) fn io_error(id: &ReplicaId, step: &'static str, source: io::Error) -> StoreError {
    StoreError::Io { step, replica: id.clone(), source }
}

fn missing_or(id: &ReplicaId, step: &'static str, source: io::Error) -> StoreError {
    match source.kind() {
        io::ErrorKind::NotFound => StoreError::NotFound { replica: id.clone() },
        _ => io_error(id, step, source),
    }
}
