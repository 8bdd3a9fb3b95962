//! A walk over all files of a pool: at the start, to learn what is there and how much; later, to list replicas.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::access::read_attributes;
use super::directories::Directory;
use super::error::StoreError;
use super::id::ReplicaId;
use super::layout::{LOST_AND_FOUND, Layout, Shelf};
use super::replica::{ReplicaStat, ReplicaState};
use super::{Counts, Store};
use crate::engine::disk::{Disk, Kind, ReadMode, TEMPORARY_PREFIX};

/// Problems of a scan that are kept as text; further ones are only counted.
const PROBLEMS_KEPT: usize = 16;

/// What a scan found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScanReport {
    /// Replicas with usable attributes.
    pub replicas: u64,
    /// Bytes on the disk of everything below the data directory, as `du` counts them.
    pub used: u64,
    /// What uploads left that were cut short, now removed.
    pub leftovers_removed: u64,
    /// Files and directories that are not as they should be: strangers, unreadable ones, replicas without attributes.
    pub problems: u64,
    /// The first of the problems, one line each.
    pub problem_texts: Vec<String>,
}

impl ScanReport {
    fn problem(&mut self, path: &Path, what: impl std::fmt::Display) {
        self.problems += 1;
        if self.problem_texts.len() < PROBLEMS_KEPT {
            self.problem_texts.push(format!("{}: {what}", path.display()));
        }
    }
}

/// Replicas in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most as many as were asked for.
    pub replicas: Vec<ReplicaStat>,
    /// Where to go on; `None` after the last page.
    pub next: Option<ReplicaId>,
}

/// What a scan learns for those who use the pool.
pub(super) struct Scanned {
    pub report: ScanReport,
    pub directories: Vec<(Directory, u64)>,
    pub counts: Counts,
}

/// Walks over all files, counts them, and removes what uploads left that were cut short.
pub(super) fn scan(disk: &dyn Disk, layout: &Layout) -> Result<Scanned, StoreError> {
    let mut scan = Scan {
        disk,
        layout,
        report: ScanReport::default(),
        directories: Vec::new(),
        counts: Counts::default(),
    };
    let data = layout.data();
    let pool_error = |source| StoreError::Pool { step: "list the replicas", path: data.to_owned(), source };
    let allocated = disk.stat(data).map_err(pool_error)?.allocated;
    scan.directory(Directory::Data, allocated);
    let names = disk.list_dir(data).map_err(pool_error)?;
    for name in names {
        scan.first(&data.join(&name), &name);
    }
    Ok(Scanned { report: scan.report, directories: scan.directories, counts: scan.counts })
}

struct Scan<'a> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
    report: ScanReport,
    directories: Vec<(Directory, u64)>,
    counts: Counts,
}

impl Scan<'_> {
    fn directory(&mut self, directory: Directory, allocated: u64) {
        self.report.used += allocated;
        self.directories.push((directory, allocated));
    }

    /// The kind and the allocated bytes of a name; `None`, and a problem noted, where that cannot be told.
    fn look(&mut self, path: &Path) -> Option<(Kind, u64)> {
        match self.disk.stat(path) {
            Ok(metadata) => Some((metadata.kind, metadata.allocated)),
            Err(error) => {
                self.report.problem(path, error);
                None
            }
        }
    }

    fn list(&mut self, path: &Path) -> Vec<std::ffi::OsString> {
        self.disk.list_dir(path).unwrap_or_else(|error| {
            self.report.problem(path, error);
            Vec::new()
        })
    }

    fn stranger(&mut self, path: &Path, allocated: u64) {
        self.report.used += allocated;
        if path.file_name() != Some(OsStr::new(LOST_AND_FOUND)) {
            self.report.problem(path, "is not the pool's; move it elsewhere");
        }
    }

    fn first(&mut self, path: &Path, name: &OsStr) {
        let Some((kind, allocated)) = self.look(path) else { return };
        let (Kind::Directory, Some(first)) = (kind, hex_byte(name)) else {
            return self.stranger(path, allocated);
        };
        self.directory(Directory::First(first), allocated);
        for name in self.list(path) {
            self.shelf(&path.join(&name), first, &name);
        }
    }

    fn shelf(&mut self, path: &Path, first: u8, name: &OsStr) {
        let Some((kind, allocated)) = self.look(path) else { return };
        let (Kind::Directory, Some(second)) = (kind, hex_byte(name)) else {
            return self.stranger(path, allocated);
        };
        let shelf = Shelf(first, second);
        self.directory(Directory::Shelf(shelf), allocated);
        for name in self.list(path) {
            self.file(&path.join(&name), shelf, &name);
        }
    }

    fn file(&mut self, path: &Path, shelf: Shelf, name: &OsStr) {
        let Some((kind, allocated)) = self.look(path) else { return };
        if kind == Kind::File && name.as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes()) {
            match self.disk.remove(path) {
                Ok(()) => self.report.leftovers_removed += 1,
                Err(error) => {
                    self.report.used += allocated;
                    self.report.problem(path, error);
                }
            }
            return;
        }
        let (Kind::File, Some(id)) = (kind, id_on_shelf(shelf, name)) else {
            return self.stranger(path, allocated);
        };
        self.report.used += allocated;
        match self.state(&id) {
            Ok(state) => {
                self.report.replicas += 1;
                self.counts.add(state);
            }
            Err(error) => self.report.problem(path, error),
        }
    }

    fn state(&self, id: &ReplicaId) -> Result<ReplicaState, StoreError> {
        let path = self.layout.replica(id);
        let file = self.disk.open(&path, ReadMode::Buffered).map_err(|source| StoreError::Io {
            step: "open the file",
            replica: id.clone(),
            source,
        })?;
        Ok(read_attributes(self.disk, &file, id)?.1.state)
    }
}

