//! Import: files that are there already become replicas, in place.
//!
//! A file gets a second name in the pool's layout (a hard link), so it must lie in the same file system; its bytes are
//! not copied. Its first name stays, or goes when the replica is durable ([`ImportOptions::remove_names`]). Its id
//! follows from its path, so an import that was cut short goes on where it was, and a second one finds nothing to do.
//!
//! Checksums that XRootD or StoRM left are believed where they are of the file's present bytes. That they are right is
//! sampled: the first file and every so many after it are read whole. The first wrong one ends the trust: from there on
//! every file is read. A file whose bytes are not what its attribute says is not taken.
//!
//! What is taken is *orphaned*: whole, served, listed, and claimed by nobody. Only a door can say under which name it
//! belongs to whom; the list that an import writes tells a door what there is. "Ready" would claim that a door knows
//! it, and none does.

mod adopt;
mod foreign;
mod walk;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use thiserror::Error;

use self::walk::{Met, walk};
use super::attributes::Attributes;
use super::layout::Layout;
use super::reading::read_whole;
use super::replica::ReplicaState;
use super::{OpenError, ReplicaId, Store, StoreConfig, StoreError};
use crate::checksum::{Algorithm, AlgorithmSet};
use crate::engine::disk::{Disk, File, Metadata, ReadMode};

/// Of how many files with checksums one is read, unless configured.
pub const DEFAULT_SAMPLE_EVERY: u64 = 20;
/// Problems that are kept as text; further ones are only counted.
const PROBLEMS_KEPT: usize = 10_000;
/// The transfer that imported replicas are said to come from.
pub const IMPORT_TRANSFER: &str = "import";

/// How files are imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// What is put before a file's path below the directory, to make the replica's path: begins with `/`, or is empty.
    pub prefix: String,
    /// The storage class of all of them, or nothing.
    pub class: String,
    /// Of how many files with believable checksums one is read; 1 reads all.
    pub sample_every: u64,
    /// Computed of every file that is read, beside adler32.
    pub checksums: AlgorithmSet,
    /// Takes the files' names away when they have become replicas.
    pub remove_names: bool,
    /// Changes nothing, and tells what would be done.
    pub dry_run: bool,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            class: String::new(),
            sample_every: DEFAULT_SAMPLE_EVERY,
            checksums: AlgorithmSet::EMPTY,
            remove_names: false,
            dry_run: false,
        }
    }
}

/// How far it is, and in the end what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Files that became replicas, or would.
    pub imported: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were replicas already.
    pub present: u64,
    /// Of the imported ones, those whose checksums were believed without reading them.
    pub believed: u64,
    /// Files that were read, and their bytes.
    pub read: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Set when a checksum attribute was wrong, so that every file after it was read: that file.
    pub distrusted_after: Option<PathBuf>,
    /// Whether it was called off.
    pub called_off: bool,
    /// Files and directories that were left as they are.
    pub problems: u64,
    /// Each of them, one line each; the first ten thousand.
    pub problem_texts: Vec<String>,
}

/// Why an import ended early.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The pool cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The directory cannot be imported.
    #[error("cannot import {}: {because}", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why not, and what to do.
        because: String,
    },
    /// The pool failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The list of replicas cannot be written.
    #[error("cannot write the list of imported replicas: {0}")]
    List(#[source] io::Error),
}

/// Makes replicas of all files below `directory`, in the pool of `config`, which must not run. Writes a line of JSON for
/// each (path, id, size, checksums, time of last change) to `list`, also for those that were there already, so that the
/// list of the last run is complete. `progress` is told now and then; its `false` ends the work. Blocks.
pub fn import(
    disk: Arc<dyn Disk>,
    config: &StoreConfig,
    directory: &Path,
    options: &ImportOptions,
    list: &mut dyn Write,
    progress: &mut dyn FnMut(&ImportReport) -> bool,
) -> Result<ImportReport, ImportError> {
    let layout = Layout::new(&config.root);
    if directory.starts_with(&config.root) || config.root.starts_with(directory) {
        let because = format!(
            "it and the pool's root {} lie one in the other; give a directory beside the root",
            config.root.display()
        );
        return Err(ImportError::Directory { directory: directory.to_owned(), because });
    }
    if let Err(error) = disk.list_dir(directory) {
        let because = error.to_string();
        return Err(ImportError::Directory { directory: directory.to_owned(), because });
    }
    let store = match options.dry_run {
        true => None,
        false => Some(Store::open_root(disk.clone(), config)?),
    };
    let mut importing = Importing {
        disk: &*disk,
        layout,
        store,
        options,
        report: ImportReport::default(),
        with_checksums: 0,
        list,
        progress,
    };
    let finished = walk(&*disk, directory, &mut |met| importing.meet(directory, met))?;
    importing.list.flush().map_err(ImportError::List)?;
    importing.report.called_off = !finished;
    Ok(importing.report)
}

