//! The file systems of the kernel: ext4, XFS and, with fallbacks, everything else that Linux mounts.
//!
//! Only system calls that may block; bulk data goes through the ring. Errors are the kernel's own.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    self, Advice, AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags,
};
use rustix::io::{Errno, retry_on_intr};

use super::{
    Cached, DIRECT_ALIGNMENT_BYTES, Disk, File, FileHandle, FsSpace, Kind, Metadata, ReadMode,
    TEMPORARY_PREFIX,
};
use crate::engine::syscall;

/// Replicas belong to the daemon; its group may read them.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o750);
/// The page cache keeps a file in folios of up to a huge page, each at a multiple of its size.
const LARGEST_FOLIO_BYTES: u64 = 2 << 20;
/// The unit of `st_blocks`, whatever the block size of the file system (stat(3type)).
const STAT_BLOCK_BYTES: u64 = 512;
/// Attempts to find a free temporary name; each is 64 random bits, so a second one is already a rarity.
const TEMPORARY_NAME_ATTEMPTS: u32 = 16;

/// The disks of this machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct KernelDisk;

/// An open file of the kernel's.
#[derive(Debug)]
struct KernelFile {
    fd: OwnedFd,
    /// The name of a file that should have none, where the file system has no O_TMPFILE.
    temporary: Mutex<Option<PathBuf>>,
}

impl KernelFile {
    fn share(fd: OwnedFd) -> File {
        Arc::new(Self { fd, temporary: Mutex::new(None) })
    }

    fn temporary(&self) -> MutexGuard<'_, Option<PathBuf>> {
        // A path is whole at every instant, so a panic elsewhere cannot have spoilt it.
        self.temporary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileHandle for KernelFile {
    fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

impl Drop for KernelFile {
    fn drop(&mut self) {
        if let Some(path) = self.temporary().take() {
            // What cannot be removed now is removed when the pool starts again.
            let _ = fs::unlink(&path);
        }
    }
}

fn kernel_file(file: &File) -> io::Result<&KernelFile> {
    let any: &dyn Any = &**file;
    any.downcast_ref::<KernelFile>()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the file belongs to another disk"))
}

fn fd_of(file: &File) -> io::Result<BorrowedFd<'_>> {
    Ok(kernel_file(file)?.fd.as_fd())
}

fn system_time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = if seconds >= 0 { SystemTime::UNIX_EPOCH + whole } else { SystemTime::UNIX_EPOCH - whole };
    base + Duration::from_nanos(nanoseconds)
}

// The widths of these fields differ between architectures.
#[allow(clippy::unnecessary_cast)]
fn metadata_of(stat: &fs::Stat) -> Metadata {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    };
    Metadata {
        kind,
        size: stat.st_size as u64,
        allocated: stat.st_blocks as u64 * STAT_BLOCK_BYTES,
        modified_at: system_time(stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        changed_at: system_time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
        inode: stat.st_ino as u64,
    }
}

fn space_of(stat: &fs::StatVfs) -> FsSpace {
    FsSpace {
        total: stat.f_blocks.saturating_mul(stat.f_frsize),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
    }
}

/// A file with a name that nobody looks for, where the file system knows no files without one.
fn create_temporary(dir: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    for _ in 0..TEMPORARY_NAME_ATTEMPTS {
        let path = dir.join(format!("{TEMPORARY_PREFIX}{:016x}", getrandom::u64()?));
        match retry_on_intr(|| fs::open(&path, flags, FILE_MODE)) {
            Ok(fd) => return Ok(Arc::new(KernelFile { fd, temporary: Mutex::new(Some(path)) })),
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Errno::EXIST.into())
}

/// Names a file that has a temporary name, without replacing what has the name already.
fn rename_temporary(from: &Path, to: &Path) -> io::Result<()> {
    match fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without RENAME_NOREPLACE: link refuses a taken name everywhere.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::link(from, to)?;
            Ok(fs::unlink(from)?)
        }
        other => Ok(other?),
    }
}

/// The path that leads to an open file, whatever names it has or has not.
fn fd_path(file: &KernelFile) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.fd.as_raw_fd()))
}

