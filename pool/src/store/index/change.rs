//! What can change in the index, and how a batch of changes becomes one transaction.

use std::sync::Arc;

use redb::{Database, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::super::directories::Directory;
use super::super::id::ReplicaId;
use super::Broken;
use super::record::{Record, Totals};

/// The version of the tables. An index of another one is made anew from the files.
pub(super) const FORMAT: u32 = 1;

/// Replicas by id: [`Record`].
pub(super) const REPLICAS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("replicas");
/// CRC32C of each block of 1 MiB by id: little-endian numbers of 32 bits.
pub(super) const BLOCKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("blocks");
/// Bytes on the disk of each directory, by [`Directory::number`].
pub(super) const DIRECTORIES: TableDefinition<'_, u32, u64> = TableDefinition::new("directories");
/// What lies below the data directory and is no usable replica, by its path there: bytes on the disk, and why.
pub(super) const STRANGERS: TableDefinition<'_, &str, (u64, &str)> = TableDefinition::new("strangers");
/// What was going on, by id and [`Intent::number`]: the transfer, or nothing.
pub(super) const IN_FLIGHT: TableDefinition<'_, (&str, u8), &str> = TableDefinition::new("in_flight");
/// Results that no door has acknowledged, by transfer.
pub(super) const RESULTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("results");
/// Single values.
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The tables' version: a little-endian number of 32 bits.
pub(super) const META_FORMAT: &str = "format";
/// The identity of the pool's root.
pub(super) const META_POOL: &str = "pool";
/// [`Totals`].
pub(super) const META_TOTALS: &str = "totals";
/// How far the scrub is, in the scrub's own words.
pub(super) const META_SCRUB: &str = "scrub";
/// There when the files may say something else than this index, so that it must be made anew.
pub(super) const META_DOUBT: &str = "doubt";

/// What is about to be done to a replica. It is durable before it is done, so that after a crash only what was in
/// flight is examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Intent {
    /// An upload by that transfer. It ends when the transfer's result is kept, not when the replica is there: so no
    /// result is ever lost.
    Upload(String),
    /// Its removal.
    Removal,
    /// A change of its attributes.
    Change,
}

impl Intent {
    pub(super) fn number(&self) -> u8 {
        match self {
            Self::Upload(_) => 1,
            Self::Removal => 2,
            Self::Change => 3,
        }
    }

    fn transfer(&self) -> &str {
        match self {
            Self::Upload(transfer) => transfer,
            Self::Removal | Self::Change => "",
        }
    }

    pub(super) fn from_parts(number: u8, transfer: &str) -> Option<Self> {
        match number {
            1 => Some(Self::Upload(transfer.to_owned())),
            2 => Some(Self::Removal),
            3 => Some(Self::Change),
            _ => None,
        }
    }
}

/// One change of the index.
#[derive(Debug, Clone)]
pub(in crate::store) enum Change {
    /// Something is about to be done.
    Intend(ReplicaId, Intent),
    /// It has been done, or will not be.
    Settle(ReplicaId, Intent),
    /// A replica is as recorded. Checksums of its blocks that are known stay, unless its bytes are others.
    Record(ReplicaId, Record),
    /// The checksums of its blocks.
    Blocks(ReplicaId, Arc<[u32]>),
    /// It is gone, and so is what was going on with its upload.
    Forget(ReplicaId),
    /// A directory has that many bytes on the disk, or is gone.
    Directory(Directory, Option<u64>),
    /// Something that is no usable replica: bytes on the disk, and what is wrong with it. Or it is gone.
    Stranger(String, Option<(u64, String)>),
    /// A transfer's result; the upload of its replica is settled with it.
    Result(String, Option<ReplicaId>, Vec<u8>),
    /// A transfer's result is no longer needed.
    NoResult(String),
    /// How far the scrub is.
    Scrub(Vec<u8>),
    /// The files may soon say something else.
    Doubt,
}

/// All changes in one durable transaction, or none.
pub(super) fn commit(database: &Database, changes: &[Change]) -> Result<(), Broken> {
    let transaction = database.begin_write()?;
    apply(&transaction, changes)?;
    transaction.commit()?;
    Ok(())
}

/// What a new index begins with.
pub(super) fn begin(database: &Database) -> Result<(), Broken> {
    let transaction = database.begin_write()?;
    apply(&transaction, &[])?;
    transaction.commit()?;
    Ok(())
}

/// The last thing that a new index gets: from now on it is one.
pub(super) fn complete(database: &Database, pool: &str) -> Result<(), Broken> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, &FORMAT.to_le_bytes()[..])?;
        meta.insert(META_POOL, pool.as_bytes())?;
    }
    transaction.commit()?;
    Ok(())
}

fn apply(transaction: &WriteTransaction, changes: &[Change]) -> Result<(), Broken> {
    let mut tables = Tables::open(transaction)?;
    let before = tables.totals;
    for change in changes {
        tables.apply(change)?;
    }
    let now = tables.totals;
    if now != before || changes.is_empty() {
        tables.meta.insert(META_TOTALS, now.encode().as_slice())?;
    }
    Ok(())
}

