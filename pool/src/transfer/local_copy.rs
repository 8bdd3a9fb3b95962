//! Local copy: a second replica of one that the pool holds, without a byte on the network.
//!
//! ```text
//! claim → open the original → admit (space) → share its bytes (FICLONE), where the file system can
//!       → else: checked blocks → checksums → disk → compare with the original's → commit (durable) → Finished
//! ```
//!
//! The new replica takes over the checksums of the other one. Shared bytes are not read for that: whoever reads them,
//! of either replica, holds them against their checksums.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::get::checksums_of;
use super::put::digests::Digests;
use super::put::write::{DEPTH, Writes};
use super::put::{commit_of, failure_of, stopped};
use super::request::LocalCopy;
use super::source::{ReadError, Source};
use super::strand::Strand;
use super::third_party::{Done, Far, Guard, ThirdParty};
use super::{Claim, Failure, FailureCode, Limit, Outcome, Side};
use crate::checksum::{AlgorithmSet, Checksum, mismatch, mismatch_text};
use crate::engine::core::Core;
use crate::engine::file::{DIRECT_ALIGNMENT, IoMode};
use crate::store::{Replica, ReplicaState, Upload, http_status_of};

/// Runs a local copy up to the durable replica.
pub(super) async fn run(
    third_party: &ThirdParty,
    core: &Rc<Core>,
    claim: &Claim,
    copy: &LocalCopy,
) -> Result<Done, Failure> {
    let guard = Guard::new(core, claim, &third_party.remotes.settings, Far::SOURCE);
    let original = open(third_party, core, claim, copy).await?;
    let job = Job { third_party, core, claim, copy, guard: &guard, original: &original };
    job.run().await
}

/// The replica that the transfer holds, or opens.
async fn open(
    third_party: &ThirdParty,
    core: &Rc<Core>,
    claim: &Claim,
    copy: &LocalCopy,
) -> Result<Arc<Replica>, Failure> {
    let replica = match claim.transfer().held() {
        Some(replica) => replica,
        None => {
            let (store, id) = (Arc::clone(&third_party.port.store), copy.source.clone());
            let opened = core.blocking(move || store.open(&id)).await;
            opened.map_err(|error| lost(&error))?.map_err(|error| failure_of(&error))?
        }
    };
    match replica.state() {
        ReplicaState::Broken => {
            Err(Failure::replica_broken(format!("replica {} is broken and not copied", replica.id())))
        }
        _ => Ok(replica),
    }
}

struct Job<'a> {
    third_party: &'a ThirdParty,
    core: &'a Rc<Core>,
    claim: &'a Claim,
    copy: &'a LocalCopy,
    guard: &'a Guard<'a>,
    original: &'a Arc<Replica>,
}

/// What is known of the new replica.
struct Made {
    checksums: Vec<Checksum>,
    blocks: Vec<u32>,
}

