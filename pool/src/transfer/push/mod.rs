//! Push: the pool writes a replica to a remote server.
//!
//! ```text
//! claim → open → announce (PUT, Expect: 100-continue, redirects) → send: checked blocks → socket → answer
//!       → compare with the destination's size and checksum (the answer's, else by HEAD) → Finished
//! ```
//!
//! Whatever goes wrong after the destination has agreed to take the bytes, what is there is removed again.

mod acks;
mod check;
mod send;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::{Either, select};

use self::acks::Acks;
use self::check::Check;
use self::send::{Halt, Sending};
use super::get::checksums_of;
use super::put::{failure_of, stopped};
use super::request::Push;
use super::source::{ReadError, Source};
use super::strand::Strand;
use super::third_party::{Done, Far, Guard, ThirdParty};
use super::{Claim, Failure, FailureCode, Limit, Outcome, Side};
use crate::checksum::{Algorithm, Checksum, MultiHasher};
use crate::engine::core::Core;
use crate::http1::{AnswerBody, AnswerHead, digest_header};
use crate::remote::{Client, Opened, Question, RemoteError, Wire};
use crate::store::{Replica, ReplicaState};

/// The rate of a connection that no transfer limits (SO_MAX_PACING_RATE: no limit).
const UNLIMITED: u64 = u64::MAX;

/// Runs a push up to the verified file at the destination.
pub(super) async fn run(
    third_party: &ThirdParty,
    core: &Rc<Core>,
    claim: &Claim,
    push: &Push,
) -> Result<Done, Failure> {
    let remotes = &third_party.remotes;
    let guard = Guard::new(core, claim, &remotes.settings, Far::DESTINATION);
    let replica = open(third_party, core, claim).await?;
    let client = Client::new(core, remotes, &push.remote.url, &push.remote.headers);
    let client = client
        .marked(claim.transfer().mark())
        .showing(push.remote.credential.as_ref())
        .with_token(push.remote.token.as_ref());
    let taken = Cell::new(false);
    let job = Job {
        third_party,
        core,
        claim,
        push,
        guard: &guard,
        client: &client,
        replica: &replica,
        taken: &taken,
    };
    let pushed = job.run().await;
    match pushed {
        Err(failure) if taken.get() => {
            let removal = check::remove(core, &client).await;
            let text = format!("{}{removal}", failure.text());
            Err(Failure::new(failure.code, failure.side, text).with_retryable(failure.retryable))
        }
        pushed => pushed,
    }
}

/// The replica that the transfer holds, or opens.
async fn open(third_party: &ThirdParty, core: &Rc<Core>, claim: &Claim) -> Result<Arc<Replica>, Failure> {
    let replica = match claim.transfer().held() {
        Some(replica) => replica,
        None => {
            let id = claim.transfer().request().replica.clone();
            let store = Arc::clone(&third_party.port.store);
            let opened = core.blocking(move || store.open(&id)).await;
            opened
                .map_err(|error| Failure::internal(format!("the replica cannot be opened: {error}")))?
                .map_err(|error| failure_of(&error))?
        }
    };
    match replica.state() {
        ReplicaState::Broken => {
            Err(Failure::replica_broken(format!("replica {} is broken and not copied", replica.id())))
        }
        _ => Ok(replica),
    }
}

/// What the destination says to the announcement.
enum Announced {
    /// The bytes may come.
    Leave(Wire),
    /// It has all there is: nothing.
    Answered(Box<AnswerHead>),
}

fn is_success(head: &AnswerHead) -> bool {
    matches!(head.status(), 200 | 201 | 204 | 205)
}

struct Job<'a> {
    third_party: &'a ThirdParty,
    core: &'a Rc<Core>,
    claim: &'a Claim,
    push: &'a Push,
    guard: &'a Guard<'a>,
    client: &'a Client,
    replica: &'a Arc<Replica>,
    /// The destination has agreed to take the bytes: from here on something of them may be there.
    taken: &'a Cell<bool>,
}

