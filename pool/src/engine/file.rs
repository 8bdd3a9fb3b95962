//! Bulk reads and writes of files through the ring.
#![allow(unsafe_code)]

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

/// Reads a file from `offset` into part of a buffer. The count may be short, and is 0 at the end of the file.
pub fn read<B: Target>(
    core: &Rc<Core>,
    file: &File,
    mut buffer: B,
    part: Range<usize>,
    offset: u64,
) -> Operation<(B, File)> {
    let memory = buffer::target(&mut buffer, part);
    let op = Op::Read { file: file.raw(), memory, offset };
    // SAFETY: buffer and file belong to the operation, and the memory is the buffer's own.
    unsafe { core.start(op, (buffer, File::clone(file)), Late::Ignore) }
}

/// Writes all of a part of a buffer to a file from `offset` on.
pub async fn write_all<B: Source>(
    core: &Rc<Core>,
    file: &File,
    mut buffer: B,
    part: Range<usize>,
    offset: u64,
) -> (io::Result<()>, B) {
    let mut done = 0;
    while part.start + done < part.end {
        let memory = buffer::source(&buffer, part.start + done..part.end);
        let op = Op::Write { file: file.raw(), memory, offset: offset + done as u64 };
        // SAFETY: buffer and file belong to the operation, and the memory is the buffer's own.
        let operation = unsafe { core.start(op, (buffer, File::clone(file)), Late::Ignore) };
        let (result, (back, _)) = operation.await;
        buffer = back;
        match result {
            Ok(0) => return (Err(io::Error::from(io::ErrorKind::WriteZero)), buffer),
            Ok(count) => done += count as usize,
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return (Err(error), buffer),
        }
    }
    (Ok(()), buffer)
}
