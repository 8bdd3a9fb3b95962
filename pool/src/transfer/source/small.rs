//! A few KiB of a replica in one go, behind an answer's head: for small files and small ranges the number of calls is
//! what counts.

use std::io;
use std::ops::Range;

use super::blocks::{Blocks, Path};
use super::{ReadError, Source, count};
use crate::engine::file;
use crate::transfer::Limit;

impl Source {
    /// Appends bytes of the replica to a buffer, checked. `enter` hears what is waited for.
    ///
    /// Always through the page cache: what is asked for in small pieces is asked for again, and a whole block has to
    /// be read to check a piece of it.
    pub async fn small(
        &self,
        mut buffer: Vec<u8>,
        range: Range<u64>,
        enter: &dyn Fn(Limit),
    ) -> Result<Vec<u8>, ReadError> {
        let (head, counters) = (buffer.len(), &self.reading.counters);
        let length = range.end - range.start;
        let Some(expected) = &self.expected else {
            count(&counters.unverified_bytes, length);
            return self.append(buffer, &range, enter).await;
        };
        if expected.whole(&range) == range {
            // A small file, or the short last block of a large one: checked where it is, more cheaply than it can be
            // looked up. Nothing is behind it that read-ahead could bring in.
            buffer = self.append(buffer, &range, enter).await?;
            if expected.check(range.start, &buffer[head..]).is_ok() {
                count(Path::Cached.verified(counters), length);
                return Ok(buffer);
            }
            buffer.truncate(head);
        } else if self.is_known_good(&range) {
            count(&counters.known_good_bytes, length);
            return self.append(buffer, &range, enter).await;
        }
        let mut blocks = Blocks::through_cache(self, range);
        while let Some(piece) = blocks.next(enter).await? {
            buffer.extend_from_slice(&piece.slot[piece.part]);
        }
        Ok(buffer)
    }

    /// Appends bytes as they are.
    async fn append(
        &self,
        mut buffer: Vec<u8>,
        range: &Range<u64>,
        enter: &dyn Fn(Limit),
    ) -> Result<Vec<u8>, ReadError> {
        enter(Limit::Disk);
        let (head, mut filled) = (buffer.len(), buffer.len());
        let end = head + (range.end - range.start) as usize;
        buffer.resize(end, 0);
        while filled < end {
            let offset = range.start + (filled - head) as u64;
            let (result, (back, _)) =
                file::read(&self.core, self.replica.file(), buffer, filled..end, offset, false).await;
            buffer = back;
            match result {
                Ok(0) => return Err(self.truncated(offset).await),
                Ok(count) => filled += count as usize,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.disk_error(offset, error).await),
            }
        }
        Ok(buffer)
    }
}
