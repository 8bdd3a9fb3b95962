//! After the PUT: what the destination has, held against what was sent; and removing what is there when it is not that.

use std::rc::Rc;
use std::time::Duration;

use crate::checksum::{Algorithm, AlgorithmSet, Checksum, mismatch, mismatch_text};
use crate::engine::core::Core;
use crate::http1::{AnswerHead, answered_checksums, want_digest_header, want_repr_digest_header};
use crate::remote::{Client, Question};
use crate::transfer::port::Port;
use crate::transfer::put::digests::Digests;
use crate::transfer::source::Source;
use crate::transfer::strand::Strand;
use crate::transfer::third_party::Far;
use crate::transfer::{Failure, FailureCode};

/// A destination that is not ready to tell (202), or tells no checksum of what it has just got, is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Sooner, where only the checksum is missing: some compute it in the background.
const ASK_FOR_CHECKSUM_AGAIN: Duration = Duration::from_secs(1);
/// So often for the checksum alone.
const CHECKSUM_QUESTIONS: u32 = 3;
/// Beside the configured time, one second more for each of so many bytes.
const BYTES_PER_SECOND: u64 = 10 << 20;
/// For removing a file that is not to stay.
const REMOVAL_TIME: Duration = Duration::from_secs(30);

/// Holds the destination's file against the replica.
pub(super) struct Check<'a> {
    pub(super) core: &'a Rc<Core>,
    pub(super) client: &'a Client,
    pub(super) source: &'a Source,
    pub(super) port: &'a Port,
    pub(super) strand: &'a Strand,
    /// Fail when the destination's checksum cannot be had.
    pub(super) required: bool,
}

/// How long a destination may take to make sure of a file of that size.
pub(super) fn time_for(size: u64, configured: Duration) -> Duration {
    configured + Duration::from_secs(size / BYTES_PER_SECOND)
}

/// The fields that ask for checksums, those that are on record first.
pub(super) fn wishes(known: &[Checksum]) -> Vec<(&'static str, String)> {
    let mut wanted: Vec<Algorithm> = known.iter().map(Checksum::algorithm).collect();
    for other in [Algorithm::Adler32, Algorithm::Md5, Algorithm::Sha256] {
        if !wanted.contains(&other) {
            wanted.push(other);
        }
    }
    vec![("Want-Digest", want_digest_header(&wanted)), ("Want-Repr-Digest", want_repr_digest_header(&wanted))]
}

