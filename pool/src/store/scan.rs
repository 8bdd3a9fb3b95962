//! A walk over all files of a pool: at a start that finds no index, and to make the index anew.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use super::access::read_attributes;
use super::attributes::Attributes;
use super::directories::Directory;
use super::error::StoreError;
use super::id::ReplicaId;
use super::index::{Change, Totals};
use super::layout::{LOST_AND_FOUND, Layout, Shelf};
use super::replica::{Identity, ReplicaStat};
use crate::engine::disk::{Disk, Kind, Metadata, ReadMode, TEMPORARY_PREFIX};

/// Problems that are kept as text; further ones are only counted.
const PROBLEMS_KEPT: usize = 16;

/// What a pool found when it started.
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
    /// Whether every file was looked at, for want of a usable index.
    pub scanned: bool,
    /// Replicas that something was being done to when the pool stopped, and that were therefore looked at.
    pub examined: u64,
}

impl ScanReport {
    pub(super) fn problem(&mut self, path: &Path, what: impl std::fmt::Display) {
        self.problems += 1;
        if self.problem_texts.len() < PROBLEMS_KEPT {
            self.problem_texts.push(format!("{}: {what}", path.display()));
        }
    }
}

/// What a walk meets, in the order in which it comes.
pub(super) trait Visitor {
    /// Whether to go on.
    type Error;

    /// A replica with usable attributes.
    fn replica(&mut self, stat: ReplicaStat) -> Result<(), Self::Error>;

    /// Anything else that is to be known.
    fn change(&mut self, change: Change) -> Result<(), Self::Error>;
}

/// What a file on a shelf is.
pub(super) enum Seen {
    /// A replica.
    Replica(Box<ReplicaStat>),
    /// No usable replica: bytes on the disk, and what is wrong.
    Stranger(u64, String),
    /// It is not there, or not any more.
    Nothing,
}

/// Looks at what lies under one name on a shelf.
pub(super) fn look(disk: &dyn Disk, path: &Path, shelf: Shelf) -> Seen {
    let metadata = match disk.stat(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Seen::Nothing,
        Err(error) => return Seen::Stranger(0, error.to_string()),
    };
    let id = path.file_name().and_then(|name| id_on_shelf(shelf, name));
    let (Kind::File, Some(id)) = (metadata.kind, id) else {
        return Seen::Stranger(metadata.allocated, STRANGER.to_owned());
    };
    match read(disk, path, &id) {
        Ok((metadata, attributes)) => Seen::Replica(Box::new(ReplicaStat {
            size: metadata.size,
            allocated: metadata.allocated,
            identity: Identity::of(&metadata),
            attributes,
            id,
        })),
        Err(error) => Seen::Stranger(metadata.allocated, error.to_string()),
    }
}

/// What is wrong with what nobody of the pool has put there.
pub(super) const STRANGER: &str = "is not the pool's; move it elsewhere";

fn read(disk: &dyn Disk, path: &Path, id: &ReplicaId) -> Result<(Metadata, Attributes), StoreError> {
    let file = disk.open(path, ReadMode::Buffered).map_err(|source| StoreError::Io {
        step: "open the file",
        replica: id.clone(),
        source,
    })?;
    read_attributes(disk, &file, id)
}

/// The path of a file below the data directory, as the index names what is no replica.
pub(super) fn below_data(layout: &Layout, path: &Path) -> String {
    path.strip_prefix(layout.data()).unwrap_or(path).to_string_lossy().into_owned()
}

/// Walks over all files, counts them, and removes what uploads left that were cut short.
pub(super) fn scan<V: Visitor>(
    disk: &dyn Disk,
    layout: &Layout,
    visitor: &mut V,
) -> Result<Scanned, ScanError<V::Error>> {
    let report = ScanReport { scanned: true, ..ScanReport::default() };
    let scanned = Scanned { report, directories: Vec::new(), totals: Totals::default() };
    let mut scan = Scan { disk, layout, scanned, visitor };
    let data = layout.data();
    // What a process left that died may be no further than the page cache; what is found here must stay.
    if let Err(error) = disk.sync_file_system(data) {
        scan.scanned.report.problem(data, format_args!("cannot be made durable: {error}"));
    }
    let pool_error = |source| {
        ScanError::Disk(StoreError::Pool { step: "list the replicas", path: data.to_owned(), source })
    };
    let allocated = disk.stat(data).map_err(pool_error)?.allocated;
    scan.directory(Directory::Data, allocated)?;
    for name in disk.list_dir(data).map_err(pool_error)? {
        scan.first(&data.join(&name), &name)?;
    }
    let mut scanned = scan.scanned;
    scanned.report.used = scanned.totals.used;
    scanned.report.replicas = scanned.totals.counts.all;
    Ok(scanned)
}

