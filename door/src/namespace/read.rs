//! Lookups and listings.

use sqlx::{Row as _, SqliteConnection};

use super::database::{Namespace, NamespaceError};
use super::entry::{Entry, ROOT_ID};
use super::path::NsPath;

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// An entry.
    Found(Entry),
    /// Nothing, but its directory is there.
    Missing,
    /// Nothing, and a directory above it is missing too.
    NoParent,
    /// A component above it is a file.
    NotADirectory,
}

/// How far a path leads: the deepest entry that exists on it.
pub(super) struct Resolved {
    /// The entry.
    pub entry: Entry,
    /// The components of the path that were followed to it.
    pub depth: usize,
}

impl Namespace {
    /// Looks a path up.
    pub async fn lookup(&self, path: &NsPath) -> Result<Lookup, NamespaceError> {
        let mut connection = self.readers.acquire().await?;
        let resolved = resolve(&mut connection, path).await?;
        Ok(classify(resolved, path))
    }

    /// The path of the file that a replica holds; `None` when no name points to it.
    pub async fn path_of_replica(&self, replica: &str) -> Result<Option<NsPath>, NamespaceError> {
        let names: Vec<String> = sqlx::query_scalar(
            "WITH RECURSIVE up (id, parent, name, height) AS (
                 SELECT id, parent, name, 0 FROM entries WHERE replica = ?1
                 UNION ALL
                 SELECT entries.id, entries.parent, entries.name, up.height + 1
                 FROM up JOIN entries ON entries.id = up.parent
             )
             SELECT name FROM up WHERE parent IS NOT NULL ORDER BY height DESC",
        )
        .bind(replica)
        .fetch_all(&self.readers)
        .await?;
        if names.is_empty() {
            return Ok(None);
        }
        let text = names.iter().fold(String::new(), |path, name| path + "/" + name);
        NsPath::parse(&text).map(Some).map_err(|_| NamespaceError::Corrupt("path"))
    }

    /// Up to `limit` entries of a directory in the order of their names, those after a name if one is given.
    pub async fn list_page(
        &self,
        directory: i64,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Entry>, NamespaceError> {
        // No name is empty, so the empty text is before the first.
        let rows =
            sqlx::query("SELECT * FROM entries WHERE parent = ?1 AND name > ?2 ORDER BY name LIMIT ?3")
                .bind(directory)
                .bind(after.unwrap_or(""))
                .bind(limit)
                .fetch_all(&self.readers)
                .await?;
        rows.iter().map(Entry::from_row).collect()
    }
}

pub(super) fn classify(resolved: Resolved, path: &NsPath) -> Lookup {
    let missing = path.components().count() - resolved.depth;
    match missing {
        0 => Lookup::Found(resolved.entry),
        _ if !resolved.entry.is_directory() => Lookup::NotADirectory,
        1 => Lookup::Missing,
        _ => Lookup::NoParent,
    }
}

/// Follows a path as far as it exists, in one statement however deep it is.
pub(super) async fn resolve(
    connection: &mut SqliteConnection,
    path: &NsPath,
) -> Result<Resolved, NamespaceError> {
    let row = sqlx::query(
        "WITH RECURSIVE walk (depth, id) AS (
             SELECT 0, ?2
             UNION ALL
             SELECT walk.depth + 1, entries.id
             FROM walk
             JOIN entries ON entries.parent = walk.id
                 AND entries.name = json_extract(?1, '$[' || walk.depth || ']')
         )
         SELECT walk.depth AS depth, entries.* FROM walk JOIN entries ON entries.id = walk.id
         ORDER BY walk.depth DESC LIMIT 1",
    )
    .bind(to_json(path.components()))
    .bind(ROOT_ID)
    .fetch_one(connection)
    .await?;
    let depth: i64 = row.try_get("depth")?;
    Ok(Resolved {
        entry: Entry::from_row(&row)?,
        depth: usize::try_from(depth).map_err(|_| NamespaceError::Corrupt("depth"))?,
    })
}

/// Texts as a JSON array of strings (RFC 8259 §7).
pub(super) fn to_json<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut json = String::from("[");
    for (index, component) in texts.enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push('"');
        for character in component.chars() {
            match character {
                '"' | '\\' => json.extend(['\\', character]),
                control if control < ' ' => json.push_str(&format!("\\u{:04x}", u32::from(control))),
                plain => json.push(plain),
            }
        }
        json.push('"');
    }
    json.push(']');
    json
}
