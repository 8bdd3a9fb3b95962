//! The directories that replicas lie in: made when first needed, made durable once, counted as used space.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::layout::{Layout, Shelf};
use super::space::Space;
use crate::engine::disk::Disk;

/// A directory of the layout. There are at most 65 793, which bounds what is remembered of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Directory {
    /// `data`
    Data,
    /// `data/ab`
    First(u8),
    /// `data/ab/cd`
    Shelf(Shelf),
}

/// All directories of a pool.
pub(super) struct Directories {
    disk: Arc<dyn Disk>,
    layout: Layout,
    space: Space,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Bytes on the disk of each directory that exists.
    sizes: HashMap<Directory, u64>,
    /// Directories whose own name is durable. Empty at every start: a directory that is found may have been made by a
    /// process that died before it had made the name durable.
    durable: HashSet<Directory>,
}

impl Directories {
    /// Begins with the directories that a scan found, whose sizes `space` counts already.
    pub fn new(
        disk: Arc<dyn Disk>,
        layout: Layout,
        space: Space,
        found: impl IntoIterator<Item = (Directory, u64)>,
    ) -> Self {
        let known = Known { sizes: found.into_iter().collect(), ..Known::default() };
        Self { disk, layout, space, known: Mutex::new(known) }
    }

    /// Makes a shelf if it is not there, and tells where it is.
    pub fn make(&self, shelf: Shelf) -> io::Result<PathBuf> {
        let path = self.path(Directory::Shelf(shelf));
        if !self.known().sizes.contains_key(&Directory::Shelf(shelf)) {
            self.disk.create_dir_all(&path)?;
            for directory in [Directory::Shelf(shelf), Directory::First(shelf.0), Directory::Data] {
                self.count(directory)?;
            }
        }
        Ok(path)
    }

    /// Forgets a shelf that somebody removed: the next `make` makes it anew.
    pub fn forget(&self, shelf: Shelf) {
        let mut known = self.known();
        for directory in [Directory::Shelf(shelf), Directory::First(shelf.0)] {
            let size = known.sizes.remove(&directory).unwrap_or(0);
            known.durable.remove(&directory);
            self.space.changed(size, 0);
        }
    }

    /// Makes the names in a shelf durable and, the first time, the name of the shelf and of the directory above.
    pub fn make_durable(&self, shelf: Shelf) -> io::Result<()> {
        self.disk.sync_dir(&self.path(Directory::Shelf(shelf)))?;
        for (directory, parent) in [
            (Directory::Shelf(shelf), Directory::First(shelf.0)),
            (Directory::First(shelf.0), Directory::Data),
        ] {
            // Two uploads may both do this: harmless, and cheaper than one waiting for the other's disk.
            if !self.known().durable.contains(&directory) {
                self.disk.sync_dir(&self.path(parent))?;
                self.known().durable.insert(directory);
            }
        }
        Ok(())
    }

    /// Takes note of a directory's size after names came or went.
    pub fn count(&self, directory: Directory) -> io::Result<()> {
        // Looked at under the lock, so that of two lookers the later writes the later size.
        let mut known = self.known();
        let now = self.disk.stat(&self.path(directory))?.allocated;
        let before = known.sizes.insert(directory, now).unwrap_or(0);
        self.space.changed(before, now);
        Ok(())
    }

    fn path(&self, directory: Directory) -> PathBuf {
        match directory {
            Directory::Data => self.layout.data().to_owned(),
            Directory::First(first) => self.layout.first(first),
            Directory::Shelf(shelf) => self.layout.shelf(shelf),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one insertion or removal.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
