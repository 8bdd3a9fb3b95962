//! Opening the database, and the two ways to it: one writer, several readers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous, SqliteTransaction,
};

use super::entry::{ROOT_ID, now_micros};

/// Readers at once. Each is a thread that mostly waits for memory, so a few more than cores are enough.
const READERS: u32 = 8;
/// How long a connection waits for another process (an admin's `sqlite3`) that holds the lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request waits for a connection before it is told to come back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the namespace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// It does not open.
    #[error("cannot open the namespace {path}: {source}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// Its tables cannot be made or brought up to date.
    #[error("cannot bring the namespace {path} to this version: {source}")]
    Migrate {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: sqlx::migrate::MigrateError,
    },
    /// A statement failed.
    #[error("the namespace does not answer: {0}")]
    Query(#[from] sqlx::Error),
    /// It holds something that this version cannot have written.
    #[error("the namespace holds a {0} that cannot be read")]
    Corrupt(&'static str),
}

/// The namespace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Namespace {
    pub(super) readers: SqlitePool,
    writer: SqlitePool,
}

impl Namespace {
    /// Opens the database, makes it where it is missing, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, NamespaceError> {
        let open_error = |source| NamespaceError::Open { path: path.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A pool forgets an upload once its name is committed, so the commit must survive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.clone())
            .await
            .map_err(open_error)?;
        sqlx::migrate!("./migrations")
            .run(&writer)
            .await
            .map_err(|source| NamespaceError::Migrate { path: path.to_owned(), source })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options.pragma("query_only", "on"))
            .await
            .map_err(open_error)?;
        let namespace = Self { readers, writer };
        namespace.make_root().await?;
        Ok(namespace)
    }

    async fn make_root(&self) -> Result<(), NamespaceError> {
        let mut change = self.begin().await?;
        sqlx::query(
            "INSERT OR IGNORE INTO entries (id, name, created_at, modified_at) VALUES (?1, '', ?2, ?2)",
        )
        .bind(ROOT_ID)
        .bind(now_micros())
        .execute(&mut *change)
        .await?;
        change.commit().await?;
        Ok(())
    }

    /// Starts a change. It takes the write lock at once, so that what it reads stays true until it commits.
    pub(super) async fn begin(&self) -> Result<SqliteTransaction<'static>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// Closes the database when all running statements have ended.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
