//! Changes of the tree that move no bytes: making directories, deleting. Every one looks at the locks first.

use sqlx::sqlite::SqliteTransaction;

use super::database::{Namespace, NamespaceError};
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

impl From<sqlx::Error> for ChangeError {
    fn from(error: sqlx::Error) -> Self {
        ChangeError::Namespace(error.into())
    }
}

impl Namespace {
    /// Makes a directory in an existing one.
    pub async fn make_directory(&self, path: &NsPath, shown: &Shown) -> Result<(), ChangeError> {
        let mut change = self.begin().await?;
        let resolved = resolve(&mut change, path).await?;
        let parent = resolved.entry.id;
        match classify(resolved, path) {
            Lookup::Found(_) => return Err(ChangeError::Exists),
            Lookup::NoParent => return Err(ChangeError::NoParent),
            Lookup::NotADirectory => return Err(ChangeError::NotADirectory),
            Lookup::Missing => {}
        }
        let locks = obstacles(&mut change, &[Touch::Name(path)], shown).await?;
        if !locks.is_empty() {
            return Err(ChangeError::Locked(locks));
        }
        // Only the root has no name, and it was found.
        insert_directory(&mut change, parent, path.name().unwrap_or_default()).await?;
        touch(&mut change, parent).await?;
        change.commit().await?;
        Ok(())
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
        let mut change = self.begin().await?;
        let locks = obstacles(&mut change, &[Touch::Entry(to), Touch::Name(to)], shown).await?;
        if !locks.is_empty() {
            return Err(ChangeError::Locked(locks));
        }
        let resolved = resolve(&mut change, to).await?;
        let there = Resolved { entry: resolved.entry.clone(), ..resolved };
        let made = match classify(there, to) {
            Lookup::Found(entry) if entry.is_directory() => entry.id,
            Lookup::Found(_) => return Err(ChangeError::Exists),
            Lookup::NotADirectory => return Err(ChangeError::NotADirectory),
            Lookup::NoParent if !create_parents => return Err(ChangeError::NoParent),
            Lookup::NoParent | Lookup::Missing => make_missing(&mut change, &resolved, to).await?,
        };
        take_over(&mut change, from, made).await?;
        change.commit().await?;
        Ok(())
    }

    /// Deletes the entry that the caller has looked at, and for a directory all below it (RFC 4918 §9.6.1). The
    /// replicas are owed to their pools from then on. One transaction: all of it is gone, or nothing.
    pub async fn delete(&self, path: &NsPath, seen: &Entry, shown: &Shown) -> Result<(), ChangeError> {
        let Some(parent) = path.parent() else { return Err(ChangeError::Root) };
        let mut change = self.begin().await?;
        let entry = match classify(resolve(&mut change, path).await?, path) {
            Lookup::Found(entry) => entry,
            _ => return Err(ChangeError::NotFound),
        };
        if !entry.is_same(seen) {
            return Err(ChangeError::Changed);
        }
        let locks = obstacles(&mut change, &[Touch::Tree(path), Touch::Name(path)], shown).await?;
        if !locks.is_empty() {
            return Err(ChangeError::Locked(locks));
        }
        remove_tree(&mut change, entry.id).await?;
        end_locks(&mut change, path).await?;
        let above = resolve(&mut change, &parent).await?.entry.id;
        touch(&mut change, above).await?;
        change.commit().await?;
        Ok(())
    }
}

/// Removes an entry and all below it; what pools held of it is owed to be deleted.
pub(super) async fn remove_tree(
    change: &mut SqliteTransaction<'static>,
    entry: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH RECURSIVE tree (id) AS (
             SELECT ?1 UNION ALL SELECT entries.id FROM entries JOIN tree ON entries.parent = tree.id
         )
         INSERT INTO removals (replica, pool, owed_at)
         SELECT replica, pool, ?2 FROM entries WHERE id IN tree AND replica IS NOT NULL",
    )
    .bind(entry)
    .bind(now_micros())
    .execute(&mut **change)
    .await?;
    // Dead properties go with their entries.
    sqlx::query(
        "WITH RECURSIVE tree (id) AS (
             SELECT ?1 UNION ALL SELECT entries.id FROM entries JOIN tree ON entries.parent = tree.id
         )
         DELETE FROM entries WHERE id IN tree",
    )
    .bind(entry)
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// Makes the directories of `path` that are missing below what was resolved; returns the id of the last.
pub(super) async fn make_missing(
    change: &mut SqliteTransaction<'static>,
    resolved: &Resolved,
    path: &NsPath,
) -> Result<i64, sqlx::Error> {
    let mut parent = resolved.entry.id;
    for name in path.components().skip(resolved.depth) {
        let made = insert_directory(change, parent, name).await?;
        touch(change, parent).await?;
        parent = made;
    }
    Ok(parent)
}

async fn insert_directory(
    change: &mut SqliteTransaction<'static>,
    parent: i64,
    name: &str,
) -> Result<i64, sqlx::Error> {
    let inserted =
        sqlx::query("INSERT INTO entries (parent, name, created_at, modified_at) VALUES (?1, ?2, ?3, ?3)")
            .bind(parent)
            .bind(name)
            .bind(now_micros())
            .execute(&mut **change)
            .await?;
    Ok(inserted.last_insert_rowid())
}

/// A directory changes when its list of names does.
pub(super) async fn touch(
    change: &mut SqliteTransaction<'static>,
    directory: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE entries SET modified_at = ?2 WHERE id = ?1")
        .bind(directory)
        .bind(now_micros())
        .execute(&mut **change)
        .await?;
    Ok(())
}
