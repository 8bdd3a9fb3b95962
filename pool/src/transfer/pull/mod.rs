//! Pull: the pool reads a file from a remote server into a new replica.
//!
//! ```text
//! claim → HEAD → GET → plan (sizes) → admit (space) → receive: sockets → slots → checksums → disk
//!       → compare with the source's size and checksums, and the door's → commit (durable) → Finished
//! ```
//!
//! Whatever goes wrong before the commit leaves nothing. What the source says of the file is never taken for what
//! arrived.

mod growth;
mod landing;
mod pieces;
mod source;
mod streams;
mod verify;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use self::landing::{Ground, Pace, disk_error};
use self::pieces::{LEAST_PIECE_BYTES, Pieces};
use self::source::{Got, Offer, Part, Source};
use self::streams::{Arrived, Streams};
use self::verify::FromDisk;
use super::put::write::Writes;
use super::put::{commit_of, failure_of, stopped};
use super::request::Pull;
use super::strand::Strand;
use super::third_party::{Done, Far, Guard, ThirdParty};
use super::{Claim, Failure, FailureCode, Outcome, Side};
use crate::checksum::{Algorithm, AlgorithmSet, MultiHasher};
use crate::engine::core::Core;
use crate::engine::file::IoMode;
use crate::remote::{Client, Reply};
use crate::store::Admission;

/// Runs a pull up to the durable replica.
pub(super) async fn run(
    third_party: &ThirdParty,
    core: &Rc<Core>,
    claim: &Claim,
    pull: &Pull,
) -> Result<Done, Failure> {
    let remotes = &third_party.remotes;
    let guard = Guard::new(core, claim, &remotes.settings, Far::SOURCE);
    let client = Client::new(core, remotes, &pull.remote.url, &pull.remote.headers);
    let client = client
        .marked(claim.transfer().mark())
        .showing(pull.remote.credential.as_ref())
        .with_token(pull.remote.token.as_ref());
    let source = Source::new(client, pull);
    let job = Job { third_party, core, claim, pull, guard: &guard, source: &source };
    job.run().await
}

struct Job<'a> {
    third_party: &'a ThirdParty,
    core: &'a Rc<Core>,
    claim: &'a Claim,
    pull: &'a Pull,
    guard: &'a Guard<'a>,
    source: &'a Source<'a>,
}

/// The first bytes are about to come.
enum Begun {
    Whole(Reply),
    Pieces { reply: Reply, pieces: Pieces, first: std::ops::Range<u64>, size: u64 },
}

