//! What control does with a transfer: admit it, call it off, decide about its replica, see to its deadlines.

use std::sync::Arc;

use super::inner::decide_locked;
use super::{MAX_REASON_BYTES, Timeouts, Transfer, Verdict};
use crate::store::Replica;
use crate::transfer::failure::{Failure, one_line};
use crate::transfer::record::Cancelled;
use crate::transfer::request::Kind;
use crate::transfer::state::{IllegalStep, State, Step};

impl Transfer {
    /// GET: the replica that will be read. It stays open until the transfer has ended.
    pub fn hold(&self, replica: Arc<Replica>) {
        self.change(|inner, _| {
            if !inner.state.has_ended() {
                inner.held = Some(replica);
            }
        });
    }

    /// The replica that is held.
    #[must_use]
    pub fn held(&self) -> Option<Arc<Replica>> {
        self.lock().held.clone()
    }

    /// Its turn has come: the client may be sent.
    pub fn admit(&self) -> Result<(), IllegalStep> {
        let now = self.now();
        self.change(|inner, after| {
            inner.queued_us = now.monotonic_us.saturating_sub(self.submitted_at.monotonic_us);
            inner.last_used_at = now;
            inner.step(Step::Admit(now), after)
        })
    }

    /// Calls it off. `false` if it had ended before.
    pub fn cancel(&self, reason: &str) -> bool {
        self.change(|inner, after| {
            let reason = one_line(reason, MAX_REASON_BYTES);
            let summary = self.summary(inner);
            let cancelled = Cancelled { reason, cancelled_at: self.now(), summary };
            self.leave_queue(inner);
            let cancelled = inner.step(Step::Cancel(Arc::new(cancelled)), after).is_ok();
            if cancelled {
                self.stop_claims(inner, after);
            }
            cancelled
        })
    }

    /// Ends it from outside with a failure. `false` if it had ended before.
    pub fn abort(&self, failure: Failure) -> bool {
        self.change(|inner, after| self.abort_locked(inner, failure, after))
    }

    /// The door has decided about an upload's replica. The first decision counts; `false` for a later one.
    pub fn decide(&self, verdict: Verdict) -> bool {
        self.change(|inner, after| decide_locked(inner, verdict, after))
    }

    /// Does what time demands: deadline, absent client, lingering GET, unclaimed upload. Control calls it several
    /// times a second. While `hurry`, GETs do not linger.
    pub fn tick(&self, timeouts: &Timeouts, hurry: bool) {
        let now = self.now();
        self.change(|inner, after| {
            let idle = now.since(inner.last_used_at);
            let nobody = inner.claims.is_empty();
            let past_deadline = self.request.deadline_at.is_some_and(|at| at <= now.wall());
            match (&inner.state, &self.request.kind) {
                (
                    State::Queued | State::Ready { .. } | State::Running { .. } | State::Finishing { .. },
                    _,
                ) if past_deadline => {
                    self.abort_locked(inner, Failure::deadline(self.progress.bytes_moved()), after);
                }
                (State::Ready { .. }, Kind::Get(_) | Kind::Put(_)) if nobody && idle >= timeouts.client => {
                    let absent = || Failure::client_absent(timeouts.client.as_secs());
                    let failure = inner.trouble.take().unwrap_or_else(absent);
                    self.abort_locked(inner, failure, after);
                }
                (State::Running { .. }, Kind::Get(_)) if nobody && (hurry || idle >= timeouts.linger) => {
                    self.end_get(inner, after);
                }
                (State::Done(finished), kind)
                    if kind.stores()
                        && inner.verdict.is_none()
                        && now.since(finished.finished_at) >= timeouts.claim =>
                {
                    decide_locked(inner, Verdict::Timeout, after);
                }
                (
                    State::Queued
                    | State::Ready { .. }
                    | State::Running { .. }
                    | State::Finishing { .. }
                    | State::Done(_)
                    | State::Failed(_)
                    | State::Cancelled(_),
                    _,
                ) => {}
            }
        });
    }
}