impl Check<'_> {
    /// Verifies by what the PUT's answer tells, else by HEAD. `known`: the replica's checksums.
    pub(super) async fn run(&self, answer: &AnswerHead, known: &mut Vec<Checksum>) -> Result<(), Failure> {
        let told = answered_checksums(answer, false);
        if !told.is_empty() {
            return self.compare(told, known).await;
        }
        let due_at = self.core.now()
            + time_for(self.source.replica().size(), self.client.settings().verification_timeout);
        let mut questions = 0;
        loop {
            let question = Question { method: "HEAD", fields: wishes(known) };
            let asked = self.client.ask(&question, &|connection| self.strand.attach(connection)).await;
            let reply = match asked {
                Ok(reply) => reply,
                Err(_) if !self.required => return Ok(()),
                Err(error) => return Err(failed(format!("HEAD: {error}"))),
            };
            let head = reply.head.clone();
            self.client.discard(reply).await;
            questions += 1;
            let pause = match head.status() {
                202 => ASK_AGAIN,
                200 => {
                    self.check_size(&head)?;
                    let told = answered_checksums(&head, false);
                    match told.is_empty() {
                        false => return self.compare(told, known).await,
                        true if !self.required => return Ok(()),
                        true if questions < CHECKSUM_QUESTIONS => ASK_FOR_CHECKSUM_AGAIN,
                        true => {
                            return Err(failed(
                                "the destination tells no checksum that is known here (Digest, Repr-Digest, \
                                 Content-MD5, OC-Checksum); with RequireChecksumVerification: false it is copied \
                                 without",
                            )
                            .with_retryable(false));
                        }
                    }
                }
                404 | 410 => return Err(failed(format!("rejected HEAD: {}", head.status_line()))),
                _ if !self.required => return Ok(()),
                _ => return Err(failed(format!("rejected HEAD: {}", head.status_line()))),
            };
            if self.core.now() + pause >= due_at {
                let text = format!(
                    "the destination was not ready to tell what it has: HEAD was answered {} to the end",
                    head.status_line()
                );
                return Err(failed(text));
            }
            self.core.sleep(pause).await;
        }
    }

    fn check_size(&self, head: &AnswerHead) -> Result<(), Failure> {
        let size = self.source.replica().size();
        match head.content_length() {
            Ok(Some(length)) if length != size => {
                Err(failed(format!("HEAD Content-Length ({length}) does not match file size ({size})")))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn compare(&self, mut told: Vec<Checksum>, known: &mut Vec<Checksum>) -> Result<(), Failure> {
        let has =
            |known: &[Checksum], algorithm| known.iter().any(|checksum| checksum.algorithm() == algorithm);
        if let Some(first) = told.first()
            && !told.iter().any(|told| has(known, told.algorithm()))
        {
            known.extend(self.compute(first.algorithm()).await?);
        }
        told.retain(|told| has(known, told.algorithm()));
        match mismatch(&told, known).is_empty() {
            true => Ok(()),
            false => Err(failed(mismatch_text(&told, known))),
        }
    }

    /// A checksum of the replica that nobody has asked for before.
    async fn compute(&self, algorithm: Algorithm) -> Result<Vec<Checksum>, Failure> {
        let wanted: AlgorithmSet = [algorithm].into_iter().collect();
        let mut digests = Digests::new(wanted, self.port.digests.as_ref());
        let (mut offset, size) = (0, self.source.replica().size());
        let unreadable =
            |error: crate::transfer::source::ReadError| super::unreadable(&error, self.source.replica());
        while offset < size {
            let stretch = self.source.stretch(offset..size);
            let mut blocks = self.source.blocks(stretch).await.map_err(unreadable)?;
            while let Some(piece) =
                blocks.next(&|limit| self.strand.enter(limit)).await.map_err(unreadable)?
            {
                let end = piece.part.end;
                let computed = digests.update(self.core, &Rc::new(piece.slot), end).await;
                computed
                    .map_err(|error| Failure::internal(format!("checksums cannot be computed: {error}")))?;
                offset += piece.part.len() as u64;
            }
        }
        let (checksums, _) = digests
            .finish()
            .await
            .map_err(|error| Failure::internal(format!("checksums cannot be computed: {error}")))?;
        Ok(checksums.into_iter().filter(|checksum| checksum.algorithm() == algorithm).collect())
    }
}

/// Removes what a failed push has left at the destination. Says what became of it.
pub(super) async fn remove(core: &Rc<Core>, client: &Client) -> String {
    let question = Question { method: "DELETE", fields: Vec::new() };
    let stays = |why: String| format!("; what is there could not be removed: {why}");
    match core.within(REMOVAL_TIME, client.ask(&question, &|_| {})).await {
        None => stays(format!("no answer to DELETE within {} s", REMOVAL_TIME.as_secs())),
        Some(Err(error)) => stays(format!("DELETE: {error}")),
        Some(Ok(reply)) => {
            let (status, line) = (reply.head.status(), reply.head.status_line());
            client.discard(reply).await;
            match status {
                200 | 202 | 204 => "; what was there of it is removed".to_owned(),
                404 | 410 => "; nothing of it is there".to_owned(),
                _ => stays(format!("rejected DELETE: {line}")),
            }
        }
    }
}

fn failed(problem: impl AsRef<str>) -> Failure {
    Far::DESTINATION.failure(FailureCode::Verification, format!("verification failed: {}", problem.as_ref()))
}
