//! Write locks (RFC 4918 §6, §7): who holds which, and what they stand against.
//!
//! A lock is a row, looked at inside the transaction that makes a change. It is not a lock of the database, and none of
//! those is held longer than its statements.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use super::database::reach::Reach;
use super::database::session::{Row, Session, Sql};
use super::database::{Namespace, NamespaceError, Transaction};
use super::entry::{from_micros, now_micros};
use super::path::NsPath;
use super::read::{Lookup, classify, resolve, to_json};

/// Locks at once in a namespace: each is a promise that has to be kept in mind at every change near it.
const MAX_LOCKS: i64 = 10_000;
/// Of these, locks of one subject, and of one path: so that nobody takes them all.
const MAX_LOCKS_OF_ONE: i64 = 1_000;
const MAX_LOCKS_OF_PATH: i64 = 100;
/// Locks that are named in an answer.
pub const MAX_TOLD: usize = 100;

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
    /// From the last refresh to its end, as it was given.
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

impl Lock {
    /// How long it still holds, in whole seconds and rounded up; never longer than it was given for, should the clock have
    /// been set back.
    pub fn seconds_left(&self, now: Timestamp) -> u64 {
        let left = (self.expires_at.duration_since(now).as_millis() + 999) / 1000;
        u64::try_from(left).unwrap_or(0).clamp(1, self.timeout.as_secs().max(1))
    }
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
    /// Who asks has as many as one may.
    #[error("you hold {MAX_LOCKS_OF_ONE} locks, as many as one may: end some of them")]
    TooManyOfYours,
    /// The same for the path.
    #[error("there are {MAX_LOCKS_OF_PATH} locks on it, as many as may be; try again later")]
    TooManyHere,
    /// The database.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// Columns of a lock, one of them perhaps given another way, followed by a statement's rest.
macro_rules! lock_columns {
    ($rest:literal) => {
        lock_columns!("owner", $rest)
    };
    ($owner:literal, $rest:literal) => {
        concat!(
            "SELECT token, path, deep, exclusive, ",
            $owner,
            ", subject, timeout_seconds, expires_at FROM locks",
            $rest
        )
    };
}

impl Namespace {
    /// Takes a lock on something that is there.
    pub async fn lock(&self, new: NewLock) -> Result<Lock, LockError> {
        self.change(Take { new }).await
    }

    /// Starts the time of a lock anew. `None` when it has ended.
    pub async fn refresh_lock(&self, token: &str, timeout: Duration) -> Result<Option<Lock>, NamespaceError> {
        self.change(Refresh { token: token.to_owned(), timeout }).await
    }

    /// The lock of a token. `None` when there is none (any more).
    pub async fn find_lock(&self, token: &str) -> Result<Option<Lock>, NamespaceError> {
        self.read(Find { token: token.to_owned() }).await
    }

    /// Ends a lock.
    pub async fn unlock(&self, token: &str) -> Result<(), NamespaceError> {
        self.change(Unlock { token: token.to_owned() }).await
    }

