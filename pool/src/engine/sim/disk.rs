//! A file system in memory that loses what was not synced when it crashes, fails when told to, and does the same
//! again from the same seed.
//!
//! It keeps to what POSIX promises and no more: data and length are durable after a sync of the file, attributes after
//! a full sync, a name after a sync of its directory. What was not made durable survives a crash by chance, each piece
//! for itself, so code that relies on an order which only some file systems keep does not pass.

mod state;

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustix::io::Errno;

use self::state::{Directory, Node, State, aligned, split};
use super::content::{Content, PAGE_BYTES};
use super::faults::{Call, FaultPlan, Faults};
use crate::engine::disk::{Cached, Disk, File, FileHandle, FsSpace, Kind, Metadata, ReadMode};

/// How a simulated disk is made.
#[derive(Debug, Clone)]
pub struct SimDiskConfig {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Its size in bytes.
    pub capacity_bytes: u64,
    /// Whether O_DIRECT is taken.
    pub direct: bool,
    /// Whether extended attributes are taken.
    pub attributes: bool,
    /// What is said to be in the page cache.
    pub cache: Cache,
}

impl Default for SimDiskConfig {
    fn default() -> Self {
        Self { seed: 0, capacity_bytes: 1 << 40, direct: true, attributes: true, cache: Cache::Hot }
    }
}

/// What is said to be in the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// Every byte.
    Hot,
    /// None.
    Cold,
    /// A new random part at each question.
    Random,
    /// The kernel cannot tell.
    Unknown,
    /// What was read through it, with some read-ahead, and was not evicted since.
    Tracked {
        /// Now and then, when a question comes after a read, some is evicted before the answer; never between an answer
        /// and the next read, where nobody could know.
        evicting: bool,
    },
}

/// Read-ahead of the tracked cache brings in fewer pages than that: up to two blocks of 1 MiB.
const READ_AHEAD_PAGES: u64 = 512;
/// How often the tracked cache evicts something.
const EVICTS: f64 = 0.3;

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<State>>,
}

/// An open file of a simulated disk.
#[derive(Debug)]
struct SimFile {
    raw: i32,
    shared: Arc<Mutex<State>>,
}

