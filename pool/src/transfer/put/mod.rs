//! PUT: a client's upload, from the redirect's capability to the durable replica that the door has claimed.
//!
//! ```text
//! claim → plan (sizes, checksums) → admit (space) → 100 Continue → receive: socket → slot → checksum → disk
//!       → compare checksums → commit (durable) → the door's verdict → 201
//! ```
//!
//! Whatever goes wrong before the commit leaves nothing; after it, only the door decides.

pub(super) mod body;
pub(super) mod digests;
mod plan;
mod receive;
mod small;
pub(super) mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::{Either, select};
use jiff::Timestamp;

use self::body::Body;
use self::digests::Digests;
use self::plan::Plan;
use self::receive::Receiving;
use self::write::Writes;
use super::connection::{After, Exchange, date, digest_headers};
use super::desk::ClaimMethod;
use super::lifecycle::Verdict;
use super::{Claim, Failure, FailureCode, Outcome, Side};
use crate::checksum::{Checksum, mismatch, mismatch_text};
use crate::engine::arena::SLOT_BYTES;
use crate::engine::file::IoMode;
use crate::http1::{self, ResponseHead};
use crate::marking::Supplier;
use crate::store::{Admission, Commit, StoreError};

/// Uploads up to that size are received whole and then stored in one go: for them the disk's own latency counts, not
/// its throughput.
const SMALL_BYTES: u64 = 64 << 10;
const _: () = assert!(SMALL_BYTES <= SLOT_BYTES as u64);

/// Answers a PUT.
pub async fn answer(exchange: &mut Exchange<'_>) -> After {
    let mut claim = match exchange.claim(ClaimMethod::Put).await {
        Ok(claim) => claim,
        Err(after) => return after,
    };
    let planned = Plan::new(exchange.request, claim.transfer().request(), &exchange.port.settings);
    let stored = match planned {
        Ok(plan) => match upload(exchange, &mut claim, &plan).await {
            Ok(checksums) => Ok((plan, checksums)),
            Err(failure) => Err(failure),
        },
        Err(failure) => Err(failure),
    };
    exchange.note_tcp(&claim);
    match stored {
        Ok((plan, checksums)) => {
            exchange.complete_flow();
            settle(exchange, &claim, &plan, &checksums).await
        }
        Err(failure) => {
            claim.fail(failure.clone());
            match failure.code {
                // Nobody is there to be told.
                FailureCode::ConnectionLost => After::Abort,
                _ => exchange.refuse(failure.http_status, failure.text()).await,
            }
        }
    }
}

/// Brings the replica to the disk. Gives its checksums.
async fn upload(
    exchange: &mut Exchange<'_>,
    claim: &mut Claim,
    plan: &Plan,
) -> Result<Vec<Checksum>, Failure> {
    let store = Arc::clone(&exchange.port.store);
    let core = exchange.input.connection().core().clone();
    let spec = plan.spec.clone();
    let admitting = Arc::clone(&store);
    let admission = core
        .blocking(move || admitting.admit(spec))
        .await
        .map_err(|error| Failure::internal(format!("the upload cannot begin: {error}")))?
        .map_err(|error| failure_of(&error))?;
    if claim.stopped() {
        return Err(stopped());
    }
    if plan.expects_continue {
        // RFC 9110 §10.1.1: only now that nothing stands against the upload.
        let (sent, _) = exchange
            .input
            .connection()
            .send_all(http1::CONTINUE.to_vec(), false, exchange.port.settings.idle_limit)
            .await;
        sent.map_err(|error| Failure::connection_lost(format!("the client went away: {error}")))?;
    }
    claim.started(exchange.connection_info()).map_err(|_| stopped())?;
    exchange.begin_flow(claim, Supplier::There);
    if let Some(length) = plan.length {
        claim.transfer().progress().set_requested(length);
    }
    let (checksums, size) = if plan.length.is_some_and(|length| length <= SMALL_BYTES) {
        receive_small(exchange, claim, plan, admission).await?
    } else {
        receive_large(exchange, claim, plan, admission).await?
    };
    let outcome = Outcome::Stored { size, checksums: checksums.clone() };
    if claim.finish(outcome).is_err() {
        // Called off while it was being made durable: the replica goes again.
        let replica = plan.spec.replica.clone();
        let _ = core.blocking(move || store.delete(&replica)).await;
        return Err(stopped());
    }
    Ok(checksums)
}

async fn receive_small(
    exchange: &mut Exchange<'_>,
    claim: &Claim,
    plan: &Plan,
    admission: Admission,
) -> Result<(Vec<Checksum>, u64), Failure> {
    let core = exchange.input.connection().core().clone();
    let receiving = small::receive(exchange, claim, plan);
    let bytes = match select(std::pin::pin!(receiving), claim.until_stopped()).await {
        Either::Left((bytes, _)) => bytes?,
        Either::Right(((), _)) => return Err(stopped()),
    };
    claim.transfer().progress().moved(bytes.len() as u64);
    let (size, algorithms) = (bytes.len() as u64, plan.algorithms);
    let expected = plan.expected.clone();
    claim.finishing().map_err(|_| stopped())?;
    // Everything of a small upload happens in one job: a hand-over between threads costs more than hashing 64 KiB.
    core.blocking(move || {
        let mut digests = Digests::new(algorithms, None);
        digests.update_inline(&bytes);
        let (checksums, blocks) = digests.finish_inline();
        compare(&expected, &checksums)?;
        let commit = commit_of(size, &checksums, blocks);
        admission.store_small(&bytes, commit).map_err(|error| failure_of(&error))?;
        Ok((checksums, size))
    })
    .await
    .map_err(|error| Failure::internal(format!("the upload cannot be stored: {error}")))?
}

