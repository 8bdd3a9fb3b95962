//! Making the index anew from all files, while the pool does not run.
//!
//! What only the old index knows (results, uploads without one, the scrub's place) is carried over. The new one takes
//! its place in one step; until then the old one is marked, so that a pool that starts after this was cut short makes
//! a new one itself.

use std::path::Path;
use std::sync::Arc;

use super::attributes::ATTRIBUTE_NAME;
use super::error::StoreError;
use super::index::{self, Broken, Building, Change, Found, Record};
use super::layout::Root;
use super::reading::read_whole;
use super::replica::{ReplicaStat, ReplicaState};
use super::scan::{self, ScanError, Visitor};
use super::{OpenError, ReplicaId, start};
use crate::checksum::{Algorithm, AlgorithmSet};
use crate::engine::disk::{Disk, ReadMode};

/// Findings that are kept as text; further ones are only counted.
const FINDINGS_KEPT: usize = 1000;

/// How thorough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildDepth {
    /// Reads the attributes of every file. The checksums of blocks are left to the scrub.
    Attributes,
    /// Reads every file: computes the checksums of its blocks, compares those of the whole file, and marks it broken
    /// where they differ.
    Bytes,
}

/// How far it is, and in the end what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Replicas so far.
    pub replicas: u64,
    /// Replicas that the old index knew of, where there was one.
    pub replicas_before: Option<u64>,
    /// Bytes read so far.
    pub bytes_read: u64,
    /// Replicas that turned out broken now.
    pub broken: u64,
    /// Replicas that could not be read, and files that are no usable replicas.
    pub problems: u64,
    /// The first of both, one line each.
    pub findings: Vec<String>,
}

impl RebuildReport {
    fn finding(&mut self, text: String) {
        if self.findings.len() < FINDINGS_KEPT {
            self.findings.push(text);
        }
    }
}

/// Makes the index of the pool at `root` anew. `progress` is told now and then; its `false` ends the work, and the next
/// start or rebuild begins anew. Refuses while a pool runs there. Blocks.
pub fn rebuild(
    disk: Arc<dyn Disk>,
    root: &Path,
    pool_name: &str,
    depth: RebuildDepth,
    progress: &mut dyn FnMut(&RebuildReport) -> bool,
) -> Result<RebuildReport, OpenError> {
    let Root { layout, marker, lock: _lock } = Root::open_existing(&disk, root, pool_name)?;
    let mut report = RebuildReport::default();
    let index_error =
        |error: Broken| StoreError::Index { step: "make a new index", because: error.to_string() };
    let (carried, old) = match index::find(&disk, &layout.index(), &marker.uuid) {
        Found::Usable(old) => {
            // What was in flight comes to its end first, in the old index.
            let started = start::settle(&disk, &layout, old.clone());
            report.replicas_before = started.map(|started| started.totals.counts.all);
            let carried = old.carried().unwrap_or_default();
            // Whatever happens from here on, nobody believes the old one any more.
            old.wait(old.submit_soon([Change::Doubt]))
                .map_err(|because| StoreError::Index { step: "mark the old index", because })?;
            (carried, Some(old))
        }
        Found::Missing { because, carried } => {
            if let Some(because) = because {
                report.finding(format!("the old index could not be used: {because}"));
            }
            (carried, None)
        }
        Found::Stuck(old) => {
            let because = old.lost().unwrap_or_default();
            return Err(StoreError::Index { step: "make a new index", because }.into());
        }
    };
    let building = Building::begin(&disk, &layout.index()).map_err(index_error)?;
    let mut rebuilding = Rebuilding { disk: &*disk, layout: &layout, building, depth, report, progress };
    for change in carried {
        rebuilding.building.add(change).map_err(index_error)?;
    }
    let scanned = scan::scan(&*disk, &layout, &mut rebuilding).map_err(|error| match error {
        ScanError::Disk(error) => error,
        ScanError::Visitor(Ended::Asked) => StoreError::Index {
            step: "make a new index",
            because: "it was called off; the next start makes one".to_owned(),
        },
        ScanError::Visitor(Ended::Index(error)) => index_error(error),
    })?;
    let Rebuilding { building, mut report, .. } = rebuilding;
    report.problems += scanned.report.problems;
    scanned.report.problem_texts.into_iter().for_each(|text| report.finding(text));
    // Closed before its name goes to the new one; nothing that it still writes matters.
    if let Some(old) = old {
        old.close();
    }
    building.finish(&marker.uuid).map_err(index_error)?.close();
    Ok(report)
}

