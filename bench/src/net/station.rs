//! The shards of one side, and what they send.

use std::future::Future;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context as _;
use penstock_pool::engine::blocking::Blocking;
use penstock_pool::engine::core::Core;
use penstock_pool::engine::disk::{Disk, File, KernelDisk};
use penstock_pool::engine::net::zero_copy::Tally;
use penstock_pool::engine::shard::Shard;

use crate::measure::payload;

/// Size of the file whose cached pages are sent: more than the processor's caches hold.
pub const FILE_BYTES: u64 = 64 << 20;
/// Threads for calls that block; there are none here, but a shard wants them.
const BLOCKING_THREADS: usize = 1;
/// Where the file whose cached pages are sent is tried to be made: on a disk first, as file systems on disks have
/// larger pages in the cache than those in memory.
const PLACES: [&str; 3] = ["/var/tmp", "/tmp", "/dev/shm"];

/// Running shards.
pub struct Station {
    shards: Vec<Shard>,
    file: File,
    place: &'static str,
}

impl Station {
    /// Starts so many shards, from the processor of that number on, with a buffer for each stream.
    pub fn start(count: usize, first: usize, most_streams: u32) -> anyhow::Result<Self> {
        // Twice as many as there are streams: the pool sends without a copy only while half of its buffers are free.
        let slots = 2 * (most_streams as usize).div_ceil(count.max(1)) + 1;
        let blocking = Blocking::new(BLOCKING_THREADS);
        let shards =
            (first..first + count.max(1)).map(|number| Shard::start(number, slots, Arc::clone(&blocking)));
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        let (file, place) = cached_file()?;
        Ok(Self { shards, file, place })
    }

    /// Shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// What becomes of sending without a copy, shard by shard.
    pub fn zero_copy(&self) -> Vec<Arc<Tally>> {
        self.shards.iter().map(|shard| Arc::clone(&shard.facts().zero_copy)).collect()
    }

    /// What a reader of the results has to know.
    pub fn notes(&self) -> Vec<String> {
        let facts = self.shards.first().map(Shard::facts);
        let unpinned = facts.and_then(|facts| facts.unpinned.as_ref());
        let mut notes =
            vec![format!("sendfile: from a file in {}, all of which is in the page cache.", self.place)];
        notes.extend(unpinned.map(|reason| format!("The shards are not pinned to processors: {reason}.")));
        notes
    }

    /// Gives the shard of a stream its task.
    pub fn submit<F, T>(&self, stream: usize, task: F) -> anyhow::Result<()>
    where
        F: FnOnce(Rc<Core>, File) -> T + Send + 'static,
        T: Future<Output = ()> + 'static,
    {
        let file = File::clone(&self.file);
        let shard = &self.shards[stream % self.shards.len()];
        shard.submit(move |core| task(core, file)).context("a shard takes no work")
    }
}

/// A file without a name, all of it in the page cache.
fn cached_file() -> anyhow::Result<(File, &'static str)> {
    let make = |directory: &str| -> io::Result<File> {
        let file = KernelDisk.create_unnamed(Path::new(directory))?;
        let piece = payload(1 << 20);
        for offset in (0..FILE_BYTES).step_by(piece.len()) {
            KernelDisk.write_all_at(&file, &piece, offset)?;
        }
        // Pages that wait for the disk would be sent as well, but not as steadily.
        KernelDisk.sync_data(&file)?;
        Ok(file)
    };
    let mut failed = None;
    for place in PLACES {
        match make(place) {
            Ok(file) => return Ok((file, place)),
            Err(error) => failed = Some(error),
        }
    }
    let error = failed.unwrap_or_else(|| io::ErrorKind::NotFound.into());
    Err(error)
        .with_context(|| format!("cannot make a file of 64 MiB, whose pages are sent, in any of {PLACES:?}"))
}
