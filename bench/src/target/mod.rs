//! The directory that is measured: empty, writable, ours alone, and as empty afterwards.
//!
//! Files have no names (O_TMPFILE), so that whatever ends the program, SIGKILL included, the kernel takes them back.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use penstock_pool::engine::disk::{Disk, FsSpace, KernelDisk};
use rustix::fs::FlockOperation;

use crate::arguments::show_byte_size;

/// What every new ext4 file system has at its top; it belongs to `fsck`.
const HARMLESS: &str = "lost+found";
/// This share of the free space is left alone.
const SPARED_SHARE: u64 = 20;
/// How a file system in memory announces itself (linux/magic.h): tmpfs, ramfs.
const MEMORY_FILE_SYSTEMS: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// Why a directory cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It is not there.
    #[error("{0} does not exist; make an empty directory on the disk that is to be measured")]
    Missing(PathBuf),
    /// It is something else.
    #[error("{0} is not a directory; name an empty directory on the disk that is to be measured")]
    NoDirectory(PathBuf),
    /// Somebody's data is in it.
    #[error(
        "{path} is not empty (it has {first:?}); nothing is measured beside data of others: make an empty directory in \
         it and name that"
    )]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// One of what is in it.
        first: String,
    },
    /// Another measurement runs in it.
    #[error("another penstock-bench measures in {0}; wait for its end")]
    Busy(PathBuf),
    /// Its file system takes no writes.
    #[error("{0} is on a file system that is mounted read-only; nothing can be measured there")]
    ReadOnly(PathBuf),
    /// The user may not write there.
    #[error("no permission to write in {0}; give it to this user (chown), or name a directory of theirs")]
    Permission(PathBuf),
    /// Not enough space.
    #[error(
        "{path} has {free} free, of which a part is spared; {needed} are needed: choose a smaller --size, or fewer --jobs"
    )]
    Full {
        /// The directory.
        path: PathBuf,
        /// What there is.
        free: String,
        /// What it takes.
        needed: String,
    },
    /// Anything else.
    #[error("{path} cannot be used: {error}")]
    Other {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A directory that was found empty and is locked against other measurements.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    /// Keeps the lock.
    _locked: File,
}

impl Target {
    /// Makes sure that it is there, empty and writable.
    pub fn open(path: &Path) -> Result<Self, TargetError> {
        let owned = || path.to_owned();
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => TargetError::Missing(owned()),
            io::ErrorKind::NotADirectory => TargetError::NoDirectory(owned()),
            io::ErrorKind::PermissionDenied => TargetError::Permission(owned()),
            io::ErrorKind::ReadOnlyFilesystem => TargetError::ReadOnly(owned()),
            _ => TargetError::Other { path: owned(), error },
        };
        if !std::fs::metadata(path).map_err(fail)?.is_dir() {
            return Err(TargetError::NoDirectory(owned()));
        }
        let locked = File::open(path).map_err(fail)?;
        match rustix::fs::flock(&locked, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(TargetError::Busy(owned())),
            Err(error) => return Err(fail(error.into())),
        }
        for entry in std::fs::read_dir(path).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            if name != HARMLESS {
                return Err(TargetError::NotEmpty {
                    path: owned(),
                    first: name.to_string_lossy().into_owned(),
                });
            }
        }
        let target = Self { path: owned(), _locked: locked };
        // The only way to know that files can be made here.
        KernelDisk.create_unnamed(path).map_err(fail)?;
        Ok(target)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its file system's space.
    pub fn space(&self) -> Result<FsSpace, TargetError> {
        KernelDisk.space(&self.path).map_err(|error| TargetError::Other { path: self.path.clone(), error })
    }

    /// What may be written there, a part of what is free being spared.
    pub fn usable_bytes(&self) -> Result<u64, TargetError> {
        let free = self.space()?.free;
        Ok(free - free / SPARED_SHARE)
    }

    /// An error when so many bytes are not to be had.
    pub fn need(&self, bytes: u64) -> Result<(), TargetError> {
        if bytes <= self.usable_bytes()? {
            return Ok(());
        }
        let rounded = |bytes: u64| show_byte_size(if bytes >= 1 << 20 { bytes >> 20 << 20 } else { bytes });
        Err(TargetError::Full {
            path: self.path.clone(),
            free: rounded(self.space()?.free),
            needed: rounded(bytes),
        })
    }

    /// Whether it is in memory, so that no disk is measured.
    pub fn is_in_memory(&self) -> bool {
        // The type of the field differs between architectures.
        #[allow(clippy::unnecessary_cast)]
        rustix::fs::statfs(&self.path).is_ok_and(|stat| MEMORY_FILE_SYSTEMS.contains(&(stat.f_type as i64)))
    }

    /// A directory in it for a program that needs names. Removed, with all in it, when dropped.
    pub fn named(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix("penstock-bench-").tempdir_in(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_directory_suits_and_stays_empty() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(HARMLESS)).unwrap();
        let target = Target::open(dir.path()).unwrap();
        assert!(target.usable_bytes().unwrap() <= target.space().unwrap().free);
        drop(target.named().unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn data_of_others_is_not_measured_beside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "precious").unwrap();
        let error = Target::open(dir.path()).unwrap_err();
        assert!(matches!(&error, TargetError::NotEmpty { first, .. } if first == "thesis.tex"), "{error}");
    }

    #[test]
    fn what_is_no_directory_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Target::open(&file), Err(TargetError::NoDirectory(_))));
        assert!(matches!(Target::open(&dir.path().join("none")), Err(TargetError::Missing(_))));
    }

    #[test]
    fn two_measurements_do_not_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Target::open(dir.path()).unwrap();
        assert!(matches!(Target::open(dir.path()), Err(TargetError::Busy(_))));
    }

    #[test]
    fn more_than_there_is_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::open(dir.path()).unwrap();
        assert!(target.need(1).is_ok());
        let error = target.need(u64::MAX).unwrap_err();
        assert!(matches!(error, TargetError::Full { .. }), "{error}");
    }
}
