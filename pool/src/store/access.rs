//! Opening, describing, changing and deleting replicas that are there.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use super::Store;
use super::attributes::{ATTRIBUTE_NAME, Attributes, InvalidAttributes};
use super::directories::Directory;
use super::error::StoreError;
use super::id::ReplicaId;
use super::index::{Change, Intent, Record};
use super::layout::Shelf;
use super::replica::{Change as ReplicaChange, Replica, ReplicaStat, ReplicaState};
use super::scan::below_data;
use super::upload::{Stage, block_count};
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
            inner.index.blocks(id).filter(|blocks| blocks.len() as u64 == block_count(metadata.size)),
            inner.disk.clone(),
            inner.open.clone(),
        );
        let is_current = |replica: &Replica| {
            // In this order: what has its name and no longer a claim, has been made durable.
            let found = inner.disk.stat(&path)?;
            let naming = inner.claims().get(id).is_some_and(|uploading| uploading.stage == Stage::Naming);
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

    /// Deletes a replica, durably. Those who have it open read on; its space counts as free at once. Once begun, a
    /// removal that a crash cuts short is brought to its end by the next start. Blocks.
    pub fn delete(&self, id: &ReplicaId) -> Result<(), StoreError> {
        match self.open(id) {
            Ok(replica) => {
                let mut change = replica.change();
                if change.deleted {
                    return Err(StoreError::NotFound { replica: id.clone() });
                }
                let state = change.attributes.state;
                if !state.may_become(ReplicaState::Removing) {
                    let to = ReplicaState::Removing;
                    return Err(StoreError::State { replica: id.clone(), from: state, to });
                }
                self.intend(id, Intent::Removal)?;
                let mut counted = change.attributes.clone();
                change.attributes.state = ReplicaState::Removing;
                if let Err(error) = self.remove_file(id, change.allocated) {
                    counted.state = state;
                    change.attributes.state = state;
                    self.settle(id, Intent::Removal);
                    return Err(error);
                }
                change.deleted = true;
                self.inner.open.remove(id);
                self.inner.counts.remove(&counted);
            }
            // Nobody can serve it, so nobody holds it: it can go without being opened.
            Err(StoreError::Attributes { .. } | StoreError::WrongLength { .. }) => {
                let path = self.inner.layout.replica(id);
                let metadata = self
                    .inner
                    .disk
                    .stat(&path)
                    .map_err(|source| missing_or(id, "look at the file", source))?;
                self.intend(id, Intent::Removal)?;
                if let Err(error) = self.remove_file(id, metadata.allocated) {
                    self.settle(id, Intent::Removal);
                    return Err(error);
                }
                let name = below_data(&self.inner.layout, &path);
                self.inner.index.submit([Change::Stranger(name, None)]);
            }
            Err(error) => return Err(error),
        }
        self.inner.index.submit([Change::Forget(id.clone())]);
        let shelf = Shelf::of(id);
        // Should this fail, the directory's own few blocks are counted wrong until the next change of it.
        let _ = self.inner.directories.count(Directory::Shelf(shelf));
        self.inner
            .disk
            .sync_dir(&self.inner.layout.shelf(shelf))
            // What the disk has is not known: the intent stays, so that the next start looks.
            .map_err(|source| io_error(id, "make the removal durable", source))?;
        self.settle(id, Intent::Removal);
        Ok(())
    }

    /// Removes the name.
    fn remove_file(&self, id: &ReplicaId, allocated: u64) -> Result<(), StoreError> {
        let path = self.inner.layout.replica(id);
        self.inner.disk.remove(&path).map_err(|source| missing_or(id, "remove the file", source))?;
        self.inner.space.changed(allocated, 0);
        Ok(())
    }

    /// What is about to be done is durable in the index before it is done. Blocks.
    fn intend(&self, id: &ReplicaId, intent: Intent) -> Result<(), StoreError> {
        let ticket = self.inner.index.submit_soon([Change::Intend(id.clone(), intent)]);
        let step = "begin a change of a replica";
        self.inner.index.wait(ticket).map_err(|because| StoreError::Index { step, because })
    }

    /// It has been done.
    fn settle(&self, id: &ReplicaId, intent: Intent) {
        self.inner.index.submit([Change::Settle(id.clone(), intent)]);
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

    /// Keeps the CRC32C of each block of 1 MiB, of a replica that was just found to be as it was stored. A crash soon
    /// after may lose them. Blocks.
    pub fn set_blocks(&self, id: &ReplicaId, blocks: Vec<u32>) -> Result<(), StoreError> {
        let replica = self.open(id)?;
        let (expected, given) = (block_count(replica.size()), blocks.len() as u64);
        if expected != given {
            return Err(StoreError::BlockCount { replica: id.clone(), blocks: expected, given });
        }
        let blocks: Arc<[u32]> = blocks.into();
        let mut change = replica.change();
        if change.deleted {
            return Err(StoreError::NotFound { replica: id.clone() });
        }
        if given > 0 {
            self.inner.index.submit([Change::Blocks(id.clone(), blocks.clone())]);
        }
        change.blocks = Some(blocks);
        Ok(())
    }

    /// Makes a replica broken, durably, whoever reads it now. One that is so already keeps its reason; one that is
    /// being removed is left alone. Blocks.
    pub fn mark_broken(&self, id: &ReplicaId, because: &str) -> Result<ReplicaStat, StoreError> {
        self.change(id, |attributes| {
            if attributes.state.may_become(ReplicaState::Broken) {
                attributes.state = ReplicaState::Broken;
                attributes.broken_because = Some(because.to_owned());
            }
            Ok(())
        })
    }

    /// Takes note, durably, that a replica should be looked at soon. The first reason stays. Blocks.
    pub fn mark_suspect(&self, id: &ReplicaId, because: &str) -> Result<ReplicaStat, StoreError> {
        self.change(id, |attributes| {
            attributes.suspect_because.get_or_insert_with(|| because.to_owned());
            Ok(())
        })
    }

    /// Takes note, durably, that the whole replica was compared with its checksums and found good. Blocks.
    pub fn set_verified(&self, id: &ReplicaId, at: Timestamp) -> Result<ReplicaStat, StoreError> {
        self.change(id, |attributes| {
            attributes.verified_at = Some(at);
            attributes.suspect_because = None;
            Ok(())
        })
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
            self.intend(id, Intent::Change)?;
            let allocated = self.write_attributes(&replica, &line).map_err(|source| {
                // What the disk has is not known now: the intent stays, so that the next start looks. Until then the
                // file shall say what was said before, if it can be made to.
                let before = change.attributes.format();
                let _ = self.inner.disk.set_attribute(replica.file(), ATTRIBUTE_NAME, before.as_bytes());
                io_error(id, "write the attributes", source)
            })?;
            self.inner.space.changed(change.allocated, allocated);
            self.inner.counts.remove(&change.attributes);
            self.inner.counts.add(&attributes);
            *change = ReplicaChange { attributes, allocated, deleted: false, blocks: change.blocks.clone() };
            let record = Change::Record(id.clone(), Record::of(&replica.stat_of(&change)));
            self.inner.index.submit([record, Change::Settle(id.clone(), Intent::Change)]);
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
