//! Renaming: one transaction, which changes one row however much is below the name.

use super::change::{ChangeError, check_locks, hold, make_missing, remove, touch};
use super::database::reach::Reach;
use super::database::session::Session;
use super::database::{Namespace, Transaction};
use super::entry::Entry;
use super::lock::{Shown, Touch, end_locks};
use super::path::NsPath;
use super::read::{Lookup, classify, resolve};

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
        let Rename { from, seen, to, overwrite, create_parents, shown } = *rename;
        if from.parent().is_none() || to.parent().is_none() {
            return Err(ChangeError::Root);
        }
        if to.is_within(from) || from.is_within(to) {
            return Err(ChangeError::IntoItself);
        }
        let (from, seen, to, shown) = (from.clone(), seen.clone(), to.clone(), shown.clone());
        self.change(Move { from, seen, to, overwrite, create_parents, shown }).await
    }
}

struct Move {
    from: NsPath,
    seen: Entry,
    to: NsPath,
    overwrite: bool,
    create_parents: bool,
    shown: Shown,
}

impl Transaction for Move {
    type Done = Target;
    type Error = ChangeError;

    /// Two directories that are moved into each other at the same time would be cut off from the tree.
    fn reach(&self) -> Reach {
        if self.seen.is_directory() { Reach::Tree } else { Reach::Names }
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Target, ChangeError> {
        let Move { from, to, .. } = self;
        let source = resolve(session, from).await?;
        match classify(source.clone(), from) {
            Lookup::Found(entry) if entry.is_same(&self.seen) => {}
            Lookup::Found(_) => return Err(ChangeError::Changed),
            _ => return Err(ChangeError::NotFound),
        }
        let touches = [Touch::Tree(from), Touch::Name(from), Touch::Tree(to), Touch::Name(to)];
        check_locks(session, &touches, &self.shown).await?;
        hold(session, &source).await?;
        let resolved = resolve(session, to).await?;
        let (target, parent) = match classify(resolved.clone(), to) {
            Lookup::Found(_) if !self.overwrite => return Err(ChangeError::Exists),
            Lookup::Found(_) => {
                // The root has no parent, and is not where this goes.
                let Some(above) = resolved.parent else { return Err(ChangeError::Root) };
                remove(session, &resolved).await?;
                end_locks(session, to).await?;
                (Target::Replaced, above)
            }
            Lookup::Missing => (Target::New, resolved.entry.id),
            Lookup::NoParent if self.create_parents => {
                // Where the first name appears that is not there yet.
                let directory = to.first(resolved.depth);
                check_locks(session, &[Touch::Entry(&directory)], &self.shown).await?;
                let above = to.parent().unwrap_or_else(NsPath::root);
                (Target::New, make_missing(session, &resolved, &above).await?)
            }
            Lookup::NoParent => return Err(ChangeError::NoParent),
            Lookup::NotADirectory => return Err(ChangeError::NotADirectory),
        };
        session
            .execute(
                "UPDATE entries SET parent = ?2, name = ?3 WHERE id = ?1",
                &[self.seen.id.into(), parent.into(), to.name().unwrap_or_default().into()],
            )
            .await?;
        end_locks(session, from).await?;
        if let Some(old_parent) = source.parent {
            touch(session, old_parent).await?;
        }
        touch(session, parent).await?;
        Ok(target)
    }
}
