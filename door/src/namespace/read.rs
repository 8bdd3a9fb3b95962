//! Lookups and listings.

use super::database::session::{Row, Session, Sql};
use super::database::{Namespace, NamespaceError, Transaction};
use super::entry::{Entry, ROOT_ID, entry_columns};
use super::lock::{Lock, Touch, locks_on};
use super::path::NsPath;
use super::property::{DeadProperty, properties_of};

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

/// What is looked up beside the entries themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beside {
    /// Dead properties.
    pub dead: bool,
    /// Locks.
    pub locks: bool,
}

/// An entry with what clients keep on it, as far as that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The entry.
    pub entry: Entry,
    /// Its dead properties.
    pub dead: Vec<DeadProperty>,
    /// The locks on it, and those on directories above that are deep.
    pub locks: Vec<Lock>,
}

/// How far a path leads: the deepest entry that exists on it.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    /// The entry.
    pub entry: Entry,
    /// The directory that it is in; none for the root.
    pub parent: Option<i64>,
    /// The components of the path that were followed to it.
    pub depth: usize,
}

impl Namespace {
    /// Looks a path up.
    pub async fn lookup(&self, path: &NsPath) -> Result<Lookup, NamespaceError> {
        self.read(LookUp { path: path.clone() }).await
    }

    /// What a path leads to, with what clients keep on it; `None` when nothing is there.
    pub async fn describe(&self, path: &NsPath, beside: Beside) -> Result<Option<Described>, NamespaceError> {
        self.read(Describe { path: path.clone(), beside }).await
    }

    /// The path of the file that a replica holds; `None` when no name points to it.
    pub async fn path_of_replica(&self, replica: &str) -> Result<Option<NsPath>, NamespaceError> {
        self.read(PathOfReplica { replica: replica.to_owned() }).await
    }

    /// Up to `limit` entries of a directory in the order of their names, those after a name if one is given.
    pub async fn list_page(
        &self,
        directory: i64,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Entry>, NamespaceError> {
        // No name is empty, so the empty text is before the first.
        let after = after.unwrap_or("").to_owned();
        self.read(ListPage { directory, after, limit }).await
    }
}

struct LookUp {
    path: NsPath,
}

impl Transaction for LookUp {
    type Done = Lookup;
    type Error = NamespaceError;
    const BRIEF: bool = true;

    async fn run(&self, session: &mut Session<'_>) -> Result<Lookup, NamespaceError> {
        Ok(classify(resolve(session, &self.path).await?, &self.path))
    }
}

struct Describe {
    path: NsPath,
    beside: Beside,
}

impl Transaction for Describe {
    type Done = Option<Described>;
    type Error = NamespaceError;
    const BRIEF: bool = true;

    async fn run(&self, session: &mut Session<'_>) -> Result<Option<Described>, NamespaceError> {
        let Lookup::Found(entry) = classify(resolve(session, &self.path).await?, &self.path) else {
            return Ok(None);
        };
        let dead = match self.beside.dead {
            true => properties_of(session, entry.id).await?,
            false => Vec::new(),
        };
        let locks = match self.beside.locks {
            true => locks_on(session, Touch::Entry(&self.path)).await?,
            false => Vec::new(),
        };
        Ok(Some(Described { entry, dead, locks }))
    }
}

struct PathOfReplica {
    replica: String,
}

impl Transaction for PathOfReplica {
    type Done = Option<NsPath>;
    type Error = NamespaceError;

    async fn run(&self, session: &mut Session<'_>) -> Result<Option<NsPath>, NamespaceError> {
        let names = session
            .fetch(
                "WITH RECURSIVE up (id, parent, name, height) AS (
                     SELECT id, parent, name, 0 FROM entries WHERE replica = ?1
                     UNION ALL
                     SELECT entries.id, entries.parent, entries.name, up.height + 1
                     FROM up JOIN entries ON entries.id = up.parent
                 )
                 SELECT name FROM up WHERE parent IS NOT NULL ORDER BY height DESC",
                &[(&self.replica).into()],
                |row| row.text(0),
            )
            .await?;
        if names.is_empty() {
            return Ok(None);
        }
        let text = names.iter().fold(String::new(), |path, name| path + "/" + name);
        NsPath::parse(&text).map(Some).map_err(|_| NamespaceError::Corrupt("path"))
    }
}

struct ListPage {
    directory: i64,
    after: String,
    limit: u32,
}

impl Transaction for ListPage {
    type Done = Vec<Entry>;
    type Error = NamespaceError;

    async fn run(&self, session: &mut Session<'_>) -> Result<Vec<Entry>, NamespaceError> {
        session
            .fetch(
                entry_columns!(" FROM entries WHERE parent = ?1 AND name > ?2 ORDER BY name LIMIT ?3"),
                &[self.directory.into(), (&self.after).into(), self.limit.into()],
                Entry::from_row,
            )
            .await
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

/// Follows a path as far as it exists.
pub(super) async fn resolve(session: &mut Session<'_>, path: &NsPath) -> Result<Resolved, NamespaceError> {
    if session.is_far() { resolve_at_once(session, path).await } else { resolve_by_step(session, path).await }
}

fn resolved_from_row(row: &Row<'_>, depth: usize) -> Result<Resolved, NamespaceError> {
    Ok(Resolved { entry: Entry::from_row(row)?, parent: row.maybe_integer(8)?, depth })
}

/// A statement for each component: where a statement is a call, these are faster than one that walks.
async fn resolve_by_step(session: &mut Session<'_>, path: &NsPath) -> Result<Resolved, NamespaceError> {
    const ROOT: &str = entry_columns!(", entries.parent FROM entries WHERE id = ?1");
    const CHILD: &str = entry_columns!(", entries.parent FROM entries WHERE parent = ?1 AND name = ?2");
    let mut deepest = None;
    let mut directory = ROOT_ID;
    for (depth, name) in path.components().enumerate() {
        let read = |row: &Row<'_>| resolved_from_row(row, depth + 1);
        let Some(found) = session.fetch_optional(CHILD, &[directory.into(), name.into()], read).await? else {
            break;
        };
        directory = found.entry.id;
        deepest = Some(found);
    }
    match deepest {
        Some(found) => Ok(found),
        None => session.fetch_one(ROOT, &[ROOT_ID.into()], |row| resolved_from_row(row, 0)).await,
    }
}

/// One statement however deep the path is: one way to the server and back.
async fn resolve_at_once(session: &mut Session<'_>, path: &NsPath) -> Result<Resolved, NamespaceError> {
    const WALK: &str = concat!(
        "WITH RECURSIVE walk (depth, id) AS (
             SELECT 0, ?2
             UNION ALL
             SELECT walk.depth + 1, entries.id
             FROM walk
             JOIN entries ON entries.parent = walk.id AND entries.name = (CAST(?1 AS json) ->> walk.depth)
         ) ",
        entry_columns!(
            ", entries.parent, CAST(walk.depth AS bigint) FROM walk JOIN entries ON entries.id = walk.id
             ORDER BY walk.depth DESC LIMIT 1"
        )
    );
    let components = to_json(path.components());
    session
        .fetch_one(Sql::each("", WALK), &[(&components).into(), ROOT_ID.into()], |row| {
            let depth = usize::try_from(row.integer(9)?).map_err(|_| NamespaceError::Corrupt("depth"))?;
            resolved_from_row(row, depth)
        })
        .await
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
