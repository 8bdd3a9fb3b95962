//! The directories that replicas lie in: made when first needed, made durable once, counted as used space.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::index::{Change, Index};
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

impl Directory {
    /// The shelf, and the two above it.
    pub fn of_shelf(shelf: Shelf) -> [Self; 3] {
        [Self::Shelf(shelf), Self::First(shelf.0), Self::Data]
    }

    /// Its number in the index.
    pub fn number(self) -> u32 {
        match self {
            Self::Data => 0,
            Self::First(first) => 0x100 | u32::from(first),
            Self::Shelf(Shelf(first, second)) => u32::from_be_bytes([0, 1, first, second]),
        }
    }

    /// The directory of a number.
    pub fn from_number(number: u32) -> Option<Self> {
        match number.to_be_bytes() {
            [0, 0, 0, 0] => Some(Self::Data),
            [0, 0, 1, first] => Some(Self::First(first)),
            [0, 1, first, second] => Some(Self::Shelf(Shelf(first, second))),
            _ => None,
        }
    }

    /// Where it is.
    pub fn path(self, layout: &Layout) -> PathBuf {
        match self {
            Self::Data => layout.data().to_owned(),
            Self::First(first) => layout.first(first),
            Self::Shelf(shelf) => layout.shelf(shelf),
        }
    }
}

/// All directories of a pool.
pub(super) struct Directories {
    disk: Arc<dyn Disk>,
    layout: Layout,
    space: Space,
    index: Arc<Index>,
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
        index: Arc<Index>,
        found: impl IntoIterator<Item = (Directory, u64)>,
    ) -> Self {
        let known = Known { sizes: found.into_iter().collect(), ..Known::default() };
        Self { disk, layout, space, index, known: Mutex::new(known) }
    }

    /// Whether a shelf is known to be there.
    pub fn has(&self, shelf: Shelf) -> bool {
        self.known().sizes.contains_key(&Directory::Shelf(shelf))
    }

    /// Makes a shelf if it is not there, durably, and tells where it is.
    pub fn make(&self, shelf: Shelf) -> io::Result<PathBuf> {
        let path = self.path(Directory::Shelf(shelf));
        if !self.has(shelf) {
            self.disk.create_dir_all(&path)?;
            for directory in Directory::of_shelf(shelf) {
                self.count(directory)?;
            }
            self.make_names_durable(shelf)?;
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
            self.index.submit([Change::Directory(directory, None)]);
        }
    }

    /// Makes the names in a shelf durable and, the first time, the name of the shelf and of the directory above.
    pub fn make_durable(&self, shelf: Shelf) -> io::Result<()> {
        self.disk.sync_dir(&self.path(Directory::Shelf(shelf)))?;
        self.make_names_durable(shelf)
    }

    fn make_names_durable(&self, shelf: Shelf) -> io::Result<()> {
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
        if before != now {
            self.index.submit([Change::Directory(directory, Some(now))]);
        }
        Ok(())
    }

    fn path(&self, directory: Directory) -> PathBuf {
        directory.path(&self.layout)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is one insertion or removal.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_has_a_number_of_its_own_and_is_found_by_it() {
        let mut all = vec![Directory::Data];
        for first in 0..=255 {
            all.push(Directory::First(first));
            all.extend((0..=255).map(|second| Directory::Shelf(Shelf(first, second))));
        }
        let numbers: HashSet<u32> = all.iter().map(|directory| directory.number()).collect();
        assert_eq!(numbers.len(), all.len());
        for directory in all {
            assert_eq!(Directory::from_number(directory.number()), Some(directory));
        }
        for number in [1, 0xff, 0x200, 0x2_0000, u32::MAX] {
            assert_eq!(Directory::from_number(number), None, "{number:#x}");
        }
    }
}