impl Job<'_> {
    async fn run(&self) -> Result<Done, Failure> {
        let size = self.original.size();
        self.claim.transfer().progress().set_requested(size);
        let upload = self.admit(size).await?;
        self.claim.started_apart().map_err(|_| stopped())?;
        let recorded = checksums_of(&self.original.attributes());
        let wanted = self.wanted(&recorded);
        let (upload, shared) = self.share(upload, &recorded, wanted).await?;
        let made = match shared {
            true => {
                self.claim.moved(size);
                let blocks = self.original.blocks().map(|blocks| blocks.to_vec()).unwrap_or_default();
                Ok(Made { checksums: recorded, blocks })
            }
            false => self.copy(&upload, &recorded, wanted).await,
        };
        self.end(upload, made).await
    }

    async fn admit(&self, size: u64) -> Result<Upload, Failure> {
        let spec = self.claim.transfer().request().upload_spec(Some(size), None);
        let store = Arc::clone(&self.third_party.port.store);
        let begun = self.core.blocking(move || store.begin_upload(spec)).await;
        begun.map_err(|error| lost(&error))?.map_err(|error| failure_of(&error))
    }

    /// What the new replica shall have.
    fn wanted(&self, recorded: &[Checksum]) -> AlgorithmSet {
        let known: AlgorithmSet = recorded.iter().map(Checksum::algorithm).collect();
        known.union(self.copy.wanted_checksums)
    }

    /// Lets both files have the same bytes, where all that is wanted is on record and the file system can.
    async fn share(
        &self,
        upload: Upload,
        recorded: &[Checksum],
        wanted: AlgorithmSet,
    ) -> Result<(Upload, bool), Failure> {
        let known = |wanted| recorded.iter().any(|checksum| checksum.algorithm() == wanted);
        let complete = !recorded.is_empty() && wanted.iter().all(known);
        if !complete || self.original.size() == 0 {
            return Ok((upload, false));
        }
        let (store, original) = (Arc::clone(&self.third_party.port.store), Arc::clone(self.original));
        let sharing = self.core.blocking(move || {
            let disk = store.disk();
            // Bytes that end within a block are shared only with a file that ends there, too (ioctl_ficlone(2)). The
            // space that was allocated stays, but for what the last block was padded with.
            let cut = disk.truncate(upload.file(), original.size());
            let shared = cut.and_then(|()| disk.share(original.file(), upload.file()));
            (upload, shared)
        });
        let (upload, shared) = sharing.await.map_err(|error| lost(&error))?;
        Ok((upload, shared.map_err(|error| disk_error(&error, 0))?))
    }

    /// Reads, checks and writes every block.
    async fn copy(
        &self,
        upload: &Upload,
        recorded: &[Checksum],
        wanted: AlgorithmSet,
    ) -> Result<Made, Failure> {
        let port = &self.third_party.port;
        let uncached = port.settings.io_mode == IoMode::Dontcache;
        let writes = Writes::new(self.core, upload.file(), uncached, self.claim.transfer(), &port.store);
        let moved = self.guard.run(self.blocks(&writes, upload.direct(), wanted)).await;
        // Whatever happened: only when the disk is done with the slots may the file be committed, or go.
        let written = writes.settled().await;
        let made = moved?;
        written.map_err(|error| disk_error(&error, self.original.size()))?;
        if !mismatch(recorded, &made.checksums).is_empty() {
            return Err(self.differs(recorded, &made.checksums).await);
        }
        Ok(made)
    }

    async fn blocks(&self, writes: &Writes, direct: bool, wanted: AlgorithmSet) -> Result<Made, Failure> {
        let (port, transfer) = (&self.third_party.port, self.claim.transfer());
        let source = Source::new(self.core, &port.reading, self.original, transfer);
        let strand = Strand::new(transfer);
        let mut digests = Digests::new(wanted, port.digests.as_ref());
        let pace = transfer.request().rate_limit_bytes_per_second;
        let began_at = self.core.now();
        let (mut offset, size) = (0, self.original.size());
        while offset < size {
            let mut blocks =
                source.blocks(source.stretch(offset..size)).await.map_err(|error| self.unreadable(&error))?;
            while let Some(mut piece) =
                blocks.next(&|limit| strand.enter(limit)).await.map_err(|error| self.unreadable(&error))?
            {
                let length = piece.part.len();
                // A stretch begins where a block does, so that this moves nothing unless blocks are not known.
                piece.slot.copy_within(piece.part.clone(), 0);
                let padded = if direct { length.next_multiple_of(DIRECT_ALIGNMENT) } else { length };
                piece.slot[length..padded].fill(0);
                let slot = Rc::new(piece.slot);
                strand.enter(Limit::Checksum);
                digests.update(self.core, &slot, length).await.map_err(|error| uncomputed(&error))?;
                strand.enter(Limit::Disk);
                writes.fewer_than(DEPTH).await.map_err(|error| disk_error(&error, piece.offset))?;
                writes.start(slot, padded, length, piece.offset);
                offset = piece.offset + length as u64;
                if let Some(rate) = pace {
                    self.core.sleep_until(due_at(began_at, offset, rate.get())).await;
                }
            }
        }
        let (checksums, blocks) = digests.finish().await.map_err(|error| uncomputed(&error))?;
        Ok(Made { checksums, blocks })
    }

    async fn end(&self, upload: Upload, made: Result<Made, Failure>) -> Result<Done, Failure> {
        let ready = made.and_then(|made| {
            self.claim.finishing().map_err(|_| stopped())?;
            Ok(made)
        });
        let size = self.original.size();
        let stored = self.core.blocking(move || match ready {
            Ok(Made { checksums, blocks }) => {
                let commit = commit_of(size, &checksums, blocks);
                upload.commit(commit).map_err(|error| failure_of(&error))?;
                Ok(Outcome::Stored { size, checksums })
            }
            Err(failure) => {
                // Frees the space, which takes the file system a while.
                drop(upload);
                Err(failure)
            }
        });
        Ok(Done { outcome: stored.await.map_err(|error| lost(&error))?? })
    }

    /// What was read is not what is on record. It was read once only, so that the replica is no more than suspect.
    async fn differs(&self, recorded: &[Checksum], computed: &[Checksum]) -> Failure {
        let text = mismatch_text(recorded, computed);
        let (store, id) = (Arc::clone(&self.third_party.port.store), self.original.id().clone());
        let because = text.clone();
        let marked = self.core.blocking(move || store.mark_suspect(&id, &because)).await;
        if let Ok(Err(error)) = marked {
            tracing::warn!(replica = %self.original.id(), %error, "a suspect replica cannot be marked");
        }
        Failure::replica_broken(format!("replica {} is not copied: {text}", self.original.id()))
    }

    fn unreadable(&self, error: &ReadError) -> Failure {
        let code = match error {
            ReadError::Disk { .. } => FailureCode::DiskError,
            ReadError::Truncated(_) | ReadError::Bad(_) => FailureCode::ReplicaBroken,
        };
        Failure::new(code, Side::Pool, format!("reading {} failed: {error}", self.original.id()))
    }
}

/// When so many bytes may have moved.
fn due_at(began_at: Instant, bytes: u64, bytes_per_second: u64) -> Instant {
    began_at + Duration::from_secs_f64(bytes as f64 / bytes_per_second as f64)
}

fn disk_error(error: &std::io::Error, offset: u64) -> Failure {
    let status = http_status_of(error);
    let code = if status == 507 { FailureCode::NoSpace } else { FailureCode::DiskError };
    Failure::new(code, Side::Pool, format!("writing the copy failed near byte {offset}: {error}"))
        .with_status(status)
}

fn uncomputed(error: &std::io::Error) -> Failure {
    Failure::internal(format!("checksums cannot be computed: {error}"))
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::internal(format!("the copy cannot be stored: {error}"))
}