/// A name of exactly two lower-case hex digits.
fn hex_byte(name: &OsStr) -> Option<u8> {
    let text = name.to_str()?;
    let byte = u8::from_str_radix(text, 16).ok()?;
    (format!("{byte:02x}") == text).then_some(byte)
}

/// The id that a name stands for, if its replica belongs on that shelf.
fn id_on_shelf(shelf: Shelf, name: &OsStr) -> Option<ReplicaId> {
    ReplicaId::new(name.to_str()?).ok().filter(|id| Shelf::of(id) == shelf)
}

impl Store {
    /// Replicas in the order of their ids: the first `limit` after `after`. Blocks.
    ///
    /// Walks over all names; a name that comes or goes meanwhile may be in the page or not. Replicas without usable
    /// attributes are left out (they are in the report of the scan).
    pub fn list(&self, after: Option<&ReplicaId>, limit: usize) -> Result<Page, StoreError> {
        let chosen = self.first_ids(after, limit)?;
        let next = if chosen.len() == limit { chosen.last().cloned() } else { None };
        let mut replicas = Vec::with_capacity(chosen.len());
        for id in &chosen {
            match self.stat(id) {
                Ok(stat) => replicas.push(stat),
                Err(StoreError::NotFound { .. } | StoreError::Attributes { .. }) => {}
                Err(StoreError::WrongLength { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Page { replicas, next })
    }

    /// The `limit` smallest ids after `after`, however many there are: memory for `limit` of them only.
    fn first_ids(&self, after: Option<&ReplicaId>, limit: usize) -> Result<BTreeSet<ReplicaId>, StoreError> {
        let mut chosen = BTreeSet::new();
        if limit == 0 {
            return Ok(chosen);
        }
        self.for_each_id(|id| {
            if after.is_some_and(|after| id <= *after) {
                return;
            }
            if chosen.len() < limit {
                chosen.insert(id);
            } else if chosen.last().is_some_and(|last| id < *last) {
                chosen.insert(id);
                chosen.pop_last();
            }
        })?;
        Ok(chosen)
    }

    fn for_each_id(&self, mut visit: impl FnMut(ReplicaId)) -> Result<(), StoreError> {
        let layout = &self.inner.layout;
        let list = |path: PathBuf| match self.inner.disk.list_dir(&path) {
            Ok(names) => Ok(names),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Vec::new())
            }
            Err(source) => Err(StoreError::Pool { step: "list the replicas", path, source }),
        };
        for first in list(layout.data().to_owned())?.iter().filter_map(|name| hex_byte(name)) {
            for second in list(layout.first(first))?.iter().filter_map(|name| hex_byte(name)) {
                let shelf = Shelf(first, second);
                for name in list(layout.shelf(shelf))? {
                    if let Some(id) = id_on_shelf(shelf, &name) {
                        visit(id);
                    }
                }
            }
        }
        Ok(())
    }
}
