//! What is asked of the index.

use std::ops::Bound;
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata};

use super::super::directories::Directory;
use super::super::id::ReplicaId;
use super::change::{
    BLOCKS, Change, DIRECTORIES, IN_FLIGHT, Intent, META, META_SCRUB, META_TOTALS, REPLICAS, RESULTS,
    STRANGERS, decode_blocks, pending_blocks,
};
use super::record::{Record, Totals};
use super::{Broken, Index};

/// Strangers that are looked at again when a pool starts; further ones are only counted.
const STRANGERS_LOOKED_AT: usize = 1000;
/// Replicas that are looked at for one answer, however few of them are wanted.
const LOOKED_AT_MAX: usize = 16_384;

/// What a pool must know when it starts.
#[derive(Debug, Default)]
pub(in crate::store) struct Content {
    pub totals: Totals,
    pub directories: Vec<(Directory, u64)>,
    /// Paths below the data directory of what is no usable replica: as many as are looked at again.
    pub strangers: Vec<String>,
    pub strangers_count: u64,
    pub in_flight: Vec<(ReplicaId, Intent)>,
}

/// Replicas in the order of their ids.
#[derive(Debug, Default)]
pub(in crate::store) struct Records {
    /// With `true`: it is being removed.
    pub records: Vec<(ReplicaId, Record, bool)>,
    /// Where to go on; `None` after the last one.
    pub next: Option<ReplicaId>,
}

fn id_of(key: &str) -> Result<ReplicaId, Broken> {
    ReplicaId::new(key).map_err(|_| Broken::Content("a replica's id"))
}

fn record_of(bytes: &[u8]) -> Result<Record, Broken> {
    Record::decode(bytes).ok_or(Broken::Content("a replica"))
}

fn after_bound(after: Option<&ReplicaId>) -> (Bound<&str>, Bound<&str>) {
    (after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.as_str())), Bound::Unbounded)
}

fn results_in(database: &Database) -> Result<Vec<(String, Vec<u8>)>, Broken> {
    let results = database.begin_read()?.open_table(RESULTS)?;
    let rows = results.iter()?.map(|row| {
        let (transfer, bytes) = row?;
        Ok((transfer.value().to_owned(), bytes.value().to_vec()))
    });
    rows.collect()
}

fn in_flight_in(database: &Database) -> Result<Vec<(ReplicaId, Intent)>, Broken> {
    let in_flight = database.begin_read()?.open_table(IN_FLIGHT)?;
    let rows = in_flight.iter()?.map(|row| {
        let (key, transfer) = row?;
        let (id, number) = key.value();
        let intent = Intent::from_parts(number, transfer.value());
        Ok((id_of(id)?, intent.ok_or(Broken::Content("what was in flight"))?))
    });
    rows.collect()
}

fn scrub_in(database: &Database) -> Result<Option<Vec<u8>>, Broken> {
    let meta = database.begin_read()?.open_table(META)?;
    Ok(meta.get(META_SCRUB)?.map(|bytes| bytes.value().to_vec()))
}

/// What only this index knows, but for the checksums of blocks.
pub(super) fn carried(database: &Database) -> Result<Vec<Change>, Broken> {
    let mut carried = Vec::new();
    for (transfer, bytes) in results_in(database)? {
        carried.push(Change::Result(transfer, None, bytes));
    }
    for (id, intent) in in_flight_in(database)? {
        carried.push(Change::Intend(id, intent));
    }
    carried.extend(scrub_in(database)?.map(Change::Scrub));
    Ok(carried)
}

