//! Which replica is read next, block by block: one step at a time, so that the time can be a test's.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{error, info, warn};

use super::background::Shared;
use super::buffer::Buffer;
use super::pace::Pace;
use super::reading::{Judgement, Reading, Step};
use super::record::{Pass, Stage};
use super::settle::{self, Settled};
use crate::checksum::AlgorithmSet;
use crate::store::{ReplicaId, ReplicaState, Store, StoreError};
use crate::transfer::Moment;

/// Replicas that are taken from the index at once.
const PAGE: usize = 256;
/// Replicas that transfers used, remembered for a second try. Further ones come again in the next pass.
const MAX_DEFERRED: usize = 10_000;
/// Opening and marking a replica costs the disk as much as so many bytes: a million tiny ones are no light work.
const REPLICA_COST_BYTES: u64 = 64 << 10;
/// How often the place is kept.
const KEEP_PERIOD: Duration = Duration::from_secs(10);
/// When there is nothing to wait for but a request.
const NOTHING_TO_DO: Duration = Duration::from_secs(3600);
/// After the index could not be read.
const TROUBLE_PAUSE: Duration = Duration::from_secs(10);

/// What to do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next one.
    Step,
    /// Nothing, for so long or until a request comes.
    Wait(Duration),
    /// Nothing any more.
    End,
}

/// The walk over all replicas.
pub(super) struct Walk {
    store: Arc<Store>,
    shared: Arc<Shared>,
    buffer: Buffer,
    pace: Pace,
    reading: Option<Reading>,
    /// Next in this stage.
    queue: VecDeque<ReplicaId>,
    /// The stage has no further pages.
    last_page: bool,
    deferred: VecDeque<ReplicaId>,
    /// The pass that all of this belongs to.
    pass_number: u64,
    stopped: bool,
    kept_at: Moment,
    /// Something changed since.
    unkept: bool,
}

/// What control wants, as far as the walk is concerned.
enum Order {
    End,
    Rest(Duration),
    Walk { stage: Stage, rate: NonZeroU64 },
}

impl Walk {
    pub(super) fn new(store: Arc<Store>, shared: Arc<Shared>) -> Self {
        let kept_at = shared.clock.now();
        let stopped = shared.desk().record.stopped;
        Self {
            store,
            shared,
            buffer: Buffer::new(),
            pace: Pace::new(),
            reading: None,
            queue: VecDeque::new(),
            last_page: false,
            deferred: VecDeque::new(),
            pass_number: 0,
            stopped,
            kept_at,
            unkept: false,
        }
    }

    /// Reads at most one block.
    pub(super) fn step(&mut self) -> Next {
        let now = self.shared.clock.now();
        match self.order(now) {
            Order::End => {
                // What was asked for last, too, which there was no time to look at.
                self.unkept = true;
                self.keep(now);
                Next::End
            }
            Order::Rest(wait) => {
                // It may be long: the file is not kept open, and what was read of it is read again.
                self.reading = None;
                self.keep(now);
                Next::Wait(wait)
            }
            Order::Walk { stage, rate } => {
                let wait = self.pace.wait(now);
                if !wait.is_zero() {
                    return Next::Wait(wait);
                }
                let (bytes, next) = self.walk(stage);
                self.pace.spent(now, bytes, rate);
                if now.since(self.kept_at) >= KEEP_PERIOD {
                    self.keep(now);
                }
                next
            }
        }
    }

    fn order(&mut self, now: Moment) -> Order {
        let shared = Arc::clone(&self.shared);
        let mut desk = shared.desk();
        if desk.ending {
            return Order::End;
        }
        if desk.pass_number != self.pass_number {
            self.pass_number = desk.pass_number;
            self.forget_place();
        }
        self.unkept |= std::mem::replace(&mut self.stopped, desk.record.stopped) != desk.record.stopped;
        if desk.record.stopped {
            return Order::Rest(NOTHING_TO_DO);
        }
        let held_back = Duration::from_micros(desk.not_before.monotonic_us.saturating_sub(now.monotonic_us));
        if desk.record.running().is_none() {
            let Some(due_us) = self.shared.next_pass_unix_us(&desk.record) else {
                return Order::Rest(NOTHING_TO_DO);
            };
            let wait = Duration::from_micros(due_us.saturating_sub(now.unix_us)).max(held_back);
            if !wait.is_zero() {
                return Order::Rest(wait);
            }
            desk.record.pass = Some(Pass::new(now.unix_us, None));
            self.forget_place();
        }
        if !held_back.is_zero() {
            return Order::Rest(held_back);
        }
        match (desk.record.running().map(|pass| pass.stage), self.shared.rate(desk.record.pass.as_ref())) {
            (Some(stage), Some(rate)) => Order::Walk { stage, rate },
            (None, _) | (_, None) => Order::Rest(NOTHING_TO_DO),
        }
    }

