//! The index: what a pool knows of its replicas without opening a file, and what it was doing when it stopped.
//!
//! ```text
//! <root>/index/replicas.redb         the tables of [`change`]
//! <root>/index/replicas.redb.new     one that is being made; swapped in when it is complete
//! <root>/index/replicas.redb.bad-1   one that could not be used: set aside, never deleted
//! ```
//!
//! The files are the truth; the index is a cache that can be made anew from them, but for three things that only it
//! has: the checksums of blocks (which can be computed again), results that no door has acknowledged (an upload's can
//! be told again from its file), and how far the scrub is.
//!
//! What is about to be done to a replica is durable in the index before it is done ([`Intent`]). What has been done
//! follows when the writer gets to it ([`writer`]). So after a crash the index says of every replica what its file
//! says, or it has an intent that says: look at this one.
//!
//! An index that fails (its disk does, or is full) is given up: it is set aside, so that the next start makes a new one
//! from the files, and the pool works on without. No replica depends on it.

mod backend;
mod change;
mod open;
mod read;
mod record;
mod writer;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use redb::Database;
use thiserror::Error;

pub(super) use self::change::{Change, Intent};
pub(super) use self::open::{Building, Found, find};
pub(super) use self::read::Content;
pub(super) use self::record::{Record, Totals};
pub(super) use self::writer::Ticket;

use self::writer::{Lost, Queue, Writer};
use super::attributes::InvalidAttributes;
use crate::engine::disk::{Disk, File};

/// Why an index cannot be used any more.
#[derive(Debug, Error)]
pub(super) enum Broken {
    /// The database says so.
    #[error("{0}")]
    Database(Box<redb::Error>),
    /// It has something that no release wrote.
    #[error("{0} cannot be read")]
    Content(&'static str),
    /// It has attributes that no release wrote.
    #[error("a replica's attributes cannot be read: {0}")]
    Attributes(#[from] InvalidAttributes),
    /// Its code gave up: a page that is not what it was written as.
    #[error("its pages contradict each other")]
    Panicked,
}

impl<E: Into<redb::Error>> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// The index of a pool, or the place where it would be.
pub(super) struct Index {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// `None` once it has been given up.
    database: RwLock<Option<Database>>,
    /// Held for as long as the store is, whatever becomes of the database: nobody else may open it.
    _file: Option<File>,
    queue: Mutex<Queue>,
    writer: Writer,
}

impl Index {
    fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        usable: Option<(Database, File)>,
        lost: Option<Lost>,
    ) -> Arc<Self> {
        let (database, file) = usable.unzip();
        Arc::new(Self {
            disk,
            directory,
            database: RwLock::new(database),
            _file: file,
            queue: Mutex::new(Queue::new(lost)),
            writer: Writer::default(),
        })
    }

    /// Starts to write in the background, where the disk allows that. Must be closed after that.
    pub fn start(self: &Arc<Self>) {
        if self.disk.allows_background_work() && self.lost().is_none() {
            Writer::start(self);
        }
    }

    /// Why there is no index, where there is none.
    pub fn lost(&self) -> Option<String> {
        self.queue().lost.as_ref().map(|lost| lost.because.clone())
    }

    /// Why nothing may be changed, where there is no index and the old one is still in the way. Does not block.
    pub fn forbids_changes(&self) -> Option<String> {
        self.queue().lost.as_ref().filter(|lost| !lost.set_aside).map(|lost| lost.because.clone())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change of it is whole before anything that can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index")
            .field("directory", &self.directory)
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}
