//! Write locks (RFC 4918 §6, §7): who holds which, and what they stand against.
//!
//! A lock is a row, looked at inside the transaction that makes a change. It is not a lock of the database, and none of
//! those is held longer than its statements.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::database::{Namespace, NamespaceError};
use super::entry::{from_micros, now_micros};
use super::path::NsPath;
use super::read::{Lookup, classify, resolve, to_json};

/// Locks at once in a namespace: each is a promise that has to be kept in mind at every change near it.
const MAX_LOCKS: i64 = 10_000;
/// Locks that are named in an answer; more are not looked for.
const MAX_TOLD: u32 = 100;

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// A URI that only its holder knows.
    pub token: String,
    /// What is locked: a real path.
    pub path: NsPath,
    /// All that is below, too.
    pub deep: bool,
    /// Nobody else may hold a lock there.
    pub exclusive: bool,
    /// The client's own words about whose it is, as an XML element; may be empty.
    pub owner: String,
    /// Who took it.
    pub subject: String,
    /// From the last refresh to its end.
    pub timeout: Duration,
    /// When it ends by itself.
    pub expires_at: Timestamp,
}

/// A lock that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLock {
    /// A URI that nobody can guess.
    pub token: String,
    /// What is to be locked: a real path.
    pub path: NsPath,
    /// All that is below, too.
    pub deep: bool,
    /// Nobody else may hold a lock there.
    pub exclusive: bool,
    /// As in [`Lock`].
    pub owner: String,
    /// As in [`Lock`].
    pub subject: String,
    /// As in [`Lock`].
    pub timeout: Duration,
}

/// The lock tokens that a client has shown, and who it is: a token counts only for who took the lock (§6.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// The tokens.
    pub tokens: Vec<String>,
    /// Who shows them.
    pub subject: String,
}

impl Shown {
    fn opens(&self, lock: &Lock) -> bool {
        self.subject == lock.subject && self.tokens.contains(&lock.token)
    }
}

