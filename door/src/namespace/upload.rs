//! From the start of an upload to its name.
//!
//! A row in `uploads` says what was promised when the upload began; the name appears only when the pool has the whole
//! file, in the transaction that takes the row away. Whatever was promised is checked again there, as the world may
//! have changed while the bytes moved.

use jiff::Timestamp;

use super::change::{hold, make_missing, owe, touch_seen};
use super::database::reach::Reach;
use super::database::session::{Row, Session, Sql};
use super::database::{Namespace, NamespaceError, Transaction};
use super::entry::{Entry, from_micros, now_micros};
use super::lock::{Shown, Touch, obstacles};
use super::path::NsPath;
use super::property::take_over;
use super::read::{Resolved, resolve};
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
    /// The lock tokens that the client has shown.
    pub shown: Shown,
    /// It is a copy, which takes over the dead properties of this entry.
    pub copy_of: Option<i64>,
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
    /// This name points to it now.
    Named(NsPath),
    /// It has had its name, and perhaps lost it again.
    NamedBefore,
    /// It gets no name; the refusal is kept until [`Namespace::forget_upload`].
    Refused(Refused),
    /// The namespace has never heard of it.
    Unknown,
}

/// Columns of an upload, followed by a statement's rest.
macro_rules! upload_columns {
    ($rest:literal) => {
        concat!(
            "SELECT transfer, replica, pool, path, expects, may_overwrite, started_at, refused_status, refused_reason, \
             tokens, subject, copy_of FROM uploads",
            $rest
        )
    };
}

impl Namespace {
    /// Remembers an upload before the pool hears of it.
    pub async fn begin_upload(&self, upload: &PendingUpload) -> Result<(), NamespaceError> {
        self.change(Begin { upload: upload.clone(), door: self.door.to_string() }).await
    }

    /// The uploads of this door at a pool that are not settled.
    pub async fn pending_uploads(&self, pool: &str) -> Result<Vec<PendingUpload>, NamespaceError> {
        self.read(Pending { pool: pool.to_owned(), door: self.door.to_string() }).await
    }

    /// Forgets an upload that failed, or whose refusal has reached the pool. No error if it is not there.
    pub async fn forget_upload(&self, transfer: &str) -> Result<(), NamespaceError> {
        self.change(Forget { transfer: transfer.to_owned() }).await
    }

    /// Forgets an upload that its pool no longer knows, and owes the removal of what it may have left there: a pool that
    /// dies between storing a replica and hearing of its name comes back with the replica and without the transfer.
    /// The upload has no name yet, or it would not be pending.
    pub async fn abandon_upload(&self, transfer: &str) -> Result<(), NamespaceError> {
        self.change(Abandon { transfer: transfer.to_owned() }).await
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
        let (transfer, replica, finished) = (transfer.to_owned(), replica.to_owned(), finished.clone());
        self.change(CommitUpload { transfer, replica, finished, rules }).await
    }

    /// Remembers checksums of a replica that were computed after it was named. No error if no name points to it any more.
    pub async fn add_checksums(&self, replica: &str, computed: &[Checksum]) -> Result<(), NamespaceError> {
        self.change(AddChecksums { replica: replica.to_owned(), computed: computed.to_vec() }).await
    }
}

struct Begin {
    upload: PendingUpload,
    door: String,
}

impl Transaction for Begin {
    type Done = ();
    type Error = NamespaceError;

    fn reach(&self) -> Reach {
        Reach::Own
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), NamespaceError> {
        let upload = &self.upload;
        let expects = upload.expects.to_record();
        let tokens = upload.shown.tokens.join(" ");
        session
            .execute(
                "INSERT INTO uploads
                     (transfer, replica, pool, path, expects, may_overwrite, started_at, tokens, subject, copy_of, door)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                 ON CONFLICT (transfer) DO NOTHING",
                &[
                    (&upload.transfer).into(),
                    (&upload.replica).into(),
                    (&upload.pool).into(),
                    upload.path.as_str().into(),
                    (&expects).into(),
                    upload.may_overwrite.into(),
                    upload.started_at.as_microsecond().into(),
                    (&tokens).into(),
                    (&upload.shown.subject).into(),
                    upload.copy_of.into(),
                    (&self.door).into(),
                ],
            )
            .await
            .map(drop)
    }
}

