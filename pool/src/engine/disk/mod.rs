//! The file-system calls that are not bulk data: creating, allocating, naming, attributes, making durable.
//!
//! They block, so they run on blocking threads, never on a shard (see `Core::blocking`). Bulk reads and writes of
//! the same files go through the ring. Two implementations: the kernel's file systems, and the simulated disk, which
//! can fail any call, lose what was not synced, and crash between any two calls.

#![forbid(unsafe_code)]

use std::any::Any;
use std::io;
use std::path::Path;
use std::time::SystemTime;

mod kernel;

pub use kernel::KernelDisk;

/// What the offset and the length of every direct read and write are a multiple of.
pub const DIRECT_ALIGNMENT_BYTES: u64 = 4096;

/// What the names of temporary files begin with, where the file system has no unnamed files.
///
/// Whoever owns a directory removes what a crash left under such names.
pub const TEMPORARY_PREFIX: &str = ".penstock-tmp-";

/// An open file: something the ring can name by number.
///
/// Dropping the last handle closes it. An unnamed file that was never linked is gone then. `Any`, so that a disk
/// finds its own files again behind the trait.
pub trait FileHandle: Any + Send + Sync + std::fmt::Debug {
    /// The number by which ring operations name the file.
    fn raw(&self) -> i32;
}

/// A shared open file.
pub type File = std::sync::Arc<dyn FileHandle>;

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, socket, FIFO or device.
    Other,
}

/// What `fstat` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// File, directory or something else.
    pub kind: Kind,
    /// Length in bytes.
    pub size: u64,
    /// Bytes on the disk.
    pub allocated: u64,
    /// Last change of the data.
    pub modified_at: SystemTime,
    /// Last change of data or attributes.
    pub changed_at: SystemTime,
    /// Number of the file in its file system.
    pub inode: u64,
}

/// What `statvfs` tells, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsSpace {
    /// Size of the file system.
    pub total: u64,
    /// What an unprivileged writer can still have.
    pub free: u64,
}

/// How much of a range of a file is in the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cached {
    /// Bytes of the range in the cache.
    pub cached: u64,
    /// Of those, not yet on the disk.
    pub dirty: u64,
}

/// How a file is opened for reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// Through the page cache.
    Buffered,
    /// Past it (O_DIRECT); `InvalidInput` where the file system refuses it.
    Direct,
}

/// A file system, as the store uses it. Every error is the kernel's own (`raw_os_error` is kept).
pub trait Disk: Send + Sync + 'static {
    /// Makes a directory and its parents.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Creates a file without a name in the file system of `dir` (O_TMPFILE), open for reading and writing.
    fn create_unnamed(&self, dir: &Path) -> io::Result<File>;
    /// Gives an unnamed file its name. `AlreadyExists` if the name is taken; nothing is ever replaced.
    fn link(&self, file: &File, path: &Path) -> io::Result<()>;
    /// Gives a file another name in its file system; a file that has that name already is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Opens an existing file for reading.
    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<File>;
    /// Opens an open file a second time, for reading, even when its name is gone.
    fn reopen(&self, file: &File, mode: ReadMode) -> io::Result<File>;
    /// Opens a file, creating it if need be, and locks it against every other opener of it until the handle is
    /// dropped. `WouldBlock` when somebody else holds the lock.
    fn lock(&self, path: &Path) -> io::Result<File>;
    /// Switches O_DIRECT on a file opened through the page cache. `false` where the file system refuses it.
    fn set_direct(&self, file: &File, direct: bool) -> io::Result<bool>;
    /// Allocates space for a range and grows the file to hold it (fallocate). On failure nothing stays allocated.
    fn allocate(&self, file: &File, offset: u64, length: u64) -> io::Result<()>;
    /// Lets an empty file have the bytes of another of the same file system, without copying any: both share them until
    /// one is changed (FICLONE). `false` where the file system cannot.
    fn share(&self, _from: &File, _to: &File) -> io::Result<bool> {
        Ok(false)
    }
    /// Sets the length.
    fn truncate(&self, file: &File, size: u64) -> io::Result<()>;
    /// Writes all of `data` through the page cache (or directly, when switched so and aligned).
    fn write_all_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()>;
    /// Reads up to `buffer.len()` bytes; 0 at the end of the file.
    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Sets an extended attribute (`user.…`).
    fn set_attribute(&self, file: &File, name: &str, value: &[u8]) -> io::Result<()>;
    /// Reads an extended attribute; `None` if it is not set.
    fn attribute(&self, file: &File, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// Makes the file's data and length durable (fdatasync). Not its attributes: ext4 leaves a change of nothing but
    /// attributes out of fdatasync.
    fn sync_data(&self, file: &File) -> io::Result<()>;
    /// Makes the file's data, length and attributes durable (fsync).
    fn sync_all(&self, file: &File) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes everything durable that is in the file system of a directory (syncfs).
    fn sync_file_system(&self, path: &Path) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// What `fstat` tells.
    fn metadata(&self, file: &File) -> io::Result<Metadata>;
    /// What `lstat` tells: like `metadata`, of a name.
    fn stat(&self, path: &Path) -> io::Result<Metadata>;
    /// Names in a directory, in no order.
    fn list_dir(&self, path: &Path) -> io::Result<Vec<std::ffi::OsString>>;
    /// Space of the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<FsSpace>;
    /// How much of a range is in the page cache (cachestat, Linux 6.5). `None` where the kernel cannot tell.
    fn cached(&self, file: &File, offset: u64, length: u64) -> io::Result<Option<Cached>>;
    /// Has the page cache drop what it has of a range, as far as that is on the disk (posix_fadvise DONTNEED). May drop
    /// some of what is around it. No promise: what somebody uses at this moment stays.
    fn drop_cached(&self, file: &File, offset: u64, length: u64) -> io::Result<()>;
    /// Whether `create_unnamed` in `dir` makes files that truly have no name, so that a crash leaves nothing of them.
    fn has_unnamed_files(&self, dir: &Path) -> io::Result<bool>;
    /// Whether those who use this disk may work on it from threads of their own. Not on a simulated one, where the
    /// same seed must lead to the same calls in the same order.
    fn allows_background_work(&self) -> bool {
        true
    }
}
