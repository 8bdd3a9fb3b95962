//! Where a pool keeps what: the root directory, its marker, its lock, and the place of each replica below it.
//!
//! ```text
//! <root>/lock                  held while a daemon uses the root
//! <root>/penstock-pool.json    whose pool this is: refused when it is another one's
//! <root>/data/3f/a0/<id>       the replicas
//! <root>/index/                what is known of them without looking: [`super::index`]
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::id::ReplicaId;
use crate::engine::disk::{Disk, File, ReadMode};

/// The layout that this release writes, and the newest that it reads.
const FORMAT_VERSION: u32 = 1;
const MARKER_NAME: &str = "penstock-pool.json";
const LOCK_NAME: &str = "lock";
const DATA_NAME: &str = "data";
const INDEX_NAME: &str = "index";
/// A marker is some hundred bytes; more is no marker.
const MARKER_MAX_BYTES: usize = 64 * 1024;
/// A process id and a line feed.
const LOCK_MAX_BYTES: usize = 32;
/// Made by mkfs in the top directory of a file system; not ours, and no reason to doubt that a directory is empty.
pub(super) const LOST_AND_FOUND: &str = "lost+found";

/// The two directories above a replica: the first two bytes of the CRC-32 (IEEE, as in gzip; most significant byte
/// first) of its id, each as two hex digits.
///
/// Ids are often numbers that count up; the CRC spreads those evenly over all 65 536 directories, which its bytes do
/// not. At ten million replicas a directory has some 150 names, which every file system finds in one block or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shelf(pub u8, pub u8);

impl Shelf {
    /// Where a replica belongs.
    pub fn of(id: &ReplicaId) -> Self {
        let [first, second, _, _] = crc32fast::hash(id.as_str().as_bytes()).to_be_bytes();
        Self(first, second)
    }
}

/// The paths of a pool.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    data: PathBuf,
}

impl Layout {
    /// The paths of the pool with this root.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), data: root.join(DATA_NAME) }
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory that holds every replica.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The directory of the index.
    pub fn index(&self) -> PathBuf {
        self.root.join(INDEX_NAME)
    }

    /// The directory of 256 shelves.
    pub fn first(&self, first: u8) -> PathBuf {
        self.data.join(format!("{first:02x}"))
    }

    /// The directory of some replicas.
    pub fn shelf(&self, shelf: Shelf) -> PathBuf {
        self.data.join(format!("{:02x}/{:02x}", shelf.0, shelf.1))
    }

    /// The file of a replica.
    pub fn replica(&self, id: &ReplicaId) -> PathBuf {
        let mut path = self.shelf(Shelf::of(id));
        path.push(id.as_str());
        path
    }

    fn marker(&self) -> PathBuf {
        self.root.join(MARKER_NAME)
    }

    fn lock(&self) -> PathBuf {
        self.root.join(LOCK_NAME)
    }
}

/// Whose root this is: the content of `penstock-pool.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The version of the layout.
    pub format: u32,
    /// The pool's name.
    pub pool: String,
    /// Different for every root ever made, even under the same name.
    pub uuid: String,
    /// When the root was made (RFC 3339).
    pub created: String,
}

/// The only field that every version of the marker has.
#[derive(Deserialize)]
struct MarkerFormat {
    format: u32,
}

/// What to do about it, where that is known.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ": start the daemon as the user whose root it is, or give the root to the daemon's user (chown -R)"
        }
        io::ErrorKind::ReadOnlyFilesystem => ": its file system is mounted read-only, mount it for writing",
        _ => "",
    }
}

