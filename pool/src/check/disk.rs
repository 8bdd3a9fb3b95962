//! The root: whether it is this pool's, and what its file system can do.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use crate::config::Config;
use crate::engine::disk::KernelDisk;
use crate::engine::file::IoMode;
use crate::store::layout::{self, RootError};
use penstock_service::check::Finding;
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, XattrFlags};

use penstock_service::check::bytes;

/// What direct I/O is aligned to, on every disk that there is.
const ALIGNMENT: usize = 4096;
/// Less than so many percent free is told of.
const LITTLE_PERCENT: u64 = 5;
/// Tried on an unnamed file, which goes with its descriptor.
const PROBE_ATTRIBUTE: &str = "user.penstock.probe";

/// Looks at it.
#[must_use]
pub fn look(config: &Config) -> Vec<Finding> {
    let root = &config.root;
    match std::fs::metadata(root) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return vec![Finding::failed(
                "root",
                format!("{} is no directory", root.display()),
                "name another one in root",
            )];
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return vec![Finding::failed(
                "root",
                format!("{} is not there", root.display()),
                format!(
                    "install -d -o USER -m 750 {}, with the user that the daemon runs as",
                    root.display()
                ),
            )];
        }
        Err(error) => {
            let found = format!("{}: {error}", root.display());
            return vec![Finding::failed("root", found, "let the daemon's user go there")];
        }
    }
    let mut findings = vec![owner(config)];
    findings.extend(file_system(root, config));
    findings
}

/// What the file system of a directory can do, be it the root or where the root is to be made.
#[must_use]
pub fn file_system(place: &Path, config: &Config) -> Vec<Finding> {
    let mut findings = vec![kind(place), unnamed(place, config), space(place, config)];
    findings.retain(|finding| !finding.found.is_empty());
    findings
}

fn owner(config: &Config) -> Finding {
    let root = &config.root;
    if rustix::fs::accessat(CWD, root, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
        .is_err()
    {
        let owner = std::fs::metadata(root).map_or(0, |metadata| metadata.uid());
        let found = format!("{} belongs to user {owner} and cannot be written", root.display());
        return Finding::failed("root", found, "run this as the daemon's user, or chown the directory to it");
    }
    match layout::inspect(&KernelDisk, root, &config.name) {
        Ok(Some(_)) => Finding::ok("root", format!("{}: this pool's", root.display())),
        Err(error @ RootError::OtherPool { .. }) => {
            let remedy = "the name of a pool that has files does not change";
            Finding::failed("root", error.to_string(), remedy)
        }
        Err(error) => Finding::failed("root", error.to_string(), "as it says; the pool does not start"),
        Ok(None) if is_empty(root) => {
            Finding::ok("root", format!("{}: empty, and becomes this pool's", root.display()))
        }
        Ok(None) => Finding::failed(
            "root",
            format!("{} has files that are no pool's", root.display()),
            "name an empty directory, or import the files: penstock-pool import",
        ),
    }
}

fn is_empty(root: &Path) -> bool {
    std::fs::read_dir(root).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "lost+found"))
    })
}

fn kind(place: &Path) -> Finding {
    let Ok(found) = rustix::fs::statfs(place) else { return Finding::ok("file system", "") };
    // linux/magic.h
    let (name, good) = match found.f_type as u64 {
        0xEF53 => ("ext4", true),
        0x5846_5342 => ("XFS", true),
        0x9123_683E => ("btrfs", false),
        0x0102_1994 => ("tmpfs", false),
        0x6969 => ("NFS", false),
        0x794C_7630 => ("overlayfs", false),
        _ => ("of a kind that nobody has tried", false),
    };
    if good {
        Finding::ok("file system", name)
    } else {
        Finding::warning("file system", name, "ext4 and XFS are what pools are tested on")
    }
}