impl Index {
    /// `None` where there is no index, or none any more.
    fn ask<T>(&self, question: impl FnOnce(&Database) -> Result<T, Broken>) -> Option<T> {
        match self.with_database(question)? {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.give_up(&error);
                None
            }
        }
    }

    /// What a pool must know when it starts.
    pub fn content(&self) -> Option<Content> {
        self.ask(|database| {
            let transaction = database.begin_read()?;
            let totals = transaction.open_table(META)?.get(META_TOTALS)?;
            let totals = totals.and_then(|bytes| Totals::decode(bytes.value()));
            let mut directories = Vec::new();
            for row in transaction.open_table(DIRECTORIES)?.iter()? {
                let (number, allocated) = row?;
                let directory = Directory::from_number(number.value());
                directories.push((directory.ok_or(Broken::Content("a directory"))?, allocated.value()));
            }
            let table = transaction.open_table(STRANGERS)?;
            let mut strangers = Vec::new();
            for row in table.iter()?.take(STRANGERS_LOOKED_AT) {
                strangers.push(row?.0.value().to_owned());
            }
            Ok(Content {
                totals: totals.ok_or(Broken::Content("its totals"))?,
                directories,
                strangers,
                strangers_count: table.len()?,
                in_flight: in_flight_in(database)?,
            })
        })
    }

    /// What only this index knows, but for the checksums of blocks.
    pub fn carried(&self) -> Option<Vec<Change>> {
        self.flush();
        self.ask(carried)
    }

    /// The checksums of a replica's blocks.
    pub fn blocks(&self, id: &ReplicaId) -> Option<Arc<[u32]>> {
        {
            let queue = self.queue();
            for changes in [&queue.pending, &*queue.committing] {
                if let Some(blocks) = pending_blocks(changes, id) {
                    return blocks;
                }
            }
        }
        self.ask(|database| {
            let blocks = database.begin_read()?.open_table(BLOCKS)?;
            let Some(bytes) = blocks.get(id.as_str())? else { return Ok(None) };
            decode_blocks(bytes.value())
                .map(Some)
                .ok_or(Broken::Content("the checksums of a replica's blocks"))
        })
        .flatten()
    }

    /// The first `limit` replicas after `after`, everything included that was submitted before.
    pub fn records(&self, after: Option<&ReplicaId>, limit: usize) -> Option<Records> {
        self.flush();
        self.ask(|database| {
            let transaction = database.begin_read()?;
            let (replicas, in_flight) =
                (transaction.open_table(REPLICAS)?, transaction.open_table(IN_FLIGHT)?);
            let any_in_flight = in_flight.len()? > 0;
            let mut found = Records::default();
            for row in replicas.range::<&str>(after_bound(after))?.take(limit) {
                let (key, bytes) = row?;
                let removal = (key.value(), Intent::Removal.number());
                let removing = any_in_flight && in_flight.get(removal)?.is_some();
                found.records.push((id_of(key.value())?, record_of(bytes.value())?, removing));
            }
            if found.records.len() == limit {
                found.next = found.records.last().map(|(id, _, _)| id.clone());
            }
            Ok(found)
        })
    }

    /// Replicas after `after` whose blocks have no checksums: at most `limit`, and where to go on.
    pub fn without_blocks(
        &self,
        after: Option<&ReplicaId>,
        limit: usize,
    ) -> Option<(Vec<ReplicaId>, Option<ReplicaId>)> {
        self.flush();
        self.ask(|database| {
            let transaction = database.begin_read()?;
            let (replicas, blocks) = (transaction.open_table(REPLICAS)?, transaction.open_table(BLOCKS)?);
            let mut found = Vec::new();
            let mut last = None;
            for (looked_at, row) in replicas.range::<&str>(after_bound(after))?.enumerate() {
                if looked_at == LOOKED_AT_MAX || found.len() >= limit {
                    return Ok((found, last));
                }
                let (key, bytes) = row?;
                let id = id_of(key.value())?;
                let empty = record_of(bytes.value())?.stat(id.clone())?.size == 0;
                if !empty && blocks.get(key.value())?.is_none() {
                    found.push(id.clone());
                }
                last = Some(id);
            }
            Ok((found, None))
        })
    }

    /// All results that were not acknowledged.
    pub fn results(&self) -> Option<Vec<(String, Vec<u8>)>> {
        self.flush();
        self.ask(results_in)
    }

    /// Whether there is a result of that transfer.
    pub fn has_result(&self, transfer: &str) -> bool {
        let ask =
            |database: &Database| Ok(database.begin_read()?.open_table(RESULTS)?.get(transfer)?.is_some());
        self.ask(ask).unwrap_or(false)
    }

    /// How far the scrub is, in its own words.
    pub fn scrub(&self) -> Option<Vec<u8>> {
        self.flush();
        self.ask(scrub_in).flatten()
    }
}