    fn forget_place(&mut self) {
        self.reading = None;
        self.queue.clear();
        self.last_page = false;
        self.deferred.clear();
        self.unkept = true;
    }

    /// Gives the bytes that this cost.
    fn walk(&mut self, stage: Stage) -> (u64, Next) {
        match self.reading.take() {
            Some(reading) => (self.read(stage, reading), Next::Step),
            None => match self.queue.pop_front() {
                Some(id) => (self.begin(stage, id), Next::Step),
                None => match self.more(stage) {
                    Ok(()) => (0, Next::Step),
                    Err(error) => {
                        warn!(%error, "the scrub cannot tell which replica is next");
                        (0, Next::Wait(TROUBLE_PAUSE))
                    }
                },
            },
        }
    }

    /// Fills the queue, or goes on to the next stage.
    fn more(&mut self, stage: Stage) -> Result<(), StoreError> {
        if self.last_page {
            self.last_page = false;
            self.finish_stage(stage);
            return Ok(());
        }
        let after = self.shared.desk().record.running().and_then(|pass| pass.after.clone());
        let after = after.and_then(|id| ReplicaId::new(&id).ok());
        match stage {
            Stage::WithoutBlocks => {
                let page = self.store.without_blocks(after.as_ref(), PAGE);
                self.last_page = page.next.is_none();
                self.queue.extend(page.ids);
                self.skip_empty_page(page.next);
            }
            Stage::All => {
                let page = self.store.list(after.as_ref(), PAGE)?;
                let started = self.pass_started();
                let now = Timestamp::try_from(self.shared.clock.now().wall()).unwrap_or(started);
                let mut passed_by = 0;
                for stat in page.replicas {
                    let verified = stat.attributes.verified_at.is_some_and(|at| at >= started);
                    // What has come since is for the next pass: otherwise each small upload on a new pool would be
                    // read back, and marked as read, at once.
                    let new = stat.attributes.created_at > started && stat.attributes.created_at <= now;
                    let wanted = is_for_us(stat.attributes.state) && !new;
                    // Verified ones were counted when they were.
                    passed_by += u64::from(!wanted && !verified);
                    if wanted && !verified {
                        self.queue.push_back(stat.id);
                    }
                }
                self.last_page = page.next.is_none();
                self.with_pass(|pass| pass.visited += passed_by);
                self.skip_empty_page(page.next);
            }
            Stage::Deferred => {
                self.queue.append(&mut self.deferred);
                self.last_page = true;
            }
        }
        Ok(())
    }

    /// A page without anything to do is done with.
    fn skip_empty_page(&self, next: Option<ReplicaId>) {
        if let (true, Some(next)) = (self.queue.is_empty(), next) {
            self.with_pass(|pass| pass.after = Some(next.to_string()));
        }
    }

    fn finish_stage(&mut self, stage: Stage) {
        self.unkept = true;
        let now = self.shared.clock.now();
        let mut desk = self.shared.desk();
        let Some(pass) = desk.record.running() else { return };
        pass.after = None;
        match stage {
            Stage::WithoutBlocks => pass.stage = Stage::All,
            Stage::All => pass.stage = Stage::Deferred,
            Stage::Deferred => {
                pass.finished_unix_us = Some(now.unix_us);
                info!(
                    replicas = pass.verified,
                    bytes = pass.bytes,
                    skipped = pass.skipped,
                    broken = pass.broken,
                    "scrub: all replicas are verified"
                );
                desk.record.passes += 1;
            }
        }
    }

    fn begin(&mut self, stage: Stage, id: ReplicaId) -> u64 {
        if self.store.readers(&id) > 0 {
            self.used(stage, &id);
            return 0;
        }
        match Reading::open(&self.store, &id, AlgorithmSet::EMPTY) {
            Ok(reading) if is_for_us(reading.state()) => self.reading = Some(reading),
            // The stage of all sees to it.
            Ok(_) if stage == Stage::WithoutBlocks => self.pass_by(&id, 0),
            Ok(_) => self.done_with(stage, &id),
            Err(StoreError::NotFound { .. }) => self.done_with(stage, &id),
            Err(error) => {
                // Its file or its attributes are damaged: it cannot be served, and cannot be marked either.
                error!(replica = %id, %error, "scrub: a replica cannot be opened");
                self.shared.totals.broken.fetch_add(1, Ordering::Relaxed);
                self.with_pass(|pass| pass.broken += 1);
                self.done_with(stage, &id);
            }
        }
        REPLICA_COST_BYTES
    }

