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
use penstock_pool::engine::shard::Shard;

use crate::measure::payload;

/// Size of the file whose cached pages are sent: more than the processor's caches hold.
pub const FILE_BYTES: u64 = 64 << 20;
/// Threads for calls that block; there are none here, but a shard wants them.
const BLOCKING_THREADS: usize = 1;
/// Where a file is in memory.
const MEMORY: &str = "/dev/shm";

/// Running shards.
pub struct Station {
    shards: Vec<Shard>,
    file: File,
}

impl Station {
    /// Starts so many shards, from the processor of that number on, with a buffer for each stream.
    pub fn start(count: usize, first: usize, most_streams: u32) -> anyhow::Result<Self> {
        // One more, which holds what is sent.
        let slots = (most_streams as usize).div_ceil(count.max(1)) + 1;
        let blocking = Blocking::new(BLOCKING_THREADS);
        let shards =
            (first..first + count.max(1)).map(|number| Shard::start(number, slots, Arc::clone(&blocking)));
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        let file = memory_file().context("cannot make a file in memory, whose pages are sent")?;
        Ok(Self { shards, file })
    }

    /// Shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// What a reader of the results has to know.
    pub fn notes(&self) -> Vec<String> {
        let facts = self.shards.first().map(Shard::facts);
        let unpinned = facts.and_then(|facts| facts.unpinned.as_ref());
        unpinned
            .map(|reason| format!("The shards are not pinned to processors: {reason}."))
            .into_iter()
            .collect()
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
fn memory_file() -> io::Result<File> {
    let make = |directory: &Path| {
        let file = KernelDisk.create_unnamed(directory)?;
        let piece = payload(1 << 20);
        for offset in (0..FILE_BYTES).step_by(piece.len()) {
            KernelDisk.write_all_at(&file, &piece, offset)?;
        }
        Ok(file)
    };
    make(Path::new(MEMORY)).or_else(|_: io::Error| make(&std::env::temp_dir()))
}
