//! SQLite: one file, one door.
//!
//! Changes run on a thread of their own ([`super::writer`]), lookups on threads of the runtime that may wait for the disk:
//! either is one hand-over, however many statements it has. But a hand-over takes longer than a few rows whose pages are in
//! memory, so those are read on the spot, as long as they turn out to be there ([`super::patience`]).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use tokio::sync::Semaphore;

use super::patience::Patience;
use super::session::{Session, Value};
use super::writer::Writer;
use super::{NamespaceError, NamespacePlace, QueryError, Transaction, migration};
use crate::namespace::entry::{ROOT_ID, now_micros};

/// Readers at once. Each mostly waits for memory, so a few more than cores are enough.
const READERS: usize = 8;
/// How long a connection waits for another process (an admin's `sqlite3`) that holds the lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request waits for its turn before it is told to come back.
pub(super) const TURN_TIMEOUT: Duration = Duration::from_secs(30);
/// Statements that each connection keeps ready; there are about fifty in all.
const STATEMENTS: usize = 64;
/// Pages of the write-ahead log after which it is copied into the file: 32 MiB, so that what many small changes do to
/// the same pages is copied once.
const CHECKPOINT_PAGES: i64 = 8192;
/// Memory for pages of each connection, in KiB.
const READER_CACHE_KIB: i64 = 4 * 1024;
const WRITER_CACHE_KIB: i64 = 32 * 1024;

/// An open file.
#[derive(Debug, Clone)]
pub struct Sqlite {
    writer: Writer,
    readers: Arc<Readers>,
}

#[derive(Debug)]
struct Readers {
    path: PathBuf,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    patience: Patience,
}

impl Sqlite {
    /// Opens the file, or makes it.
    pub async fn open(path: &Path, door: &str) -> Result<Self, NamespaceError> {
        let place = || NamespacePlace::Sqlite(path.to_owned());
        migrate(path).await?;
        let (file, door) = (path.to_owned(), door.to_owned());
        let opened = tokio::task::spawn_blocking(move || -> Result<_, rusqlite::Error> {
            let connection = connect(&file, Access::Write)?;
            prepare(&connection, &door)?;
            Ok(connection)
        });
        let connection = opened
            .await
            .map_err(|_| QueryError::Closed)
            .and_then(|opened| opened.map_err(QueryError::from))
            .map_err(|source| NamespaceError::Open { place: place(), source })?;
        let writer = Writer::start(connection).map_err(|error| NamespaceError::Unsuited {
            place: place(),
            problem: format!("its thread does not start: {error}"),
        })?;
        let readers = Readers {
            path: path.to_owned(),
            turns: Arc::new(Semaphore::new(READERS)),
            idle: Mutex::default(),
            patience: Patience::default(),
        };
        Ok(Self { writer, readers: Arc::new(readers) })
    }

    /// Makes a change.
    pub async fn change<T: Transaction>(&self, transaction: T) -> Result<T::Done, T::Error> {
        self.writer.change(transaction).await
    }

    /// Looks something up.
    pub async fn read<T: Transaction>(&self, transaction: T) -> Result<T::Done, T::Error> {
        if T::BRIEF
            && let Some(result) = self.readers.read_here(&transaction)
        {
            return result;
        }
        let failed = |error: QueryError| T::Error::from(error.into());
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.readers.turns).acquire_owned())
            .await
            .map_err(|_| failed(QueryError::Busy))?
            .map_err(|_| failed(QueryError::Closed))?;
        let readers = Arc::clone(&self.readers);
        let reading = tokio::task::spawn_blocking(move || {
            let mut connection =
                readers.take().map_err(|error| T::Error::from(QueryError::from(error).into()))?;
            let result = look(&transaction, &mut connection);
            readers.give_back(connection);
            drop(turn);
            result
        });
        reading.await.map_err(|_| failed(QueryError::Closed))?
    }

    /// Ends all connections when what runs has ended.
    pub async fn close(&self) {
        self.readers.turns.close();
        let readers = Arc::clone(&self.readers);
        // Closing is the disk's work, too. It cannot fail but by a panic, which has been told of.
        let _ = tokio::task::spawn_blocking(move || readers.lock().clear()).await;
        self.writer.close().await;
    }
}