fn open_for_reading(path: &Path, flags: OFlags, mode: ReadMode) -> io::Result<File> {
    let direct = match mode {
        ReadMode::Buffered => OFlags::empty(),
        ReadMode::Direct => OFlags::DIRECT,
    };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | flags | direct;
    let fd = retry_on_intr(|| fs::open(path, flags, Mode::empty()))?;
    if mode == ReadMode::Direct && !direct_alignment_suits(fd.as_fd()) {
        return Err(Errno::INVAL.into());
    }
    Ok(KernelFile::share(fd))
}

/// Whether direct reads and writes of our alignment suit the file (statx DIOALIGN, Linux 6.1). Kernels that cannot
/// tell are believed.
fn direct_alignment_suits(fd: BorrowedFd<'_>) -> bool {
    match fs::statx(fd, c"", AtFlags::EMPTY_PATH, fs::StatxFlags::DIOALIGN) {
        Ok(stat) if stat.stx_mask & fs::StatxFlags::DIOALIGN.bits() != 0 => {
            // Zero means that the file takes no direct I/O at all.
            let alignment = u64::from(stat.stx_dio_offset_align);
            alignment != 0 && DIRECT_ALIGNMENT_BYTES.is_multiple_of(alignment)
        }
        _ => true,
    }
}

