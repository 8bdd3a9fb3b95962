//! What a simulated disk holds: files, directories, names and open files, each as seen and as the medium has it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;

use super::super::content::{Content, PAGE_BYTES};
use super::super::faults::{FaultPlan, Faults};
use super::super::random::Random;
use super::SimDiskConfig;
use crate::engine::disk::{Kind, Metadata, ReadMode};

/// File numbers of a simulated disk begin here, far above any that the kernel gives out in a test.
const FIRST_RAW: i32 = 1 << 24;

#[derive(Debug)]
pub(super) struct State {
    pub config: SimDiskConfig,
    pub faults: Faults,
    pub random: Random,
    pub inodes: BTreeMap<u64, Inode>,
    /// By absolute path; the root is always there.
    pub directories: BTreeMap<PathBuf, Directory>,
    pub handles: BTreeMap<i32, Handle>,
    /// The handle that holds the lock of an inode.
    pub locks: BTreeMap<u64, i32>,
    pub next_inode: u64,
    pub next_raw: i32,
    /// Grows with every change, so that each has its own time.
    pub ticks: u64,
    /// Something was read through the page cache, so something may be evicted from it.
    pub evicts: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub content: Content,
    pub attributes: Attributes,
    pub durable_attributes: Attributes,
    pub changed_at: SystemTime,
    /// Names that a running system sees.
    pub names: u32,
    /// Names that the medium has.
    pub durable_names: u32,
    /// Open files.
    pub handles: u32,
}

pub(super) type Attributes = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    pub inode: u64,
    pub names: BTreeMap<OsString, Node>,
    pub durable_names: BTreeMap<OsString, Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Directory,
}

#[derive(Debug)]
pub(super) struct Handle {
    pub inode: u64,
    pub direct: bool,
    pub writable: bool,
}

/// Direct I/O of the kernel's wants all of it in whole blocks (open(2), O_DIRECT).
pub(super) fn aligned(handle: &Handle, length: usize, offset: u64) -> io::Result<()> {
    let whole = offset.is_multiple_of(PAGE_BYTES) && (length as u64).is_multiple_of(PAGE_BYTES);
    if handle.direct && !whole { Err(Errno::INVAL.into()) } else { Ok(()) }
}

/// Parent and name.
pub(super) fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    path.parent().zip(path.file_name()).ok_or_else(|| Errno::INVAL.into())
}

impl State {
    /// An empty disk.
    pub fn new(config: SimDiskConfig) -> Self {
        let mut random = Random::new(config.seed);
        let faults = Faults::new(FaultPlan::none(), random.split());
        let root = Directory { inode: 1, ..Directory::default() };
        Self {
            config,
            faults,
            random,
            inodes: BTreeMap::new(),
            directories: BTreeMap::from([(PathBuf::from("/"), root)]),
            handles: BTreeMap::new(),
            locks: BTreeMap::new(),
            next_inode: 2,
            next_raw: FIRST_RAW,
            ticks: 0,
            evicts: false,
        }
    }

    /// The time now; each change has its own.
    pub fn tick(&mut self) -> SystemTime {
        self.ticks += 1;
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_micros(self.ticks)
    }

    pub fn handle(&self, raw: i32) -> io::Result<&Handle> {
        self.handles.get(&raw).ok_or_else(|| Errno::BADF.into())
    }

    pub fn writable(&self, raw: i32) -> io::Result<&Handle> {
        self.handle(raw).and_then(|handle| if handle.writable { Ok(handle) } else { Err(Errno::BADF.into()) })
    }

