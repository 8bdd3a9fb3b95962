//! [`Transfer`]: one movement of one replica's bytes, from the door's request to its end.
//!
//! Control admits, cancels and ticks it; shards claim it. All of that meets in one short mutex; counters are outside
//! of it in [`Progress`]. Whoever changes the state tells the [`Observer`] after the mutex is released.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use slab::Slab;

use crate::checksum::Checksum;
use crate::marking::Mark;
use crate::store::Replica;

use super::capability::Capability;
use super::claim::Claim;
use super::clock::{Clock, Moment};
use super::desk::{ClaimMethod, Refusal};
use super::failure::{Failure, Side, one_line};
use super::link::Limit;
use super::progress::Progress;
use super::record::{Cancelled, Failed, Finished, LimitShares, Outcome, Summary};
use super::request::{Kind, Pull, Put, TransferRequest};
use super::state::{IllegalStep, State, StateName, Step};

/// Requests open on one transfer at once.
pub const MAX_OPEN_CLAIMS: usize = 1024;
/// Longest reason of a cancellation or a discard, in bytes.
const MAX_REASON_BYTES: usize = 512;

/// Is told when a transfer changed. Called from any thread, without any lock of the transfer held.
pub trait Observer: Send + Sync + Debug {
    /// The state changed, or the last claim of an ended transfer was released.
    fn changed(&self);
}

/// What the door decided about an upload's replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The name points to it now.
    Keep,
    /// The door does not want it.
    Discard {
        /// What the client is answered.
        status: u16,
        /// Why, in one line.
        reason: String,
    },
    /// The door has not said anything in time: the replica stays as an orphan.
    Timeout,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From Ready to the client's first request, and between its signs of life before the start.
    pub client: Duration,
    /// GET: without an open request after a range (or broken) response.
    pub linger: Duration,
    /// PUT: from durable to the door's Acknowledge.
    pub claim: Duration,
}

/// One transfer. Shared by control and shards.
#[derive(Debug)]
pub struct Transfer {
    request: TransferRequest,
    capability: Capability,
    submitted_at: Moment,
    progress: Progress,
    /// What its packets are marked with, set before it is admitted.
    mark: OnceLock<Mark>,
    observer: Arc<dyn Observer>,
    /// Ended from outside, read on the bulk path without the mutex.
    stopped: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    /// One place for each open claim, with the waker of who waits there.
    claims: Slab<Option<Waker>>,
    /// PUT, pull, push: the one claim was given out.
    used: bool,
    /// The last sign of life of the client.
    last_used_at: Moment,
    /// Time in the pool's queue and waiting for the client, before the start.
    queued_us: u64,
    absent_us: u64,
    /// GET: the last response that went well.
    answered: Option<Answered>,
    /// GET: the last response that did not, unless one went well after it.
    trouble: Option<Failure>,
    verdict: Option<Verdict>,
    /// GET: what is read, held until the end, so that its removal meanwhile takes it from nobody.
    held: Option<Arc<Replica>>,
}

#[derive(Debug)]
struct Answered {
    whole: bool,
    size: u64,
    checksums: Vec<Checksum>,
}

/// What a locked section leaves to do once the lock is released.
#[derive(Default)]
struct After {
    wake: Vec<Waker>,
    changed: bool,
    /// Closing a file may take a moment.
    released: Option<Arc<Replica>>,
}

