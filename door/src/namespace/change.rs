//! Changes of the tree that move no bytes: making directories, deleting. Every one looks at the locks first.

use jiff::Timestamp;

use super::database::reach::Reach;
use super::database::session::{Session, Sql};
use super::database::{Namespace, NamespaceError, Transaction};
use super::entry::{Entry, now_micros};
use super::lock::{Lock, Shown, Touch, end_locks, obstacles};
use super::path::NsPath;
use super::property::take_over;
use super::read::{Lookup, Resolved, classify, resolve};

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Something has that name.
    #[error("File exists")]
    Exists,
    /// Nothing has that name.
    #[error("No such file or directory")]
    NotFound,
    /// Its directory is missing.
    #[error("its parent directory does not exist")]
    NoParent,
    /// A component above it is a file.
    #[error("a component above it is a file, not a directory")]
    NotADirectory,
    /// The root stays.
    #[error("the root can be neither deleted, nor moved, nor replaced")]
    Root,
    /// Source and destination are the same, or one is above the other.
    #[error("source and destination are the same, or one is within the other")]
    IntoItself,
    /// Somebody holds locks on it.
    #[error("it is locked: show the lock's token in the header If, or wait until the lock ends")]
    Locked(Vec<Lock>),
    /// A name would have more properties than are kept.
    #[error("it would have more, or longer, properties than the door keeps")]
    TooManyProperties,
    /// It is not any more what the caller looked at.
    #[error("it was changed by someone else in the meantime")]
    Changed,
    /// The database.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

/// Refuses a change that locks stand against.
pub(super) async fn check_locks(
    session: &mut Session<'_>,
    touches: &[Touch<'_>],
    shown: &Shown,
) -> Result<(), ChangeError> {
    let locks = obstacles(session, touches, shown).await?;
    if locks.is_empty() { Ok(()) } else { Err(ChangeError::Locked(locks)) }
}

impl Namespace {
    /// Makes a directory in an existing one.
    pub async fn make_directory(&self, path: &NsPath, shown: &Shown) -> Result<(), ChangeError> {
        self.change(MakeDirectory { path: path.clone(), shown: shown.clone() }).await
    }

    /// Makes a directory and those above it that are missing, with the dead properties of another entry. A directory
    /// that is there stays, and takes them over.
    pub async fn copy_directory(
        &self,
        from: i64,
        to: &NsPath,
        create_parents: bool,
        shown: &Shown,
    ) -> Result<(), ChangeError> {
        self.change(CopyDirectory { from, to: to.clone(), create_parents, shown: shown.clone() }).await
    }

    /// Deletes the entry that the caller has looked at, and for a directory all below it (RFC 4918 §9.6.1). The
    /// replicas are owed to their pools from then on. One transaction: all of it is gone, or nothing.
    pub async fn delete(&self, path: &NsPath, seen: &Entry, shown: &Shown) -> Result<(), ChangeError> {
        if path.parent().is_none() {
            return Err(ChangeError::Root);
        }
        self.change(Delete { path: path.clone(), seen: seen.clone(), shown: shown.clone() }).await
    }
}

struct MakeDirectory {
    path: NsPath,
    shown: Shown,
}

impl Transaction for MakeDirectory {
    type Done = ();
    type Error = ChangeError;

    async fn run(&self, session: &mut Session<'_>) -> Result<(), ChangeError> {
        let resolved = resolve(session, &self.path).await?;
        let parent = resolved.entry.id;
        match classify(resolved, &self.path) {
            Lookup::Found(_) => return Err(ChangeError::Exists),
            Lookup::NoParent => return Err(ChangeError::NoParent),
            Lookup::NotADirectory => return Err(ChangeError::NotADirectory),
            Lookup::Missing => {}
        }
        check_locks(session, &[Touch::Name(&self.path)], &self.shown).await?;
        // Only the root has no name, and it was found.
        insert_directory(session, parent, self.path.name().unwrap_or_default()).await?;
        touch(session, parent).await?;
        Ok(())
    }
}

struct CopyDirectory {
    from: i64,
    to: NsPath,
    create_parents: bool,
    shown: Shown,
}

impl Transaction for CopyDirectory {
    type Done = ();
    type Error = ChangeError;

    /// Two that take over properties to one directory would mix them.
    fn reach(&self) -> Reach {
        Reach::Tree
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), ChangeError> {
        let to = &self.to;
        let resolved = resolve(session, to).await?;
        // Of directories that are missing the first is a new name in one that is there.
        let touches = [Touch::Entry(to), Touch::Entry(&to.first(resolved.depth))];
        check_locks(session, &touches, &self.shown).await?;
        let made = match classify(resolved.clone(), to) {
            Lookup::Found(entry) if entry.is_directory() => entry.id,
            Lookup::Found(_) => return Err(ChangeError::Exists),
            Lookup::NotADirectory => return Err(ChangeError::NotADirectory),
            Lookup::NoParent if !self.create_parents => return Err(ChangeError::NoParent),
            Lookup::NoParent | Lookup::Missing => make_missing(session, &resolved, to).await?,
        };
        take_over(session, self.from, made).await?;
        Ok(())
    }
}

struct Delete {
    path: NsPath,
    seen: Entry,
    shown: Shown,
}

impl Transaction for Delete {
    type Done = ();
    type Error = ChangeError;

    fn reach(&self) -> Reach {
        if self.seen.is_directory() { Reach::Tree } else { Reach::Names }
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), ChangeError> {
        let path = &self.path;
        let resolved = resolve(session, path).await?;
        match classify(resolved.clone(), path) {
            Lookup::Found(entry) if entry.is_same(&self.seen) => {}
            Lookup::Found(_) => return Err(ChangeError::Changed),
            _ => return Err(ChangeError::NotFound),
        }
        check_locks(session, &[Touch::Tree(path), Touch::Name(path)], &self.shown).await?;
        remove(session, &resolved).await?;
        end_locks(session, path).await?;
        if let Some(above) = resolved.parent {
            touch(session, above).await?;
        }
        Ok(())
    }
}

/// Keeps a file as it was found until the transaction ends: its name, its place and its data. What runs at the same time
/// and wants to change it waits; where it was faster, this begins anew. On SQLite nothing runs at the same time.
pub(super) async fn hold(session: &mut Session<'_>, found: &Resolved) -> Result<(), NamespaceError> {
    const HOLD: &str =
        "SELECT id FROM entries WHERE id = ?1 AND parent = ?2 AND name = ?3 AND replica = ?4 FOR UPDATE";
    let Some(file) = found.entry.file().filter(|_| session.is_far()) else { return Ok(()) };
    let values =
        [found.entry.id.into(), found.parent.into(), (&found.entry.name).into(), (&file.replica).into()];
    match session.fetch_optional(Sql::each("", HOLD), &values, |_| Ok(())).await? {
        Some(()) => Ok(()),
        None => Err(session.overtaken()),
    }
}

/// Removes an entry and all below it; what pools held of it is owed to be deleted.
pub(super) async fn remove(session: &mut Session<'_>, found: &Resolved) -> Result<(), NamespaceError> {
    if found.entry.is_directory() {
        session.touch_tree()?;
        return remove_tree(session, found.entry.id).await;
    }
    hold(session, found).await?;
    owe(session, found.entry.id).await?;
    // Dead properties go with their entries.
    session.execute("DELETE FROM entries WHERE id = ?1", &[found.entry.id.into()]).await.map(drop)
}

/// What a file's name points to is owed to be deleted.
pub(super) async fn owe(session: &mut Session<'_>, file: i64) -> Result<(), NamespaceError> {
    session
        .execute(
            "INSERT INTO removals (replica, pool, owed_at) SELECT replica, pool, ?2 FROM entries WHERE id = ?1",
            &[file.into(), now_micros().into()],
        )
        .await
        .map(drop)
}

async fn remove_tree(session: &mut Session<'_>, entry: i64) -> Result<(), NamespaceError> {
    session
        .execute(
            "WITH RECURSIVE tree (id) AS (
                 SELECT ?1 UNION ALL SELECT entries.id FROM entries JOIN tree ON entries.parent = tree.id
             )
             INSERT INTO removals (replica, pool, owed_at)
             SELECT replica, pool, ?2 FROM entries WHERE id IN (SELECT id FROM tree) AND replica IS NOT NULL",
            &[entry.into(), now_micros().into()],
        )
        .await?;
    session
        .execute(
            "WITH RECURSIVE tree (id) AS (
                 SELECT ?1 UNION ALL SELECT entries.id FROM entries JOIN tree ON entries.parent = tree.id
             )
             DELETE FROM entries WHERE id IN (SELECT id FROM tree)",
            &[entry.into()],
        )
        .await
        .map(drop)
}