    /// The locks that a change would meet, to be told: the first [`MAX_TOLD`] at each place.
    pub async fn locks(&self, touches: &[Touch<'_>]) -> Result<Vec<Lock>, NamespaceError> {
        self.read(Touching { places: places(touches), purpose: Purpose::Telling }).await
    }

    /// All of them, without their owners' words.
    pub async fn all_locks(&self, touches: &[Touch<'_>]) -> Result<Vec<Lock>, NamespaceError> {
        self.read(Touching { places: places(touches), purpose: Purpose::Deciding }).await
    }

    /// The locks that are right on the entries of a directory from one name to another.
    pub async fn locks_of_page(
        &self,
        directory: &NsPath,
        first: &str,
        last: &str,
    ) -> Result<Vec<Lock>, NamespaceError> {
        let key = directory.as_key();
        // Characters are counted from 1: where the name begins behind the slash.
        let name_at = i64::try_from(key.chars().count()).unwrap_or(i64::MAX).saturating_add(2);
        let (first, last) = (format!("{key}/{first}"), format!("{key}/{last}"));
        self.read(OfPage { first, last, name_at }).await
    }

    /// The locks that stand against a change by somebody who shows these tokens.
    pub async fn obstacles(&self, touches: &[Touch<'_>], shown: &Shown) -> Result<Vec<Lock>, NamespaceError> {
        Ok(closed(self.all_locks(touches).await?, shown))
    }
}

/// What locks are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To name them in an answer, not too many.
    Telling,
    /// To decide whether one stands against something: none may be missed. Owners' words would take much room.
    Deciding,
}

/// A path at which a change meets locks.
#[derive(Debug)]
struct Place {
    path: NsPath,
    /// Also those on what is below.
    below: bool,
}

impl Touch<'_> {
    /// Nothing for the name of the root, which is in no list.
    fn place(&self) -> Option<Place> {
        match self {
            Touch::Entry(path) => Some(Place { path: (*path).clone(), below: false }),
            Touch::Tree(path) => Some(Place { path: (*path).clone(), below: true }),
            Touch::Name(path) => path.parent().map(|path| Place { path, below: false }),
        }
    }
}

struct Take {
    new: NewLock,
}

impl Transaction for Take {
    type Done = Lock;
    type Error = LockError;

    /// Whatever changes names looks at the locks, and must not miss one that is just taken.
    fn reach(&self) -> Reach {
        Reach::Tree
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Lock, LockError> {
        let new = &self.new;
        session.execute("DELETE FROM locks WHERE expires_at <= ?1", &[now_micros().into()]).await?;
        let Lookup::Found(_) = classify(resolve(session, &new.path).await?, &new.path) else {
            return Err(LockError::NotFound);
        };
        let touch = if new.deep { Touch::Tree(&new.path) } else { Touch::Entry(&new.path) };
        let mut against = touching(session, touch.place().as_slice(), Purpose::Deciding).await?;
        against.retain(|lock| lock.exclusive || new.exclusive);
        if !against.is_empty() {
            return Err(LockError::Locked(against));
        }
        let (all, yours, here) = session
            .fetch_one(
                "SELECT count(*), count(CASE WHEN subject = ?1 THEN 1 END), count(CASE WHEN path = ?2 THEN 1 END)
                 FROM locks",
                &[(&new.subject).into(), new.path.as_key().into()],
                |row| Ok((row.integer(0)?, row.integer(1)?, row.integer(2)?)),
            )
            .await?;
        if yours >= MAX_LOCKS_OF_ONE {
            return Err(LockError::TooManyOfYours);
        }
        if here >= MAX_LOCKS_OF_PATH {
            return Err(LockError::TooManyHere);
        }
        if all >= MAX_LOCKS {
            return Err(LockError::TooMany);
        }
        let expires_at = expiry(new.timeout);
        session
            .execute(
                "INSERT INTO locks (token, path, deep, exclusive, owner, subject, timeout_seconds, expires_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                &[
                    (&new.token).into(),
                    new.path.as_key().into(),
                    new.deep.into(),
                    new.exclusive.into(),
                    (&new.owner).into(),
                    (&new.subject).into(),
                    seconds(new.timeout).into(),
                    expires_at.as_microsecond().into(),
                ],
            )
            .await?;
        let NewLock { token, path, deep, exclusive, owner, subject, timeout } = new.clone();
        Ok(Lock { token, path, deep, exclusive, owner, subject, timeout, expires_at })
    }
}

struct Refresh {
    token: String,
    timeout: Duration,
}

impl Transaction for Refresh {
    type Done = Option<Lock>;
    type Error = NamespaceError;

