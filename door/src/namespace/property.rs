//! Dead properties: what clients keep on names without the door knowing what it means (RFC 4918 §4).

use std::collections::BTreeMap;

use sqlx::sqlite::{SqliteRow, SqliteTransaction};
use sqlx::{Row as _, SqliteConnection};

use super::change::ChangeError;
use super::database::{Namespace, NamespaceError};
use super::entry::Entry;
use super::lock::{Shown, Touch, obstacles};
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
        let rows = sqlx::query("SELECT * FROM properties WHERE entry = ?1 ORDER BY namespace, name")
            .bind(entry)
            .fetch_all(&self.readers)
            .await?;
        rows.iter().map(from_row).collect()
    }

    /// The dead properties of the entries of a directory from one name to another, by the entries' ids.
    pub async fn properties_of_page(
        &self,
        directory: i64,
        first: &str,
        last: &str,
    ) -> Result<BTreeMap<i64, Vec<DeadProperty>>, NamespaceError> {
        let rows = sqlx::query(
            "SELECT properties.* FROM entries JOIN properties ON properties.entry = entries.id
             WHERE entries.parent = ?1 AND entries.name >= ?2 AND entries.name <= ?3
             ORDER BY properties.entry, properties.namespace, properties.name",
        )
        .bind(directory)
        .bind(first)
        .bind(last)
        .fetch_all(&self.readers)
        .await?;
        let mut of_entries: BTreeMap<i64, Vec<DeadProperty>> = BTreeMap::new();
        for row in &rows {
            of_entries.entry(row.try_get("entry")?).or_default().push(from_row(row)?);
        }
        Ok(of_entries)
    }

    /// Makes all of the changes, in their order, or none (§9.2).
    pub async fn change_properties(
        &self,
        path: &NsPath,
        seen: &Entry,
        changes: &[PropertyChange],
        shown: &Shown,
    ) -> Result<(), ChangeError> {
        let mut change = self.begin().await?;
        match classify(resolve(&mut change, path).await?, path) {
            Lookup::Found(entry) if entry.id == seen.id => {}
            Lookup::Found(_) => return Err(ChangeError::Changed),
            _ => return Err(ChangeError::NotFound),
        }
        let locks = obstacles(&mut change, &[Touch::Entry(path)], shown).await?;
        if !locks.is_empty() {
            return Err(ChangeError::Locked(locks));
        }
        for wish in changes {
            make(&mut change, seen.id, wish).await?;
        }
        let (count, bytes): (i64, i64) = sqlx::query_as(
            "SELECT count(*), coalesce(sum(length(namespace) + length(name) + length(xml)), 0)
             FROM properties WHERE entry = ?1",
        )
        .bind(seen.id)
        .fetch_one(&mut *change)
        .await?;
        if count > MAX_COUNT || bytes > MAX_BYTES {
            // Dropping the transaction undoes it.
            return Err(ChangeError::TooManyProperties);
        }
        change.commit().await?;
        Ok(())
    }
}

async fn make(
    change: &mut SqliteTransaction<'static>,
    entry: i64,
    wish: &PropertyChange,
) -> Result<(), sqlx::Error> {
    match wish {
        PropertyChange::Set(property) => {
            sqlx::query(
                "INSERT INTO properties (entry, namespace, name, xml) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (entry, namespace, name) DO UPDATE SET xml = excluded.xml",
            )
            .bind(entry)
            .bind(&property.namespace)
            .bind(&property.name)
            .bind(&property.xml)
            .execute(&mut **change)
            .await?;
        }
        PropertyChange::Remove { namespace, name } => {
            sqlx::query("DELETE FROM properties WHERE entry = ?1 AND namespace = ?2 AND name = ?3")
                .bind(entry)
                .bind(namespace)
                .bind(name)
                .execute(&mut **change)
                .await?;
        }
    }
    Ok(())
}

/// Gives an entry the properties of another and no others (§9.8.2).
pub(super) async fn take_over(
    connection: &mut SqliteConnection,
    from: i64,
    to: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM properties WHERE entry = ?1").bind(to).execute(&mut *connection).await?;
    sqlx::query(
        "INSERT INTO properties (entry, namespace, name, xml)
         SELECT ?2, namespace, name, xml FROM properties WHERE entry = ?1",
    )
    .bind(from)
    .bind(to)
    .execute(connection)
    .await?;
    Ok(())
}

fn from_row(row: &SqliteRow) -> Result<DeadProperty, NamespaceError> {
    Ok(DeadProperty {
        namespace: row.try_get("namespace")?,
        name: row.try_get("name")?,
        xml: row.try_get("xml")?,
    })
}