impl FileHandle for SimFile {
    fn raw(&self) -> i32 {
        self.raw
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        lock(&self.shared).close(self.raw);
    }
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that panicked elsewhere shall report its own panic, not one of ours.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimDisk {
    /// An empty disk.
    pub fn new(config: SimDiskConfig) -> Self {
        let state = State::new(config);
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    /// From now on this goes wrong. Calls are counted anew.
    pub fn set_faults(&self, plan: FaultPlan) {
        let mut state = self.state();
        let random = state.random.split();
        state.faults = Faults::new(plan, random);
    }

    /// From now on this is said of the page cache.
    pub fn set_cache(&self, cache: Cache) {
        self.state().config.cache = cache;
    }

    /// Calls since the faults were set.
    pub fn calls(&self) -> u64 {
        self.state().faults.calls()
    }

    /// Whether the crash of the plan has happened.
    pub fn is_dead(&self) -> bool {
        self.state().faults.is_dead()
    }

    /// The power fails: this disk is dead, and what was left on it is given back as a new one.
    pub fn crash(&self) -> Self {
        let mut state = self.state();
        state.faults.kill();
        Self { shared: Arc::new(Mutex::new(state.after_crash())) }
    }

    /// The process is killed: this disk is dead for it, and what the next process finds is given back. Nothing is
    /// lost but files without a name; what was not synced still can be, by a [`SimDisk::crash`] after that.
    pub fn kill(&self) -> Self {
        let mut state = self.state();
        state.faults.kill();
        Self { shared: Arc::new(Mutex::new(state.after_kill())) }
    }

    /// The ring writes to a file; all of `data`. Below what was allocated only, as the pool means to do always.
    pub fn ring_write(&self, raw: i32, data: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        state.faults.enter(Call::RingWrite)?;
        let handle = state.writable(raw)?;
        aligned(handle, data.len(), offset)?;
        let inode = handle.inode;
        let now = state.tick();
        let content = &mut state.inode(inode)?.content;
        if content.missing(offset, data.len() as u64) != 0 {
            let text = format!("write of {} bytes at {offset}, where no space was allocated", data.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        content.write(data, offset, now);
        Ok(data.len())
    }

    /// The ring reads from a file; 0 at its end.
    pub fn ring_read(&self, raw: i32, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        state.faults.enter(Call::RingRead)?;
        let handle = state.handle(raw)?;
        aligned(handle, buffer.len(), offset)?;
        let (inode, direct) = (handle.inode, handle.direct);
        if direct {
            return Ok(state.inode(inode)?.content.read(buffer, offset));
        }
        let ahead = match state.config.cache {
            Cache::Tracked { .. } => state.random.below(READ_AHEAD_PAGES),
            Cache::Hot | Cache::Cold | Cache::Random | Cache::Unknown => 0,
        };
        state.evicts = true;
        Ok(state.inode(inode)?.content.read_cached(buffer, offset, ahead))
    }

    /// Flips a bit of a file where it lies and where it is cached. Nothing else of the file changes. `false` if there is
    /// no such byte.
    pub fn corrupt(&self, path: &Path, byte: u64, bit: u8) -> bool {
        self.edit(path, byte, |content| content.corrupt(byte, bit))
    }

    /// The same where it lies; copies in the page cache stay right.
    pub fn corrupt_medium(&self, path: &Path, byte: u64, bit: u8) -> bool {
        self.edit(path, byte, |content| content.corrupt_medium(byte, bit))
    }

    /// The same in the page cache, if it is there.
    pub fn corrupt_cached(&self, path: &Path, byte: u64, bit: u8) -> bool {
        self.edit(path, byte, |content| content.corrupt_cached(byte, bit))
    }

    fn edit(&self, path: &Path, byte: u64, edit: impl FnOnce(&mut Content)) -> bool {
        let mut state = self.state();
        let Ok(inode) = state.lookup(path) else { return false };
        let Some(inode) = state.inodes.get_mut(&inode) else { return false };
        let there = byte < inode.content.shape.size;
        if there {
            edit(&mut inode.content);
        }
        there
    }

    /// Every file with a name.
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.state();
        let mut files = Vec::new();
        for (path, directory) in &state.directories {
            let named = directory.names.iter().filter(|(_, node)| matches!(node, Node::File(_)));
            files.extend(named.map(|(name, _)| path.join(name)));
        }
        files
    }

    /// What a reader would find in a file; `None` if there is none of that name.
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = state.inodes.get(&state.lookup(path).ok()?)?;
        let mut content = vec![0; inode.content.shape.size as usize];
        inode.content.read(&mut content, 0);
        Some(content)
    }

    /// How many files are open.
    pub fn open_handles(&self) -> usize {
        self.state().handles.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }

    fn number(&self, file: &File) -> io::Result<i32> {
        let any: &dyn Any = &**file;
        match any.downcast_ref::<SimFile>() {
            Some(file) if Arc::ptr_eq(&file.shared, &self.shared) => Ok(file.raw),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the file belongs to another disk")),
        }
    }

    fn share(&self, raw: i32) -> File {
        Arc::new(SimFile { raw, shared: self.shared.clone() })
    }

    /// Runs a call on the inode of an open file.
    fn with<T>(
        &self,
        call: Call,
        file: &File,
        act: impl FnOnce(&mut State, u64) -> io::Result<T>,
    ) -> io::Result<T> {
        let raw = self.number(file)?;
        let mut state = self.state();
        state.faults.enter(call)?;
        let inode = state.handle(raw)?.inode;
        act(&mut state, inode)
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.faults.enter(Call::CreateDir)?;
        let mut parent = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let child = parent.join(name);
            match state.directory(&parent)?.names.get(name) {
                Some(Node::Directory) => {}
                Some(Node::File(_)) => return Err(Errno::NOTDIR.into()),
                None => {
                    if state.free_pages() == 0 {
                        return Err(Errno::NOSPC.into());
                    }
                    let inode = state.next_inode;
                    state.next_inode += 1;
                    state.directory(&parent)?.names.insert(name.to_owned(), Node::Directory);
                    state.directories.insert(child.clone(), Directory { inode, ..Directory::default() });
                }
            }
            parent = child;
        }
        Ok(())
    }

    fn create_unnamed(&self, dir: &Path) -> io::Result<File> {
        let mut state = self.state();
        state.faults.enter(Call::CreateUnnamed)?;
        state.directory(dir)?;
        let inode = state.new_inode();
        let raw = state.open(inode, false, true)?;
        drop(state);
        Ok(self.share(raw))
    }

    fn link(&self, file: &File, path: &Path) -> io::Result<()> {
        self.with(Call::Link, file, |state, inode| {
            let (parent, name) = split(path)?;
            let directory = state.directory(parent)?;
            if directory.names.contains_key(name) {
                return Err(Errno::EXIST.into());
            }
            directory.names.insert(name.to_owned(), Node::File(inode));
            let now = state.tick();
            let inode = state.inode(inode)?;
            inode.names += 1;
            inode.changed_at = now;
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.faults.enter(Call::Rename)?;
        state.rename(from, to)
    }

    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<File> {
        let mut state = self.state();
        state.faults.enter(Call::Open)?;
        let inode = state.lookup(path)?;
        let raw = state.open_for_reading(inode, mode)?;
        drop(state);
        Ok(self.share(raw))
    }

    fn reopen(&self, file: &File, mode: ReadMode) -> io::Result<File> {
        let raw = self.with(Call::Open, file, |state, inode| state.open_for_reading(inode, mode))?;
        Ok(self.share(raw))
    }

    fn lock(&self, path: &Path) -> io::Result<File> {
        let mut state = self.state();
        state.faults.enter(Call::Lock)?;
        let inode = match state.lookup(path) {
            Ok(inode) => inode,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (parent, name) = split(path)?;
                state.directory(parent)?;
                let inode = state.new_inode();
                state.directory(parent)?.names.insert(name.to_owned(), Node::File(inode));
                state.inode(inode)?.names += 1;
                inode
            }
            Err(error) => return Err(error),
        };
        if state.locks.contains_key(&inode) {
            return Err(Errno::AGAIN.into());
        }
        let raw = state.open(inode, false, true)?;
        state.locks.insert(inode, raw);
        drop(state);
        Ok(self.share(raw))
    }

    fn set_direct(&self, file: &File, direct: bool) -> io::Result<bool> {
        let raw = self.number(file)?;
        let mut state = self.state();
        state.faults.enter(Call::SetDirect)?;
        let taken = direct && state.config.direct;
        state.handles.get_mut(&raw).ok_or(Errno::BADF)?.direct = taken;
        Ok(taken)
    }

    fn allocate(&self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        self.with(Call::Allocate, file, |state, inode| {
            let free = state.free_pages();
            let now = state.tick();
            let content = &mut state.inode(inode)?.content;
            if content.missing(offset, length) > free {
                return Err(Errno::NOSPC.into());
            }
            content.allocate(offset, length);
            content.shape.size = content.shape.size.max(offset + length);
            content.shape.modified_at = now;
            Ok(())
        })
    }

    fn truncate(&self, file: &File, size: u64) -> io::Result<()> {
        self.with(Call::Truncate, file, |state, inode| {
            let now = state.tick();
            state.inode(inode)?.content.truncate(size, now);
            Ok(())
        })
    }

    fn write_all_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        let raw = self.number(file)?;
        let mut state = self.state();
        let fault = state.faults.enter(Call::Write);
        if state.faults.is_dead() {
            return fault;
        }
        let handle = state.writable(raw)?;
        aligned(handle, data.len(), offset)?;
        let inode = handle.inode;
        let free = state.free_pages();
        let now = state.tick();
        // A write that fails has written a part.
        let part = state.random.below(data.len() as u64 + 1) as usize;
        let content = &mut state.inode(inode)?.content;
        let (data, result) = match fault {
            Ok(()) if content.missing(offset, data.len() as u64) <= free => (data, Ok(())),
            Ok(()) => (&data[..0], Err(Errno::NOSPC.into())),
            Err(error) if content.missing(offset, part as u64) <= free => (&data[..part], Err(error)),
            Err(error) => (&data[..0], Err(error)),
        };
        if !data.is_empty() {
            content.allocate(offset, data.len() as u64);
            content.write(data, offset, now);
        }
        result
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let raw = self.number(file)?;
        let mut state = self.state();
        state.faults.enter(Call::Read)?;
        let handle = state.handle(raw)?;
        aligned(handle, buffer.len(), offset)?;
        let inode = handle.inode;
        Ok(state.inode(inode)?.content.read(buffer, offset))
    }

    fn set_attribute(&self, file: &File, name: &str, value: &[u8]) -> io::Result<()> {
        self.with(Call::SetAttribute, file, |state, inode| {
            if !state.config.attributes {
                return Err(Errno::OPNOTSUPP.into());
            }
            let full = state.free_pages() == 0;
            let now = state.tick();
            let inode = state.inode(inode)?;
            if full && inode.attributes.is_empty() {
                return Err(Errno::NOSPC.into());
            }
            inode.attributes.insert(name.to_owned(), value.to_owned());
            inode.changed_at = now;
            Ok(())
        })
    }

    fn attribute(&self, file: &File, name: &str) -> io::Result<Option<Vec<u8>>> {
        self.with(Call::Attribute, file, |state, inode| Ok(state.inode(inode)?.attributes.get(name).cloned()))
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.sync_file(Call::SyncData, file, false)
    }

    fn sync_all(&self, file: &File) -> io::Result<()> {
        self.sync_file(Call::SyncAll, file, true)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.faults.enter(Call::SyncDir)?;
        state.sync_directory(path)
    }

    fn sync_file_system(&self, _path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.faults.enter(Call::SyncFileSystem)?;
        let inodes: Vec<u64> = state.inodes.keys().copied().collect();
        for inode in inodes {
            state.sync(inode, true)?;
        }
        let directories: Vec<PathBuf> = state.directories.keys().cloned().collect();
        directories.iter().try_for_each(|directory| state.sync_directory(directory))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.faults.enter(Call::Remove)?;
        let number = state.lookup(path)?;
        let (parent, name) = split(path)?;
        state.directory(parent)?.names.remove(name);
        let now = state.tick();
        let inode = state.inode(number)?;
        inode.names -= 1;
        inode.changed_at = now;
        state.drop_if_gone(number);
        Ok(())
    }

    fn metadata(&self, file: &File) -> io::Result<Metadata> {
        self.with(Call::Metadata, file, |state, inode| Ok(state.inode(inode)?.metadata(inode)))
    }

    fn stat(&self, path: &Path) -> io::Result<Metadata> {
        let mut state = self.state();
        state.faults.enter(Call::Stat)?;
        if let Some(directory) = state.directories.get(path) {
            return Ok(Metadata {
                kind: Kind::Directory,
                size: PAGE_BYTES,
                allocated: PAGE_BYTES,
                modified_at: SystemTime::UNIX_EPOCH,
                changed_at: SystemTime::UNIX_EPOCH,
                inode: directory.inode,
            });
        }
        let inode = state.lookup(path)?;
        Ok(state.inode(inode)?.metadata(inode))
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut state = self.state();
        state.faults.enter(Call::ListDir)?;
        Ok(state.directory(path)?.names.keys().cloned().collect())
    }

    fn space(&self, path: &Path) -> io::Result<FsSpace> {
        let mut state = self.state();
        state.faults.enter(Call::Space)?;
        if !state.directories.contains_key(path) {
            state.lookup(path)?;
        }
        Ok(FsSpace { total: state.config.capacity_bytes, free: state.free_pages() * PAGE_BYTES })
    }

    fn cached(&self, file: &File, offset: u64, length: u64) -> io::Result<Option<Cached>> {
        self.with(Call::Cached, file, |state, inode| {
            if state.config.cache == (Cache::Tracked { evicting: true }) {
                state.evict_some(inode)?;
            }
            let content = &state.inode(inode)?.content;
            let within = content.shape.size.saturating_sub(offset).min(length);
            let dirty = content.dirty(offset, within).min(within);
            let tracked = content.cached(offset, within).min(within);
            let cached = match state.config.cache {
                Cache::Hot => within,
                // What is dirty is nowhere else.
                Cache::Cold => dirty,
                Cache::Random => dirty + state.random.below(within - dirty + 1),
                Cache::Unknown => return Ok(None),
                Cache::Tracked { .. } => tracked,
            };
            Ok(Some(Cached { cached, dirty }))
        })
    }

    fn drop_cached(&self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        self.with(Call::DropCached, file, |state, inode| {
            state.inode(inode)?.content.evict(offset, length);
            Ok(())
        })
    }

    fn has_unnamed_files(&self, _dir: &Path) -> io::Result<bool> {
        Ok(true)
    }

    fn allows_background_work(&self) -> bool {
        false
    }
}

impl State {
    /// The tracked cache loses some of a file, if it was read since the last time.
    fn evict_some(&mut self, inode: u64) -> io::Result<()> {
        if !std::mem::take(&mut self.evicts) || !self.random.chance(EVICTS) {
            return Ok(());
        }
        let size = self.inode(inode)?.content.shape.size;
        let offset = self.random.below(size.max(1));
        let length = self.random.below(size.max(1)) + 1;
        self.inode(inode)?.content.evict(offset, length);
        Ok(())
    }
}

impl SimDisk {
    fn sync_file(&self, call: Call, file: &File, attributes: bool) -> io::Result<()> {
        let raw = self.number(file)?;
        let mut state = self.state();
        let fault = state.faults.enter(call);
        let inode = state.handle(raw)?.inode;
        match fault {
            Ok(()) => state.sync(inode, attributes),
            Err(error) => {
                // A machine that has stopped keeps what it had by chance; one that goes on has lost it.
                if !state.faults.is_dead() {
                    state.inode(inode)?.content.lose();
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests;