    pub fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(|| Errno::BADF.into())
    }

    pub fn directory(&mut self, path: &Path) -> io::Result<&mut Directory> {
        self.directories.get_mut(path).ok_or_else(|| Errno::NOENT.into())
    }

    /// The inode that a path names.
    pub fn lookup(&self, path: &Path) -> io::Result<u64> {
        let (parent, name) = split(path)?;
        let directory = self.directories.get(parent).ok_or(Errno::NOENT)?;
        match directory.names.get(name) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Directory) => Err(Errno::ISDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub fn new_inode(&mut self) -> u64 {
        let (number, now) = (self.next_inode, self.tick());
        self.next_inode += 1;
        let inode = Inode {
            content: Content::new(now),
            attributes: Attributes::new(),
            durable_attributes: Attributes::new(),
            changed_at: now,
            names: 0,
            durable_names: 0,
            handles: 0,
        };
        self.inodes.insert(number, inode);
        number
    }

    pub fn open(&mut self, inode: u64, direct: bool, writable: bool) -> io::Result<i32> {
        self.inode(inode)?.handles += 1;
        let raw = self.next_raw;
        self.next_raw += 1;
        self.handles.insert(raw, Handle { inode, direct, writable });
        Ok(raw)
    }

    pub fn open_for_reading(&mut self, inode: u64, mode: ReadMode) -> io::Result<i32> {
        let direct = mode == ReadMode::Direct;
        if direct && !self.config.direct {
            return Err(Errno::INVAL.into());
        }
        self.open(inode, direct, false)
    }

    pub fn close(&mut self, raw: i32) {
        let Some(handle) = self.handles.remove(&raw) else { return };
        if self.locks.get(&handle.inode) == Some(&raw) {
            self.locks.remove(&handle.inode);
        }
        if let Some(inode) = self.inodes.get_mut(&handle.inode) {
            inode.handles -= 1;
        }
        self.drop_if_gone(handle.inode);
    }

    /// Drops a file that nothing leads to, now or after a crash.
    pub fn drop_if_gone(&mut self, number: u64) {
        let gone = |inode: &Inode| inode.names + inode.durable_names + inode.handles == 0;
        if self.inodes.get(&number).is_some_and(gone) {
            self.inodes.remove(&number);
        }
    }

    /// Gives a file another name. What each directory has of it on the medium is changed by its next sync alone.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let number = self.lookup(from)?;
        let ((from_dir, from_name), (to_dir, to_name)) = (split(from)?, split(to)?);
        let replaced = match self.directory(to_dir)?.names.get(to_name) {
            Some(Node::Directory) => return Err(Errno::ISDIR.into()),
            Some(Node::File(same)) if *same == number => return Ok(()),
            Some(Node::File(replaced)) => Some(*replaced),
            None => None,
        };
        self.directory(from_dir)?.names.remove(from_name);
        self.directory(to_dir)?.names.insert(to_name.to_owned(), Node::File(number));
        if let Some(replaced) = replaced {
            self.inode(replaced)?.names -= 1;
            self.drop_if_gone(replaced);
        }
        Ok(())
    }

    /// Makes the names in a directory durable.
    pub fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        let directory = self.directory(path)?;
        let names = directory.names.clone();
        let before = std::mem::replace(&mut directory.durable_names, names.clone());
        for node in names.values() {
            if let Node::File(number) = node {
                self.inode(*number)?.durable_names += 1;
            }
        }
        for node in before.values() {
            if let Node::File(number) = node {
                self.inode(*number)?.durable_names -= 1;
                self.drop_if_gone(*number);
            }
        }
        Ok(())
    }

    /// Pages in use: of files that can still be reached, and one for each directory.
    pub fn used_pages(&self) -> u64 {
        let files = self.inodes.values().filter(|inode| inode.names + inode.handles > 0).map(Inode::pages);
        files.sum::<u64>() + self.directories.len() as u64
    }

    pub fn free_pages(&self) -> u64 {
        (self.config.capacity_bytes / PAGE_BYTES).saturating_sub(self.used_pages())
    }

    pub fn sync(&mut self, inode: u64, attributes: bool) -> io::Result<()> {
        let inode = self.inode(inode)?;
        inode.content.sync();
        if attributes {
            inode.durable_attributes = inode.attributes.clone();
        }
        Ok(())
    }

    /// What the next process finds: everything but open files, and files that only those led to.
    pub fn after_kill(&mut self) -> Self {
        let mut random = self.random.split();
        let faults = Faults::new(FaultPlan::none(), random.split());
        let mut inodes = self.inodes.clone();
        inodes.retain(|_, inode| {
            inode.handles = 0;
            inode.names + inode.durable_names > 0
        });
        Self {
            config: self.config.clone(),
            faults,
            random: random.split(),
            inodes,
            directories: self.directories.clone(),
            handles: BTreeMap::new(),
            locks: BTreeMap::new(),
            next_inode: self.next_inode,
            next_raw: self.next_raw,
            ticks: self.ticks,
            evicts: false,
        }
    }

    pub fn after_crash(&mut self) -> Self {
        let mut random = self.random.split();
        let faults = Faults::new(FaultPlan::none(), random.split());
        let mut after = Self {
            config: self.config.clone(),
            faults,
            random: random.split(),
            inodes: BTreeMap::new(),
            directories: BTreeMap::new(),
            handles: BTreeMap::new(),
            locks: BTreeMap::new(),
            next_inode: self.next_inode,
            next_raw: self.next_raw,
            ticks: self.ticks,
            evicts: false,
        };
        let mut reached = vec![PathBuf::from("/")];
        while let Some(path) = reached.pop() {
            let Some(before) = self.directories.get(&path) else { continue };
            let mut names = BTreeMap::new();
            let all: BTreeSet<_> = before.names.keys().chain(before.durable_names.keys()).collect();
            for name in all {
                let (seen, durable) = (before.names.get(name), before.durable_names.get(name));
                let kept = if seen == durable || random.chance(0.5) { durable } else { seen };
                let Some(&node) = kept else { continue };
                match node {
                    Node::Directory => reached.push(path.join(name)),
                    Node::File(number) => {
                        let Some(inode) = self.inodes.get(&number) else { continue };
                        let survivor =
                            after.inodes.entry(number).or_insert_with(|| inode.after_crash(&mut random));
                        survivor.names += 1;
                        survivor.durable_names += 1;
                    }
                }
                names.insert(name.clone(), node);
            }
            let directory = Directory { inode: before.inode, durable_names: names.clone(), names };
            after.directories.insert(path, directory);
        }
        after
    }
}

impl Inode {
    /// Pages on the disk, one for the attributes included.
    pub fn pages(&self) -> u64 {
        self.content.shape.allocated.count() + u64::from(!self.attributes.is_empty())
    }

    pub fn metadata(&self, number: u64) -> Metadata {
        Metadata {
            kind: Kind::File,
            size: self.content.shape.size,
            allocated: self.pages() * PAGE_BYTES,
            modified_at: self.content.shape.modified_at,
            changed_at: self.changed_at,
            inode: number,
        }
    }

    pub fn after_crash(&self, random: &mut Random) -> Self {
        let content = self.content.after_crash(random);
        let mut attributes = Attributes::new();
        let all: BTreeSet<_> = self.attributes.keys().chain(self.durable_attributes.keys()).collect();
        for name in all {
            let kept = if random.chance(0.5) { &self.attributes } else { &self.durable_attributes };
            if let Some(value) = kept.get(name) {
                attributes.insert(name.clone(), value.clone());
            }
        }
        Self {
            content,
            durable_attributes: attributes.clone(),
            attributes,
            changed_at: self.changed_at,
            names: 0,
            durable_names: 0,
            handles: 0,
        }
    }
}
