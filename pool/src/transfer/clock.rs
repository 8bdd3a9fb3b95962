//! The time as transfers see it: one place that tests and simulations can turn by hand.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One instant, on both clocks: monotonic for lengths of time, wall for what people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds since the clock was made; never goes back.
    pub monotonic_us: u64,
    /// Microseconds since 1970 in UTC; may jump when the machine's clock is set.
    pub unix_us: u64,
}

impl Moment {
    /// The time from `earlier` to this, zero if it was later.
    #[must_use]
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.monotonic_us.saturating_sub(earlier.monotonic_us))
    }

    /// The wall clock's time.
    #[must_use]
    pub fn wall(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.unix_us)
    }
}

/// Tells the time.
pub trait Clock: Send + Sync + Debug {
    /// Now.
    fn now(&self) -> Moment;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { monotonic_us: whole_micros(self.start.elapsed()), unix_us: whole_micros(unix) }
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    elapsed_us: AtomicU64,
    epoch_unix_us: AtomicU64,
}

impl ManualClock {
    /// A clock that stands at `epoch`.
    #[must_use]
    pub fn at(epoch: SystemTime) -> Self {
        let unix = epoch.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { elapsed_us: AtomicU64::new(0), epoch_unix_us: AtomicU64::new(whole_micros(unix)) }
    }

    /// Sets the wall clock, as an admin or a time server does; the monotonic one goes on.
    pub fn set_wall(&self, time: SystemTime) {
        let unix_us = whole_micros(time.duration_since(UNIX_EPOCH).unwrap_or_default());
        let elapsed_us = self.elapsed_us.load(Ordering::SeqCst);
        self.epoch_unix_us.store(unix_us.saturating_sub(elapsed_us), Ordering::SeqCst);
    }

    /// Turns it forward.
    pub fn advance(&self, by: Duration) {
        self.elapsed_us.fetch_add(whole_micros(by), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// Stands at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::at(UNIX_EPOCH + Duration::from_secs(1_767_225_600))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let elapsed_us = self.elapsed_us.load(Ordering::SeqCst);
        Moment { monotonic_us: elapsed_us, unix_us: self.epoch_unix_us.load(Ordering::SeqCst) + elapsed_us }
    }
}

fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_both_times_by_what_it_is_told() {
        let clock = ManualClock::default();
        let before = clock.now();
        clock.advance(Duration::from_millis(1500));
        let after = clock.now();
        assert_eq!(after.since(before), Duration::from_millis(1500));
        assert_eq!(after.wall().duration_since(before.wall()).unwrap(), Duration::from_millis(1500));
        assert_eq!(before.since(after), Duration::ZERO);
    }

    #[test]
    fn setting_the_wall_clock_leaves_the_monotonic_one_alone() {
        let clock = ManualClock::default();
        clock.advance(Duration::from_secs(3));
        let before = clock.now();
        let past = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        clock.set_wall(past);
        assert_eq!((clock.now().wall(), clock.now().since(before)), (past, Duration::ZERO));
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now().wall(), past + Duration::from_secs(2));
    }
}
