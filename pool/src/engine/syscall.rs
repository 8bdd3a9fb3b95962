//! System calls that no safe crate offers yet.
//!
//! Each function here is safe to call; the unsafe block inside says why.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `cachestat` has the same number on every architecture (Linux 6.5, asm-generic/unistd.h).
const SYS_CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range` of linux/mman.h, bytes.
#[repr(C)]
struct CachestatRange {
    offset: u64,
    length: u64,
}

/// `struct cachestat` of linux/mman.h, pages.
#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// How many pages of a range of a file are in the page cache, and how many of those are not yet on the disk.
///
/// `None` where the kernel is too old, a seccomp filter forbids the call, or the file system cannot tell.
pub(crate) fn cachestat(fd: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    let range = CachestatRange { offset, length };
    let mut stat = Cachestat::default();
    const NO_FLAGS: libc::c_uint = 0;
    let (fd, range, found) = (fd.as_raw_fd(), &raw const range, &raw mut stat);
    // SAFETY: `fd` is borrowed, so open. Both pointers are to structures of our own stack in the kernel's layout, of which
    // it reads the first, writes the second, and keeps neither after the call.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, fd, range, found, NO_FLAGS) };
    if result == 0 {
        // Pages on their way to the disk count as dirty: they are not there yet.
        return Ok(Some((stat.cached, stat.dirty.saturating_add(stat.writeback))));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP) => Ok(None),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_that_was_just_written_is_in_the_page_cache() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 64 * 1024]).unwrap();
        match cachestat(file.as_fd(), 0, 64 * 1024).unwrap() {
            Some((cached, dirty)) => {
                assert_eq!(cached, 64 * 1024 / rustix::param::page_size() as u64);
                assert!(dirty <= cached);
            }
            None => println!("skipped: this kernel has no cachestat"),
        }
    }
}
