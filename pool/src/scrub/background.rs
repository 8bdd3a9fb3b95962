//! The scrub as control sees it: starts, stops, tells how it stands; and the thread that works.

use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tracing::warn;

use super::record::{Pass, Record};
use super::walk::{Next, Walk};
use crate::store::Store;
use crate::transfer::{Clock, Moment};

/// After the pool's start, before the scrub goes on by itself: then the clients come back.
const START_DELAY: Duration = Duration::from_secs(60);
/// Longest sleep, so that a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// How to scrub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubSettings {
    /// The most that is read; `None`: it never starts by itself.
    pub rate_bytes_per_second: Option<NonZeroU64>,
    /// From the start of one pass to the start of the next.
    pub period: Duration,
}

/// No rate is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("scrubbing is off (scrub.rate is 0): give a rate for this pass, or configure one")]
pub struct ScrubOff;

/// What it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubState {
    /// Between passes, or soon to go on with one.
    Idle,
    /// It reads.
    Running,
    /// On request, or since it is switched off in the middle of a pass.
    Stopped,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrubStatus {
    /// What it does.
    pub state: ScrubState,
    /// Of the pass that runs, or ran last.
    pub pass_started_at: Option<SystemTime>,
    /// `None` while it has not.
    pub pass_finished_at: Option<SystemTime>,
    /// Read to their end in this pass.
    pub replicas_verified: u64,
    /// Read in this pass.
    pub bytes_verified: u64,
    /// Left out of this pass, since transfers used them.
    pub replicas_skipped: u64,
    /// Found broken in this pass.
    pub replicas_found_broken: u64,
    /// The share of the replicas that this pass has behind it, 0 to 1.
    pub done: f64,
    /// What it may read; `None`: switched off.
    pub rate_bytes_per_second: Option<NonZeroU64>,
    /// When it starts, or goes on, by itself.
    pub next_pass_at: Option<SystemTime>,
    /// Completed passes since the pool was made.
    pub passes: u64,
}

/// Counted since the daemon's start.
#[derive(Debug, Default)]
pub struct ScrubTotals {
    pub(super) replicas: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) broken: AtomicU64,
    pub(super) unreadable: AtomicU64,
}

impl ScrubTotals {
    /// Replicas read to their end.
    #[must_use]
    pub fn replicas(&self) -> u64 {
        self.replicas.load(Ordering::Relaxed)
    }

    /// Bytes read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Replicas found broken.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    /// Replicas that the disk did not give.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }
}

/// What control and the thread share.
#[derive(Debug)]
pub(super) struct Shared {
    settings: Mutex<ScrubSettings>,
    pub clock: Arc<dyn Clock>,
    pub totals: ScrubTotals,
    desk: Mutex<Desk>,
    bell: Condvar,
}

/// Under the lock.
#[derive(Debug)]
pub(super) struct Desk {
    pub record: Record,
    /// Nothing is done by itself before.
    pub not_before: Moment,
    /// Changes with every new pass that was asked for: the thread forgets where it was in the old one.
    pub pass_number: u64,
    /// Counts requests, so that none is slept through.
    requests: u64,
    /// The process ends.
    pub ending: bool,
}