impl Transfer {
    /// A transfer that waits for its turn.
    #[must_use]
    pub fn new(
        request: TransferRequest,
        capability: Capability,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let now = clock.now();
        let progress = Progress::new(clock);
        match &request.kind {
            Kind::Put(Put { size: Some(size), .. }) | Kind::Pull(Pull { size: Some(size), .. }) => {
                progress.set_requested(*size);
            }
            Kind::Get(_) | Kind::Put(_) | Kind::Pull(_) | Kind::Push(_) | Kind::LocalCopy(_) => {}
        }
        Self {
            request,
            capability,
            submitted_at: now,
            progress,
            mark: OnceLock::new(),
            observer,
            stopped: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                state: State::Queued,
                claims: Slab::new(),
                used: false,
                last_used_at: now,
                queued_us: 0,
                absent_us: 0,
                answered: None,
                trouble: None,
                verdict: None,
                held: None,
            }),
        }
    }

    /// What the door asked for.
    #[must_use]
    pub fn request(&self) -> &TransferRequest {
        &self.request
    }

    /// The secret of its URL.
    #[must_use]
    pub fn capability(&self) -> &Capability {
        &self.capability
    }

    /// When the door asked.
    #[must_use]
    pub fn submitted_at(&self) -> Moment {
        self.submitted_at
    }

    /// Its counters.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Marks its packets from now on. The first call counts.
    pub fn mark_with(&self, mark: Mark) {
        let _ = self.mark.set(mark);
    }

    /// What its packets are marked with, if they are.
    #[must_use]
    pub fn mark(&self) -> Option<&Mark> {
        self.mark.get()
    }

    /// Its state now.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// Requests that are open on it.
    #[must_use]
    pub fn open_claims(&self) -> usize {
        self.lock().claims.len()
    }

    /// What the door decided about an upload; `None` while it has not.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.lock().verdict.clone()
    }

    /// It was called off. See [`stopped`](Self::stopped) for every end from outside.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        matches!(self.lock().state, State::Cancelled(_))
    }

    /// It was ended from outside: cancelled, past its deadline, or the pool stops. One atomic read.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// What holds it back, up to now.
    #[must_use]
    pub fn limits(&self) -> LimitShares {
        self.limits_of(&self.lock())
    }

    /// How long it waited for its turn, or has waited so far.
    #[must_use]
    pub fn queue_time(&self) -> Duration {
        let inner = self.lock();
        let waited_us = match inner.state {
            State::Queued => self.now().monotonic_us.saturating_sub(self.submitted_at.monotonic_us),
            State::Ready { .. }
            | State::Running { .. }
            | State::Finishing { .. }
            | State::Done(_)
            | State::Failed(_)
            | State::Cancelled(_) => inner.queued_us,
        };
        Duration::from_micros(waited_us)
    }

    // ---- control ----------------------------------------------------------------------------------------------

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

    // ---- claims -----------------------------------------------------------------------------------------------

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

    pub(super) fn start(&self) -> Result<(), IllegalStep> {
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

    pub(super) fn all_moved(&self) -> Result<(), IllegalStep> {
        self.change(|inner, after| inner.step(Step::AllMoved, after))
    }

    pub(super) fn finish(&self, outcome: Outcome) -> Result<(), IllegalStep> {
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

    pub(super) fn claim_failed(&self, method: ClaimMethod, failure: Failure) {
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
    pub(super) fn release(&self, key: usize) {
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

    pub(super) fn poll_stopped(&self, key: usize, waker: &Waker) -> Poll<()> {
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

    pub(super) fn poll_verdict(&self, key: usize, waker: &Waker) -> Poll<Verdict> {
        let mut inner = self.lock();
        match &inner.verdict {
            Some(verdict) => Poll::Ready(verdict.clone()),
            None => {
                remember(&mut inner, key, waker);
                Poll::Pending
            }
        }
    }

    // ---- under the lock ---------------------------------------------------------------------------------------

    /// A GET without open requests ends: as its last response did.
    fn end_get(&self, inner: &mut Inner, after: &mut After) {
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

    fn finish_locked(
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

    fn fail_locked(&self, inner: &mut Inner, failure: Failure, after: &mut After) -> Result<(), IllegalStep> {
        let started_at = inner.state.started_at();
        let failed = Failed { failure, started_at, failed_at: self.now(), summary: self.summary(inner) };
        self.leave_queue(inner);
        inner.step(Step::Fail(Arc::new(failed)), after)
    }

    fn abort_locked(&self, inner: &mut Inner, failure: Failure, after: &mut After) -> bool {
        let aborted = self.fail_locked(inner, failure, after).is_ok();
        if aborted {
            self.stop_claims(inner, after);
        }
        aborted
    }

    /// Whoever ends in the queue has waited in it until now.
    fn leave_queue(&self, inner: &mut Inner) {
        if matches!(inner.state, State::Queued) {
            inner.queued_us = self.now().monotonic_us.saturating_sub(self.submitted_at.monotonic_us);
        }
    }

    fn stop_claims(&self, inner: &mut Inner, after: &mut After) {
        self.stopped.store(true, Ordering::Release);
        after.wake.extend(inner.take_wakers());
    }

    fn summary(&self, inner: &Inner) -> Summary {
        Summary {
            bytes_moved: self.progress.bytes_moved(),
            transfer_time: self.progress.transfer_time(),
            mean_read_bandwidth: self.progress.mean_read_bandwidth(),
            mean_write_bandwidth: self.progress.mean_write_bandwidth(),
            connections: self.progress.connections(),
            limits: LimitShares { now: None, ..self.limits_of(inner) },
        }
    }

    /// Waiting in the queue counts as queue, waiting for the client as source, the rest as the connections say.
    fn limits_of(&self, inner: &Inner) -> LimitShares {
        let now = self.now();
        let until_now = |since: Moment| now.monotonic_us.saturating_sub(since.monotonic_us);
        let (on_connections, mut times_us) = self.progress.limited(now);
        let limit_now = match &inner.state {
            State::Queued => {
                times_us[Limit::Queue as usize] += until_now(self.submitted_at);
                Some(Limit::Queue)
            }
            State::Ready { ready_at } => {
                times_us[Limit::Source as usize] += until_now(*ready_at);
                Some(Limit::Source)
            }
            State::Running { .. } => on_connections.or(Some(Limit::Source)),
            State::Finishing { .. } => on_connections.or(Some(Limit::Disk)),
            State::Done(_) | State::Failed(_) | State::Cancelled(_) => None,
        };
        times_us[Limit::Queue as usize] += inner.queued_us;
        times_us[Limit::Source as usize] += inner.absent_us;
        LimitShares::of(limit_now, times_us)
    }

    pub(super) fn now(&self) -> Moment {
        self.progress.clock().now()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere cannot leave it half changed: every section assigns whole values.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `section` under the lock, then wakes and tells whom it concerns without it.
    fn change<R>(&self, section: impl FnOnce(&mut Inner, &mut After) -> R) -> R {
        let mut after = After::default();
        let result = section(&mut self.lock(), &mut after);
        after.wake.into_iter().for_each(Waker::wake);
        if after.changed {
            self.observer.changed();
        }
        result
    }
}

impl Inner {
    fn step(&mut self, step: Step, after: &mut After) -> Result<(), IllegalStep> {
        self.state = self.state.after(step)?;
        after.changed = true;
        if self.state.has_ended() {
            after.released = self.held.take();
        }
        Ok(())
    }

    fn take_wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.claims.iter_mut().filter_map(|(_, waker)| waker.take())
    }
}

fn decide_locked(inner: &mut Inner, verdict: Verdict, after: &mut After) -> bool {
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

fn remember(inner: &mut Inner, key: usize, waker: &Waker) {
    if let Some(place) = inner.claims.get_mut(key)
        && !place.as_ref().is_some_and(|known| known.will_wake(waker))
    {
        *place = Some(waker.clone());
    }
}
