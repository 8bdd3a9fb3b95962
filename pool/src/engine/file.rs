//! Bulk reads and writes of files through the ring.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::buffer::{self, Source, Target};
use super::core::Core;
use super::disk::File;
use super::op::{Late, Operation};
use super::ring::Op;

/// Offset and length of O_DIRECT operations are multiples of this.
pub const DIRECT_ALIGNMENT: usize = 4096;

/// How bytes come to the disk and from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IoMode {
    /// Past the page cache (O_DIRECT), where the file system can.
    Direct,
    /// Through the page cache, dropped from it afterwards (RWF_DONTCACHE, Linux 6.14), where the file system can.
    Dontcache,
    /// Through the page cache.
    Buffered,
}

impl fmt::Display for IoMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IoMode::Direct => "direct",
            IoMode::Dontcache => "dontcache",
            IoMode::Buffered => "buffered",
        })
    }
}

/// The file system does not know RWF_DONTCACHE: the operation has to be asked for without it.
pub fn refuses_uncached(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EOPNOTSUPP)
}

/// Reads a file from `offset` into part of a buffer. The count may be short, and is 0 at the end of the file.
/// `uncached`: leave nothing of it in the page cache; see [`refuses_uncached`].
pub fn read<B: Target>(
    core: &Rc<Core>,
    file: &File,
    mut buffer: B,
    part: Range<usize>,
    offset: u64,
    uncached: bool,
) -> Operation<(B, File)> {
    let memory = buffer::target(&mut buffer, part);
    let op = Op::Read { file: file.raw(), memory, offset, uncached };
    // SAFETY: buffer and file belong to the operation, and the memory is the buffer's own.
    unsafe { core.start(op, (buffer, File::clone(file)), Late::Ignore) }
}

/// Writes all of a part of a buffer to a file from `offset` on. `uncached`: leave nothing of it in the page cache, where
/// the file system can.
pub async fn write_all<B: Source>(
    core: &Rc<Core>,
    file: &File,
    mut buffer: B,
    part: Range<usize>,
    offset: u64,
    mut uncached: bool,
) -> (io::Result<()>, B) {
    let mut done = 0;
    while part.start + done < part.end {
        let memory = buffer::source(&buffer, part.start + done..part.end);
        let op = Op::Write { file: file.raw(), memory, offset: offset + done as u64, uncached };
        // SAFETY: buffer and file belong to the operation, and the memory is the buffer's own.
        let operation = unsafe { core.start(op, (buffer, File::clone(file)), Late::Ignore) };
        let (result, (back, _)) = operation.await;
        buffer = back;
        match result {
            Ok(0) => return (Err(io::Error::from(io::ErrorKind::WriteZero)), buffer),
            Ok(count) => done += count as usize,
            Err(error) if uncached && refuses_uncached(&error) => uncached = false,
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return (Err(error), buffer),
        }
    }
    (Ok(()), buffer)
}