impl Job<'_> {
    async fn run(&self) -> Result<Done, Failure> {
        let transfer = self.claim.transfer();
        let mut strands = vec![Strand::new(transfer)];
        let (begun, offer) = self.guard.run(self.begin(&strands[0])).await?;
        let size = offer.size;
        self.check_size(size)?;
        if let Some(size) = size {
            transfer.progress().set_requested(size);
        }
        if let Begun::Pieces { .. } = &begun {
            strands.extend((1..self.streams()).map(|_| Strand::new(transfer)));
        }
        let admission = self.admit(size).await?;
        self.claim.started_apart().map_err(|_| stopped())?;
        strands[0].enter(super::Limit::Source);
        let wanted = verify::algorithms(self.pull, &offer, self.third_party.port.settings.algorithms);
        if size == Some(0) {
            return self.store_nothing(admission, &offer, begun, wanted, &strands[0]).await;
        }
        let ground = self.open(admission).await?;
        let brought = self.guard.run_moving(self.bring(&ground, begun, &offer, wanted, &strands)).await;
        let verified = match brought {
            Ok(arrived) => self.guard.run(self.verified(arrived, &offer, &ground, wanted, &strands[0])).await,
            Err(failure) => Err(failure),
        };
        drop(strands);
        // Whatever happened: only when the disk is done with the slots may the file be committed, or go.
        let written = ground.writes.settled().await;
        self.end(ground, verified, written).await
    }

    /// Finds out what the source has, and asks for the first bytes.
    async fn begin(&self, strand: &Strand) -> Result<(Begun, Offer), Failure> {
        let offer = match self.pull.remote.no_head {
            true => Offer::default(),
            false => self.source.head(strand).await?,
        };
        self.check_size(offer.size)?;
        let certain = offer.tag.is_some() || !offer.checksums.is_empty();
        if let Some(size) = offer.size.filter(|size| *size > LEAST_PIECE_BYTES)
            && self.streams() > 1
            && certain
        {
            let mut pieces = Pieces::new(size, self.streams());
            if let Some(first) = pieces.hand_out() {
                let part = Part { bytes: first.clone(), total: size };
                match self.source.part(&part, &offer, strand).await? {
                    Got::Part(reply) => return Ok((Begun::Pieces { reply, pieces, first, size }, offer)),
                    // No ranges there: as if they had not been asked for.
                    Got::Whole(reply) => {
                        let offer = offer.renewed(Offer::of_whole(&reply.head));
                        return Ok((Begun::Whole(reply), offer));
                    }
                }
            }
        }
        let (reply, offer) = self.source.whole(&offer, strand).await?;
        Ok((Begun::Whole(reply), offer))
    }

    fn streams(&self) -> usize {
        self.pull.streams.min(self.third_party.remotes.settings.max_streams).max(1)
    }

    fn check_size(&self, size: Option<u64>) -> Result<(), Failure> {
        let Some(size) = size else { return Ok(()) };
        if let Some(expected) = self.pull.size.filter(|expected| *expected != size) {
            let text =
                format!("size mismatch on GET: the source has {size} bytes, the door expects {expected}");
            return Err(Failure::new(FailureCode::SizeMismatch, Side::Source, text));
        }
        match self.pull.maximum_size.map(u64::from) {
            Some(maximum) if size > maximum => Err(Failure::too_large(format!(
                "the source's file has {size} bytes, at most {maximum} are allowed here"
            ))),
            _ => Ok(()),
        }
    }

    async fn admit(&self, size: Option<u64>) -> Result<Admission, Failure> {
        let maximum_size = self.pull.maximum_size.map(u64::from);
        let spec = self.claim.transfer().request().upload_spec(size.or(self.pull.size), maximum_size);
        let store = Arc::clone(&self.third_party.port.store);
        self.core
            .blocking(move || store.admit(spec))
            .await
            .map_err(|error| lost(&error))?
            .map_err(|error| failure_of(&error))
    }

    async fn open(&self, admission: Admission) -> Result<Ground, Failure> {
        let opened = self.core.blocking(move || admission.open()).await;
        let upload = opened.map_err(|error| lost(&error))?.map_err(|error| failure_of(&error))?;
        let rate = self.claim.transfer().request().rate_limit_bytes_per_second;
        let uncached = self.third_party.port.settings.io_mode == IoMode::Dontcache;
        Ok(Ground {
            core: Rc::clone(self.core),
            writes: Writes::new(
                self.core,
                upload.file(),
                uncached,
                self.claim.transfer(),
                &self.third_party.port.store,
            ),
            direct: upload.direct(),
            upload: RefCell::new(Some(upload)),
            maximum_size: self.pull.maximum_size.map(u64::from),
            idle_timeout: self.third_party.remotes.settings.idle_timeout,
            pace: rate.map(|rate| Pace::new(rate.get(), self.core.now())),
        })
    }

    async fn bring(
        &self,
        ground: &Ground,
        begun: Begun,
        offer: &Offer,
        algorithms: AlgorithmSet,
        strands: &[Strand],
    ) -> Result<Arrived, Failure> {
        let streams = Streams {
            source: self.source,
            offer,
            ground,
            guard: self.guard,
            transfer: self.claim.transfer(),
            port: &self.third_party.port,
            algorithms,
            retries: Cell::new(0),
        };
        let arrived = match begun {
            Begun::Whole(reply) => streams.one(reply, offer.size.or(self.pull.size), &strands[0]).await?,
            Begun::Pieces { reply, pieces, first, size } => {
                streams.several(reply, pieces, first, size, strands).await?
            }
        };
        strands[0].enter(super::Limit::Disk);
        ground.writes.settled().await.map_err(|error| disk_error(&error, arrived.size))?;
        Ok(arrived)
    }

    async fn verified(
        &self,
        mut arrived: Arrived,
        offer: &Offer,
        ground: &Ground,
        wanted: AlgorithmSet,
        strand: &Strand,
    ) -> Result<Arrived, Failure> {
        let from_disk =
            FromDisk { ground, port: &self.third_party.port, transfer: self.claim.transfer(), wanted };
        verify::verify(self.source, self.pull, offer, &mut arrived, Some(&from_disk), strand).await?;
        Ok(arrived)
    }

    async fn end(
        &self,
        ground: Ground,
        verified: Result<Arrived, Failure>,
        written: std::io::Result<()>,
    ) -> Result<Done, Failure> {
        let upload = ground.upload.into_inner();
        let ready = verified.and_then(|arrived| {
            written.map_err(|error| disk_error(&error, arrived.size))?;
            self.claim.finishing().map_err(|_| stopped())?;
            Ok(arrived)
        });
        let stored = self.core.blocking(move || match (ready, upload) {
            (Ok(arrived), Some(upload)) => {
                let Arrived { size, checksums, blocks } = arrived;
                let commit = commit_of(size, &checksums, blocks);
                upload.commit(commit).map_err(|error| failure_of(&error))?;
                Ok(Outcome::Stored { size, checksums })
            }
            (Ok(_), None) => Err(Failure::internal("the pull lost its file")),
            (Err(failure), upload) => {
                // Frees the space, which takes the file system a while.
                drop(upload);
                Err(failure)
            }
        });
        Ok(Done { outcome: stored.await.map_err(|error| lost(&error))?? })
    }

    /// A file of no bytes: nothing to receive, but its checksums are compared all the same.
    async fn store_nothing(
        &self,
        admission: Admission,
        offer: &Offer,
        begun: Begun,
        wanted: AlgorithmSet,
        strand: &Strand,
    ) -> Result<Done, Failure> {
        if let Begun::Whole(reply) = begun {
            self.source.client().discard(reply).await;
        }
        // All of them cost nothing here, so that whatever the source tells can be compared.
        let checksums = MultiHasher::new(Algorithm::ALL).finish();
        let mut arrived = Arrived { size: 0, checksums, blocks: Vec::new() };
        let verifying = verify::verify(self.source, self.pull, offer, &mut arrived, None, strand);
        self.guard.run(verifying).await?;
        arrived.checksums.retain(|checksum| wanted.contains(checksum.algorithm()));
        self.claim.finishing().map_err(|_| stopped())?;
        let stored = self.core.blocking(move || {
            let commit = commit_of(0, &arrived.checksums, Vec::new());
            admission.store_small(&[], commit).map_err(|error| failure_of(&error))?;
            Ok(Outcome::Stored { size: 0, checksums: arrived.checksums })
        });
        Ok(Done { outcome: stored.await.map_err(|error| lost(&error))?? })
    }
}

fn lost(error: &std::io::Error) -> Failure {
    Failure::internal(format!("the pull cannot be stored: {error}"))
}
