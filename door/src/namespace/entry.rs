//! What a name points to.

use jiff::Timestamp;

use super::database::NamespaceError;
use super::database::session::Row;
use crate::checksum::{self, Checksum};

/// The root's id.
pub(super) const ROOT_ID: i64 = 1;

/// One name and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Stays the same when the entry is renamed or its file replaced.
    pub id: i64,
    /// The last component of its path; empty for the root.
    pub name: String,
    /// Directory or file.
    pub kind: Kind,
    /// When the name appeared.
    pub created_at: Timestamp,
    /// When its data, or for a directory its list of names, last changed.
    pub modified_at: Timestamp,
}

/// Directory or file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File(FileEntry),
}

/// A file's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// The replica's id at its pool.
    pub replica: String,
    /// The pool's name.
    pub pool: String,
    /// Bytes.
    pub size: u64,
    /// What the pool computed.
    pub checksums: Vec<Checksum>,
}

impl FileEntry {
    /// The strong entity tag without quotes. New data is a new replica, so its id is one; the pool tells the same.
    pub fn etag(&self) -> &str {
        &self.replica
    }
}

impl Entry {
    /// The file's data; `None` for a directory.
    pub fn file(&self) -> Option<&FileEntry> {
        match &self.kind {
            Kind::File(file) => Some(file),
            Kind::Directory => None,
        }
    }

    /// Whether another look has found the same entry with the same data.
    pub fn is_same(&self, other: &Entry) -> bool {
        self.id == other.id && self.file().map(FileEntry::etag) == other.file().map(FileEntry::etag)
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }

    /// From a row that has the [`entry_columns`] first.
    pub(super) fn from_row(row: &Row<'_>) -> Result<Self, NamespaceError> {
        let kind = match row.maybe_text(2)? {
            None => Kind::Directory,
            Some(replica) => Kind::File(FileEntry {
                replica,
                pool: row.text(3)?,
                size: u64::try_from(row.integer(4)?).map_err(|_| NamespaceError::Corrupt("size"))?,
                checksums: checksum::from_record(&row.text(5)?),
            }),
        };
        Ok(Self {
            id: row.integer(0)?,
            name: row.text(1)?,
            kind,
            created_at: from_micros(row.integer(6)?)?,
            modified_at: from_micros(row.integer(7)?)?,
        })
    }
}

/// The columns that [`Entry::from_row`] reads, followed by a statement's rest.
macro_rules! entry_columns {
    ($rest:literal) => {
        concat!(
            "SELECT entries.id, entries.name, entries.replica, entries.pool, entries.size, entries.checksums, \
             entries.created_at, entries.modified_at",
            $rest
        )
    };
}
pub(super) use entry_columns;

pub(super) fn now_micros() -> i64 {
    Timestamp::now().as_microsecond()
}

pub(super) fn from_micros(micros: i64) -> Result<Timestamp, NamespaceError> {
    Timestamp::from_microsecond(micros).map_err(|_| NamespaceError::Corrupt("time"))
}
