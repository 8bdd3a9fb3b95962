//! From the start of an upload to its name.
//!
//! A row in `uploads` says what was promised when the upload began; the name appears only when the pool has the whole
//! file, in the transaction that takes the row away. Whatever was promised is checked again there, as the world may
//! have changed while the bytes moved.

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteRow, SqliteTransaction};

use super::change::{make_missing, touch};
use super::database::{Namespace, NamespaceError};
use super::entry::{Entry, from_micros, now_micros};
use super::path::NsPath;
use super::read::resolve;
use crate::checksum::{self, Checksum};

/// What must be at the path for the upload to be named: the client's preconditions (RFC 9110 §13.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// Anything or nothing.
    Anything,
    /// Nothing (`If-None-Match: *`).
    Absent,
    /// A file (`If-Match: *`).
    Present,
    /// The file with this entity tag (`If-Match: "…"`).
    Etag(String),
}

impl Expectation {
    fn to_record(&self) -> String {
        match self {
            Expectation::Anything => "anything".into(),
            Expectation::Absent => "absent".into(),
            Expectation::Present => "present".into(),
            Expectation::Etag(etag) => format!("etag:{etag}"),
        }
    }

    fn from_record(record: &str) -> Result<Self, NamespaceError> {
        match record {
            "anything" => Ok(Expectation::Anything),
            "absent" => Ok(Expectation::Absent),
            "present" => Ok(Expectation::Present),
            other => match other.strip_prefix("etag:") {
                Some(etag) => Ok(Expectation::Etag(etag.to_owned())),
                None => Err(NamespaceError::Corrupt("expectation")),
            },
        }
    }

    /// Whether what is at the path fulfils it.
    pub fn holds(&self, entry: Option<&Entry>) -> bool {
        match self {
            Expectation::Anything => true,
            Expectation::Absent => entry.is_none(),
            Expectation::Present => entry.is_some(),
            Expectation::Etag(etag) => entry.and_then(Entry::file).is_some_and(|file| file.etag() == etag),
        }
    }
}

/// An upload that a pool was asked to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingUpload {
    /// The transfer's id.
    pub transfer: String,
    /// The new replica's id.
    pub replica: String,
    /// The pool's name.
    pub pool: String,
    /// The real path that it is for.
    pub path: NsPath,
    /// The client's preconditions.
    pub expects: Expectation,
    /// Whether the client may replace a file.
    pub may_overwrite: bool,
    /// When it began.
    pub started_at: Timestamp,
    /// Set when the door has refused it already.
    pub refused: Option<Refused>,
}

/// Why an upload gets no name, and the status that tells the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// 400 to 599.
    pub status: u16,
    /// One line.
    pub reason: String,
}

impl Refused {
    fn new(status: u16, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }
}

/// What the pool tells of a finished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedUpload {
    /// Bytes.
    pub size: u64,
    /// What it computed.
    pub checksums: Vec<Checksum>,
}

/// How a finished upload is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitRules {
    /// Missing directories are made.
    pub create_parents: bool,
    /// The door was away when the upload ended, so that the client may have tried again since: it must not replace
    /// a file that is younger than its own start.
    pub late: bool,
}

/// What became of a finished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// The name points to it. Also when it did before.
    Named,
    /// It gets no name; the refusal is kept until [`Namespace::forget_upload`].
    Refused(Refused),
    /// The namespace has never heard of it.
    Unknown,
}