impl Job<'_> {
    async fn run(&self) -> Result<Done, Failure> {
        let (transfer, size) = (self.claim.transfer(), self.replica.size());
        transfer.progress().set_requested(size);
        let strand = Strand::new(transfer);
        let source = Source::new(self.core, &self.third_party.port.reading, self.replica, transfer);
        let mut known = checksums_of(&self.replica.attributes());
        let announced = self.guard.run(self.announce(&known, &strand)).await?;
        self.taken.set(true);
        self.claim.started_apart().map_err(|_| stopped())?;
        strand.enter(Limit::Network);
        // adler32 costs nothing beside the sending, and a destination can mostly tell it.
        let adler32_missing = !known.iter().any(|checksum| checksum.algorithm() == Algorithm::Adler32);
        let hasher = RefCell::new(MultiHasher::new(adler32_missing.then_some(Algorithm::Adler32)));
        let answer = match announced {
            Announced::Answered(answer) => *answer,
            Announced::Leave(mut wire) => {
                let answer = self.guard.run_moving(self.send(&mut wire, &source, &hasher, &strand)).await?;
                if answer.keep_alive() && answer.body(false).is_ok_and(|body| body == AnswerBody::Length(0)) {
                    self.client.park(wire);
                }
                answer
            }
        };
        self.claim.finishing().map_err(|_| stopped())?;
        known.extend(hasher.into_inner().finish());
        let check = Check {
            core: self.core,
            client: self.client,
            source: &source,
            port: &self.third_party.port,
            strand: &strand,
            required: self.push.remote.require_checksum_verification,
        };
        self.guard.run(check.run(&answer, &mut known)).await?;
        Ok(Done { outcome: Outcome::Sent { whole: true, size, checksums: known } })
    }

    /// Asks for leave to send.
    async fn announce(&self, known: &[Checksum], strand: &Strand) -> Result<Announced, Failure> {
        let mut fields = check::wishes(known);
        if !known.is_empty() {
            // A destination that knows RFC 3230 verifies by itself.
            fields.push(("Digest", digest_header(known)));
        }
        let question = Question { method: "PUT", fields };
        let seen = |connection: &_| strand.attach(connection);
        match self.client.announce(&question, self.replica.size(), &seen).await {
            Ok(Opened::Leave(wire)) => Ok(Announced::Leave(wire)),
            Ok(Opened::Answered(reply)) if self.replica.size() == 0 && is_success(&reply.head) => {
                let answer = Box::new(reply.head.clone());
                self.client.discard(reply).await;
                Ok(Announced::Answered(answer))
            }
            Ok(Opened::Answered(reply)) if (200..300).contains(&reply.head.status()) => {
                let text = format!(
                    "failed PUT: the destination answered {} before it got the file",
                    reply.head.status_line()
                );
                Err(Far::DESTINATION.failure(FailureCode::RemoteProtocol, text))
            }
            Ok(Opened::Answered(reply)) => Err(Far::DESTINATION.rejected(&reply.head)),
            Err(error) => Err(Far::DESTINATION.unanswered(&error)),
        }
    }

    /// Sends the body and gives the answer, which is a success.
    async fn send(
        &self,
        wire: &mut Wire,
        source: &Source,
        hasher: &RefCell<MultiHasher>,
        strand: &Strand,
    ) -> Result<AnswerHead, Failure> {
        let settings = self.client.settings();
        let transfer = self.claim.transfer();
        let connection = wire.input.connection().clone();
        let acks = Acks::new(&connection, wire.head_underway(), transfer, strand);
        let limit = transfer.request().rate_limit_bytes_per_second;
        if let Some(limit) = limit {
            let _ = connection.limit_send_rate(limit.get());
        }
        let answering = async {
            let mut sending =
                Sending { wire, source, acks: &acks, strand, hasher, idle_timeout: settings.idle_timeout };
            sending.run().await?;
            // Where the destination computes checksums before it answers, that takes its time.
            strand.enter(Limit::Source);
            let time = check::time_for(source.replica().size(), settings.verification_timeout);
            match wire.answer(time.max(settings.first_byte_timeout)).await {
                Ok(head) => Ok(head),
                Err(error @ (RemoteError::Closed { .. } | RemoteError::Broken { .. })) => {
                    Err(Halt::Lost(error.to_string()))
                }
                Err(error) => Err(Halt::Unanswered(error)),
            }
        };
        let ended = match select(pin!(answering), pin!(acks.keep_noting())).await {
            Either::Left((ended, _)) => ended,
            Either::Right((never, _)) => match never {},
        };
        acks.note();
        if limit.is_some() {
            let _ = connection.limit_send_rate(UNLIMITED);
        }
        let (progress, elapsed) = (transfer.progress(), self.guard.elapsed());
        match ended {
            Ok(head) if is_success(&head) => {
                acks.complete();
                Ok(head)
            }
            Ok(head) | Err(Halt::Answered(head)) => {
                // Such a refusal is of the name, not of the bytes: what is there is not ours to remove.
                if matches!(head.status(), 401 | 403 | 404 | 405 | 409 | 412 | 415 | 417) {
                    self.taken.set(false);
                }
                Err(Far::DESTINATION.rejected(&head))
            }
            Err(Halt::Lost(problem)) => Err(Far::DESTINATION.lost(progress, &connection, elapsed, &problem)),
            Err(Halt::Stalled) => {
                Err(Far::DESTINATION.stalled(progress, &connection, elapsed, settings.idle_timeout))
            }
            Err(Halt::Unanswered(error)) => Err(Far::DESTINATION.unanswered(&error)),
            Err(Halt::Unreadable(error)) => Err(unreadable(&error, self.replica)),
        }
    }
}

fn unreadable(error: &ReadError, replica: &Replica) -> Failure {
    let code = match error {
        ReadError::Disk { .. } => FailureCode::DiskError,
        ReadError::Truncated(_) | ReadError::Bad(_) => FailureCode::ReplicaBroken,
    };
    Failure::new(code, Side::Pool, format!("reading {} failed: {error}", replica.id()))
}