struct Pending {
    pool: String,
    door: String,
}

impl Transaction for Pending {
    type Done = Vec<PendingUpload>;
    type Error = NamespaceError;

    async fn run(&self, session: &mut Session<'_>) -> Result<Vec<PendingUpload>, NamespaceError> {
        session
            .fetch(
                upload_columns!(" WHERE door = ?1 AND pool = ?2 ORDER BY started_at"),
                &[(&self.door).into(), (&self.pool).into()],
                pending_from_row,
            )
            .await
    }
}

struct Forget {
    transfer: String,
}

impl Transaction for Forget {
    type Done = ();
    type Error = NamespaceError;

    fn reach(&self) -> Reach {
        Reach::Own
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), NamespaceError> {
        forget(session, &self.transfer).await
    }
}

struct Abandon {
    transfer: String,
}

impl Transaction for Abandon {
    type Done = ();
    type Error = NamespaceError;

    async fn run(&self, session: &mut Session<'_>) -> Result<(), NamespaceError> {
        let transfer = Sql::from("DELETE FROM uploads WHERE transfer = ?1 RETURNING replica, pool");
        let forgotten = session
            .fetch_optional(transfer, &[(&self.transfer).into()], |row| Ok((row.text(0)?, row.text(1)?)))
            .await?;
        let Some((replica, pool)) = forgotten else { return Ok(()) };
        session
            .execute(
                "INSERT INTO removals (replica, pool, owed_at) VALUES (?1, ?2, ?3) ON CONFLICT (replica) DO NOTHING",
                &[(&replica).into(), (&pool).into(), now_micros().into()],
            )
            .await
            .map(drop)
    }
}

struct CommitUpload {
    transfer: String,
    replica: String,
    finished: FinishedUpload,
    rules: CommitRules,
}

impl Transaction for CommitUpload {
    type Done = Commit;
    type Error = NamespaceError;

    async fn run(&self, session: &mut Session<'_>) -> Result<Commit, NamespaceError> {
        const FIND: Sql = Sql::each(
            upload_columns!(" WHERE transfer = ?1 AND replica = ?2"),
            upload_columns!(" WHERE transfer = ?1 AND replica = ?2 FOR UPDATE"),
        );
        let ids = [(&self.transfer).into(), (&self.replica).into()];
        let Some(upload) = session.fetch_optional(FIND, &ids, pending_from_row).await? else {
            let known = is_known(session, &self.replica).await?;
            return Ok(if known { Commit::NamedBefore } else { Commit::Unknown });
        };
        if let Some(refused) = upload.refused {
            return Ok(Commit::Refused(refused));
        }
        if let Err(refused) = name(session, &upload, &self.finished, self.rules).await? {
            session
                .execute(
                    "UPDATE uploads SET refused_status = ?2, refused_reason = ?3 WHERE transfer = ?1",
                    &[(&self.transfer).into(), i64::from(refused.status).into(), (&refused.reason).into()],
                )
                .await?;
            return Ok(Commit::Refused(refused));
        }
        forget(session, &self.transfer).await?;
        Ok(Commit::Named(upload.path))
    }
}

struct AddChecksums {
    replica: String,
    computed: Vec<Checksum>,
}

impl Transaction for AddChecksums {
    type Done = ();
    type Error = NamespaceError;

    async fn run(&self, session: &mut Session<'_>) -> Result<(), NamespaceError> {
        const FIND: Sql = Sql::each(
            "SELECT checksums FROM entries WHERE replica = ?1",
            "SELECT checksums FROM entries WHERE replica = ?1 FOR UPDATE",
        );
        let replica = (&self.replica).into();
        let Some(record) = session.fetch_optional(FIND, &[replica], |row| row.text(0)).await? else {
            return Ok(());
        };
        let mut checksums = checksum::from_record(&record);
        let known: Vec<_> = checksums.iter().map(|checksum| checksum.algorithm).collect();
        checksums.extend(self.computed.iter().filter(|new| !known.contains(&new.algorithm)).cloned());
        let record = checksum::to_record(&checksums);
        session
            .execute("UPDATE entries SET checksums = ?2 WHERE replica = ?1", &[replica, (&record).into()])
            .await
            .map(drop)
    }
}

async fn forget(session: &mut Session<'_>, transfer: &str) -> Result<(), NamespaceError> {
    session.execute("DELETE FROM uploads WHERE transfer = ?1", &[transfer.into()]).await.map(drop)
}