struct Tables<'t> {
    replicas: Table<'t, &'static str, &'static [u8]>,
    blocks: Table<'t, &'static str, &'static [u8]>,
    directories: Table<'t, u32, u64>,
    strangers: Table<'t, &'static str, (u64, &'static str)>,
    in_flight: Table<'t, (&'static str, u8), &'static str>,
    results: Table<'t, &'static str, &'static [u8]>,
    meta: Table<'t, &'static str, &'static [u8]>,
    totals: Totals,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, Broken> {
        let meta = transaction.open_table(META)?;
        let totals = match meta.get(META_TOTALS)? {
            Some(bytes) => Totals::decode(bytes.value()).ok_or(Broken::Content("its totals"))?,
            None => Totals::default(),
        };
        Ok(Self {
            replicas: transaction.open_table(REPLICAS)?,
            blocks: transaction.open_table(BLOCKS)?,
            directories: transaction.open_table(DIRECTORIES)?,
            strangers: transaction.open_table(STRANGERS)?,
            in_flight: transaction.open_table(IN_FLIGHT)?,
            results: transaction.open_table(RESULTS)?,
            meta,
            totals,
        })
    }

    fn apply(&mut self, change: &Change) -> Result<(), Broken> {
        match change {
            Change::Intend(id, intent) => {
                self.in_flight.insert((id.as_str(), intent.number()), intent.transfer())?;
            }
            Change::Settle(id, intent) => self.settle(id, intent)?,
            Change::Record(id, record) => self.record(id, record)?,
            Change::Blocks(id, blocks) => {
                let bytes: Vec<u8> = blocks.iter().flat_map(|crc| crc.to_le_bytes()).collect();
                self.blocks.insert(id.as_str(), bytes.as_slice())?;
            }
            Change::Forget(id) => self.forget(id)?,
            Change::Directory(directory, allocated) => {
                let number = directory.number();
                let before = match allocated {
                    Some(allocated) => self.directories.insert(number, allocated)?,
                    None => self.directories.remove(number)?,
                };
                let before = before.map_or(0, |before| before.value());
                self.totals.more(allocated.unwrap_or(0));
                self.totals.less(before);
            }
            Change::Stranger(path, there) => {
                let before = match there {
                    Some((allocated, why)) => {
                        self.strangers.insert(path.as_str(), (*allocated, why.as_str()))?
                    }
                    None => self.strangers.remove(path.as_str())?,
                };
                let before = before.map_or(0, |before| before.value().0);
                self.totals.more(there.as_ref().map_or(0, |(allocated, _)| *allocated));
                self.totals.less(before);
            }
            Change::Result(transfer, replica, bytes) => {
                self.results.insert(transfer.as_str(), bytes.as_slice())?;
                if let Some(id) = replica {
                    self.settle(id, &Intent::Upload(transfer.clone()))?;
                }
            }
            Change::NoResult(transfer) => drop(self.results.remove(transfer.as_str())?),
            Change::Scrub(cursor) => drop(self.meta.insert(META_SCRUB, cursor.as_slice())?),
            Change::Doubt => drop(self.meta.insert(META_DOUBT, &b"1"[..])?),
        }
        Ok(())
    }

    fn settle(&mut self, id: &ReplicaId, intent: &Intent) -> Result<(), Broken> {
        let key = (id.as_str(), intent.number());
        let ours = self.in_flight.get(key)?.is_some_and(|transfer| transfer.value() == intent.transfer());
        if ours {
            self.in_flight.remove(key)?;
        }
        Ok(())
    }

    fn record(&mut self, id: &ReplicaId, record: &Record) -> Result<(), Broken> {
        self.totals.count(record, 1)?;
        let before = self.replicas.insert(id.as_str(), record.encode().as_slice())?;
        let before = before.map(|bytes| Record::decode(bytes.value()).ok_or(Broken::Content("a replica")));
        if let Some(before) = before.transpose()? {
            self.totals.count(&before, -1)?;
            if !record.has_bytes_of(&before) {
                self.blocks.remove(id.as_str())?;
            }
        }
        Ok(())
    }

    fn forget(&mut self, id: &ReplicaId) -> Result<(), Broken> {
        let before = self.replicas.remove(id.as_str())?;
        let before = before.map(|bytes| Record::decode(bytes.value()).ok_or(Broken::Content("a replica")));
        if let Some(before) = before.transpose()? {
            self.totals.count(&before, -1)?;
        }
        self.blocks.remove(id.as_str())?;
        self.in_flight.remove((id.as_str(), Intent::Upload(String::new()).number()))?;
        Ok(())
    }
}

/// What changes that are not committed yet say of a replica's blocks; the last one counts.
pub(super) fn pending_blocks(changes: &[Change], id: &ReplicaId) -> Option<Option<Arc<[u32]>>> {
    changes.iter().rev().find_map(|change| match change {
        Change::Blocks(changed, blocks) if changed == id => Some(Some(blocks.clone())),
        Change::Forget(changed) if changed == id => Some(None),
        _ => None,
    })
}

/// Checksums as they lie in the table.
pub(super) fn decode_blocks(bytes: &[u8]) -> Option<Arc<[u32]>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    rest.is_empty().then(|| numbers.iter().map(|number| u32::from_le_bytes(*number)).collect())
}