/// Why the work ended early.
enum Ended {
    /// It was asked to.
    Asked,
    /// The new index failed.
    Index(Broken),
}

impl From<Broken> for Ended {
    fn from(error: Broken) -> Self {
        Self::Index(error)
    }
}

struct Rebuilding<'a> {
    disk: &'a dyn Disk,
    layout: &'a super::layout::Layout,
    building: Building,
    depth: RebuildDepth,
    report: RebuildReport,
    progress: &'a mut dyn FnMut(&RebuildReport) -> bool,
}

impl Visitor for Rebuilding<'_> {
    type Error = Ended;

    fn replica(&mut self, mut stat: ReplicaStat) -> Result<(), Ended> {
        let mut blocks = None;
        if self.depth == RebuildDepth::Bytes {
            match self.verify(&mut stat) {
                Ok(read) => blocks = Some(read.ok_or(Ended::Asked)?),
                Err(error) => {
                    self.report.problems += 1;
                    self.report.finding(format!("replica {} cannot be read: {error}", stat.id));
                }
            }
        }
        self.report.replicas += 1;
        let id: ReplicaId = stat.id.clone();
        self.building.add(Change::Record(id.clone(), Record::of(&stat)))?;
        if let Some(blocks) = blocks.filter(|blocks| !blocks.is_empty()) {
            self.building.add(Change::Blocks(id, blocks.into()))?;
        }
        if (self.progress)(&self.report) { Ok(()) } else { Err(Ended::Asked) }
    }

    fn change(&mut self, change: Change) -> Result<(), Ended> {
        Ok(self.building.add(change)?)
    }
}

impl Rebuilding<'_> {
    /// Reads a replica whole. Gives the checksums of its blocks (none where they would be those of wrong bytes), or
    /// nothing when the work is to end.
    fn verify(&mut self, stat: &mut ReplicaStat) -> std::io::Result<Option<Vec<u32>>> {
        let file = self.disk.open(&self.layout.replica(&stat.id), ReadMode::Buffered)?;
        let recorded = &stat.attributes.checksums;
        let algorithms = recorded.keys().filter_map(|name| Algorithm::from_name(name));
        let algorithms: AlgorithmSet = algorithms.collect();
        let (report, progress) = (&mut self.report, &mut *self.progress);
        let read = read_whole(self.disk, &file, algorithms, &mut |bytes| {
            report.bytes_read += bytes;
            progress(report)
        })?;
        let Some(read) = read else { return Ok(None) };
        let differs = recorded.iter().find_map(|(name, recorded)| {
            let computed = read.checksums.get(name)?;
            let text = || format!("{name} of the file is {computed}, recorded {recorded}");
            (computed != recorded).then(text)
        });
        let Some(because) = differs else { return Ok(Some(read.blocks)) };
        if stat.attributes.state.may_become(ReplicaState::Broken) {
            self.report.broken += 1;
            self.report.finding(format!("replica {} is broken: {because}", stat.id));
            stat.attributes.state = ReplicaState::Broken;
            stat.attributes.broken_because = Some(because);
            stat.attributes.fit();
            self.disk.set_attribute(&file, ATTRIBUTE_NAME, stat.attributes.format().as_bytes())?;
            self.disk.sync_all(&file)?;
            stat.allocated = self.disk.metadata(&file)?.allocated;
        }
        Ok(Some(Vec::new()))
    }
}
