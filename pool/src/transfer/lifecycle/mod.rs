//! [`Transfer`]: one movement of one replica's bytes, from the door's request to its end.
//!
//! Control admits, cancels and ticks it; shards claim it. All of that meets in one short mutex; counters are outside
//! of it in [`Progress`]. Whoever changes the state tells the [`Observer`] after the mutex is released.
//!
//! * `steer`: what control does with it; `claims`: what shards do.
//! * `inner`: what the mutex protects; `times`: where its time went.

mod claims;
mod inner;
mod steer;
mod times;

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use slab::Slab;

use self::inner::{After, Inner};
use super::capability::Capability;
use super::clock::{Clock, Moment};
use super::progress::Progress;
use super::request::{Kind, Pull, Put, TransferRequest};
use super::state::State;
use crate::marking::Mark;

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