/// What a change touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch<'a> {
    /// The data or properties at a path.
    Entry(&'a NsPath),
    /// The path and all that is below.
    Tree(&'a NsPath),
    /// The list of names in the directory that holds the path: a name appears or goes.
    Name(&'a NsPath),
}

/// Why a lock is not given.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Others stand against it.
    #[error("it is locked")]
    Locked(Vec<Lock>),
    /// Nothing is there to be locked.
    #[error("no such file or directory")]
    NotFound,
    /// There are as many as may be.
    #[error("there are {MAX_LOCKS} locks already, as many as may be; try again later")]
    TooMany,
    /// The database.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

impl From<sqlx::Error> for LockError {
    fn from(error: sqlx::Error) -> Self {
        LockError::Namespace(error.into())
    }
}

impl Namespace {
    /// Takes a lock on something that is there.
    pub async fn lock(&self, new: NewLock) -> Result<Lock, LockError> {
        let mut change = self.begin().await?;
        sqlx::query("DELETE FROM locks WHERE expires_at <= ?1")
            .bind(now_micros())
            .execute(&mut *change)
            .await?;
        let Lookup::Found(_) = classify(resolve(&mut change, &new.path).await?, &new.path) else {
            return Err(LockError::NotFound);
        };
        let touch = if new.deep { Touch::Tree(&new.path) } else { Touch::Entry(&new.path) };
        let mut against = touching(&mut change, &[touch]).await?;
        against.retain(|lock| lock.exclusive || new.exclusive);
        if !against.is_empty() {
            return Err(LockError::Locked(against));
        }
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM locks").fetch_one(&mut *change).await?;
        if count >= MAX_LOCKS {
            return Err(LockError::TooMany);
        }
        let expires_at = expiry(new.timeout);
        sqlx::query(
            "INSERT INTO locks (token, path, deep, exclusive, owner, subject, timeout_seconds, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .bind(&new.token)
        .bind(new.path.as_key())
        .bind(new.deep)
        .bind(new.exclusive)
        .bind(&new.owner)
        .bind(&new.subject)
        .bind(seconds(new.timeout))
        .bind(expires_at.as_microsecond())
        .execute(&mut *change)
        .await?;
        change.commit().await?;
        let NewLock { token, path, deep, exclusive, owner, subject, timeout } = new;
        Ok(Lock { token, path, deep, exclusive, owner, subject, timeout, expires_at })
    }

    /// Starts the time of a lock anew. `None` when it has ended.
    pub async fn refresh_lock(&self, token: &str, timeout: Duration) -> Result<Option<Lock>, NamespaceError> {
        let mut change = self.begin().await?;
        sqlx::query(
            "UPDATE locks SET timeout_seconds = ?2, expires_at = ?3 WHERE token = ?1 AND expires_at > ?4",
        )
        .bind(token)
        .bind(seconds(timeout))
        .bind(expiry(timeout).as_microsecond())
        .bind(now_micros())
        .execute(&mut *change)
        .await?;
        let lock = find(&mut change, token).await?;
        change.commit().await?;
        Ok(lock)
    }

    /// The lock of a token. `None` when there is none (any more).
    pub async fn find_lock(&self, token: &str) -> Result<Option<Lock>, NamespaceError> {
        let mut connection = self.readers.acquire().await?;
        find(&mut connection, token).await
    }

    /// Ends a lock.
    pub async fn unlock(&self, token: &str) -> Result<(), NamespaceError> {
        let mut change = self.begin().await?;
        sqlx::query("DELETE FROM locks WHERE token = ?1").bind(token).execute(&mut *change).await?;
        change.commit().await?;
        Ok(())
    }

    /// The locks that a change would meet.
    pub async fn locks(&self, touches: &[Touch<'_>]) -> Result<Vec<Lock>, NamespaceError> {
        let mut connection = self.readers.acquire().await?;
        touching(&mut connection, touches).await
    }

    /// The locks that are right on the entries of a directory from one name to another.
    pub async fn locks_of_page(
        &self,
        directory: &NsPath,
        first: &str,
        last: &str,
    ) -> Result<Vec<Lock>, NamespaceError> {
        let key = directory.as_key();
        // SQLite counts characters, from 1: where the name begins behind the slash.
        let name_at = i64::try_from(key.chars().count()).unwrap_or(i64::MAX).saturating_add(2);
        let rows = sqlx::query(
            "SELECT * FROM locks WHERE expires_at > ?1 AND path >= ?2 AND path <= ?3
                 AND instr(substr(path, ?4), '/') = 0 ORDER BY path",
        )
        .bind(now_micros())
        .bind(format!("{key}/{first}"))
        .bind(format!("{key}/{last}"))
        .bind(name_at)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(from_row).collect()
    }

    /// The locks that stand against a change by somebody who shows these tokens.
    pub async fn obstacles(&self, touches: &[Touch<'_>], shown: &Shown) -> Result<Vec<Lock>, NamespaceError> {
        let mut connection = self.readers.acquire().await?;
        obstacles(&mut connection, touches, shown).await
    }
}

/// As [`Namespace::obstacles`], inside a change.
pub(super) async fn obstacles(
    connection: &mut SqliteConnection,
    touches: &[Touch<'_>],
    shown: &Shown,
) -> Result<Vec<Lock>, NamespaceError> {
    let locks = touching(connection, touches).await?;
    let open = |path: &NsPath| locks.iter().any(|lock| &lock.path == path && shown.opens(lock));
    // Of several shared locks on one path, one that is shown is enough (§7.5).
    Ok(locks
        .iter()
        .filter(|lock| !shown.opens(lock) && (lock.exclusive || !open(&lock.path)))
        .cloned()
        .collect())
}

/// Ends all locks of a path and of what is below: it has gone.
pub(super) async fn end_locks(connection: &mut SqliteConnection, path: &NsPath) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM locks WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')")
        .bind(path.as_key())
        .execute(connection)
        .await?;
    Ok(())
}

async fn touching(
    connection: &mut SqliteConnection,
    touches: &[Touch<'_>],
) -> Result<Vec<Lock>, NamespaceError> {
    let mut locks: Vec<Lock> = Vec::new();
    for touch in touches {
        let (path, below) = match touch {
            Touch::Entry(path) => ((*path).clone(), false),
            Touch::Tree(path) => ((*path).clone(), true),
            Touch::Name(path) => match path.parent() {
                Some(parent) => (parent, false),
                None => continue,
            },
        };
        // "0" is the character after "/", so that the range holds what is below and nothing beside.
        let rows = sqlx::query(
            "SELECT * FROM locks WHERE expires_at > ?1 AND (
                 path = ?2
                 OR (deep AND path IN (SELECT value FROM json_each(?3)))
                 OR (?4 AND path > ?2 || '/' AND path < ?2 || '0')
             ) ORDER BY path LIMIT ?5",
        )
        .bind(now_micros())
        .bind(path.as_key())
        .bind(to_json(path.ancestors().iter().map(NsPath::as_key)))
        .bind(below)
        .bind(MAX_TOLD)
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            let lock = from_row(row)?;
            if !locks.contains(&lock) {
                locks.push(lock);
            }
        }
    }
    Ok(locks)
}

async fn find(connection: &mut SqliteConnection, token: &str) -> Result<Option<Lock>, NamespaceError> {
    let row = sqlx::query("SELECT * FROM locks WHERE token = ?1 AND expires_at > ?2")
        .bind(token)
        .bind(now_micros())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(from_row).transpose()
}

fn from_row(row: &SqliteRow) -> Result<Lock, NamespaceError> {
    let path: String = row.try_get("path")?;
    let timeout: i64 = row.try_get("timeout_seconds")?;
    Ok(Lock {
        token: row.try_get("token")?,
        path: NsPath::from_key(&path).map_err(|_| NamespaceError::Corrupt("path"))?,
        deep: row.try_get("deep")?,
        exclusive: row.try_get("exclusive")?,
        owner: row.try_get("owner")?,
        subject: row.try_get("subject")?,
        timeout: Duration::from_secs(u64::try_from(timeout).map_err(|_| NamespaceError::Corrupt("timeout"))?),
        expires_at: from_micros(row.try_get("expires_at")?)?,
    })
}

fn seconds(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX)
}

fn expiry(timeout: Duration) -> Timestamp {
    // Only a time beyond the calendar's end cannot be reached.
    Timestamp::now().checked_add(timeout).unwrap_or(Timestamp::MAX)
}
