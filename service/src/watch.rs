//! What was read from files, and is read again when they have changed: certificates, keys, lists. Noticing a change takes
//! no reading.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What files looked like: their sizes, inodes and times of change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look(BTreeMap<PathBuf, Option<[i64; 4]>>);

impl Look {
    /// Looks at files, and at what lies in directories. A file that is not there is a look, too.
    pub fn at<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Look {
        let mut look = Look::default();
        for path in paths {
            look.add(path);
            if let Ok(entries) = std::fs::read_dir(path) {
                for entry in entries.flatten() {
                    look.add(&entry.path());
                }
            }
        }
        look
    }

    fn add(&mut self, path: &Path) {
        let facts = std::fs::metadata(path).ok().map(|facts| {
            [facts.size().cast_signed(), facts.ino().cast_signed(), facts.mtime(), facts.mtime_nsec()]
        });
        self.0.insert(path.to_owned(), facts);
    }
}

/// What files say, as of the last time when all was well with them.
pub struct Watched<T> {
    current: Mutex<Current<T>>,
}

struct Current<T> {
    value: Arc<T>,
    look: Look,
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl<T> Watched<T> {
    /// What `read` finds. `look` was taken before: what changes while it is read is read again.
    pub fn new<E>(look: Look, read: impl FnOnce() -> Result<T, E>) -> Result<Watched<T>, E> {
        let value = Arc::new(read()?);
        Ok(Watched { current: Mutex::new(Current { value, look }) })
    }

    /// What is in use now.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.lock().value)
    }

    /// Reads again if the files look different now, or anyway when `force` is set. True when there is something new. An
    /// error leaves in use what was read before, and is told once, not at every look.
    pub fn reload<E>(&self, force: bool, look: Look, read: impl FnOnce() -> Result<T, E>) -> Result<bool, E> {
        if !force && self.lock().look == look {
            return Ok(false);
        }
        // Read without the lock: nobody who uses the old value waits for a disk.
        let read = read();
        let mut current = self.lock();
        current.look = look;
        current.value = Arc::new(read?);
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Current<T>> {
        // Both fields are replaced as a whole.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_leaves_the_old_value_and_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        let look = || Look::at([path.as_path()]);
        let read = || std::fs::read_to_string(&path).unwrap().parse::<u32>();
        let write = |text: &str| {
            std::fs::write(dir.path().join("new"), text).unwrap();
            std::fs::rename(dir.path().join("new"), &path).unwrap();
        };
        write("1");
        let watched = Watched::new(look(), read).unwrap();
        assert_eq!(*watched.current(), 1);
        assert!(!watched.reload(false, look(), read).unwrap(), "nothing has changed");
        assert!(watched.reload(true, look(), read).unwrap(), "but it can be asked for");
        write("2");
        assert!(watched.reload(false, look(), read).unwrap());
        assert_eq!(*watched.current(), 2);
        write("two");
        assert!(watched.reload(false, look(), read).is_err());
        assert!(!watched.reload(false, look(), read).unwrap(), "it was told before");
        assert_eq!(*watched.current(), 2);
    }

    #[test]
    fn a_file_that_is_written_replaced_or_removed_looks_different() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        let look = || Look::at([path.as_path()]);
        let absent = look();
        std::fs::write(&path, "one").unwrap();
        let first = look();
        assert_eq!(first, look());
        std::fs::write(dir.path().join("new"), "two").unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
        let second = look();
        assert!(absent != first && first != second);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(look(), absent);
    }

    #[test]
    fn what_lies_in_a_directory_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.r0"), "one").unwrap();
        let before = Look::at([dir.path()]);
        std::fs::write(dir.path().join("a.r0"), "other").unwrap();
        assert!(Look::at([dir.path()]) != before);
    }
}