/// The id of an imported file: the same for the same path, and different for different ones as surely as SHA-256 is.
fn id_of(path: &str) -> ReplicaId {
    let digest = Sha256::digest(path.as_bytes());
    let hex: String = digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    // 41 of the characters that an id may have.
    ReplicaId::new(&format!("i{hex}")).expect("hexadecimal digits make an id")
}

struct Importing<'a> {
    disk: &'a dyn Disk,
    layout: Layout,
    /// `None` in a dry run.
    store: Option<Store>,
    options: &'a ImportOptions,
    report: ImportReport,
    /// Files met so far whose checksums could be believed.
    with_checksums: u64,
    list: &'a mut dyn Write,
    progress: &'a mut dyn FnMut(&ImportReport) -> bool,
}

/// What is known of a file when it may become a replica.
struct Known {
    checksums: BTreeMap<String, String>,
    blocks: Vec<u32>,
    read: bool,
}

impl Importing<'_> {
    fn meet(&mut self, directory: &Path, met: Met) -> Result<bool, ImportError> {
        match met {
            Met::Problem(path, what) => self.problem(&path, what),
            Met::File(path, name, metadata) => match self.file(&path, &name, &metadata) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(Failure::File(what)) => self.problem(&path, what),
                Err(Failure::OtherFileSystem) => {
                    let because = "it is not in the file system of the pool's root, and bytes are not copied";
                    let directory = directory.to_owned();
                    return Err(ImportError::Directory { directory, because: because.to_owned() });
                }
                Err(Failure::Import(error)) => return Err(error),
            },
        }
        Ok((self.progress)(&self.report))
    }

    fn problem(&mut self, path: &Path, what: impl std::fmt::Display) {
        self.report.problems += 1;
        if self.report.problem_texts.len() < PROBLEMS_KEPT {
            self.report.problem_texts.push(format!("{}: {what}", path.display()));
        }
    }

    /// `false` when it was called off.
    fn file(&mut self, path: &Path, name: &str, metadata: &Metadata) -> Result<bool, Failure> {
        let replica_path = format!("{}{name}", self.options.prefix);
        let id = id_of(&replica_path);
        match self.disk.stat(&self.layout.replica(&id)) {
            Ok(_) => return self.present(&id, path, metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        let file = self.disk.open(path, ReadMode::Buffered)?;
        let Some(known) = self.know(path, &file, metadata)? else { return Ok(false) };
        let mut attributes = Attributes {
            size: metadata.size,
            state: ReplicaState::Orphaned,
            transfer: IMPORT_TRANSFER.to_owned(),
            path: replica_path.clone(),
            class: self.options.class.clone(),
            created_at: Timestamp::try_from(metadata.modified_at).unwrap_or(Timestamp::UNIX_EPOCH),
            verified_at: None,
            broken_because: None,
            suspect_because: None,
            checksums: known.checksums,
            unknown: BTreeMap::new(),
        };
        attributes.fit();
        if let Some(store) = &self.store {
            if self.report.imported == 0 {
                // Before anything is changed.
                store.try_second_name(&file).map_err(name_failure)?;
            }
            store.adopt_file(&id, &file, attributes.clone(), known.blocks).map_err(adoption_failure)?;
            if self.options.remove_names
                && let Err(error) = store.remove_first_name(path, metadata.inode)
            {
                self.problem(path, format_args!("is a replica now, but its name cannot be removed: {error}"));
            }
        }
        self.report.imported += 1;
        self.report.bytes += metadata.size;
        self.report.believed += u64::from(!known.read);
        self.write_line(&id, &replica_path, &attributes)?;
        Ok(true)
    }

    /// The path has a replica already: of this file, or of another one.
    fn present(&mut self, id: &ReplicaId, path: &Path, metadata: &Metadata) -> Result<bool, Failure> {
        let found = self.disk.stat(&self.layout.replica(id))?;
        if found.inode != metadata.inode {
            let text = format!("another file was imported from this path before, as replica {id}");
            return Err(Failure::File(text));
        }
        self.report.present += 1;
        let Some(store) = self.store.clone() else { return Ok(true) };
        let attributes = store.stat(id).map_err(ImportError::from)?.attributes;
        self.write_line(id, &attributes.path, &attributes)?;
        if self.options.remove_names {
            store.remove_first_name(path, metadata.inode)?;
        }
        Ok(true)
    }

    /// Finds out a file's checksums: believes or computes them. `None` when it was called off.
    fn know(&mut self, path: &Path, file: &File, metadata: &Metadata) -> Result<Option<Known>, Failure> {
        let claimed = foreign::checksums(self.disk, file, metadata)?;
        let adler32 = Algorithm::Adler32.name();
        if claimed.contains_key(adler32) {
            let sampled = self.with_checksums.is_multiple_of(self.options.sample_every.max(1));
            self.with_checksums += 1;
            if !sampled && self.report.distrusted_after.is_none() {
                return Ok(Some(Known { checksums: claimed, blocks: Vec::new(), read: false }));
            }
        }
        let wanted = claimed.keys().filter_map(|name| Algorithm::from_name(name));
        let wanted: AlgorithmSet =
            wanted.chain([Algorithm::Adler32]).chain(self.options.checksums.iter()).collect();
        self.report.read += 1;
        let (report, progress) = (&mut self.report, &mut *self.progress);
        let read = read_whole(self.disk, file, wanted, &mut |bytes| {
            report.bytes_read += bytes;
            progress(report)
        })?;
        let Some(read) = read else { return Ok(None) };
        let after = self.disk.metadata(file)?;
        if read.size != metadata.size || after.modified_at != metadata.modified_at {
            return Err(Failure::File(
                "was changed while it was read; import it again when it is at rest".to_owned(),
            ));
        }
        for (name, claimed) in &claimed {
            let computed = read.checksums.get(name);
            if computed != Some(claimed) {
                self.report.distrusted_after.get_or_insert_with(|| path.to_owned());
                let computed = computed.map_or("not known", String::as_str);
                return Err(Failure::File(format!(
                    "its {name} is {computed}, its attribute says {claimed}: not imported; find out which is right, \
                     and remove the attribute if it is the bytes"
                )));
            }
        }
        Ok(Some(Known { checksums: read.checksums, blocks: read.blocks, read: true }))
    }

    fn write_line(&mut self, id: &ReplicaId, path: &str, attributes: &Attributes) -> Result<(), ImportError> {
        let line = serde_json::json!({
            "path": path,
            "id": id.as_str(),
            "size": attributes.size,
            "checksums": attributes.checksums,
            "modified": attributes.created_at.to_string(),
        });
        writeln!(self.list, "{line}").map_err(ImportError::List)
    }
}

/// Why a file was not imported.
enum Failure {
    /// It is the file's.
    File(String),
    OtherFileSystem,
    /// Nothing more can be imported.
    Import(ImportError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::File(error.to_string())
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self::Import(error)
    }
}

fn name_failure(error: io::Error) -> Failure {
    match Errno::from_io_error(&error) {
        Some(Errno::XDEV) => Failure::OtherFileSystem,
        _ => error.into(),
    }
}

fn adoption_failure(error: StoreError) -> Failure {
    match &error {
        StoreError::Io { source, .. } => match Errno::from_io_error(source) {
            Some(Errno::XDEV) => Failure::OtherFileSystem,
            // The file is somebody else's, or has no room for attributes: the next one may do.
            Some(Errno::ACCESS | Errno::PERM | Errno::NOSPC | Errno::MLINK | Errno::TOOBIG) => {
                Failure::File(error.to_string())
            }
            _ => Failure::Import(error.into()),
        },
        StoreError::Attributes { .. } => Failure::File(error.to_string()),
        _ => Failure::Import(error.into()),
    }
}

#[cfg(test)]
mod tests;
