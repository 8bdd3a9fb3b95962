//! Holds what arrived against what the source and the door say of it.

use std::rc::Rc;

use super::landing::{Ground, uncomputed};
use super::source::{Offer, Source};
use super::streams::Arrived;
use crate::checksum::{Algorithm, AlgorithmSet, Checksum, mismatch, mismatch_text};
use crate::engine::arena::SLOT_BYTES;
use crate::engine::file::{self, DIRECT_ALIGNMENT};
use crate::transfer::port::Port;
use crate::transfer::put::compare;
use crate::transfer::put::digests::Digests;
use crate::transfer::request::Pull;
use crate::transfer::strand::Strand;
use crate::transfer::third_party::Far;
use crate::transfer::{Failure, FailureCode, Transfer};

/// What all is computed of a pulled file while it arrives.
pub(super) fn algorithms(pull: &Pull, offer: &Offer, configured: AlgorithmSet) -> AlgorithmSet {
    let adler32: AlgorithmSet = [Algorithm::Adler32].into_iter().collect();
    let expected: AlgorithmSet = pull.expected_checksums.iter().map(Checksum::algorithm).collect();
    let told: AlgorithmSet = offer.checksums.iter().map(Checksum::algorithm).collect();
    let mut all = adler32.union(configured).union(pull.wanted_checksums).union(expected).union(told.inline());
    // One of the source's is enough: of those that cost, the first, and only where none is there for nothing.
    if let Some(told) = offer.checksums.first()
        && !offer.checksums.iter().any(|told| all.contains(told.algorithm()))
    {
        all.insert(told.algorithm());
    }
    all
}

/// Compares; asks the source once more where it has told no checksum. What was not computed on the way is computed
/// from the disk; without `from_disk` all was (a file of no bytes).
pub(super) async fn verify(
    source: &Source<'_>,
    pull: &Pull,
    offer: &Offer,
    arrived: &mut Arrived,
    from_disk: Option<&FromDisk<'_>>,
    strand: &Strand,
) -> Result<(), Failure> {
    if let Some(from_disk) = from_disk {
        let missing = from_disk.wanted.iter().filter(|a| !has(&arrived.checksums, *a));
        let missing: AlgorithmSet = missing.collect();
        if !missing.is_empty() {
            from_disk.compute(missing, arrived).await?;
        }
    }
    compare(&pull.expected_checksums, &arrived.checksums)?;
    let mut told = offer.checksums.clone();
    if told.is_empty() && pull.remote.require_checksum_verification {
        let asked = source.head(strand).await?;
        if asked.size.is_some_and(|size| size != arrived.size) {
            let text = format!(
                "verification failed: HEAD Content-Length ({}) does not match file size ({})",
                asked.size.unwrap_or_default(),
                arrived.size
            );
            return Err(Far::SOURCE.failure(FailureCode::Verification, text));
        }
        told = asked.checksums;
    }
    let Some(first) = told.first() else {
        return match pull.remote.require_checksum_verification {
            false => Ok(()),
            true => Err(Far::SOURCE.failure(
                FailureCode::Verification,
                "verification failed: the source tells no checksum that is known here (Digest, Repr-Digest, \
                 Content-MD5, OC-Checksum); with RequireChecksumVerification: false it is copied without",
            ).with_retryable(false)),
        };
    };
    if let Some(from_disk) = from_disk
        && !told.iter().any(|told| has(&arrived.checksums, told.algorithm()))
    {
        let algorithm: AlgorithmSet = [first.algorithm()].into_iter().collect();
        from_disk.compute(algorithm, arrived).await?;
    }
    told.retain(|told| has(&arrived.checksums, told.algorithm()));
    if mismatch(&told, &arrived.checksums).is_empty() {
        return Ok(());
    }
    let page = if offer.html { "; the source sent text/html, perhaps an error page" } else { "" };
    let text = format!("verification failed: {}{page}", mismatch_text(&told, &arrived.checksums));
    Err(Far::SOURCE.failure(FailureCode::Verification, text))
}

fn has(checksums: &[Checksum], algorithm: Algorithm) -> bool {
    checksums.iter().any(|checksum| checksum.algorithm() == algorithm)
}

/// Computes checksums of what was written, from the disk: those that need all bytes in order, of a file whose pieces
/// came in another one.
pub(super) struct FromDisk<'a> {
    pub(super) ground: &'a Ground,
    pub(super) port: &'a Port,
    pub(super) transfer: &'a Transfer,
    /// All that the replica is to have.
    pub(super) wanted: AlgorithmSet,
}

impl FromDisk<'_> {
    async fn compute(&self, algorithms: AlgorithmSet, arrived: &mut Arrived) -> Result<(), Failure> {
        self.ground
            .writes
            .settled()
            .await
            .map_err(|error| super::landing::disk_error(&error, arrived.size))?;
        let file = match &*self.ground.upload.borrow() {
            Some(upload) => upload.file().clone(),
            None => return Err(Failure::internal("the pull lost its file")),
        };
        let core = &self.ground.core;
        let mut digests = Digests::new(algorithms, self.port.digests.as_ref());
        let mut offset = 0;
        while offset < arrived.size {
            let slot = core.arena().take().await;
            let left = (arrived.size - offset).min(SLOT_BYTES as u64) as usize;
            let wanted = if self.ground.direct { left.next_multiple_of(DIRECT_ALIGNMENT) } else { left };
            let started_at = core.now();
            let (result, (slot, _)) = file::read(core, &file, slot, 0..wanted, offset, false).await;
            let count = match result {
                Ok(0) => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
                Ok(count) => Ok((count as usize).min(left)),
                Err(error) => Err(error),
            };
            let count = count.map_err(|error| {
                Failure::disk(format!(
                    "reading the new replica for its checksums failed near byte {offset}: {error}"
                ))
            })?;
            self.transfer.progress().disk_read(count as u64, core.now() - started_at);
            // Direct reads go on at block boundaries only.
            let count =
                if self.ground.direct && count < left { count - count % DIRECT_ALIGNMENT } else { count };
            if count == 0 {
                return Err(Failure::disk(format!("the new replica cannot be read at byte {offset}")));
            }
            digests.update(core, &Rc::new(slot), count).await.map_err(|error| uncomputed(&error))?;
            offset += count as u64;
        }
        let (checksums, _) = digests.finish().await.map_err(|error| uncomputed(&error))?;
        for checksum in checksums {
            match arrived.checksums.iter().find(|known| known.algorithm() == checksum.algorithm()) {
                None => arrived.checksums.push(checksum),
                Some(known) if *known == checksum => {}
                Some(_) => {
                    return Err(Failure::disk(
                        "the new replica reads back with other bytes than were written",
                    ));
                }
            }
        }
        Ok(())
    }
}
