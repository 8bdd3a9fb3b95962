//! The checksums of an upload, computed as its bytes pass.
//!
//! adler32 and the CRCs are faster than memory and are computed in place. md5 and sha are not: they run on the digest
//! threads, which read the slot while the disk writes it.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::checksum::{Algorithm, AlgorithmSet, Checksum, DigestPool, DigestStream, MultiHasher, Refused};
use crate::engine::arena::Slot;
use crate::engine::core::Core;
use crate::engine::lend::{Lent, lend};

/// md5 takes 1.5 ms for a slot: looking again that often costs nothing and loses nothing.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// An upload's checksums in the making.
pub struct Digests {
    inline: MultiHasher,
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
        Digests { inline: MultiHasher::new(inline.iter()), slow }
    }

    /// The next `length` bytes, which stand at the start of a slot. Waits while the digest threads are too far behind.
    pub async fn update(&mut self, core: &Rc<Core>, slot: &Rc<Slot>, length: usize) -> io::Result<()> {
        self.inline.update(&slot[..length]);
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

    /// All checksums, once the digest threads have them.
    pub async fn finish(self) -> io::Result<Vec<Checksum>> {
        let mut checksums = self.inline.finish();
        if let Some(stream) = self.slow {
            let (sender, receiver) = oneshot::channel();
            stream.finish(Box::new(move |slow| {
                // The upload may have been given up.
                let _ = sender.send(slow);
            }));
            checksums
                .extend(receiver.await.map_err(|_| io::Error::other("the digest threads have stopped"))?);
        }
        Ok(checksums)
    }
}
