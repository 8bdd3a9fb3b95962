//! What shards do with a transfer: take a hold on it, begin, end, and let go.

use std::sync::Arc;
use std::task::{Poll, Waker};

use super::inner::{Answered, remember};
use super::{MAX_OPEN_CLAIMS, Transfer, Verdict};
use crate::transfer::claim::Claim;
use crate::transfer::desk::{ClaimMethod, Refusal};
use crate::transfer::failure::{Failure, Side};
use crate::transfer::record::Outcome;
use crate::transfer::request::Kind;
use crate::transfer::state::{IllegalStep, State, StateName, Step};

impl Transfer {
    /// A hold on it for one request. Control has found it by its capability.
    pub fn claim(self: &Arc<Self>, method: ClaimMethod, path: &str) -> Result<Claim, Refusal> {
        if method != ClaimMethod::Options {
            match (&self.request.kind, method) {
                (Kind::Get(_), ClaimMethod::Get | ClaimMethod::Head) => {}
                (Kind::Put(_), ClaimMethod::Put) => {}
                (Kind::Get(_), _) => return Err(Refusal::WrongMethod { allowed: "GET, HEAD, OPTIONS" }),
                (Kind::Put(_), _) => return Err(Refusal::WrongMethod { allowed: "PUT, OPTIONS" }),
                // Nobody has the URL of a transfer that the pool makes by itself.
                (Kind::Pull(_) | Kind::Push(_) | Kind::LocalCopy(_), _) => {
                    return Err(Refusal::Unknown { back_to: None });
                }
            }
        }
        if path != self.request.path {
            return Err(Refusal::WrongPath);
        }
        let mut inner = self.lock();
        match inner.state {
            // Nobody has the URL of a transfer that was never ready.
            State::Queued => return Err(Refusal::Unknown { back_to: None }),
            State::Ready { .. } | State::Running { .. } | State::Finishing { .. } => {}
            State::Done(_) | State::Failed(_) | State::Cancelled(_) if inner.used => {
                return Err(Refusal::AlreadyUsed);
            }
            State::Done(_) | State::Failed(_) | State::Cancelled(_) => {
                return Err(Refusal::Expired {
                    back_to: Some(self.request.door.url.clone()).filter(|u| !u.is_empty()),
                });
            }
        }
        if method == ClaimMethod::Put {
            if inner.used {
                return Err(Refusal::AlreadyUsed);
            }
            inner.used = true;
        }
        if inner.claims.len() >= MAX_OPEN_CLAIMS {
            return Err(Refusal::TooMany { limit: MAX_OPEN_CLAIMS });
        }
        if method != ClaimMethod::Options {
            inner.last_used_at = self.now();
        }
        let key = inner.claims.insert(None);
        drop(inner);
        Ok(Claim::new(Arc::clone(self), method, key))
    }

    /// The one hold on a transfer that the pool carries out by itself. `None` when it has ended, or has one.
    #[must_use]
    pub fn claim_for_pool(self: &Arc<Self>) -> Option<Claim> {
        let method = match &self.request.kind {
            Kind::Get(_) | Kind::Put(_) => return None,
            // Alike for whoever holds the claim: the pool makes a replica by itself.
            Kind::Pull(_) | Kind::LocalCopy(_) => ClaimMethod::Pull,
            Kind::Push(_) => ClaimMethod::Push,
        };
        let mut inner = self.lock();
        if !matches!(inner.state, State::Ready { .. }) || inner.used {
            return None;
        }
        inner.used = true;
        let key = inner.claims.insert(None);
        drop(inner);
        Some(Claim::new(Arc::clone(self), method, key))
    }

    pub(in crate::transfer) fn start(&self) -> Result<(), IllegalStep> {
        let now = self.now();
        self.change(|inner, after| match inner.state {
            State::Running { .. } => Ok(()), // a further request of a GET
            State::Queued
            | State::Ready { .. }
            | State::Finishing { .. }
            | State::Done(_)
            | State::Failed(_)
            | State::Cancelled(_) => {
                let ready_us = inner.state.ready_at().map_or(0, |at| at.monotonic_us);
                inner.step(Step::Start(now), after)?;
                inner.absent_us = now.monotonic_us.saturating_sub(ready_us);
                self.progress.begin(now);
                Ok(())
            }
        })
    }