impl Disk for KernelDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE.as_raw_mode()).create(path)
    }

    fn create_unnamed(&self, dir: &Path) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        match retry_on_intr(|| fs::open(dir, flags, FILE_MODE)) {
            Ok(fd) => Ok(KernelFile::share(fd)),
            // EOPNOTSUPP: the file system has no O_TMPFILE. EISDIR: the kernel has none (open(2)).
            Err(Errno::OPNOTSUPP | Errno::ISDIR) => create_temporary(dir),
            Err(error) => Err(error.into()),
        }
    }

    fn link(&self, file: &File, path: &Path) -> io::Result<()> {
        let file = kernel_file(file)?;
        let mut temporary = file.temporary();
        if let Some(from) = temporary.as_deref() {
            rename_temporary(from, path)?;
            *temporary = None;
            return Ok(());
        }
        // The way open(2) gives for O_TMPFILE; AT_EMPTY_PATH would need CAP_DAC_READ_SEARCH.
        Ok(fs::linkat(CWD, fd_path(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(fs::rename(from, to)?)
    }

    fn open(&self, path: &Path, mode: ReadMode) -> io::Result<File> {
        open_for_reading(path, OFlags::NOFOLLOW, mode)
    }

    fn reopen(&self, file: &File, mode: ReadMode) -> io::Result<File> {
        open_for_reading(&fd_path(kernel_file(file)?), OFlags::empty(), mode)
    }

    fn lock(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = retry_on_intr(|| fs::open(path, flags, FILE_MODE))?;
        retry_on_intr(|| fs::flock(&fd, FlockOperation::NonBlockingLockExclusive))?;
        Ok(KernelFile::share(fd))
    }

    fn set_direct(&self, file: &File, direct: bool) -> io::Result<bool> {
        let fd = fd_of(file)?;
        let flags = fs::fcntl_getfl(fd)?;
        let wanted = if direct { flags | OFlags::DIRECT } else { flags & !OFlags::DIRECT };
        if direct && !direct_alignment_suits(fd) {
            return Ok(false);
        }
        match fs::fcntl_setfl(fd, wanted) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::OPNOTSUPP) if direct => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        // Some file systems accept the flag and drop it.
        Ok(direct && fs::fcntl_getfl(fd)?.contains(OFlags::DIRECT))
    }

    fn share(&self, from: &File, to: &File) -> io::Result<bool> {
        match fs::ioctl_ficlone(fd_of(to)?, fd_of(from)?) {
            Ok(()) => Ok(true),
            // ioctl_ficlone(2): not this file system, not these two, or not this kernel.
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn allocate(&self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        let fd = fd_of(file)?;
        let end = offset.checked_add(length).ok_or(Errno::FBIG)?;
        let before = fs::fstat(fd)?;
        let size_before = metadata_of(&before).size;
        // A fallocate that cannot succeed on ext4 takes all the free space before it fails; ask first.
        let growth = end.saturating_sub(size_before.max(offset));
        if growth > space_of(&fs::fstatvfs(fd)?).free {
            return Err(Errno::NOSPC.into());
        }
        match retry_on_intr(|| fs::fallocate(fd, FallocateFlags::empty(), offset, length)) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => {
                if end > size_before {
                    retry_on_intr(|| fs::ftruncate(fd, end))?;
                }
                Ok(())
            }
            Err(error) => {
                // It keeps what it got, beyond the old end; the first error is the one that counts.
                let _ = retry_on_intr(|| fs::ftruncate(fd, size_before));
                Err(error.into())
            }
        }
    }

    fn truncate(&self, file: &File, size: u64) -> io::Result<()> {
        let fd = fd_of(file)?;
        Ok(retry_on_intr(|| fs::ftruncate(fd, size))?)
    }

    fn write_all_at(&self, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        let fd = fd_of(file)?;
        let mut done = 0;
        while done < data.len() {
            match retry_on_intr(|| rustix::io::pwrite(fd, &data[done..], offset + done as u64))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => done += written,
            }
        }
        Ok(())
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let fd = fd_of(file)?;
        Ok(retry_on_intr(|| rustix::io::pread(fd, &mut *buffer, offset))?)
    }

    fn set_attribute(&self, file: &File, name: &str, value: &[u8]) -> io::Result<()> {
        Ok(fs::fsetxattr(fd_of(file)?, name, value, fs::XattrFlags::empty())?)
    }

    fn attribute(&self, file: &File, name: &str) -> io::Result<Option<Vec<u8>>> {
        let fd = fd_of(file)?;
        loop {
            let length = match fs::fgetxattr_query(fd, name) {
                Ok(length) => length,
                Err(Errno::NODATA) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            // Never a buffer of nothing: the kernel would take it for the question how long the value is.
            let mut value = vec![0; length.max(1)];
            match fs::fgetxattr(fd, name, value.as_mut_slice()) {
                Ok(length) => {
                    value.truncate(length);
                    return Ok(Some(value));
                }
                // It grew in between; ask again.
                Err(Errno::RANGE) => {}
                Err(Errno::NODATA) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn sync_data(&self, file: &File) -> io::Result<()> {
        // Never tried again after an error: the kernel tells of a lost write once only.
        Ok(fs::fdatasync(fd_of(file)?)?)
    }

    fn sync_all(&self, file: &File) -> io::Result<()> {
        Ok(fs::fsync(fd_of(file)?)?)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| fs::open(path, flags, Mode::empty()))?;
        Ok(fs::fsync(&fd)?)
    }

    fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| fs::open(path, flags, Mode::empty()))?;
        Ok(fs::syncfs(&fd)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Ok(fs::unlink(path)?)
    }

    fn metadata(&self, file: &File) -> io::Result<Metadata> {
        Ok(metadata_of(&fs::fstat(fd_of(file)?)?))
    }

    fn stat(&self, path: &Path) -> io::Result<Metadata> {
        Ok(metadata_of(&fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| fs::open(path, flags, Mode::empty()))?;
        let mut names = Vec::new();
        for entry in fs::Dir::new(fd)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        Ok(names)
    }

    fn space(&self, path: &Path) -> io::Result<FsSpace> {
        Ok(space_of(&fs::statvfs(path)?))
    }

    fn cached(&self, file: &File, offset: u64, length: u64) -> io::Result<Option<Cached>> {
        let page_bytes = rustix::param::page_size() as u64;
        let Some((cached, dirty)) = syscall::cachestat(fd_of(file)?, offset, length)? else {
            return Ok(None);
        };
        // Whole pages are counted, so a range that begins or ends inside one would come out longer than it is.
        let bytes = |pages: u64| pages.saturating_mul(page_bytes).min(length);
        Ok(Some(Cached { cached: bytes(cached), dirty: bytes(dirty) }))
    }

    fn drop_cached(&self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        // The kernel drops whole folios only, and none that reaches out of the range.
        let start = offset - offset % LARGEST_FOLIO_BYTES;
        let end = offset.saturating_add(length).checked_next_multiple_of(LARGEST_FOLIO_BYTES);
        let length = NonZeroU64::new(end.unwrap_or(u64::MAX) - start);
        Ok(fs::fadvise(fd_of(file)?, start, length, Advice::DontNeed)?)
    }

    fn has_unnamed_files(&self, dir: &Path) -> io::Result<bool> {
        let file = self.create_unnamed(dir)?;
        let unnamed = kernel_file(&file)?.temporary().is_none();
        Ok(unnamed)
    }
}

#[cfg(test)]
mod tests;
