//! The start of a store: from the index where there is one, else from the files.
//!
//! With an index no file is touched but those that something was being done to when the pool stopped: they are what
//! they are, and the index learns it. Whatever is found there is made durable first: the process that died may have
//! gone no further than the page cache.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::directories::Directory;
use super::error::StoreError;
use super::id::ReplicaId;
use super::index::{self, Broken, Building, Change, Content, Found, Index, Intent, Record, Totals};
use super::layout::{Layout, Shelf};
use super::replica::ReplicaStat;
use super::scan::{self, ScanError, ScanReport, Scanned, Seen, Visitor, below_data, is_temporary, look};
use crate::engine::disk::{Disk, ReadMode};

/// An upload whose replica is whole, and whose result was not kept before the pool stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredUpload {
    /// The transfer that brought it.
    pub transfer: String,
    /// The replica.
    pub replica: ReplicaId,
    /// What is known of it.
    pub stat: ReplicaStat,
}

/// What a store begins with.
pub(super) struct Started {
    pub index: Arc<Index>,
    pub report: ScanReport,
    pub directories: Vec<(Directory, u64)>,
    pub totals: Totals,
    pub recovered: Vec<RecoveredUpload>,
}

/// Learns what is there.
pub(super) fn start(disk: &Arc<dyn Disk>, layout: &Layout, pool: &str) -> Result<Started, StoreError> {
    let (because, carried) = match index::find(disk, &layout.index(), pool) {
        Found::Usable(index) => match settle(disk, layout, index.clone()) {
            Some(started) => return Ok(started),
            None => (index.lost(), Vec::new()),
        },
        Found::Missing { because, carried } => (because, carried),
        Found::Stuck(index) => {
            let Scanned { report, directories, totals } = walk(disk, layout, &mut Nobody)?;
            warn(layout, index.lost().as_deref(), &report);
            return Ok(Started { index, report, directories, totals, recovered: Vec::new() });
        }
    };
    from_files(disk, layout, pool, because, carried)
}

/// The one line that tells that the index had to be made anew.
fn warn(layout: &Layout, because: Option<&str>, report: &ScanReport) {
    let (directory, replicas) = (layout.index(), report.replicas);
    match because {
        Some(because) => tracing::warn!(
            directory = %directory.display(), because, replicas,
            "the index could not be used: every file was looked at; checksums of blocks are computed again by the \
             scrub, results that no door had acknowledged are lost"
        ),
        // A pool's first start is not worth a warning.
        None if replicas > 0 => tracing::warn!(
            directory = %directory.display(), replicas,
            "there was no index: every file was looked at"
        ),
        None => {}
    }
}

struct Nobody;

impl Visitor for Nobody {
    type Error = std::convert::Infallible;

    fn replica(&mut self, _stat: ReplicaStat) -> Result<(), Self::Error> {
        Ok(())
    }

    fn change(&mut self, _change: Change) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn walk(disk: &Arc<dyn Disk>, layout: &Layout, nobody: &mut Nobody) -> Result<Scanned, StoreError> {
    scan::scan(&**disk, layout, nobody).map_err(|error| match error {
        ScanError::Disk(error) => error,
        ScanError::Visitor(never) => match never {},
    })
}

impl Visitor for Building {
    type Error = Broken;

    fn replica(&mut self, stat: ReplicaStat) -> Result<(), Broken> {
        let record = Record::of(&stat);
        self.add(Change::Record(stat.id, record))
    }

    fn change(&mut self, change: Change) -> Result<(), Broken> {
        self.add(change)
    }
}

fn from_files(
    disk: &Arc<dyn Disk>,
    layout: &Layout,
    pool: &str,
    because: Option<String>,
    carried: Vec<Change>,
) -> Result<Started, StoreError> {
    let unsettled = !carried.is_empty();
    let build = || {
        let mut building = Building::begin(disk, &layout.index())?;
        for change in carried {
            building.add(change)?;
        }
        let scanned = scan::scan(&**disk, layout, &mut building)?;
        let index = building.finish(pool)?;
        Ok((index, scanned))
    };
    let (index, scanned) = match build() {
        Ok(built) => built,
        Err(ScanError::Disk(error)) => return Err(error),
        Err(ScanError::Visitor(error)) => {
            let scanned = walk(disk, layout, &mut Nobody)?;
            let because: Broken = error;
            let because = format!("a new one cannot be made: {because}");
            (Index::absent(disk, &layout.index(), because), scanned)
        }
    };
    warn(layout, because.or_else(|| index.lost()).as_deref(), &scanned.report);
    let Scanned { report, directories, totals } = scanned;
    if unsettled && let Some(mut started) = settle(disk, layout, index.clone()) {
        started.report =
            ScanReport { examined: started.report.examined, used: started.totals.used, ..report };
        return Ok(started);
    }
    Ok(Started { index, report, directories, totals, recovered: Vec::new() })
}

/// Brings what was in flight to its end. `None` when the index turned out not to be usable.
pub(super) fn settle(disk: &Arc<dyn Disk>, layout: &Layout, index: Arc<Index>) -> Option<Started> {
    let content = index.content()?;
    let mut recovery = Recovery {
        disk: &**disk,
        layout,
        index: &index,
        report: ScanReport::default(),
        changes: Vec::new(),
        shelves: BTreeSet::new(),
        recovered: Vec::new(),
    };
    let Content { totals, directories, strangers, strangers_count, in_flight } = content;
    let mut by_id = BTreeMap::<ReplicaId, Vec<Intent>>::new();
    for (id, intent) in in_flight {
        by_id.entry(id).or_default().push(intent);
    }
    for (id, intents) in by_id {
        recovery.settle(&id, intents);
    }
    recovery.count_directories();
    let looked_at = strangers.len() as u64;
    for path in strangers {
        recovery.look_again(&path);
    }
    let Recovery { mut report, changes, recovered, .. } = recovery;
    report.problems += strangers_count.saturating_sub(looked_at);
    let (totals, directories) = if changes.is_empty() {
        (totals, directories)
    } else {
        index.wait(index.submit_soon(changes)).ok()?;
        let content = index.content()?;
        (content.totals, content.directories)
    };
    report.replicas = totals.counts.all;
    report.used = totals.used;
    Some(Started { index, report, directories, totals, recovered })
}

/// Looks at what was in flight.
struct Recovery<'a> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
    index: &'a Index,
    report: ScanReport,
    changes: Vec<Change>,
    /// Whose directories are to be counted again.
    shelves: BTreeSet<Shelf>,
    recovered: Vec<RecoveredUpload>,
}