/// What can be tried on a file that never gets a name.
fn unnamed(place: &Path, config: &Config) -> Finding {
    let open = |more: OFlags| -> io::Result<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | more;
        Ok(File::from(rustix::fs::open(place, flags, Mode::RUSR | Mode::WUSR)?))
    };
    let plain = match open(OFlags::empty()) {
        Ok(file) => file,
        Err(error) => {
            let found = format!("no unnamed files (O_TMPFILE): {error}");
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            let what = if denied {
                "run this as the pool's user, or give it the directory (chown)"
            } else {
                "use ext4 or XFS"
            };
            return Finding::failed("file system", found, what);
        }
    };
    if let Err(error) = rustix::fs::fsetxattr(&plain, PROBE_ATTRIBUTE, b"1", XattrFlags::empty()) {
        let found = format!("no user attributes: {error}");
        return Finding::failed("file system", found, "ext4 or XFS, mounted without nouser_xattr");
    }
    if config.io_mode != IoMode::Direct {
        return Finding::ok("direct I/O", format!("not asked for: io_mode is {}", config.io_mode));
    }
    let tried = open(OFlags::DIRECT).and_then(|file| {
        let room = vec![0_u8; 2 * ALIGNMENT];
        let start = room.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        file.write_all_at(&room[start..start + ALIGNMENT], 0)
    });
    match tried {
        Ok(()) => Finding::ok("direct I/O", "works"),
        Err(error) => Finding::warning(
            "direct I/O",
            format!("refused: {error}; the pool writes through the page cache"),
            "a file system with direct I/O costs less; or say io_mode = \"buffered\"",
        ),
    }
}

fn space(place: &Path, config: &Config) -> Finding {
    let Ok(found) = rustix::fs::statvfs(place) else { return Finding::ok("space", "") };
    let (total, free) = (found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize);
    let words = format!("{} free of {}", bytes(free), bytes(total));
    if let Some(capacity) = config.capacity.filter(|capacity| *capacity > total) {
        let found = format!("{words}, but capacity is {}", bytes(capacity));
        return Finding::warning("space", found, "lower capacity, or leave it out");
    }
    if free <= config.reserve_bytes {
        let found = format!("{words}; reserve is {}: nothing can be uploaded", bytes(config.reserve_bytes));
        return Finding::warning("space", found, "delete something, or lower reserve");
    }
    if free / (total / 100).max(1) < LITTLE_PERCENT {
        return Finding::warning("space", words, "delete something, or add a pool");
    }
    Finding::ok("space", words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_service::check::Level;

    fn root_of(config: &Config) -> Finding {
        look(config).into_iter().find(|finding| finding.what == "root").unwrap()
    }

    #[test]
    fn a_root_is_good_when_it_is_empty_or_this_pools() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new("pool01", dir.path());
        assert!(root_of(&config).found.ends_with("empty, and becomes this pool's"));
        std::fs::create_dir(dir.path().join("lost+found")).unwrap();
        assert_eq!(root_of(&config).level, Level::Ok);
    }

    #[test]
    fn a_root_that_is_missing_or_strangers_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none");
        assert_eq!(root_of(&Config::new("p", &missing)).level, Level::Failed);
        assert!(!missing.exists());
        std::fs::write(dir.path().join("thesis.tex"), "x").unwrap();
        let finding = root_of(&Config::new("p", dir.path()));
        assert_eq!(finding.level, Level::Failed);
        assert!(finding.remedy.contains("import"), "{finding:?}");
    }

    #[test]
    fn a_root_of_another_pool_or_release_or_without_its_data_fails() {
        for (marker, data, told) in [
            (r#"{"format": 1, "pool": "q", "uuid": "u", "created": "c"}"#, true, "belongs to pool \"q\""),
            (
                r#"{"format": 1, "pool": "p", "uuid": "u", "created": "c"}"#,
                false,
                "is its file system mounted?",
            ),
            (r#"{"format": 99}"#, true, "install a newer release"),
            ("broken", true, "restore it from a backup"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("penstock-pool.json"), marker).unwrap();
            if data {
                std::fs::create_dir(dir.path().join("data")).unwrap();
            }
            let finding = root_of(&Config::new("p", dir.path()));
            assert_eq!(finding.level, Level::Failed, "{finding:?}");
            assert!(finding.found.contains(told), "{finding:?}");
        }
    }

    #[test]
    fn nothing_is_left_of_what_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        let _ = look(&Config::new("p", dir.path()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