    async fn run(&self, session: &mut Session<'_>) -> Result<Option<Lock>, NamespaceError> {
        session
            .execute(
                "UPDATE locks SET timeout_seconds = ?2, expires_at = ?3 WHERE token = ?1 AND expires_at > ?4",
                &[
                    (&self.token).into(),
                    seconds(self.timeout).into(),
                    expiry(self.timeout).as_microsecond().into(),
                    now_micros().into(),
                ],
            )
            .await?;
        find(session, &self.token).await
    }
}

struct Find {
    token: String,
}

impl Transaction for Find {
    type Done = Option<Lock>;
    type Error = NamespaceError;
    const BRIEF: bool = true;

    async fn run(&self, session: &mut Session<'_>) -> Result<Option<Lock>, NamespaceError> {
        find(session, &self.token).await
    }
}

struct Unlock {
    token: String,
}

impl Transaction for Unlock {
    type Done = ();
    type Error = NamespaceError;

    fn reach(&self) -> Reach {
        Reach::Own
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), NamespaceError> {
        session.execute("DELETE FROM locks WHERE token = ?1", &[(&self.token).into()]).await.map(drop)
    }
}

struct Touching {
    places: Vec<Place>,
    purpose: Purpose,
}

impl Transaction for Touching {
    type Done = Vec<Lock>;
    type Error = NamespaceError;
    const BRIEF: bool = true;

    async fn run(&self, session: &mut Session<'_>) -> Result<Vec<Lock>, NamespaceError> {
        touching(session, &self.places, self.purpose).await
    }
}

struct OfPage {
    first: String,
    last: String,
    name_at: i64,
}

impl Transaction for OfPage {
    type Done = Vec<Lock>;
    type Error = NamespaceError;