async fn receive_large(
    exchange: &mut Exchange<'_>,
    claim: &Claim,
    plan: &Plan,
    admission: Admission,
) -> Result<(Vec<Checksum>, u64), Failure> {
    let core = exchange.input.connection().core().clone();
    let lost = |error: std::io::Error| Failure::internal(format!("the upload cannot be stored: {error}"));
    let upload =
        core.blocking(move || admission.open()).await.map_err(lost)?.map_err(|error| failure_of(&error))?;
    let uncached = exchange.port.settings.io_mode == IoMode::Dontcache;
    let writes = Writes::new(&core, upload.file(), uncached, claim.transfer(), &exchange.port.store);
    let mut digests = Digests::new(plan.algorithms, exchange.port.digests.as_ref());
    let body = match plan.length {
        Some(length) => Body::Length(length),
        None => Body::Chunked(http1::ChunkedDecoder::new()),
    };
    let mut receiving = Receiving::new(
        exchange.input,
        body,
        &writes,
        upload,
        &mut digests,
        claim,
        plan.maximum_size,
        exchange.port.settings.idle_limit,
    );
    let received = match select(std::pin::pin!(receiving.run()), claim.until_stopped()).await {
        Either::Left((received, _)) => received,
        Either::Right(((), _)) => Err(stopped()),
    };
    let upload = receiving.upload.take();
    drop(receiving);
    // Whatever happened: only when the disk is done with the slots may the file be committed, or go.
    let written = writes.settled().await;
    let (Ok(size), Ok(()), Some(upload)) = (&received, &written, upload) else {
        let failure = match (received, written) {
            (Err(failure), _) => failure,
            (Ok(_), Err(error)) => Failure::disk(format!("writing the replica failed: {error}")),
            (Ok(_), Ok(())) => Failure::internal("the upload lost its file"),
        };
        return Err(failure);
    };
    let size = *size;
    let (checksums, blocks) = digests.finish().await.map_err(lost)?;
    let checked = compare(&plan.expected, &checksums).and_then(|()| claim.finishing().map_err(|_| stopped()));
    let commit = commit_of(size, &checksums, blocks);
    core.blocking(move || match checked {
        Ok(()) => upload.commit(commit).map(drop).map_err(|error| failure_of(&error)),
        Err(failure) => {
            // Frees the space, which takes the file system a while.
            upload.abort();
            Err(failure)
        }
    })
    .await
    .map_err(lost)??;
    Ok((checksums, size))
}

pub(super) fn commit_of(size: u64, checksums: &[Checksum], blocks: Vec<u32>) -> Commit {
    let checksums: BTreeMap<String, String> = checksums
        .iter()
        .map(|checksum| (checksum.algorithm().name().to_owned(), checksum.hex().to_string()))
        .collect();
    Commit { size, checksums, blocks, created_at: Timestamp::now() }
}

pub(super) fn compare(expected: &[Checksum], actual: &[Checksum]) -> Result<(), Failure> {
    if mismatch(expected, actual).is_empty() {
        Ok(())
    } else {
        Err(Failure::checksum_mismatch(mismatch_text(expected, actual)))
    }
}

/// The replica is durable: tells the client what the door makes of it. What becomes of the replica is control's to
/// see to, whether the client is still there or not.
async fn settle(exchange: &mut Exchange<'_>, claim: &Claim, plan: &Plan, checksums: &[Checksum]) -> After {
    match claim.await_verdict().await {
        Verdict::Keep => {
            let mut answer = Vec::with_capacity(512);
            let mut head = ResponseHead::new(&mut answer, plan.success_status, &date())
                .header("ETag", format_args!("\"{}\"", plan.spec.replica))
                .header("Accept-Ranges", "bytes");
            head = digest_headers(head, exchange.request, checksums);
            if plan.success_status != 204 {
                // RFC 9110 §8.6: never with 204.
                head = head.header("Content-Length", 0);
            }
            head.connection(exchange.request.keep_alive(), exchange.request.version()).finish();
            exchange.send(answer, After::Next).await
        }
        Verdict::Discard { status, reason } => {
            exchange.refuse(status, &format!("the door refused the upload: {reason}")).await
        }
        Verdict::Timeout => {
            exchange
                .refuse(
                    504,
                    "the file is stored, but the door has not confirmed its name in time; look whether it is there \
                     before uploading it again",
                )
                .await
        }
    }
}

/// Why a transfer was stopped from outside.
pub(super) fn stopped() -> Failure {
    Failure::new(FailureCode::Internal, Side::Door, "the transfer was called off").with_status(503)
}

/// A failure of the store as the transfer's.
pub(super) fn failure_of(error: &StoreError) -> Failure {
    let text = error.to_string();
    let failure = match error {
        StoreError::NoSpace { .. } => Failure::no_space(text),
        StoreError::TooLarge { .. } => Failure::too_large(text),
        StoreError::Exists { .. } => Failure::exists(text),
        StoreError::NotFound { .. } => Failure::not_found(text),
        StoreError::SizeMismatch { .. } => Failure::size_mismatch(text),
        error if error.http_status() == 507 => Failure::no_space(text),
        error if error.is_disk_error() => Failure::disk(text),
        _ => Failure::internal(text),
    };
    failure.with_status(error.http_status())
}
