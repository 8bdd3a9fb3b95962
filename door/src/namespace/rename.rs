//! Renaming: one transaction, which changes one row however much is below the name.

use super::change::{ChangeError, make_missing, remove_tree, touch};
use super::database::Namespace;
use super::entry::Entry;
use super::lock::{Shown, Touch, end_locks, obstacles};
use super::path::NsPath;
use super::read::{Lookup, Resolved, classify, resolve};

/// A name that is to be another.
#[derive(Debug, Clone)]
pub struct Rename<'a> {
    /// The present path.
    pub from: &'a NsPath,
    /// What the caller has seen there.
    pub seen: &'a Entry,
    /// The new path.
    pub to: &'a NsPath,
    /// What is at the new path may go.
    pub overwrite: bool,
    /// Directories above the new path are made where they are missing.
    pub create_parents: bool,
    /// The client's lock tokens.
    pub shown: &'a Shown,
}

/// What was at the new path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Nothing.
    New,
    /// Something, which has gone.
    Replaced,
}

impl Namespace {
    /// Renames. Locks stay behind and end (RFC 4918 §7.6); dead properties go along.
    pub async fn rename(&self, rename: &Rename<'_>) -> Result<Target, ChangeError> {
        let Rename { from, to, .. } = rename;
        let (Some(old_parent), Some(_)) = (from.parent(), to.parent()) else { return Err(ChangeError::Root) };
        if to.is_within(from) || from.is_within(to) {
            return Err(ChangeError::IntoItself);
        }
        let mut change = self.begin().await?;
        match classify(resolve(&mut change, from).await?, from) {
            Lookup::Found(entry) if entry.is_same(rename.seen) => {}
            Lookup::Found(_) => return Err(ChangeError::Changed),
            _ => return Err(ChangeError::NotFound),
        }
        let touches = [Touch::Tree(from), Touch::Name(from), Touch::Tree(to), Touch::Name(to)];
        let locks = obstacles(&mut change, &touches, rename.shown).await?;
        if !locks.is_empty() {
            return Err(ChangeError::Locked(locks));
        }
        let resolved = resolve(&mut change, to).await?;
        let (target, parent) = match classify(Resolved { entry: resolved.entry.clone(), ..resolved }, to) {
            Lookup::Found(_) if !rename.overwrite => return Err(ChangeError::Exists),
            Lookup::Found(existing) => {
                remove_tree(&mut change, existing.id).await?;
                end_locks(&mut change, to).await?;
                (Target::Replaced, directory_above(&mut change, to).await?)
            }
            Lookup::Missing => (Target::New, resolved.entry.id),
            Lookup::NoParent if rename.create_parents => {
                // The root has no parent, and is not where this goes.
                let above = to.parent().unwrap_or_else(NsPath::root);
                (Target::New, make_missing(&mut change, &resolved, &above).await?)
            }
            Lookup::NoParent => return Err(ChangeError::NoParent),
            Lookup::NotADirectory => return Err(ChangeError::NotADirectory),
        };
        sqlx::query("UPDATE entries SET parent = ?2, name = ?3 WHERE id = ?1")
            .bind(rename.seen.id)
            .bind(parent)
            .bind(to.name().unwrap_or_default())
            .execute(&mut *change)
            .await?;
        end_locks(&mut change, from).await?;
        let old_parent = resolve(&mut change, &old_parent).await?.entry.id;
        touch(&mut change, old_parent).await?;
        touch(&mut change, parent).await?;
        change.commit().await?;
        Ok(target)
    }
}

/// The id of the directory that holds a path, which is there.
async fn directory_above(
    change: &mut sqlx::sqlite::SqliteTransaction<'static>,
    path: &NsPath,
) -> Result<i64, ChangeError> {
    let above = path.parent().unwrap_or_else(NsPath::root);
    Ok(resolve(change, &above).await?.entry.id)
}