impl Recovery<'_> {
    fn settle(&mut self, id: &ReplicaId, intents: Vec<Intent>) {
        let (path, shelf) = (self.layout.replica(id), Shelf::of(id));
        self.report.examined += 1;
        let removing = intents.contains(&Intent::Removal);
        match self.examine(id, &path, removing) {
            // What cannot be seen now stays in flight.
            Err(error) => return self.report.problem(&path, error),
            Ok(Some(stat)) => {
                self.changes.push(Change::Record(id.clone(), Record::of(&stat)));
                for intent in intents {
                    match &intent {
                        // It stays in flight until its result is kept.
                        Intent::Upload(transfer) if *transfer == stat.attributes.transfer => {
                            if self.index.has_result(transfer) {
                                self.changes.push(Change::Settle(id.clone(), intent));
                            } else {
                                let (transfer, replica) = (transfer.clone(), id.clone());
                                self.recovered.push(RecoveredUpload {
                                    transfer,
                                    replica,
                                    stat: stat.clone(),
                                });
                            }
                        }
                        Intent::Upload(_) | Intent::Removal | Intent::Change => {
                            self.changes.push(Change::Settle(id.clone(), intent));
                        }
                    }
                }
            }
            Ok(None) => {
                self.changes.push(Change::Forget(id.clone()));
                self.changes.extend(intents.into_iter().map(|intent| Change::Settle(id.clone(), intent)));
            }
        }
        self.shelves.insert(shelf);
    }

    /// What there is of a replica, durably.
    fn examine(&mut self, id: &ReplicaId, path: &Path, removing: bool) -> io::Result<Option<ReplicaStat>> {
        let shelf = Shelf::of(id);
        if removing {
            match self.disk.remove(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.remove_leftovers(shelf)?;
        let seen = look(self.disk, path, shelf);
        if let Seen::Replica(_) = seen {
            self.disk.sync_all(&self.disk.open(path, ReadMode::Buffered)?)?;
        }
        // Names that are there, and names that are not.
        for directory in Directory::of_shelf(shelf) {
            match self.disk.sync_dir(&directory.path(self.layout)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        match seen {
            Seen::Replica(stat) => Ok(Some(*stat)),
            Seen::Nothing => Ok(None),
            Seen::Stranger(allocated, why) => {
                let name = below_data(self.layout, path);
                self.report.problem(path, &why);
                self.changes.push(Change::Stranger(name, Some((allocated, why))));
                Ok(None)
            }
        }
    }

    fn remove_leftovers(&mut self, shelf: Shelf) -> io::Result<()> {
        let path = self.layout.shelf(shelf);
        let names = match self.disk.list_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        for name in names.iter().filter(|name| is_temporary(name)) {
            self.disk.remove(&path.join(name))?;
            self.report.leftovers_removed += 1;
        }
        Ok(())
    }

    fn count_directories(&mut self) {
        let directories = self.shelves.iter().flat_map(|&shelf| Directory::of_shelf(shelf));
        let directories: BTreeMap<u32, Directory> =
            directories.map(|directory| (directory.number(), directory)).collect();
        for directory in directories.into_values() {
            let path = directory.path(self.layout);
            match self.disk.stat(&path) {
                Ok(metadata) => {
                    self.changes.push(Change::Directory(directory, Some(metadata.allocated)));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.changes.push(Change::Directory(directory, None));
                }
                Err(error) => self.report.problem(&path, error),
            }
        }
    }

    /// Looks again at something that was no usable replica.
    fn look_again(&mut self, name: &str) {
        let path = self.layout.data().join(name);
        let shelf = path.file_name().and_then(|name| ReplicaId::new(name.to_str()?).ok());
        let shelf =
            shelf.map(|id| Shelf::of(&id)).filter(|shelf| path.parent() == Some(&self.layout.shelf(*shelf)));
        match self.disk.stat(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.changes.push(Change::Stranger(name.to_owned(), None));
            }
            Err(error) => self.report.problem(&path, error),
            Ok(metadata) => match shelf.map(|shelf| look(self.disk, &path, shelf)) {
                // Somebody has repaired it.
                Some(Seen::Replica(stat)) => {
                    self.changes.push(Change::Stranger(name.to_owned(), None));
                    self.changes.push(Change::Record(stat.id.clone(), Record::of(&stat)));
                }
                Some(Seen::Stranger(allocated, why)) => {
                    self.report.problem(&path, &why);
                    self.changes.push(Change::Stranger(name.to_owned(), Some((allocated, why))));
                }
                Some(Seen::Nothing) => self.changes.push(Change::Stranger(name.to_owned(), None)),
                None => {
                    let mut why = String::new();
                    if !scan::is_lost_and_found(&path) {
                        why = scan::STRANGER.to_owned();
                        self.report.problem(&path, &why);
                    }
                    self.changes.push(Change::Stranger(name.to_owned(), Some((metadata.allocated, why))));
                }
            },
        }
    }
}