/// Why a root cannot be used.
#[derive(Debug, Error)]
pub enum RootError {
    /// The file system refused a step.
    #[error("cannot {step} {}: {source}{}", path.display(), remedy(.source))]
    Io {
        /// The step, to be read after "cannot".
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// Another daemon uses it.
    #[error("{} is in use by another pool daemon{holder}: stop that one, or give this one a root of its own", root.display())]
    InUse {
        /// The root.
        root: PathBuf,
        /// " (process 4711)", where that is known.
        holder: String,
    },
    /// It belongs to another pool.
    #[error("{} belongs to pool {found:?}, this is pool {expected:?}: correct the root or the pool's name", root.display())]
    OtherPool {
        /// The root.
        root: PathBuf,
        /// The name in its marker.
        found: String,
        /// The name configured.
        expected: String,
    },
    /// A later release wrote it.
    #[error("{} has layout version {found}, this release knows up to {FORMAT_VERSION}: install a newer release", root.display())]
    Newer {
        /// The root.
        root: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The marker is damaged.
    #[error("{} is not a pool's marker: {reason}; restore it from a backup or from another copy", path.display())]
    Marker {
        /// The marker.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is data, but nothing says whose.
    #[error("{} has data but no {MARKER_NAME}: restore the marker, or choose an empty directory", root.display())]
    NoMarker {
        /// The root.
        root: PathBuf,
    },
    /// There is no pool.
    #[error("{} is no pool's root: it has no {MARKER_NAME}", root.display())]
    NoPool {
        /// The directory.
        root: PathBuf,
    },
    /// There is a marker but no data.
    #[error("{} has a {MARKER_NAME} but no {DATA_NAME} directory: is its file system mounted?", root.display())]
    NoData {
        /// The root.
        root: PathBuf,
    },
    /// Attributes cannot be kept there.
    #[error("the file system of {} has no user extended attributes, which hold what the pool must not lose: use ext4 or XFS", root.display())]
    NoAttributes {
        /// The root.
        root: PathBuf,
    },
}

/// Looks whether a root is this pool's, without taking it into use: `None` where it is nobody's yet.
pub fn inspect(disk: &dyn Disk, root: &Path, pool_name: &str) -> Result<Option<Marker>, RootError> {
    Opening { disk, layout: &Layout::new(root) }.marker_of(pool_name)
}

/// A root that is ours: locked, marked, with its data directory.
#[derive(Debug)]
pub(super) struct Root {
    pub layout: Layout,
    pub marker: Marker,
    /// Held for as long as the root is in use.
    pub lock: File,
}

impl Root {
    /// Takes a root into use that is one already.
    pub fn open_existing(disk: &Arc<dyn Disk>, path: &Path, pool_name: &str) -> Result<Self, RootError> {
        let layout = Layout::new(path);
        if !(Opening { disk: &**disk, layout: &layout }).exists(&layout.marker())? {
            return Err(RootError::NoPool { root: path.to_owned() });
        }
        Self::open(disk, path, pool_name)
    }

    /// Takes a root into use; makes one where there is none.
    pub fn open(disk: &Arc<dyn Disk>, path: &Path, pool_name: &str) -> Result<Self, RootError> {
        let layout = Layout::new(path);
        let opening = Opening { disk: &**disk, layout: &layout };
        opening.make_root()?;
        let lock = opening.lock()?;
        opening.require_attributes()?;
        let marker = match opening.marker_of(pool_name)? {
            Some(marker) => marker,
            None => opening.found_pool(pool_name)?,
        };
        // An earlier start may have died between making these names and making them durable.
        opening.done("make durable", path, disk.sync_dir(path))?;
        Ok(Self { layout, marker, lock })
    }
}

/// The steps of taking a root into use.
struct Opening<'a> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
}

impl Opening<'_> {
    fn done<T>(&self, step: &'static str, path: &Path, result: io::Result<T>) -> Result<T, RootError> {
        result.map_err(|source| RootError::Io { step, path: path.to_owned(), source })
    }

    fn exists(&self, path: &Path) -> Result<bool, RootError> {
        match self.disk.stat(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => self.done("look at", path, Err(error)),
        }
    }

    /// Makes the root with its parents, each of them durable in the one above.
    fn make_root(&self) -> Result<(), RootError> {
        let mut made = Vec::new();
        for directory in self.layout.root().ancestors().filter(|path| !path.as_os_str().is_empty()) {
            if self.exists(directory)? {
                break;
            }
            made.push(directory);
        }
        let root = self.layout.root();
        self.done("make the directory", root, self.disk.create_dir_all(root))?;
        for directory in made {
            let parent = match directory.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent,
                _ => Path::new("."),
            };
            self.done("make durable", parent, self.disk.sync_dir(parent))?;
        }
        Ok(())
    }