/// Whether a replica has a name, or had one and waits for its removal.
pub(super) async fn is_known(session: &mut Session<'_>, replica: &str) -> Result<bool, NamespaceError> {
    session
        .fetch_one(
            "SELECT EXISTS (SELECT 1 FROM entries WHERE replica = ?1)
                 OR EXISTS (SELECT 1 FROM removals WHERE replica = ?1)",
            &[replica.into()],
            |row| row.flag(0),
        )
        .await
}

/// Lets an upload's path point to its replica. It refuses before it changes anything.
pub(super) async fn name(
    session: &mut Session<'_>,
    upload: &PendingUpload,
    finished: &FinishedUpload,
    rules: CommitRules,
) -> Result<Result<(), Refused>, NamespaceError> {
    let path = &upload.path;
    let (Some(parent_path), Some(name)) = (path.parent(), path.name()) else {
        return Ok(Err(Refused::new(409, "the root is a directory")));
    };
    let size = i64::try_from(finished.size).map_err(|_| NamespaceError::Corrupt("size"))?;
    let resolved = resolve(session, path).await?;
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
    if is_locked(session, upload, &resolved).await? {
        return Ok(Err(Refused::new(423, "somebody else has locked it while the upload ran")));
    }
    let now = now_micros();
    let checksums = checksum::to_record(&finished.checksums);
    if let Some(existing) = existing {
        hold(session, &resolved).await?;
        owe(session, existing.id).await?;
        session
            .execute(
                "UPDATE entries SET replica = ?2, pool = ?3, size = ?4, checksums = ?5, modified_at = ?6 WHERE id = ?1",
                &[
                    existing.id.into(),
                    (&upload.replica).into(),
                    (&upload.pool).into(),
                    size.into(),
                    (&checksums).into(),
                    now.into(),
                ],
            )
            .await?;
        if let Some(original) = upload.copy_of {
            take_over(session, original, existing.id).await?;
        }
        return Ok(Ok(()));
    }
    let parent = make_missing(session, &resolved, &parent_path).await?;
    let made = session
        .fetch_one(
            "INSERT INTO entries (parent, name, replica, pool, size, checksums, created_at, modified_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) RETURNING id",
            &[
                parent.into(),
                name.into(),
                (&upload.replica).into(),
                (&upload.pool).into(),
                size.into(),
                (&checksums).into(),
                now.into(),
            ],
            |row| row.integer(0),
        )
        .await?;
    if let Some(original) = upload.copy_of {
        take_over(session, original, made).await?;
    }
    // Directories that were made for it are as young as it is.
    if missing == 1 {
        touch_seen(session, &resolved.entry).await?;
    }
    Ok(Ok(()))
}

/// Whether a lock stands against it now, which need not have been there when the upload began.
async fn is_locked(
    session: &mut Session<'_>,
    upload: &PendingUpload,
    resolved: &Resolved,
) -> Result<bool, NamespaceError> {
    // Where the first name appears that is not there yet.
    let directory = upload.path.first(resolved.depth);
    let touches = [Touch::Entry(&upload.path), Touch::Entry(&directory)];
    Ok(!obstacles(session, &touches, &upload.shown).await?.is_empty())
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

fn pending_from_row(row: &Row<'_>) -> Result<PendingUpload, NamespaceError> {
    let refused = match row.maybe_integer(7)? {
        None => None,
        Some(status) => Some(Refused {
            status: u16::try_from(status).map_err(|_| NamespaceError::Corrupt("status"))?,
            reason: row.maybe_text(8)?.unwrap_or_default(),
        }),
    };
    Ok(PendingUpload {
        transfer: row.text(0)?,
        replica: row.text(1)?,
        pool: row.text(2)?,
        path: NsPath::parse(&row.text(3)?).map_err(|_| NamespaceError::Corrupt("path"))?,
        expects: Expectation::from_record(&row.text(4)?)?,
        may_overwrite: row.flag(5)?,
        shown: Shown {
            tokens: row.text(9)?.split_whitespace().map(str::to_owned).collect(),
            subject: row.text(10)?,
        },
        copy_of: row.maybe_integer(11)?,
        started_at: from_micros(row.integer(6)?)?,
        refused,
    })
}
