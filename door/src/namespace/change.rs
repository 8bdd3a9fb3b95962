//! Changes of the tree that move no bytes: making directories, deleting.

use sqlx::sqlite::SqliteTransaction;

use super::database::{Namespace, NamespaceError};
use super::entry::{Entry, now_micros};
use super::path::NsPath;
use super::read::{Lookup, Resolved, classify, resolve};

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Something has that name.
    #[error("it exists already")]
    Exists,
    /// Nothing has that name.
    #[error("no such file or directory")]
    NotFound,
    /// Its directory is missing.
    #[error("its parent directory does not exist")]
    NoParent,
    /// A component above it is a file.
    #[error("a component above it is a file, not a directory")]
    NotADirectory,
    /// The root stays.
    #[error("the root cannot be deleted")]
    Root,
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
    pub async fn make_directory(&self, path: &NsPath) -> Result<(), ChangeError> {
        let mut change = self.begin().await?;
        let resolved = resolve(&mut change, path).await?;
        let parent = resolved.entry.id;
        match classify(resolved, path) {
            Lookup::Found(_) => return Err(ChangeError::Exists),
            Lookup::NoParent => return Err(ChangeError::NoParent),
            Lookup::NotADirectory => return Err(ChangeError::NotADirectory),
            Lookup::Missing => {}
        }
        // Only the root has no name, and it was found.
        insert_directory(&mut change, parent, path.name().unwrap_or_default()).await?;
        touch(&mut change, parent).await?;
        change.commit().await?;
        Ok(())
    }

    /// Deletes the entry that the caller has looked at, and for a directory all below it (RFC 4918 §9.6.1). The
    /// replicas are owed to their pools from then on. One transaction: all of it is gone, or nothing.
    pub async fn delete(&self, path: &NsPath, seen: &Entry) -> Result<(), ChangeError> {
        let Some(parent) = path.parent() else { return Err(ChangeError::Root) };
        let mut change = self.begin().await?;
        let entry = match classify(resolve(&mut change, path).await?, path) {
            Lookup::Found(entry) => entry,
            _ => return Err(ChangeError::NotFound),
        };
        if entry.id != seen.id || entry.file().map(|file| file.etag()) != seen.file().map(|file| file.etag())
        {
            return Err(ChangeError::Changed);
        }
        sqlx::query(
            "WITH RECURSIVE tree (id) AS (
                 SELECT ?1 UNION ALL SELECT entries.id FROM entries JOIN tree ON entries.parent = tree.id
             )
             INSERT INTO removals (replica, pool, owed_at)
             SELECT replica, pool, ?2 FROM entries WHERE id IN tree AND replica IS NOT NULL",
        )
        .bind(entry.id)
        .bind(now_micros())
        .execute(&mut *change)
        .await?;
        sqlx::query(
            "WITH RECURSIVE tree (id) AS (
                 SELECT ?1 UNION ALL SELECT entries.id FROM entries JOIN tree ON entries.parent = tree.id
             )
             DELETE FROM entries WHERE id IN tree",
        )
        .bind(entry.id)
        .execute(&mut *change)
        .await?;
        let above = resolve(&mut change, &parent).await?.entry.id;
        touch(&mut change, above).await?;
        change.commit().await?;
        Ok(())
    }
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