    fn lock(&self) -> Result<File, RootError> {
        let path = self.layout.lock();
        let file = match self.disk.lock(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(RootError::InUse { root: self.layout.root().to_owned(), holder: self.holder() });
            }
            Err(error) => return self.done("lock", &path, Err(error)),
        };
        // Only for the text that the next one gets; on a full disk that text is shorter.
        let _ = self.disk.truncate(&file, 0);
        let _ = self.disk.write_all_at(&file, format!("{}\n", std::process::id()).as_bytes(), 0);
        Ok(file)
    }

    fn holder(&self) -> String {
        let content = self.read(&self.layout.lock(), LOCK_MAX_BYTES).unwrap_or_default();
        match String::from_utf8_lossy(&content).trim().parse::<u32>() {
            Ok(process) => format!(" (process {process})"),
            Err(_) => String::new(),
        }
    }

    fn require_attributes(&self) -> Result<(), RootError> {
        let probe = self
            .disk
            .create_unnamed(self.layout.root())
            .and_then(|file| self.disk.set_attribute(&file, "user.penstock.probe", b"1"));
        match probe {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                Err(RootError::NoAttributes { root: self.layout.root().to_owned() })
            }
            // A full disk must not keep a pool from starting: it can still serve and delete.
            _ => Ok(()),
        }
    }

    /// Reads a small file whole.
    fn read(&self, path: &Path, max_bytes: usize) -> io::Result<Vec<u8>> {
        let file = self.disk.open(path, ReadMode::Buffered)?;
        let mut content = vec![0; max_bytes];
        let mut length = 0;
        while length < content.len() {
            match self.disk.read_at(&file, &mut content[length..], length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        content.truncate(length);
        Ok(content)
    }

    fn read_marker(&self) -> Result<Option<Marker>, RootError> {
        let path = self.layout.marker();
        let content = match self.read(&path, MARKER_MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => self.done("read", &path, other)?,
        };
        let damaged =
            |error: serde_json::Error| RootError::Marker { path: path.clone(), reason: error.to_string() };
        // The version first: what else a later version says is not for us to judge.
        let MarkerFormat { format } = serde_json::from_slice(&content).map_err(damaged)?;
        if format > FORMAT_VERSION {
            return Err(RootError::Newer { root: self.layout.root().to_owned(), found: format });
        }
        serde_json::from_slice(&content).map(Some).map_err(damaged)
    }

    /// The marker, where there is one, and when it is that of this pool and of its data.
    fn marker_of(&self, pool_name: &str) -> Result<Option<Marker>, RootError> {
        let root = || self.layout.root().to_owned();
        let Some(marker) = self.read_marker()? else { return Ok(None) };
        if !self.exists(self.layout.data())? {
            return Err(RootError::NoData { root: root() });
        }
        if marker.pool != pool_name {
            let expected = pool_name.to_owned();
            return Err(RootError::OtherPool { root: root(), found: marker.pool, expected });
        }
        Ok(Some(marker))
    }

    /// Makes the root of a new pool: the data directory, then the marker, which stands for both.
    fn found_pool(&self, pool_name: &str) -> Result<Marker, RootError> {
        let (root, data) = (self.layout.root(), self.layout.data());
        if self.exists(data)? {
            let names = self.done("list", data, self.disk.list_dir(data))?;
            if names.iter().any(|name| name != LOST_AND_FOUND) {
                return Err(RootError::NoMarker { root: root.to_owned() });
            }
        }
        self.done("make the directory", data, self.disk.create_dir_all(data))?;
        // Before the marker: that says that there is a data directory.
        self.done("make durable", root, self.disk.sync_dir(root))?;
        let marker = Marker {
            format: FORMAT_VERSION,
            pool: pool_name.to_owned(),
            uuid: self.done("make an identity for", root, random_uuid())?,
            created: Timestamp::now().to_string(),
        };
        let path = self.layout.marker();
        self.done("write", &path, self.write_marker(&path, &marker))?;
        Ok(marker)
    }

    fn write_marker(&self, path: &Path, marker: &Marker) -> io::Result<()> {
        let mut content = serde_json::to_vec_pretty(marker)?;
        content.push(b'\n');
        let file = self.disk.create_unnamed(self.layout.root())?;
        self.disk.write_all_at(&file, &content, 0)?;
        self.disk.sync_all(&file)?;
        self.disk.link(&file, path)
    }
}

/// A random UUID (RFC 9562 §5.4).
fn random_uuid() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut uuid = String::with_capacity(36);
    for (position, byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            uuid.push('-');
        }
        uuid.push_str(&format!("{byte:02x}"));
    }
    Ok(uuid)
}

#[cfg(test)]
mod tests;
