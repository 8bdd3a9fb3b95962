//! A block that does not agree with its checksum is read once more, by another way, before its replica is given up: a
//! page of the cache may have gone bad while the disk is fine, and a disk may have answered wrongly once.

use super::blocks::Path;
use super::verify::{BLOCK_BYTES, BadBlock};
use super::{ReadError, Source, count, damage};
use crate::engine::arena::Slot;

impl Source {
    /// Reads a bad block again, into the same slot. Good: the bytes may be sent. Bad again, or not to be read: the
    /// replica is broken from now on.
    pub(super) async fn read_again(&self, slot: Slot, path: Path, bad: BadBlock) -> Result<Slot, ReadError> {
        let counters = &self.reading.counters;
        count(&counters.bad_blocks, 1);
        let Some(expected) = &self.expected else { return Err(bad.into()) };
        let range = expected.block(bad.number);
        let direct = match path {
            Path::Direct(_) => None,
            Path::Uncached | Path::Cached => {
                let direct = self.direct().await.ok().flatten();
                // Only now: whoever reads the cached copy meanwhile finds it as bad as we did.
                self.drop_cached(&range).await;
                direct
            }
        };
        let was_direct = matches!(path, Path::Direct(_));
        let other = direct.map_or(Path::Cached, Path::Direct);
        let length = (range.end - range.start) as usize;
        let again = match self.read_whole(slot, &other, &range).await {
            Ok(slot) => expected.check(bad.offset, &slot[..length]).map(|()| slot),
            // The replica is suspect, or even broken, by this alone; what is certain is the block.
            Err(_) => Err(bad),
        };
        match again {
            Ok(slot) => {
                count(&counters.rescued_blocks, 1);
                let replica = self.replica.id();
                let from = if was_direct { "the disk" } else { "the page cache" };
                tracing::warn!(
                    %replica,
                    block = bad.number,
                    offset = bad.number * BLOCK_BYTES,
                    "a block came wrong from {from} and right when it was read again"
                );
                if was_direct {
                    // What lies on the disk may still be wrong, with a good copy in the page cache.
                    damage::mark_suspect(self, format!("read past the page cache, {bad}")).await;
                }
                Ok(slot)
            }
            Err(bad) => {
                damage::mark_broken(self, bad.to_string()).await;
                Err(bad.into())
            }
        }
    }

    /// Has the page cache drop its copy of a range, so that it is read from the disk next time.
    async fn drop_cached(&self, range: &std::ops::Range<u64>) {
        let (store, replica, range) = (self.reading.store.clone(), self.replica.clone(), range.clone());
        let length = range.end - range.start;
        // May wait for the disk. Should it fail, the copy is found bad again.
        let _ =
            self.core.blocking(move || store.disk().drop_cached(replica.file(), range.start, length)).await;
    }
}
