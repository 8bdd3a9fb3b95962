//! Finding the index of a pool, and making a new one.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, ReadableDatabase};

use super::backend::Backend;
use super::change::{Change, FORMAT, META, META_DOUBT, META_FORMAT, META_POOL, begin, commit, complete};
use super::read;
use super::writer::Lost;
use super::{Broken, Index};
use crate::engine::disk::{Disk, File};

/// The database's file.
pub(in crate::store) const NAME: &str = "replicas.redb";
/// One that is not complete.
pub(in crate::store) const NEW_NAME: &str = "replicas.redb.new";
/// What the names of those begin with that could not be used.
const BAD_PREFIX: &str = "replicas.redb.bad-";

/// Pages of the index that are kept in memory. Enough for the upper levels of the tree at ten million replicas; the
/// lower ones are in the kernel's page cache, which gives them up when something else needs the memory.
const CACHE_BYTES: usize = 16 << 20;

/// Changes of a new index that go into one transaction: bounds the memory that making it takes.
const BUILDING_BATCH: usize = 16_384;

/// What is there.
pub(in crate::store) enum Found {
    /// One that can be used.
    Usable(Arc<Index>),
    /// None, or none any more: what was there has been set aside.
    Missing {
        /// Why it cannot be used; `None` where there was none.
        because: Option<String>,
        /// What only the old one knew and the new one shall know, too.
        carried: Vec<Change>,
    },
    /// One that can neither be used nor set aside. The pool can read without, and must not change anything.
    Stuck(Arc<Index>),
}

/// Looks for the index in `directory`, of the pool root with that identity. Never fails: a pool can do without.
pub(in crate::store) fn find(disk: &Arc<dyn Disk>, directory: &Path, pool: &str) -> Found {
    // What an earlier start did not complete is nothing.
    let _ = disk.remove(&directory.join(NEW_NAME));
    let path = directory.join(NAME);
    let because = match disk.stat(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Found::Missing { because: None, carried: Vec::new() };
        }
        Err(error) => error.to_string(),
        Ok(metadata) if metadata.size == 0 => "it is empty".to_owned(),
        Ok(_) => match open(disk, &path, pool) {
            Ok((database, file, Judgement::Good)) => {
                let usable = Some((database, file));
                return Found::Usable(Index::new(disk.clone(), directory.to_owned(), usable, None));
            }
            Ok((database, _file, Judgement::Doubted)) => match read::carried(&database) {
                // It is replaced by the new one; should that not come about, it is doubted again.
                Ok(carried) => {
                    return Found::Missing { because: Some("its making was cut short".to_owned()), carried };
                }
                Err(error) => error.to_string(),
            },
            Ok((_, _, Judgement::Bad(because))) => because,
            Err(error) => error,
        },
    };
    match set_aside(&**disk, directory) {
        Ok(aside) => {
            let because = match aside {
                Some(aside) => format!("{because}; it was set aside as {}", aside.display()),
                None => because,
            };
            Found::Missing { because: Some(because), carried: Vec::new() }
        }
        Err(error) => {
            let because = format!("{because}; it cannot be set aside: {error}");
            let lost = Lost { because, set_aside: false };
            Found::Stuck(Index::new(disk.clone(), directory.to_owned(), None, Some(lost)))
        }
    }
}

enum Judgement {
    Good,
    Doubted,
    Bad(String),
}

fn open(disk: &Arc<dyn Disk>, path: &Path, pool: &str) -> Result<(Database, File, Judgement), String> {
    let file = disk.lock(path).map_err(|error| error.to_string())?;
    let database = database(disk, &file).map_err(|error| error.to_string())?;
    let judgement = judge(&database, pool).unwrap_or_else(|error| Judgement::Bad(error.to_string()));
    Ok((database, file, judgement))
}