impl Namespace {
    /// Remembers an upload before the pool hears of it.
    pub async fn begin_upload(&self, upload: &PendingUpload) -> Result<(), NamespaceError> {
        let mut change = self.begin().await?;
        sqlx::query(
            "INSERT INTO uploads (transfer, replica, pool, path, expects, may_overwrite, started_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .bind(&upload.transfer)
        .bind(&upload.replica)
        .bind(&upload.pool)
        .bind(upload.path.as_str())
        .bind(upload.expects.to_record())
        .bind(upload.may_overwrite)
        .bind(upload.started_at.as_microsecond())
        .execute(&mut *change)
        .await?;
        change.commit().await?;
        Ok(())
    }

    /// The uploads at a pool that are not settled.
    pub async fn pending_uploads(&self, pool: &str) -> Result<Vec<PendingUpload>, NamespaceError> {
        let rows = sqlx::query("SELECT * FROM uploads WHERE pool = ?1 ORDER BY started_at")
            .bind(pool)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(pending_from_row).collect()
    }

    /// Forgets an upload that failed, or whose refusal has reached the pool. No error if it is not there.
    pub async fn forget_upload(&self, transfer: &str) -> Result<(), NamespaceError> {
        let mut change = self.begin().await?;
        sqlx::query("DELETE FROM uploads WHERE transfer = ?1").bind(transfer).execute(&mut *change).await?;
        change.commit().await?;
        Ok(())
    }

    /// Forgets an upload that its pool no longer knows, and owes the removal of what it may have left there: a pool that
    /// dies between storing a replica and hearing of its name comes back with the replica and without the transfer.
    /// The upload has no name yet, or it would not be pending.
    pub async fn abandon_upload(&self, transfer: &str) -> Result<(), NamespaceError> {
        let mut change = self.begin().await?;
        sqlx::query(
            "INSERT INTO removals (replica, pool, owed_at) SELECT replica, pool, ?2 FROM uploads WHERE transfer = ?1
             ON CONFLICT (replica) DO NOTHING",
        )
        .bind(transfer)
        .bind(now_micros())
        .execute(&mut *change)
        .await?;
        sqlx::query("DELETE FROM uploads WHERE transfer = ?1").bind(transfer).execute(&mut *change).await?;
        change.commit().await?;
        Ok(())
    }

    /// Gives a finished upload its name, in one transaction with everything that hangs on it: missing directories,
    /// the removal of the replica that it replaces. Doing it again changes nothing.
    pub async fn commit_upload(
        &self,
        transfer: &str,
        replica: &str,
        finished: &FinishedUpload,
        rules: CommitRules,
    ) -> Result<Commit, NamespaceError> {
        let mut change = self.begin().await?;
        let row = sqlx::query("SELECT * FROM uploads WHERE transfer = ?1 AND replica = ?2")
            .bind(transfer)
            .bind(replica)
            .fetch_optional(&mut *change)
            .await?;
        let Some(row) = row else {
            let known = is_known(&mut change, replica).await?;
            return Ok(if known { Commit::Named } else { Commit::Unknown });
        };
        let upload = pending_from_row(&row)?;
        if let Some(refused) = upload.refused {
            return Ok(Commit::Refused(refused));
        }
        if let Err(refused) = name(&mut change, &upload, finished, rules).await? {
            // Whatever `name` did before it refused is undone.
            change.rollback().await?;
            self.refuse(transfer, &refused).await?;
            return Ok(Commit::Refused(refused));
        }
        sqlx::query("DELETE FROM uploads WHERE transfer = ?1").bind(transfer).execute(&mut *change).await?;
        change.commit().await?;
        Ok(Commit::Named)
    }

    async fn refuse(&self, transfer: &str, refused: &Refused) -> Result<(), NamespaceError> {
        let mut change = self.begin().await?;
        sqlx::query("UPDATE uploads SET refused_status = ?2, refused_reason = ?3 WHERE transfer = ?1")
            .bind(transfer)
            .bind(i64::from(refused.status))
            .bind(&refused.reason)
            .execute(&mut *change)
            .await?;
        change.commit().await?;
        Ok(())
    }
}

/// Whether a replica has a name, or had one and waits for its removal.
pub(super) async fn is_known(
    change: &mut SqliteTransaction<'static>,
    replica: &str,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM entries WHERE replica = ?1)
             OR EXISTS (SELECT 1 FROM removals WHERE replica = ?1)",
    )
    .bind(replica)
    .fetch_one(&mut **change)
    .await
}

