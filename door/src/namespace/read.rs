//! Lookups and listings.

use std::sync::LazyLock;

use super::database::session::{Row, Session, Sql, Value};
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

    async fn at_once(&self, session: &mut Session<'_>) -> Result<Option<Lookup>, NamespaceError> {
        Ok(find_at_once(session, &self.path).await?.map(Lookup::Found))
    }

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

    async fn at_once(&self, session: &mut Session<'_>) -> Result<Option<Self::Done>, NamespaceError> {
        if self.beside != Beside::default() {
            return Ok(None);
        }
        let found = find_at_once(session, &self.path).await?;
        Ok(found.map(|entry| Some(Described { entry, dead: Vec::new(), locks: Vec::new() })))
    }

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
    const ENTRY: &str = entry_columns!(", entries.parent FROM entries WHERE id = ?1");
    // Answered by the index of names alone.
    const STEP: &str = "SELECT id FROM entries WHERE parent = ?1 AND name = ?2";
    let (mut deepest, mut depth) = (ROOT_ID, 0);
    for name in path.components() {
        let values = [deepest.into(), name.into()];
        let Some(found) = session.fetch_optional(STEP, &values, |row| row.integer(0)).await? else { break };
        (deepest, depth) = (found, depth + 1);
    }
    session.fetch_one(ENTRY, &[deepest.into()], |row| resolved_from_row(row, depth)).await
}

/// Components that one statement follows on SQLite: as many as most paths have.
const MOST_AT_ONCE: usize = 8;

/// For each number of components, the statement that follows them: a join, so that nothing walks.
static WALKS: LazyLock<[String; MOST_AT_ONCE]> =
    LazyLock::new(|| std::array::from_fn(|index| walk(index + 1)));

fn walk(components: usize) -> String {
    let table = |number| if number == components { "entries".to_owned() } else { format!("above{number}") };
    let mut sql = String::from(entry_columns!(" FROM "));
    for number in 1..=components {
        // Not a plain join, whose order SQLite would choose.
        sql.push_str(if number == 1 { "" } else { " CROSS JOIN " });
        sql.push_str(&format!("entries AS {}", table(number)));
    }
    for number in 1..=components {
        let (word, parent) = match number {
            1 => ("WHERE", ROOT_ID.to_string()),
            _ => ("AND", format!("{}.id", table(number - 1))),
        };
        let table = table(number);
        sql.push_str(&format!(" {word} {table}.parent = {parent} AND {table}.name = ?{number}"));
    }
    sql
}

/// What a path leads to, if one statement finds it; `None` says nothing.
async fn find_at_once(session: &mut Session<'_>, path: &NsPath) -> Result<Option<Entry>, NamespaceError> {
    let mut names = [Value::Text(None); MOST_AT_ONCE];
    let mut count = 0;
    for name in path.components() {
        let Some(place) = names.get_mut(count) else { return Ok(None) };
        *place = name.into();
        count += 1;
    }
    let Some(walk) = count.checked_sub(1).and_then(|index| WALKS.get(index)) else { return Ok(None) };
    session.fetch_optional(Sql::from(walk.as_str()), &names[..count], Entry::from_row).await
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
