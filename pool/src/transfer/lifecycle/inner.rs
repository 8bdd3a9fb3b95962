//! What the transfer's mutex protects, and the steps that are made under it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use slab::Slab;

use super::{MAX_REASON_BYTES, Transfer, Verdict};
use crate::checksum::Checksum;
use crate::store::Replica;
use crate::transfer::clock::Moment;
use crate::transfer::failure::{Failure, one_line};
use crate::transfer::record::{Failed, Finished};
use crate::transfer::state::{IllegalStep, State, Step};

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) state: State,
    /// One place for each open claim, with the waker of who waits there.
    pub(super) claims: Slab<Option<Waker>>,
    /// PUT, pull, push: the one claim was given out.
    pub(super) used: bool,
    /// The last sign of life of the client.
    pub(super) last_used_at: Moment,
    /// Time in the pool's queue and waiting for the client, before the start.
    pub(super) queued_us: u64,
    pub(super) absent_us: u64,
    /// GET: the last response that went well.
    pub(super) answered: Option<Answered>,
    /// GET: the last response that did not, unless one went well after it.
    pub(super) trouble: Option<Failure>,
    pub(super) verdict: Option<Verdict>,
    /// GET: what is read, held until the end, so that its removal meanwhile takes it from nobody.
    pub(super) held: Option<Arc<Replica>>,
}

#[derive(Debug)]
pub(super) struct Answered {
    pub(super) whole: bool,
    pub(super) size: u64,
    pub(super) checksums: Vec<Checksum>,
}

/// What a locked section leaves to do once the lock is released.
#[derive(Default)]
pub(super) struct After {
    pub(super) wake: Vec<Waker>,
    pub(super) changed: bool,
    /// Closing a file may take a moment.
    pub(super) released: Option<Arc<Replica>>,
}

impl Inner {
    pub(super) fn step(&mut self, step: Step, after: &mut After) -> Result<(), IllegalStep> {
        self.state = self.state.after(step)?;
        after.changed = true;
        if self.state.has_ended() {
            after.released = self.held.take();
        }
        Ok(())
    }

    pub(super) fn take_wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.claims.iter_mut().filter_map(|(_, waker)| waker.take())
    }
}

pub(super) fn decide_locked(inner: &mut Inner, verdict: Verdict, after: &mut After) -> bool {
    if inner.verdict.is_some() {
        return false;
    }
    let verdict = match verdict {
        Verdict::Discard { status, reason } => {
            Verdict::Discard { status, reason: one_line(&reason, MAX_REASON_BYTES) }
        }
        Verdict::Keep | Verdict::Timeout => verdict,
    };
    inner.verdict = Some(verdict);
    after.wake.extend(inner.take_wakers());
    after.changed = true;
    true
}

pub(super) fn remember(inner: &mut Inner, key: usize, waker: &Waker) {
    if let Some(place) = inner.claims.get_mut(key)
        && !place.as_ref().is_some_and(|known| known.will_wake(waker))
    {
        *place = Some(waker.clone());
    }
}

impl Transfer {
    /// A GET without open requests ends: as its last response did.
    pub(super) fn end_get(&self, inner: &mut Inner, after: &mut After) {
        let trouble = inner.trouble.take();
        match (inner.answered.take(), trouble) {
            (Some(Answered { whole: true, size, checksums }), _)
            | (Some(Answered { size, checksums, .. }), None) => {
                // Answers without a start (a 304, say) count as started and finished at once.
                if matches!(inner.state, State::Ready { .. }) {
                    let _ = inner.step(Step::Start(self.now()), after);
                }
                let _ = inner.step(Step::AllMoved, after);
                let _ = self.finish_locked(inner, size, checksums, after);
            }
            (_, Some(failure)) => {
                let _ = self.fail_locked(inner, failure, after);
            }
            (None, None) => {
                let gone = "the client's connection ended before any response was complete";
                let _ = self.fail_locked(inner, Failure::connection_lost(gone), after);
            }
        }
    }

    pub(super) fn finish_locked(
        &self,
        inner: &mut Inner,
        size: u64,
        checksums: Vec<Checksum>,
        after: &mut After,
    ) -> Result<(), IllegalStep> {
        let finished_at = self.now();
        let started_at = inner.state.started_at().unwrap_or(finished_at);
        let summary = self.summary(inner);
        let finished = Finished { size, checksums, started_at, finished_at, summary };
        inner.step(Step::Finish(Arc::new(finished)), after)
    }

    pub(super) fn fail_locked(
        &self,
        inner: &mut Inner,
        failure: Failure,
        after: &mut After,
    ) -> Result<(), IllegalStep> {
        let started_at = inner.state.started_at();
        let failed = Failed { failure, started_at, failed_at: self.now(), summary: self.summary(inner) };
        self.leave_queue(inner);
        inner.step(Step::Fail(Arc::new(failed)), after)
    }

    pub(super) fn abort_locked(&self, inner: &mut Inner, failure: Failure, after: &mut After) -> bool {
        let aborted = self.fail_locked(inner, failure, after).is_ok();
        if aborted {
            self.stop_claims(inner, after);
        }
        aborted
    }

    /// Whoever ends in the queue has waited in it until now.
    pub(super) fn leave_queue(&self, inner: &mut Inner) {
        if matches!(inner.state, State::Queued) {
            inner.queued_us = self.now().monotonic_us.saturating_sub(self.submitted_at.monotonic_us);
        }
    }

    pub(super) fn stop_claims(&self, inner: &mut Inner, after: &mut After) {
        self.stopped.store(true, Ordering::Release);
        after.wake.extend(inner.take_wakers());
    }
}
