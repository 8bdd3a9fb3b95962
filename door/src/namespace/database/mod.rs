//! The database behind the namespace: an SQLite file, or PostgreSQL where several doors share the names.
//!
//! * [`session`]: statements and rows, the same for both. [`reach`]: how much of the tree a change can touch.
//! * [`sqlite`]: a file; brief lookups on the thread that asks while none of them waits for the disk ([`patience`]), longer
//!   ones on a few others, all changes on one, [`writer`], which commits those that wait together.
//! * [`postgres`]: a server, and what keeps the changes of several doors apart; its [`connections`]; [`presence`]: that no
//!   two doors have one name; [`words`]: its errors.
//!
//! All above this folder is written once: a [`Transaction`] says what is done, and where it runs is decided here.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::{NamespaceFiles, NamespacePlace, SiteName};

mod connections;
pub mod inspection;
mod migration;
mod patience;
mod postgres;
mod presence;
pub(super) mod reach;
pub(super) mod session;
mod sqlite;
mod words;
mod writer;

use postgres::Postgres;
use reach::Reach;
use session::Session;
use sqlite::Sqlite;

/// Why the namespace cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NamespaceError {
    /// It does not open.
    #[error("cannot open the namespace {place}: {source}")]
    Open {
        /// Which.
        place: NamespacePlace,
        /// Why.
        source: QueryError,
    },
    /// The file with the password for it is of no use.
    #[error("cannot read the password for the namespace from {path}: {problem}")]
    Password {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The file with the authority of its server is of no use.
    #[error("namespace_ca: {0}")]
    Authority(#[from] Arc<penstock_trust::CertificateError>),
    /// Its server does not prove who it is, or does not encrypt.
    #[error(
        "cannot open the namespace {place}: no safe connection to its server: {source}; the URL needs the name that the \
         server's certificate is for, and namespace_ca the authority that signed it"
    )]
    Unsafe {
        /// Which.
        place: NamespacePlace,
        /// Why.
        source: QueryError,
    },
    /// It is there, but not as it has to be.
    #[error("the namespace {place} cannot be used: {problem}")]
    Unsuited {
        /// Which.
        place: NamespacePlace,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Its tables cannot be made or brought up to date.
    #[error("cannot bring the namespace {place} to this version: {}", words::of_migration(source))]
    Migrate {
        /// Which.
        place: NamespacePlace,
        /// Why.
        source: Arc<sqlx::migrate::MigrateError>,
    },
    /// A statement failed.
    #[error("the namespace does not answer: {0}")]
    Query(#[from] QueryError),
    /// It holds something that this version cannot have written.
    #[error("the namespace holds a {0} that cannot be read")]
    Corrupt(&'static str),
}

/// Why a statement, or the transaction that it belongs to, failed. Shared, as all changes of a transaction fail together.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueryError {
    /// SQLite.
    #[error("{0}")]
    Sqlite(#[source] Arc<rusqlite::Error>),
    /// PostgreSQL.
    #[error("{}", words::of(.0))]
    Postgres(#[source] Arc<sqlx::Error>),
    /// It was committed together with others, and the commit failed.
    #[error("a change that was to be committed together with this one broke the transaction: {0}")]
    Together(#[source] Arc<rusqlite::Error>),
    /// As many wait as may.
    #[error("too many wait for it; try again later")]
    Busy,
    /// Others were faster, again and again.
    #[error("others change the same names at the same time, again and again; try again later")]
    Conflict,
    /// It is closed, or what served this has died.
    #[error("it is closed")]
    Closed,
}

impl From<rusqlite::Error> for QueryError {
    fn from(error: rusqlite::Error) -> Self {
        QueryError::Sqlite(Arc::new(error))
    }
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        QueryError::Postgres(Arc::new(error))
    }
}

/// What is looked up or changed in one go. It may run more than once, so it keeps nothing between two runs.
pub(super) trait Transaction: Send + Sync + 'static {
    /// What comes of it.
    type Done: Send + 'static;
    /// Why it does not come to be: whatever it has changed until then is undone.
    type Error: From<NamespaceError> + Send + 'static;

    /// It only looks, and at a handful of rows that indexes lead to, however large the namespace is.
    const BRIEF: bool = false;

    /// What it can touch at most. Of no matter for one that only looks.
    fn reach(&self) -> Reach {
        Reach::Names
    }

    /// What comes of it, if a single statement can tell: that needs no transaction. Of a lookup on SQLite.
    fn at_once(
        &self,
        _session: &mut Session<'_>,
    ) -> impl Future<Output = Result<Option<Self::Done>, Self::Error>> + Send {
        async { Ok(None) }
    }

    /// Does it.
    fn run(&self, session: &mut Session<'_>) -> impl Future<Output = Result<Self::Done, Self::Error>> + Send;
}

/// The namespace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Namespace {
    database: Database,
    /// The door that it is open for.
    pub(super) door: Arc<str>,
}

#[derive(Debug, Clone)]
enum Database {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

impl Namespace {
    /// Opens the database for a door, makes what is missing, and brings its tables up to date.
    pub async fn open(
        place: &NamespacePlace,
        files: NamespaceFiles<'_>,
        door: &SiteName,
    ) -> Result<Self, NamespaceError> {
        let database = match place {
            NamespacePlace::Sqlite(path) => Database::Sqlite(Sqlite::open(path, door.as_str()).await?),
            NamespacePlace::Postgres(url) => {
                Database::Postgres(Postgres::open(url, files, door.as_str()).await?)
            }
        };
        Ok(Self { database, door: door.as_str().into() })
    }

    /// Makes a change: all of it, durably, when this returns `Ok`; nothing of it else.
    pub(super) async fn change<T: Transaction>(&self, transaction: T) -> Result<T::Done, T::Error> {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.change(transaction).await,
            Database::Postgres(postgres) => postgres.change(transaction).await,
        }
    }

    /// Looks something up.
    pub(super) async fn read<T: Transaction>(&self, transaction: T) -> Result<T::Done, T::Error> {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.read(transaction).await,
            Database::Postgres(postgres) => postgres.read(&transaction).await,
        }
    }

    /// Makes sure that no other door of this door's name works here, as long as it is open. A command that works for a
    /// door does not need it.
    pub async fn be_the_only_door_of_its_name(&self) -> Result<(), NamespaceError> {
        match &self.database {
            // A file has one door.
            Database::Sqlite(_) => Ok(()),
            Database::Postgres(postgres) => postgres.be_the_only_door_of_its_name().await,
        }
    }

    /// Closes the database when all that runs has ended.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite(sqlite) => sqlite.close().await,
            Database::Postgres(postgres) => postgres.close().await,
        }
    }
}