/// Lets an upload's path point to its replica. It refuses before it changes anything.
pub(super) async fn name(
    change: &mut SqliteTransaction<'static>,
    upload: &PendingUpload,
    finished: &FinishedUpload,
    rules: CommitRules,
) -> Result<Result<(), Refused>, NamespaceError> {
    let path = &upload.path;
    let (Some(parent_path), Some(name)) = (path.parent(), path.name()) else {
        return Ok(Err(Refused::new(409, "the root is a directory")));
    };
    let size = i64::try_from(finished.size).map_err(|_| NamespaceError::Corrupt("size"))?;
    let resolved = resolve(change, path).await?;
    let missing = path.components().count() - resolved.depth;
    let existing = (missing == 0).then_some(&resolved.entry);
    if let Some(refused) = check(upload, existing, rules) {
        return Ok(Err(refused));
    }
    if missing > 0 && !resolved.entry.is_directory() {
        return Ok(Err(Refused::new(409, "a component above the file is not a directory")));
    }
    if missing > 1 && !rules.create_parents {
        return Ok(Err(Refused::new(409, "the parent directory does not exist")));
    }
    let now = now_micros();
    let checksums = checksum::to_record(&finished.checksums);
    if let Some(existing) = existing {
        sqlx::query(
            "INSERT INTO removals (replica, pool, owed_at) SELECT replica, pool, ?2 FROM entries WHERE id = ?1",
        )
        .bind(existing.id)
        .bind(now)
        .execute(&mut **change)
        .await?;
        sqlx::query(
            "UPDATE entries SET replica = ?2, pool = ?3, size = ?4, checksums = ?5, modified_at = ?6 WHERE id = ?1",
        )
        .bind(existing.id)
        .bind(&upload.replica)
        .bind(&upload.pool)
        .bind(size)
        .bind(checksums)
        .bind(now)
        .execute(&mut **change)
        .await?;
        return Ok(Ok(()));
    }
    let parent = make_missing(change, &resolved, &parent_path).await?;
    sqlx::query(
        "INSERT INTO entries (parent, name, replica, pool, size, checksums, created_at, modified_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
    )
    .bind(parent)
    .bind(name)
    .bind(&upload.replica)
    .bind(&upload.pool)
    .bind(size)
    .bind(checksums)
    .bind(now)
    .execute(&mut **change)
    .await?;
    touch(change, parent).await?;
    Ok(Ok(()))
}

fn check(upload: &PendingUpload, existing: Option<&Entry>, rules: CommitRules) -> Option<Refused> {
    if existing.is_some_and(Entry::is_directory) {
        return Some(Refused::new(409, "a directory has this name now"));
    }
    if !upload.expects.holds(existing) {
        return Some(Refused::new(412, "the file was changed while the upload ran"));
    }
    let existing = existing?;
    if !upload.may_overwrite {
        return Some(Refused::new(
            403,
            "a file has this name now, and the token does not allow to replace it",
        ));
    }
    if rules.late && existing.modified_at > upload.started_at {
        return Some(Refused::new(409, "a younger file has this name now"));
    }
    None
}

fn pending_from_row(row: &SqliteRow) -> Result<PendingUpload, NamespaceError> {
    let status: Option<i64> = row.try_get("refused_status")?;
    let refused = match status {
        None => None,
        Some(status) => Some(Refused {
            status: u16::try_from(status).map_err(|_| NamespaceError::Corrupt("status"))?,
            reason: row.try_get::<Option<String>, _>("refused_reason")?.unwrap_or_default(),
        }),
    };
    Ok(PendingUpload {
        transfer: row.try_get("transfer")?,
        replica: row.try_get("replica")?,
        pool: row.try_get("pool")?,
        path: NsPath::parse(row.try_get("path")?).map_err(|_| NamespaceError::Corrupt("path"))?,
        expects: Expectation::from_record(row.try_get("expects")?)?,
        may_overwrite: row.try_get("may_overwrite")?,
        started_at: from_micros(row.try_get("started_at")?)?,
        refused,
    })
}