impl Readers {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // A list of connections is whole whatever happened to the thread that held it.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks something up on this thread; `None` when that is not to be done here and now.
    fn read_here<T: Transaction>(&self, transaction: &T) -> Option<Result<T::Done, T::Error>> {
        let _turn = self.turns.try_acquire().ok()?;
        let began_at = Instant::now();
        if !self.patience.allows(began_at) {
            return None;
        }
        // To open another one is the disk's work.
        let mut connection = self.lock().pop()?;
        let result = look(transaction, &mut connection);
        self.patience.note(began_at, began_at.elapsed());
        self.give_back(connection);
        Some(result)
    }

    fn take(&self) -> Result<Connection, rusqlite::Error> {
        let idle = self.lock().pop();
        idle.map_or_else(|| connect(&self.path, Access::Read), Ok)
    }

    fn give_back(&self, connection: Connection) {
        if !self.turns.is_closed() {
            self.lock().push(connection);
        }
    }
}

/// Runs the statements of a lookup, all of which see the names as they are at one moment.
fn look<T: Transaction>(transaction: &T, connection: &mut Connection) -> Result<T::Done, T::Error> {
    let mut session = Session::Sqlite(connection);
    if let Some(done) = without_waiting(transaction.at_once(&mut session)).unwrap_or(Ok(None))? {
        return Ok(done);
    }
    let failed = |error: rusqlite::Error| T::Error::from(QueryError::from(error).into());
    batch(connection, "BEGIN").map_err(failed)?;
    let result = run(transaction, connection);
    // It has changed nothing: either end will do, and this one does after an error as well.
    batch(connection, "ROLLBACK").map_err(failed)?;
    result
}

/// A statement without parameters or rows that is run again and again.
pub(super) fn batch(connection: &Connection, sql: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Runs a transaction's statements on this thread.
pub(super) fn run<T: Transaction>(transaction: &T, connection: &mut Connection) -> Result<T::Done, T::Error> {
    let mut session = Session::Sqlite(connection);
    without_waiting(transaction.run(&mut session))
        .unwrap_or_else(|| Err(NamespaceError::from(QueryError::Closed).into()))
}

/// Statements on SQLite never wait, so neither does a future that is made up of them.
fn without_waiting<F: Future>(future: F) -> Option<F::Output> {
    let future = std::pin::pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Makes the file and brings its tables up to date.
async fn migrate(path: &Path) -> Result<(), NamespaceError> {
    let place = || NamespacePlace::Sqlite(path.to_owned());
    let open_error =
        |error: sqlx::Error| NamespaceError::Open { place: place(), source: QueryError::from(error) };
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .connect()
        .await
        .map_err(open_error)?;
    // Not `run`, whose future cannot be shown to be Send (sqlx's own way around it).
    let migrated = migration::of_sqlite().run_direct(None, &mut connection, false).await;
    sqlx::Connection::close(connection).await.map_err(open_error)?;
    migrated.map_err(|source| NamespaceError::Migrate { place: place(), source: Arc::new(source) })
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

fn connect(path: &Path, access: Access) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "foreign_keys", true)?;
    match access {
        Access::Read => {
            connection.pragma_update(None, "query_only", true)?;
            connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        }
        Access::Write => {
            // A pool forgets an upload once its name is committed, so the commit must survive a power cut.
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
            connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        }
    }
    Ok(connection)
}

/// The root, and whose the uploads are: the file has one door, whatever it was called before.
fn prepare(connection: &Connection, door: &str) -> Result<(), rusqlite::Error> {
    connection.execute(
        "INSERT INTO entries (id, name, created_at, modified_at) VALUES (?1, '', ?2, ?2) ON CONFLICT DO NOTHING",
        [Value::from(ROOT_ID), now_micros().into()],
    )?;
    connection.execute("UPDATE uploads SET door = ?1 WHERE door <> ?1", [Value::from(door)])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::config::NamespaceFiles;
    use crate::namespace::{Lookup, Namespace, NsPath};

    #[tokio::test]
    async fn a_brief_lookup_is_answered_without_a_hand_over() {
        let directory = tempfile::tempdir().unwrap();
        let place = NamespacePlace::Sqlite(directory.path().join("names.db"));
        let namespace =
            Namespace::open(&place, NamespaceFiles::default(), &"door".parse().unwrap()).await.unwrap();
        // The first one opens the file, which is another thread's work.
        namespace.lookup(&NsPath::root()).await.unwrap();

        let found = namespace.lookup(&NsPath::root()).now_or_never();

        assert!(matches!(found, Some(Ok(Lookup::Found(_)))), "{found:?}");
        namespace.close().await;
    }
}