impl Shared {
    pub(super) fn new(store: &Store, settings: ScrubSettings, clock: Arc<dyn Clock>) -> Self {
        let kept = store.scrub_cursor().map(|bytes| Record::decode(&bytes));
        let record = kept.unwrap_or_else(|| Ok(Record::default())).unwrap_or_else(|problem| {
            warn!(problem, "what is known of the last scrub cannot be used: it begins anew");
            Record::default()
        });
        let now = clock.now();
        let not_before = Moment { monotonic_us: now.monotonic_us + micros(START_DELAY), ..now };
        let desk = Desk { record, not_before, pass_number: 0, requests: 0, ending: false };
        let settings = Mutex::new(settings);
        Self { settings, clock, totals: ScrubTotals::default(), desk: Mutex::new(desk), bell: Condvar::new() }
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        // Every section assigns whole values.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be read per second now.
    pub(super) fn rate(&self, pass: Option<&Pass>) -> Option<NonZeroU64> {
        pass.and_then(|pass| pass.rate).or(self.settings().rate_bytes_per_second)
    }

    fn settings(&self) -> ScrubSettings {
        // Replaced as a whole.
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another rate and period, from now on.
    pub(super) fn set_settings(&self, settings: ScrubSettings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
        self.ring(self.desk());
    }

    /// When the next pass starts by itself, on the wall clock; `None`: never.
    pub(super) fn next_pass_unix_us(&self, record: &Record) -> Option<u64> {
        let settings = self.settings();
        settings.rate_bytes_per_second?;
        // A clock that was ahead, and was set back, must not put the next pass off until it is as late again.
        let now = self.clock.now().unix_us;
        let last = record.pass.as_ref().map(|pass| pass.started_unix_us).filter(|started| *started <= now);
        Some(last.map_or(0, |last| last.saturating_add(micros(settings.period))))
    }

    /// Goes on, or begins.
    pub(super) fn start(&self, restart: bool, rate: Option<NonZeroU64>) -> Result<(), ScrubOff> {
        let now = self.clock.now();
        let mut desk = self.desk();
        let running = desk.record.running().is_some();
        let asked = rate.or(desk.record.running().and_then(|pass| pass.rate).filter(|_| !restart));
        if asked.or(self.settings().rate_bytes_per_second).is_none() {
            return Err(ScrubOff);
        }
        desk.record.stopped = false;
        desk.not_before = now;
        match desk.record.running() {
            Some(pass) if running && !restart => pass.rate = asked,
            Some(_) | None => {
                desk.record.pass = Some(Pass::new(now.unix_us, asked));
                desk.pass_number += 1;
            }
        }
        self.ring(desk);
        Ok(())
    }

    /// Stops, and keeps the place.
    pub(super) fn stop(&self) {
        let mut desk = self.desk();
        desk.record.stopped = true;
        self.ring(desk);
    }

    fn ring(&self, mut desk: MutexGuard<'_, Desk>) {
        desk.requests += 1;
        drop(desk);
        self.bell.notify_all();
    }

    /// Requests so far; to be asked for before looking at them.
    pub(super) fn requests(&self) -> u64 {
        self.desk().requests
    }

    /// Sleeps, at most `wait`, unless somebody has asked for something since `requests`.
    fn sleep(&self, wait: Duration, requests: u64) {
        let desk = self.desk();
        if desk.requests == requests {
            // Woken early or late: who wakes looks again. A poisoned lock is looked at as any other.
            drop(self.bell.wait_timeout(desk, wait.min(LONGEST_SLEEP)));
        }
    }

    pub(super) fn status(&self, replicas: u64) -> ScrubStatus {
        let now = self.clock.now();
        let desk = self.desk();
        let record = &desk.record;
        let pass = record.pass.as_ref();
        let time = |unix_us: u64| UNIX_EPOCH + Duration::from_micros(unix_us);
        let finished = pass.is_none_or(|pass| pass.finished_unix_us.is_some());
        let rate = self.rate(pass.filter(|_| !finished));
        let held_back = desk.not_before.monotonic_us.saturating_sub(now.monotonic_us);
        let earliest_us = now.unix_us + held_back;
        let (state, next_pass) = if record.stopped || (!finished && rate.is_none()) {
            (ScrubState::Stopped, None)
        } else if finished {
            let next = self.next_pass_unix_us(record).map(|next| next.max(earliest_us));
            (ScrubState::Idle, next)
        } else if held_back > 0 {
            (ScrubState::Idle, Some(earliest_us))
        } else {
            (ScrubState::Running, None)
        };
        let done = match pass {
            None => 0.0,
            Some(pass) if pass.finished_unix_us.is_some() => 1.0,
            Some(pass) => (pass.visited as f64 / replicas.max(1) as f64).min(1.0),
        };
        ScrubStatus {
            state,
            pass_started_at: pass.map(|pass| time(pass.started_unix_us)),
            pass_finished_at: pass.and_then(|pass| pass.finished_unix_us).map(time),
            replicas_verified: pass.map_or(0, |pass| pass.verified),
            bytes_verified: pass.map_or(0, |pass| pass.bytes),
            replicas_skipped: pass.map_or(0, |pass| pass.skipped),
            replicas_found_broken: pass.map_or(0, |pass| pass.broken),
            done,
            rate_bytes_per_second: rate,
            next_pass_at: next_pass.map(time),
            passes: record.passes,
        }
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The verification of all replicas, in the background.
#[derive(Debug)]
pub struct Scrub {
    shared: Arc<Shared>,
    store: Arc<Store>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Scrub {
    /// Starts its thread. A pass that is due, or was interrupted, goes on by itself a minute later.
    pub fn new(store: Arc<Store>, settings: ScrubSettings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(&store, settings, clock));
        let mut walk = Walk::new(Arc::clone(&store), Arc::clone(&shared));
        let work = {
            let shared = Arc::clone(&shared);
            move || loop {
                let requests = shared.requests();
                match walk.step() {
                    Next::Step => {}
                    Next::Wait(wait) => shared.sleep(wait, requests),
                    Next::End => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("penstock-scrub".into()).spawn(work)?;
        Ok(Self { shared, store, thread: Mutex::new(Some(thread)) })
    }

    /// Goes on where the last pass was stopped or interrupted; begins a new one when it had ended, or with `restart`.
    pub fn start(&self, restart: bool, rate: Option<NonZeroU64>) -> Result<ScrubStatus, ScrubOff> {
        self.shared.start(restart, rate)?;
        Ok(self.status())
    }

    /// Stops until it is started again, also over restarts of the daemon. Keeps the place.
    pub fn stop(&self) -> ScrubStatus {
        self.shared.stop();
        self.status()
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> ScrubStatus {
        self.shared.status(self.store.counts().all)
    }

    /// Another rate and period, from now on.
    pub fn set_settings(&self, settings: ScrubSettings) {
        self.shared.set_settings(settings);
    }

    /// Counted since the daemon's start.
    #[must_use]
    pub fn totals(&self) -> &ScrubTotals {
        &self.shared.totals
    }

    /// Ends the thread, and keeps the place. Blocks for as long as a read takes.
    pub fn end(&self) {
        let mut desk = self.shared.desk();
        desk.ending = true;
        self.shared.ring(desk);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // One that has died has ended as well.
            let _ = thread.join();
        }
    }
}

impl Drop for Scrub {
    fn drop(&mut self) {
        self.end();
    }
}
