//! What the index keeps of each replica, as bytes: enough that a listing opens no file.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::ReplicaCounts;
use super::super::attributes::{Attributes, InvalidAttributes};
use super::super::id::ReplicaId;
use super::super::replica::{Identity, ReplicaStat};

/// Bytes before the attribute line: allocated, inode, seconds and nanoseconds of the last change.
const HEAD_BYTES: usize = 8 + 8 + 8 + 4;

/// A replica as its file was when it was last written to or examined: four little-endian numbers, then the line that
/// the file has as its attribute, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Record {
    pub allocated: u64,
    pub inode: u64,
    pub modified_at: SystemTime,
    pub line: String,
}

impl Record {
    pub fn of(stat: &ReplicaStat) -> Self {
        Self {
            allocated: stat.allocated,
            inode: stat.identity.inode,
            modified_at: stat.identity.modified_at,
            line: stat.attributes.format(),
        }
    }

    /// What it says.
    pub fn stat(&self, id: ReplicaId) -> Result<ReplicaStat, InvalidAttributes> {
        let attributes = Attributes::parse(self.line.as_bytes())?;
        let identity = Identity { inode: self.inode, size: attributes.size, modified_at: self.modified_at };
        Ok(ReplicaStat { id, size: attributes.size, allocated: self.allocated, identity, attributes })
    }

    /// Whether the bytes of the file are still those of an earlier record.
    pub fn has_bytes_of(&self, earlier: &Self) -> bool {
        self.inode == earlier.inode && self.modified_at == earlier.modified_at
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.line.len());
        bytes.extend_from_slice(&self.allocated.to_le_bytes());
        bytes.extend_from_slice(&self.inode.to_le_bytes());
        let (seconds, nanoseconds) = match self.modified_at.duration_since(UNIX_EPOCH) {
            Ok(since) => (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos()),
            Err(before) => {
                // Seconds downwards, nanoseconds upwards from there, as `stat` counts.
                let before = before.duration();
                let seconds = -i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => (seconds, 0),
                    nanoseconds => (seconds.saturating_sub(1), 1_000_000_000 - nanoseconds),
                }
            }
        };
        bytes.extend_from_slice(&seconds.to_le_bytes());
        bytes.extend_from_slice(&nanoseconds.to_le_bytes());
        bytes.extend_from_slice(self.line.as_bytes());
        bytes
    }

    /// `None` for bytes that no release wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, line) = bytes.split_at_checked(HEAD_BYTES)?;
        let number = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let seconds = number(16)?.cast_signed();
        let nanoseconds = u32::from_le_bytes(head.get(24..28)?.try_into().ok()?);
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let base = if seconds >= 0 { UNIX_EPOCH.checked_add(whole) } else { UNIX_EPOCH.checked_sub(whole) }?;
        Some(Self {
            allocated: number(0)?,
            inode: number(8)?,
            modified_at: base.checked_add(Duration::from_nanos(nanoseconds.into()))?,
            line: std::str::from_utf8(line).ok()?.to_owned(),
        })
    }
}

/// What all records and directories amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::store) struct Totals {
    pub counts: ReplicaCounts,
    /// Bytes on the disk below the data directory, as `du` counts them.
    pub used: u64,
}

impl Totals {
    /// Takes one replica in (`times` is 1) or out (-1).
    pub fn count(&mut self, record: &Record, times: i64) -> Result<(), InvalidAttributes> {
        let of_one = ReplicaCounts::of(&Attributes::parse(record.line.as_bytes())?);
        self.counts = self.counts.plus(of_one, times);
        if times < 0 {
            self.less(record.allocated)
        } else {
            self.more(record.allocated)
        }
        Ok(())
    }

    /// Takes in a replica that was just read.
    pub fn take_in(&mut self, stat: &ReplicaStat) {
        self.counts = self.counts.plus(ReplicaCounts::of(&stat.attributes), 1);
        self.more(stat.allocated);
    }

    pub fn more(&mut self, bytes: u64) {
        self.used = self.used.saturating_add(bytes);
    }

    pub fn less(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    pub fn encode(&self) -> Vec<u8> {
        let ReplicaCounts { all, broken, orphaned, suspect } = self.counts;
        [all, broken, orphaned, suspect, self.used].iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers =
            bytes.chunks_exact(8).map(|number| Some(u64::from_le_bytes(number.try_into().ok()?)));
        let mut next = || numbers.next().flatten();
        let counts = ReplicaCounts { all: next()?, broken: next()?, orphaned: next()?, suspect: next()? };
        Some(Self { counts, used: next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_as_it_was_whatever_the_time() {
        for modified_at in [
            UNIX_EPOCH,
            UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
            UNIX_EPOCH - Duration::from_nanos(1_500_000_000),
            UNIX_EPOCH - Duration::from_secs(3),
        ] {
            let record = Record { allocated: 4096, inode: 77, modified_at, line: "v=1 é".to_owned() };
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_refused() {
        let good = Record { allocated: 1, inode: 2, modified_at: UNIX_EPOCH, line: "x".to_owned() }.encode();
        for bytes in [&good[..HEAD_BYTES - 1], &[], &[0xff; HEAD_BYTES + 1]] {
            assert_eq!(Record::decode(bytes), None);
        }
        assert_eq!(Totals::decode(&[0; 39]), None);
    }
}
