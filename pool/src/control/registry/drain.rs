//! Time, and the end: deadlines, the drain, the stop.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{NO_DEADLINE, Registry};
use crate::transfer::{Failure, Moment};

/// While draining, how long a ready transfer's client may still stay away: long enough for one that is on its way.
const DRAINING_PATIENCE: Duration = Duration::from_secs(10);

impl Registry {
    /// Does what time demands, for all transfers; called several times a second.
    pub fn tick(&self) {
        let hurry = self.draining();
        let mut timeouts = self.timeouts();
        if hurry {
            timeouts.client = timeouts.client.min(DRAINING_PATIENCE);
        }
        let now = self.clock.now();
        if hurry && now.monotonic_us >= self.drain_ends_us.load(Ordering::Acquire) {
            self.abort_all("the pool is drained and its deadline has passed");
        }
        for entry in self.list() {
            entry.tick(&timeouts, hurry, now);
            self.count_bytes(&entry);
        }
    }

    /// Ends every transfer that has not ended.
    pub fn abort_all(&self, why: &str) {
        for entry in self.list() {
            if let Some(transfer) = entry.transfer() {
                transfer.abort(Failure::shutdown(why));
            }
        }
    }

    /// No new transfers from now on.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// What still runs `after` this moment of the drain is ended then.
    pub fn end_drain_at(&self, now: Moment, after: Duration) {
        let after_us = u64::try_from(after.as_micros()).unwrap_or(NO_DEADLINE);
        self.drain_ends_us.store(now.monotonic_us.saturating_add(after_us), Ordering::Release);
    }

    /// New transfers again.
    pub fn resume(&self) {
        self.drain_ends_us.store(NO_DEADLINE, Ordering::Release);
        self.draining.store(false, Ordering::Release);
    }

    /// It takes no new transfers.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// No claims any more: the end of the process is near.
    pub fn stop(&self) {
        self.drain();
        self.stopping.store(true, Ordering::Release);
    }

    /// Transfers that wait or run, uploads that wait for the door's verdict included.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.lock().rows.values().filter(|row| !row.ended || row.entry.open_claims() > 0).count()
    }

    /// Transfers that ended and wait for their Acknowledge.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.lock().rows.values().filter(|row| row.ended && !row.acknowledged).count()
    }
}