    async fn run(&self, session: &mut Session<'_>) -> Result<Vec<Lock>, NamespaceError> {
        session
            .fetch(
                lock_columns!(
                    " WHERE expires_at > ?1 AND path >= ?2 AND path <= ?3
                      AND substr(path, CAST(?4 AS integer)) NOT LIKE '%/%' ORDER BY path"
                ),
                &[now_micros().into(), (&self.first).into(), (&self.last).into(), self.name_at.into()],
                from_row,
            )
            .await
    }
}

/// As [`Namespace::locks`], beside other lookups.
pub(super) async fn locks_on(
    session: &mut Session<'_>,
    touch: Touch<'_>,
) -> Result<Vec<Lock>, NamespaceError> {
    touching(session, touch.place().as_slice(), Purpose::Telling).await
}

/// As [`Namespace::obstacles`], inside a change.
pub(super) async fn obstacles(
    session: &mut Session<'_>,
    touches: &[Touch<'_>],
    shown: &Shown,
) -> Result<Vec<Lock>, NamespaceError> {
    Ok(closed(touching(session, &places(touches), Purpose::Deciding).await?, shown))
}

fn places(touches: &[Touch<'_>]) -> Vec<Place> {
    touches.iter().filter_map(Touch::place).collect()
}

/// Those that are not opened by what is shown.
fn closed(mut locks: Vec<Lock>, shown: &Shown) -> Vec<Lock> {
    // Of several shared locks on one path, one that is shown is enough (§7.5).
    let opened = |lock: &&Lock| shown.opens(lock);
    let open: HashSet<String> =
        locks.iter().filter(opened).map(|lock| lock.path.as_key().to_owned()).collect();
    locks.retain(|lock| !shown.opens(lock) && (lock.exclusive || !open.contains(lock.path.as_key())));
    locks
}

/// Ends all locks of a path and of what is below: it has gone.
pub(super) async fn end_locks(session: &mut Session<'_>, path: &NsPath) -> Result<(), NamespaceError> {
    session
        .execute(
            "DELETE FROM locks WHERE path = ?1 OR (path > ?1 || '/' AND path < ?1 || '0')",
            &[path.as_key().into()],
        )
        .await
        .map(drop)
}

async fn touching(
    session: &mut Session<'_>,
    places: &[Place],
    purpose: Purpose,
) -> Result<Vec<Lock>, NamespaceError> {
    // "0" is the character after "/", so that the range holds what is below and nothing beside.
    const TOUCHING: Sql = Sql::each(
        lock_columns!(
            "CASE WHEN ?5 THEN owner ELSE '' END",
            " WHERE expires_at > ?1 AND (
                  path = ?2
                  OR (deep AND path IN (SELECT value FROM json_each(?3)))
                  OR (?4 AND path > ?2 || '/' AND path < ?2 || '0')
              ) ORDER BY path LIMIT ?6"
        ),
        lock_columns!(
            "CASE WHEN ?5 THEN owner ELSE '' END",
            " WHERE expires_at > ?1 AND (
                  path = ?2
                  OR (deep AND path IN (SELECT json_array_elements_text(CAST(?3 AS json))))
                  OR (?4 AND path > ?2 || '/' AND path < ?2 || '0')
              ) ORDER BY path LIMIT ?6"
        ),
    );
    let (tells, most) = match purpose {
        Purpose::Telling => (true, MAX_TOLD as i64),
        Purpose::Deciding => (false, MAX_LOCKS),
    };
    let (mut locks, mut found): (Vec<Lock>, HashSet<String>) = Default::default();
    // Mostly nobody has locked anything anywhere.
    let any = session.fetch_one("SELECT EXISTS (SELECT 1 FROM locks)", &[], |row| row.flag(0)).await?;
    if !any {
        return Ok(locks);
    }
    for Place { path, below } in places {
        let above = to_json(path.ancestors().iter().map(NsPath::as_key));
        let (now, path) = (now_micros().into(), path.as_key().into());
        let values = [now, path, (&above).into(), (*below).into(), tells.into(), most.into()];
        let here = session.fetch(TOUCHING, &values, from_row).await?;
        locks.extend(here.into_iter().filter(|lock| found.insert(lock.token.clone())));
    }
    Ok(locks)
}

async fn find(session: &mut Session<'_>, token: &str) -> Result<Option<Lock>, NamespaceError> {
    session
        .fetch_optional(
            lock_columns!(" WHERE token = ?1 AND expires_at > ?2"),
            &[token.into(), now_micros().into()],
            from_row,
        )
        .await
}

fn from_row(row: &Row<'_>) -> Result<Lock, NamespaceError> {
    let timeout = row.integer(6)?;
    Ok(Lock {
        token: row.text(0)?,
        path: NsPath::from_key(&row.text(1)?).map_err(|_| NamespaceError::Corrupt("path"))?,
        deep: row.flag(2)?,
        exclusive: row.flag(3)?,
        owner: row.text(4)?,
        subject: row.text(5)?,
        timeout: Duration::from_secs(u64::try_from(timeout).map_err(|_| NamespaceError::Corrupt("timeout"))?),
        expires_at: from_micros(row.integer(7)?)?,
    })
}

fn seconds(timeout: Duration) -> i64 {
    i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX)
}

fn expiry(timeout: Duration) -> Timestamp {
    // Only a time beyond the calendar's end cannot be reached.
    Timestamp::now().checked_add(timeout).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_lock_is_never_nothing_and_never_more_than_it_was_given_for() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let lock = Lock {
            token: "urn:1".into(),
            path: NsPath::root(),
            deep: false,
            exclusive: true,
            owner: String::new(),
            subject: "paul".into(),
            timeout: Duration::from_secs(60),
            expires_at: now,
        };
        for (milliseconds, left) in [(-5000, 1), (0, 1), (1, 1), (1001, 2), (59_500, 60), (3_600_000, 60)] {
            let expires_at = now + jiff::SignedDuration::from_millis(milliseconds);
            assert_eq!(Lock { expires_at, ..lock.clone() }.seconds_left(now), left, "{milliseconds} ms");
        }
    }
}