    pub(in crate::transfer) fn all_moved(&self) -> Result<(), IllegalStep> {
        self.change(|inner, after| inner.step(Step::AllMoved, after))
    }

    pub(in crate::transfer) fn finish(&self, outcome: Outcome) -> Result<(), IllegalStep> {
        self.change(|inner, after| match (&self.request.kind, outcome) {
            (Kind::Get(_), Outcome::Sent { whole, size, checksums }) => {
                let whole = whole || inner.answered.as_ref().is_some_and(|before| before.whole);
                inner.answered = Some(Answered { whole, size, checksums });
                inner.trouble = None;
                Ok(())
            }
            (Kind::Put(_) | Kind::Pull(_) | Kind::LocalCopy(_), Outcome::Stored { size, checksums })
            | (Kind::Push(_), Outcome::Sent { size, checksums, .. }) => {
                if matches!(inner.state, State::Running { .. }) {
                    inner.step(Step::AllMoved, after)?;
                }
                self.finish_locked(inner, size, checksums, after)
            }
            (Kind::Get(_) | Kind::Push(_), Outcome::Stored { .. })
            | (Kind::Put(_) | Kind::Pull(_) | Kind::LocalCopy(_), Outcome::Sent { .. }) => {
                let text = format!("a {} ended with the result of another kind", self.request.kind.name());
                self.fail_locked(inner, Failure::internal(text), after)?;
                Err(IllegalStep { state: StateName::Failed, step: "finish" })
            }
        })
    }

    pub(in crate::transfer) fn claim_failed(&self, method: ClaimMethod, failure: Failure) {
        self.change(|inner, after| match method {
            ClaimMethod::Put | ClaimMethod::Pull | ClaimMethod::Push => {
                // The claim's own failure: nobody else is to be stopped. An ended transfer stays as it ended.
                let _ = self.fail_locked(inner, failure, after);
            }
            ClaimMethod::Get => inner.trouble = Some(failure),
            ClaimMethod::Head | ClaimMethod::Options => {}
        });
    }

    /// A claim is gone.
    pub(in crate::transfer) fn release(&self, key: usize) {
        let now = self.now();
        self.change(|inner, after| {
            inner.claims.remove(key);
            inner.last_used_at = now;
            if !inner.claims.is_empty() {
                return;
            }
            if inner.state.has_ended() {
                // Whoever counts running transfers counts this one until here.
                after.changed = true;
                return;
            }
            let whole_sent = inner.answered.as_ref().is_some_and(|answered| answered.whole);
            let pools_fault = inner.trouble.as_ref().is_some_and(|trouble| trouble.side == Side::Pool);
            match self.request.kind {
                Kind::Get(_) if whole_sent || pools_fault => self.end_get(inner, after),
                Kind::Get(_) | Kind::Put(_) | Kind::Pull(_) | Kind::Push(_) | Kind::LocalCopy(_) => {}
            }
        });
    }

    pub(in crate::transfer) fn poll_stopped(&self, key: usize, waker: &Waker) -> Poll<()> {
        if self.stopped() {
            return Poll::Ready(());
        }
        let mut inner = self.lock();
        // Again, now that nobody can set it behind our back.
        if self.stopped() {
            return Poll::Ready(());
        }
        remember(&mut inner, key, waker);
        Poll::Pending
    }

    pub(in crate::transfer) fn poll_verdict(&self, key: usize, waker: &Waker) -> Poll<Verdict> {
        let mut inner = self.lock();
        match &inner.verdict {
            Some(verdict) => Poll::Ready(verdict.clone()),
            None => {
                remember(&mut inner, key, waker);
                Poll::Pending
            }
        }
    }
}
