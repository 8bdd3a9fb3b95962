//! Notices that files have changed, without reading them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

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

#[cfg(test)]
mod tests {
    use super::*;

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