fn database(disk: &Arc<dyn Disk>, file: &File) -> Result<Database, Broken> {
    let backend = Backend::new(disk.clone(), file.clone());
    let open = || Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend);
    // Pages that are not what was written can make the database's code give up.
    Ok(catch_unwind(AssertUnwindSafe(open)).map_err(|_| Broken::Panicked)??)
}

fn judge(database: &Database, pool: &str) -> Result<Judgement, Broken> {
    let judge = || {
        let transaction = database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let value = |key| Ok::<_, Broken>(meta.get(key)?.map(|value| value.value().to_vec()));
        let format = value(META_FORMAT)?;
        if format.as_deref() != Some(&FORMAT.to_le_bytes()) {
            return Ok(Judgement::Bad("another release wrote it".to_owned()));
        }
        if value(META_POOL)?.as_deref() != Some(pool.as_bytes()) {
            return Ok(Judgement::Bad("it belongs to another pool".to_owned()));
        }
        Ok(if value(META_DOUBT)?.is_some() { Judgement::Doubted } else { Judgement::Good })
    };
    catch_unwind(AssertUnwindSafe(judge)).unwrap_or(Err(Broken::Panicked))
}

/// Gives an index that is not to be believed another name, durably. Tells which; `None` if there is none.
pub(super) fn set_aside(disk: &dyn Disk, directory: &Path) -> io::Result<Option<PathBuf>> {
    let names = match disk.list_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut aside = None;
    if names.iter().any(|name| name == NAME) {
        let number = |name: &std::ffi::OsString| name.to_str()?.strip_prefix(BAD_PREFIX)?.parse::<u64>().ok();
        let last = names.iter().filter_map(number).max().unwrap_or(0);
        let path = directory.join(format!("{BAD_PREFIX}{}", last.saturating_add(1)));
        disk.rename(&directory.join(NAME), &path)?;
        aside = Some(path);
    }
    // Even if there was none: an earlier attempt may have ended here.
    disk.sync_dir(directory)?;
    Ok(aside)
}

/// A new index that does not have its name yet.
pub(in crate::store) struct Building {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    database: Database,
    file: File,
    batch: Vec<Change>,
}

impl Building {
    /// Begins a new index in `directory`.
    pub fn begin(disk: &Arc<dyn Disk>, directory: &Path) -> Result<Self, Broken> {
        let path = directory.join(NEW_NAME);
        disk.create_dir_all(directory)?;
        if let Some(root) = directory.parent() {
            disk.sync_dir(root)?;
        }
        let file = disk.lock(&path)?;
        disk.truncate(&file, 0)?;
        let database = database(disk, &file)?;
        begin(&database)?;
        let (disk, directory) = (disk.clone(), directory.to_owned());
        Ok(Self { disk, directory, database, file, batch: Vec::new() })
    }

    /// Adds to it.
    pub fn add(&mut self, change: Change) -> Result<(), Broken> {
        self.batch.push(change);
        if self.batch.len() < BUILDING_BATCH {
            return Ok(());
        }
        commit(&self.database, &std::mem::take(&mut self.batch))
    }

    /// Makes it the index of the pool root with that identity, in place of what is there.
    pub fn finish(self, pool: &str) -> Result<Arc<Index>, Broken> {
        let Self { disk, directory, database, file, batch } = self;
        commit(&database, &batch)?;
        complete(&database, pool)?;
        disk.rename(&directory.join(NEW_NAME), &directory.join(NAME))?;
        disk.sync_dir(&directory)?;
        Ok(Index::new(disk, directory, Some((database, file)), None))
    }
}

impl Index {
    /// The place where an index would be: for a pool that cannot have one now.
    pub fn absent(disk: &Arc<dyn Disk>, directory: &Path, because: String) -> Arc<Self> {
        // Making one may have ended after it got its name.
        let set_aside = set_aside(&**disk, directory).is_ok();
        Self::new(disk.clone(), directory.to_owned(), None, Some(Lost { because, set_aside }))
    }
}