    fn read(&mut self, stage: Stage, mut reading: Reading) -> u64 {
        let id = reading.id().clone();
        if self.store.readers(&id) > 0 {
            // A transfer has come: the disk is for it.
            self.used(stage, &id);
            return 0;
        }
        let count = |walk: &Self, bytes: u64| {
            walk.shared.totals.bytes.fetch_add(bytes, Ordering::Relaxed);
            walk.with_pass(|pass| pass.bytes += bytes);
        };
        match reading.step(&**self.store.disk(), &mut self.buffer) {
            Ok(Step::More { bytes }) => {
                count(self, bytes);
                self.reading = Some(reading);
                bytes
            }
            Ok(Step::Ended { bytes, judgement }) => {
                count(self, bytes);
                self.settle(&reading, &judgement);
                self.done_with(stage, &id);
                bytes
            }
            Err(error) => {
                error!(replica = %id, %error, "scrub: a replica cannot be read; it is suspect");
                self.shared.totals.unreadable.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = settle::suspect(&self.store, &reading, &error) {
                    warn!(replica = %id, %error, "scrub: a suspect replica cannot be marked");
                }
                self.done_with(stage, &id);
                REPLICA_COST_BYTES
            }
        }
    }

    fn settle(&self, reading: &Reading, judgement: &Judgement) {
        let id = reading.id();
        let now = self.shared.clock.now();
        let now = Timestamp::try_from(now.wall()).unwrap_or(Timestamp::UNIX_EPOCH);
        let settled = settle::settle(&self.store, reading, judgement, now);
        match &settled {
            Ok(Settled::Good | Settled::Changed) => {}
            Ok(Settled::Broken) => {
                let Judgement::Broken { problems, .. } = judgement else { return };
                error!(replica = %id, because = problems.join("; "), "scrub: a replica is broken");
            }
            Err(error) => warn!(replica = %id, %error, "scrub: what was found cannot be recorded"),
        }
        if matches!(settled, Ok(Settled::Changed)) {
            return;
        }
        let broken = u64::from(matches!(judgement, Judgement::Broken { .. }));
        self.shared.totals.replicas.fetch_add(1, Ordering::Relaxed);
        self.shared.totals.broken.fetch_add(broken, Ordering::Relaxed);
        self.with_pass(|pass| {
            pass.verified += 1;
            pass.broken += broken;
        });
    }

    /// A transfer uses it: it comes again at the end, once.
    fn used(&mut self, stage: Stage, id: &ReplicaId) {
        match stage {
            // It comes again among all, and counts then.
            Stage::WithoutBlocks => self.pass_by(id, 0),
            Stage::All => {
                self.with_pass(|pass| pass.skipped += 1);
                if self.deferred.len() < MAX_DEFERRED {
                    self.deferred.push_back(id.clone());
                }
                self.pass_by(id, 1);
            }
            // Counted when it was put off.
            Stage::Deferred => {}
        }
    }

    fn done_with(&mut self, stage: Stage, id: &ReplicaId) {
        match stage {
            Stage::WithoutBlocks | Stage::All => self.pass_by(id, 1),
            Stage::Deferred => {
                // Counted as skipped when it was put off.
                self.with_pass(|pass| pass.skipped = pass.skipped.saturating_sub(1));
                self.unkept = true;
            }
        }
    }

    /// The place is behind it now.
    fn pass_by(&mut self, id: &ReplicaId, visited: u64) {
        self.unkept = true;
        self.with_pass(|pass| {
            pass.visited += visited;
            pass.after = Some(id.to_string());
        });
    }

    fn with_pass(&self, change: impl FnOnce(&mut Pass)) {
        let mut desk = self.shared.desk();
        // A new pass was asked for meanwhile: what is known of the old one does not concern it.
        if desk.pass_number == self.pass_number
            && let Some(pass) = desk.record.running()
        {
            change(pass);
        }
    }

    fn pass_started(&self) -> Timestamp {
        let started = self.shared.desk().record.running().map_or(0, |pass| pass.started_unix_us);
        i64::try_from(started).ok().and_then(|us| Timestamp::from_microsecond(us).ok()).unwrap_or_default()
    }

    /// Keeps the place in the store.
    fn keep(&mut self, now: Moment) {
        if !std::mem::replace(&mut self.unkept, false) {
            return;
        }
        self.kept_at = now;
        let record = self.shared.desk().record.encode();
        self.store.set_scrub_cursor(record);
    }
}

/// Broken ones are known to be so; what is being written or removed is nobody's.
fn is_for_us(state: ReplicaState) -> bool {
    match state {
        ReplicaState::Ready | ReplicaState::Orphaned => true,
        ReplicaState::Uploading | ReplicaState::Broken | ReplicaState::Removing => false,
    }
}
