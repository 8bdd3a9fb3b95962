//! What a name points to.

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::database::NamespaceError;
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

    pub(super) fn from_row(row: &SqliteRow) -> Result<Self, NamespaceError> {
        let kind = match row.try_get::<Option<String>, _>("replica")? {
            None => Kind::Directory,
            Some(replica) => Kind::File(FileEntry {
                replica,
                pool: row.try_get("pool")?,
                size: u64::try_from(row.try_get::<i64, _>("size")?)
                    .map_err(|_| NamespaceError::Corrupt("size"))?,
                checksums: checksum::from_record(row.try_get("checksums")?),
            }),
        };
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            kind,
            created_at: from_micros(row.try_get("created_at")?)?,
            modified_at: from_micros(row.try_get("modified_at")?)?,
        })
    }
}

pub(super) fn now_micros() -> i64 {
    Timestamp::now().as_microsecond()
}

pub(super) fn from_micros(micros: i64) -> Result<Timestamp, NamespaceError> {
    Timestamp::from_microsecond(micros).map_err(|_| NamespaceError::Corrupt("time"))
}