/// Makes the directories of `path` that are missing below what was resolved; returns the id of the last.
pub(super) async fn make_missing(
    session: &mut Session<'_>,
    resolved: &Resolved,
    path: &NsPath,
) -> Result<i64, NamespaceError> {
    let mut parent = resolved.entry.id;
    for name in path.components().skip(resolved.depth) {
        let made = insert_directory(session, parent, name).await?;
        touch(session, parent).await?;
        parent = made;
    }
    Ok(parent)
}

async fn insert_directory(session: &mut Session<'_>, parent: i64, name: &str) -> Result<i64, NamespaceError> {
    session
        .fetch_one(
            "INSERT INTO entries (parent, name, created_at, modified_at) VALUES (?1, ?2, ?3, ?3) RETURNING id",
            &[parent.into(), name.into(), now_micros().into()],
            |row| row.integer(0),
        )
        .await
}

/// The same for a directory that this transaction has looked at: mostly it is known then that there is nothing to write.
pub(super) async fn touch_seen(session: &mut Session<'_>, directory: &Entry) -> Result<(), NamespaceError> {
    if directory.modified_at.as_second() == Timestamp::now().as_second() {
        return Ok(());
    }
    touch(session, directory.id).await
}

/// A directory changes when its list of names does. Times are told in seconds (RFC 9110 §8.8.2), so one change in a second
/// is enough: all the others in a busy directory need not write, nor wait for each other.
pub(super) async fn touch(session: &mut Session<'_>, directory: i64) -> Result<(), NamespaceError> {
    session
        .execute(
            "UPDATE entries SET modified_at = ?2
             WHERE id = ?1 AND modified_at / 1000000 <> ?2 / 1000000",
            &[directory.into(), now_micros().into()],
        )
        .await
        .map(drop)
}
