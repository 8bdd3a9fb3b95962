//! Making a replica of a file that is there already.

use std::io;
use std::path::Path;

use super::super::Store;
use super::super::access::io_error;
use super::super::attributes::{ATTRIBUTE_NAME, Attributes};
use super::super::directories::Directory;
use super::super::error::StoreError;
use super::super::id::ReplicaId;
use super::super::index::{Change, Intent, Record};
use super::super::interchange;
use super::super::layout::Shelf;
use super::super::replica::{Identity, ReplicaStat};
use crate::engine::disk::File;

/// A name that a file has for a moment, to see whether it can.
const PROBE_NAME: &str = "import-probe";

impl Store {
    /// Gives a file of the same file system a second name as a replica, with its attributes. The file's first name and
    /// bytes stay as they are. Blocks.
    pub(super) fn adopt_file(
        &self,
        id: &ReplicaId,
        file: &File,
        attributes: Attributes,
        blocks: Vec<u32>,
    ) -> Result<ReplicaStat, StoreError> {
        let inner = &self.inner;
        let line = attributes
            .checked_line()
            .map_err(|source| StoreError::Attributes { replica: id.clone(), source })?;
        // Not an upload's: no door waits for a result.
        let ticket = inner.index.submit_soon([Change::Intend(id.clone(), Intent::Change)]);
        inner
            .index
            .wait(ticket)
            .map_err(|because| StoreError::Index { step: "begin to adopt a file", because })?;
        let failed = |step| move |source| io_error(id, step, source);
        let shelf = inner.directories.make(Shelf::of(id)).map_err(failed("make the directory"))?;
        let disk = &*inner.disk;
        disk.set_attribute(file, ATTRIBUTE_NAME, line.as_bytes()).map_err(failed("write the attributes"))?;
        let adler32 = attributes.checksums.get("adler32").and_then(|hex| u32::from_str_radix(hex, 16).ok());
        if let Some(adler32) = adler32 {
            interchange::write_adler32(disk, file, adler32)
                .map_err(failed("write the attributes for other systems"))?;
        }
        disk.sync_all(file).map_err(failed("make the bytes durable"))?;
        disk.link(file, &shelf.join(id.as_str())).map_err(failed("name the file"))?;
        inner.directories.make_durable(Shelf::of(id)).map_err(failed("make the name durable"))?;
        let metadata = disk.metadata(file).map_err(failed("read the size"))?;
        let stat = ReplicaStat {
            id: id.clone(),
            size: metadata.size,
            allocated: metadata.allocated,
            identity: Identity::of(&metadata),
            attributes,
        };
        let mut changes = vec![Change::Record(id.clone(), Record::of(&stat))];
        if !blocks.is_empty() {
            changes.push(Change::Blocks(id.clone(), blocks.into()));
        }
        // Should this fail, the directory's own few blocks are counted wrong until the next change of it.
        let _ = inner.directories.count(Directory::Shelf(Shelf::of(id)));
        changes.push(Change::Settle(id.clone(), Intent::Change));
        inner.index.submit(changes);
        inner.counts.add(&stat.attributes);
        inner.space.changed(0, stat.allocated);
        Ok(stat)
    }

    /// Whether a file can have a second name in the pool; an error is the file system's answer. Blocks.
    pub(super) fn try_second_name(&self, file: &File) -> io::Result<()> {
        let (disk, probe) = (&self.inner.disk, self.inner.layout.root().join(PROBE_NAME));
        // An import that was cut short may have left it.
        match disk.remove(&probe) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        disk.link(file, &probe)?;
        disk.remove(&probe)
    }

    /// Takes the first name of an adopted file away, if it still is that file's.
    pub(super) fn remove_first_name(&self, path: &Path, inode: u64) -> io::Result<()> {
        let disk = &*self.inner.disk;
        if disk.stat(path)?.inode != inode {
            return Err(io::Error::other("another file has its name now"));
        }
        disk.remove(path)?;
        match path.parent() {
            Some(parent) => disk.sync_dir(parent),
            None => Ok(()),
        }
    }
}
