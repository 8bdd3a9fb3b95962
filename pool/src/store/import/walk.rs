//! All files of a directory tree, in an order that is the same each time.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::super::scan::is_lost_and_found;
use crate::engine::disk::{Disk, Kind, Metadata};

/// What a walk meets.
pub(super) enum Met {
    /// A file: where it is, and its name below the top, with `/` between.
    File(PathBuf, String, Metadata),
    /// Something that cannot be taken.
    Problem(PathBuf, String),
}

/// Visits everything below `top`, each directory's names in their order. `visit` returns `false` to end the walk. Memory
/// for the names of the directories on the way.
pub(super) fn walk<E>(
    disk: &dyn Disk,
    top: &Path,
    visit: &mut dyn FnMut(Met) -> Result<bool, E>,
) -> Result<bool, E> {
    directory(disk, top, "", visit)
}

fn directory<E>(
    disk: &dyn Disk,
    path: &Path,
    name: &str,
    visit: &mut dyn FnMut(Met) -> Result<bool, E>,
) -> Result<bool, E> {
    let mut names = match disk.list_dir(path) {
        Ok(names) => names,
        Err(error) => return visit(Met::Problem(path.to_owned(), error.to_string())),
    };
    names.sort();
    for entry in names {
        if !one(disk, path.join(&entry), name, &entry, visit)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn one<E>(
    disk: &dyn Disk,
    path: PathBuf,
    above: &str,
    entry: &OsStr,
    visit: &mut dyn FnMut(Met) -> Result<bool, E>,
) -> Result<bool, E> {
    let metadata = match disk.stat(&path) {
        Ok(metadata) => metadata,
        // It went meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return visit(Met::Problem(path, error.to_string())),
    };
    let Some(entry) = entry.to_str() else {
        return visit(Met::Problem(path, "its name is not UTF-8".to_owned()));
    };
    let name = format!("{above}/{entry}");
    match metadata.kind {
        Kind::Directory if is_lost_and_found(&path) => Ok(true),
        Kind::Directory => directory(disk, &path, &name, visit),
        Kind::File => visit(Met::File(path, name, metadata)),
        Kind::Other => {
            let what = "is neither a file nor a directory (a symbolic link, socket or device)";
            visit(Met::Problem(path, what.to_owned()))
        }
    }
}