/// Why a walk ended early.
pub(super) enum ScanError<E> {
    /// The data directory cannot be read.
    Disk(StoreError),
    /// The visitor wants no more.
    Visitor(E),
}

impl<E> From<E> for ScanError<E> {
    fn from(error: E) -> Self {
        Self::Visitor(error)
    }
}

/// What a walk learns.
pub(super) struct Scanned {
    pub report: ScanReport,
    pub directories: Vec<(Directory, u64)>,
    pub totals: Totals,
}

struct Scan<'a, V> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
    scanned: Scanned,
    visitor: &'a mut V,
}

impl<V: Visitor> Scan<'_, V> {
    fn directory(&mut self, directory: Directory, allocated: u64) -> Result<(), V::Error> {
        self.scanned.totals.more(allocated);
        self.scanned.directories.push((directory, allocated));
        self.visitor.change(Change::Directory(directory, Some(allocated)))
    }

    /// The kind and the allocated bytes of a name; `None`, and a problem noted, where that cannot be told.
    fn look(&mut self, path: &Path) -> Option<(Kind, u64)> {
        match self.disk.stat(path) {
            Ok(metadata) => Some((metadata.kind, metadata.allocated)),
            Err(error) => {
                self.scanned.report.problem(path, error);
                None
            }
        }
    }

    fn list(&mut self, path: &Path) -> Vec<OsString> {
        self.disk.list_dir(path).unwrap_or_else(|error| {
            self.scanned.report.problem(path, error);
            Vec::new()
        })
    }

    fn stranger(&mut self, path: &Path, allocated: u64, why: &str) -> Result<(), V::Error> {
        self.scanned.totals.more(allocated);
        let mut why = why.to_owned();
        if is_lost_and_found(path) {
            why.clear();
        } else {
            self.scanned.report.problem(path, &why);
        }
        self.visitor.change(Change::Stranger(below_data(self.layout, path), Some((allocated, why))))
    }

    fn first(&mut self, path: &Path, name: &OsStr) -> Result<(), V::Error> {
        let Some((kind, allocated)) = self.look(path) else { return Ok(()) };
        let (Kind::Directory, Some(first)) = (kind, hex_byte(name)) else {
            return self.stranger(path, allocated, STRANGER);
        };
        self.directory(Directory::First(first), allocated)?;
        for name in self.list(path) {
            self.shelf(&path.join(&name), first, &name)?;
        }
        Ok(())
    }

    fn shelf(&mut self, path: &Path, first: u8, name: &OsStr) -> Result<(), V::Error> {
        let Some((kind, allocated)) = self.look(path) else { return Ok(()) };
        let (Kind::Directory, Some(second)) = (kind, hex_byte(name)) else {
            return self.stranger(path, allocated, STRANGER);
        };
        let shelf = Shelf(first, second);
        self.directory(Directory::Shelf(shelf), allocated)?;
        for name in self.list(path) {
            self.file(&path.join(&name), shelf, &name)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, shelf: Shelf, name: &OsStr) -> Result<(), V::Error> {
        if is_temporary(name) {
            match self.disk.remove(path) {
                Ok(()) => {
                    self.scanned.report.leftovers_removed += 1;
                    return Ok(());
                }
                // It may be a directory of that name.
                Err(error) => {
                    let allocated = self.look(path).map_or(0, |(_, allocated)| allocated);
                    return self.stranger(path, allocated, &error.to_string());
                }
            }
        }
        match look(self.disk, path, shelf) {
            Seen::Replica(stat) => {
                self.scanned.totals.take_in(&stat);
                self.visitor.replica(*stat)
            }
            Seen::Stranger(allocated, why) => self.stranger(path, allocated, &why),
            Seen::Nothing => Ok(()),
        }
    }
}

/// Whether a path is the file system's own.
pub(super) fn is_lost_and_found(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new(LOST_AND_FOUND))
}

/// Whether a name is one that an upload had for a file that should have none.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes())
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

/// The `limit` smallest ids after `after`, however many there are, from the names of the files: memory for `limit` of
/// them only.
pub(super) fn first_ids(
    disk: &dyn Disk,
    layout: &Layout,
    after: Option<&ReplicaId>,
    limit: usize,
) -> Result<BTreeSet<ReplicaId>, StoreError> {
    let mut chosen = BTreeSet::new();
    if limit == 0 {
        return Ok(chosen);
    }
    for_each_id(disk, layout, |id| {
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

fn for_each_id(disk: &dyn Disk, layout: &Layout, mut visit: impl FnMut(ReplicaId)) -> Result<(), StoreError> {
    let list = |path: PathBuf| match disk.list_dir(&path) {
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
