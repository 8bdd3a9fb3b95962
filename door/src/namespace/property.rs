//! Dead properties: what clients keep on names without the door knowing what it means (RFC 4918 §4).

use std::collections::BTreeMap;

use super::change::{ChangeError, check_locks};
use super::database::reach::Reach;
use super::database::session::{Row, Session};
use super::database::{Namespace, NamespaceError, Transaction};
use super::entry::Entry;
use super::lock::{Shown, Touch};
use super::path::NsPath;
use super::read::{Lookup, classify, resolve};

/// Properties that one name can have.
const MAX_COUNT: i64 = 256;
/// Bytes of all properties of one name.
const MAX_BYTES: i64 = 256 * 1024;

/// A dead property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadProperty {
    /// Its XML namespace; empty for none.
    pub namespace: String,
    /// Its local name.
    pub name: String,
    /// The whole element, which needs no declarations from around it.
    pub xml: String,
}

/// What a client wants of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyChange {
    /// This value.
    Set(DeadProperty),
    /// To be gone; no error when it is not there (§14.23).
    Remove {
        /// Its XML namespace; empty for none.
        namespace: String,
        /// Its local name.
        name: String,
    },
}

impl Namespace {
    /// The dead properties of an entry, in the order of their names.
    pub async fn properties(&self, entry: i64) -> Result<Vec<DeadProperty>, NamespaceError> {
        self.read(OfEntry { entry }).await
    }

    /// The dead properties of the entries of a directory from one name to another, by the entries' ids.
    pub async fn properties_of_page(
        &self,
        directory: i64,
        first: &str,
        last: &str,
    ) -> Result<BTreeMap<i64, Vec<DeadProperty>>, NamespaceError> {
        self.read(OfPage { directory, first: first.to_owned(), last: last.to_owned() }).await
    }

    /// Makes all of the changes, in their order, or none (§9.2).
    pub async fn change_properties(
        &self,
        path: &NsPath,
        seen: &Entry,
        changes: &[PropertyChange],
        shown: &Shown,
    ) -> Result<(), ChangeError> {
        let (path, changes, shown) = (path.clone(), changes.to_vec(), shown.clone());
        self.change(ChangeProperties { path, entry: seen.id, changes, shown }).await
    }
}

struct OfEntry {
    entry: i64,
}

impl Transaction for OfEntry {
    type Done = Vec<DeadProperty>;
    type Error = NamespaceError;

    const BRIEF: bool = true;

    async fn run(&self, session: &mut Session<'_>) -> Result<Vec<DeadProperty>, NamespaceError> {
        properties_of(session, self.entry).await
    }
}

/// The dead properties of an entry, in the order of their names.
pub(super) async fn properties_of(
    session: &mut Session<'_>,
    entry: i64,
) -> Result<Vec<DeadProperty>, NamespaceError> {
    session
        .fetch(
            "SELECT namespace, name, xml FROM properties WHERE entry = ?1 ORDER BY namespace, name",
            &[entry.into()],
            from_row,
        )
        .await
}

struct OfPage {
    directory: i64,
    first: String,
    last: String,
}

impl Transaction for OfPage {
    type Done = BTreeMap<i64, Vec<DeadProperty>>;
    type Error = NamespaceError;

    async fn run(&self, session: &mut Session<'_>) -> Result<Self::Done, NamespaceError> {
        let rows = session
            .fetch(
                "SELECT properties.namespace, properties.name, properties.xml, properties.entry
                 FROM entries JOIN properties ON properties.entry = entries.id
                 WHERE entries.parent = ?1 AND entries.name >= ?2 AND entries.name <= ?3
                 ORDER BY properties.entry, properties.namespace, properties.name",
                &[self.directory.into(), (&self.first).into(), (&self.last).into()],
                |row| Ok((row.integer(3)?, from_row(row)?)),
            )
            .await?;
        let mut of_entries: BTreeMap<i64, Vec<DeadProperty>> = BTreeMap::new();
        for (entry, property) in rows {
            of_entries.entry(entry).or_default().push(property);
        }
        Ok(of_entries)
    }
}

struct ChangeProperties {
    path: NsPath,
    entry: i64,
    changes: Vec<PropertyChange>,
    shown: Shown,
}

impl Transaction for ChangeProperties {
    type Done = ();
    type Error = ChangeError;

    /// How many an entry has is true of all of them.
    fn reach(&self) -> Reach {
        Reach::Tree
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), ChangeError> {
        match classify(resolve(session, &self.path).await?, &self.path) {
            Lookup::Found(entry) if entry.id == self.entry => {}
            Lookup::Found(_) => return Err(ChangeError::Changed),
            _ => return Err(ChangeError::NotFound),
        }
        check_locks(session, &[Touch::Entry(&self.path)], &self.shown).await?;
        for wish in &self.changes {
            make(session, self.entry, wish).await?;
        }
        let (count, bytes) = session
            .fetch_one(
                "SELECT count(*), coalesce(sum(length(namespace) + length(name) + length(xml)), 0)
                 FROM properties WHERE entry = ?1",
                &[self.entry.into()],
                |row| Ok((row.integer(0)?, row.integer(1)?)),
            )
            .await?;
        if count > MAX_COUNT || bytes > MAX_BYTES {
            // A refusal undoes what was changed.
            return Err(ChangeError::TooManyProperties);
        }
        Ok(())
    }
}

async fn make(session: &mut Session<'_>, entry: i64, wish: &PropertyChange) -> Result<(), NamespaceError> {
    match wish {
        PropertyChange::Set(DeadProperty { namespace, name, xml }) => {
            let values = [entry.into(), namespace.into(), name.into(), xml.into()];
            let changed = session
                .execute(
                    "UPDATE properties SET xml = ?4 WHERE entry = ?1 AND namespace = ?2 AND name = ?3",
                    &values,
                )
                .await?;
            if changed == 0 {
                let insert = "INSERT INTO properties (entry, namespace, name, xml) VALUES (?1, ?2, ?3, ?4)";
                session.execute(insert, &values).await?;
            }
        }
        PropertyChange::Remove { namespace, name } => {
            session
                .execute(
                    "DELETE FROM properties WHERE entry = ?1 AND namespace = ?2 AND name = ?3",
                    &[entry.into(), namespace.into(), name.into()],
                )
                .await?;
        }
    }
    Ok(())
}

/// Gives an entry the properties of another and no others (§9.8.2).
pub(super) async fn take_over(session: &mut Session<'_>, from: i64, to: i64) -> Result<(), NamespaceError> {
    session.execute("DELETE FROM properties WHERE entry = ?1", &[to.into()]).await?;
    session
        .execute(
            "INSERT INTO properties (entry, namespace, name, xml)
             SELECT ?2, namespace, name, xml FROM properties WHERE entry = ?1",
            &[from.into(), to.into()],
        )
        .await
        .map(drop)
}

/// From a row with namespace, name and element first.
fn from_row(row: &Row<'_>) -> Result<DeadProperty, NamespaceError> {
    Ok(DeadProperty { namespace: row.text(0)?, name: row.text(1)?, xml: row.text(2)? })
}
