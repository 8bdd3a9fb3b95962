//! The checksums of an upload, computed as its bytes pass.
//!
//! adler32 and the CRCs are faster than memory and are computed in place, those of the whole and those of each block in
//! one pass. md5 and sha are not: they run on the digest threads, which read the slot while the disk writes it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::checksum::{
    Algorithm, AlgorithmSet, BlockChecksums, Checksum, DigestPool, DigestStream, MultiHasher, Refused,
};
use crate::engine::arena::Slot;
use crate::engine::core::Core;
use crate::engine::lend::{Lent, lend};

/// md5 takes 1.5 ms for a slot: looking again that often costs nothing and loses nothing.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// What both passes take in turn: it stays in the second-level cache from the one to the other.
const STRIDE_BYTES: usize = 64 << 10;

/// An upload's checksums in the making.
pub struct Digests {
    inline: MultiHasher,
    blocks: BlockChecksums,
    slow: Option<DigestStream<Lent>>,
}

impl Digests {
    /// Starts with nothing. Without digest threads the slow algorithms are computed in place too.
    pub fn new(algorithms: AlgorithmSet, pool: Option<&Arc<DigestPool>>) -> Digests {
        let adler32: AlgorithmSet = [Algorithm::Adler32].into_iter().collect();
        let algorithms = algorithms.union(adler32);
        let slow = algorithms.slow();
        let (inline, slow) = match pool {
            Some(pool) if !slow.is_empty() => (algorithms.inline(), Some(pool.stream(slow.iter()))),
            _ => (algorithms, None),
        };
        Digests { inline: MultiHasher::new(inline.iter()), blocks: BlockChecksums::new(), slow }
    }

    /// The next `length` bytes, which stand at the start of a slot. Waits while the digest threads are too far behind.
    pub async fn update(&mut self, core: &Rc<Core>, slot: &Rc<Slot>, length: usize) -> io::Result<()> {
        self.update_inline(&slot[..length]);
        let Some(stream) = &self.slow else { return Ok(()) };
        let mut chunk = lend(core, slot, length);
        loop {
            match stream.try_update(chunk) {
                Ok(()) => return Ok(()),
                Err(Refused::Stopped(_)) => return Err(io::Error::other("the digest threads have stopped")),
                Err(Refused::Full(back)) => {
                    chunk = back;
                    core.sleep(FULL_PAUSE).await;
                }
            }
        }
    }

    /// What is computed in place, of bytes that are at hand and wanted by no digest thread.
    pub fn update_inline(&mut self, bytes: &[u8]) {
        for stride in bytes.chunks(STRIDE_BYTES) {
            self.inline.update(stride);
            self.blocks.update(stride);
        }
    }

    /// What was computed in place: the checksums of the whole, and those of the blocks.
    pub fn finish_inline(self) -> (Vec<Checksum>, Vec<u32>) {
        (self.inline.finish(), self.blocks.finish())
    }

    /// All checksums of the whole, once the digest threads have them, and those of the blocks.
    pub async fn finish(mut self) -> io::Result<(Vec<Checksum>, Vec<u32>)> {
        let slow = self.slow.take();
        let (mut checksums, blocks) = self.finish_inline();
        if let Some(stream) = slow {
            let (sender, receiver) = oneshot::channel();
            stream.finish(Box::new(move |slow| {
                // The upload may have been given up.
                let _ = sender.send(slow);
            }));
            checksums
                .extend(receiver.await.map_err(|_| io::Error::other("the digest threads have stopped"))?);
        }
        Ok((checksums, blocks))
    }
}
