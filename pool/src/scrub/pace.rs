//! How fast the scrub reads: a token bucket that never lends more than a moment's worth.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::transfer::Moment;

/// What was left unread lately may be made up for, so that a thread that wakes late still keeps the rate; more would be
/// a burst after every pause.
const CREDIT: Duration = Duration::from_millis(100);

/// Holds work back to so many bytes per second.
#[derive(Debug)]
pub struct Pace {
    /// When the next bytes may be read, on the monotonic clock.
    due_us: u64,
}

impl Pace {
    /// The first bytes may be read at once.
    pub fn new() -> Self {
        Self { due_us: 0 }
    }

    /// How long to wait before the next bytes.
    pub fn wait(&self, now: Moment) -> Duration {
        Duration::from_micros(self.due_us.saturating_sub(now.monotonic_us))
    }

    /// So many bytes were read, at a rate of so many per second.
    pub fn spent(&mut self, now: Moment, bytes: u64, rate: NonZeroU64) {
        let credit_us = u64::try_from(CREDIT.as_micros()).unwrap_or(u64::MAX);
        // At most 2^64 bytes at 1 byte per second are 2^84 µs: computed in 128 bits, and cut.
        let cost_us = u128::from(bytes) * 1_000_000 / u128::from(rate.get());
        let cost_us = u64::try_from(cost_us).unwrap_or(u64::MAX);
        self.due_us = self.due_us.max(now.monotonic_us.saturating_sub(credit_us)).saturating_add(cost_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::{Clock as _, ManualClock};

    const RATE: NonZeroU64 = NonZeroU64::new(1000).unwrap();

    /// Reads pieces of 100 bytes for ten seconds; gives the bytes read. Each wake-up is `late`.
    fn read_for_ten_seconds(late: Duration) -> u64 {
        let clock = ManualClock::default();
        let start = clock.now();
        let mut pace = Pace::new();
        let mut read = 0;
        while clock.now().since(start) < Duration::from_secs(10) {
            let wait = pace.wait(clock.now());
            if wait.is_zero() {
                read += 100;
                pace.spent(clock.now(), 100, RATE);
            } else {
                clock.advance(wait + late);
            }
        }
        read
    }

    #[test]
    fn the_rate_is_kept_although_every_sleep_is_a_little_too_long() {
        for late in [Duration::ZERO, Duration::from_millis(3), Duration::from_millis(90)] {
            let read = read_for_ten_seconds(late);
            assert!((9_900..=10_200).contains(&read), "{read} bytes in 10 s, late by {late:?}");
        }
    }

    #[test]
    fn a_long_pause_is_not_made_up_for() {
        let clock = ManualClock::default();
        let mut pace = Pace::new();
        clock.advance(Duration::from_secs(3600));
        let mut at_once = 0;
        while pace.wait(clock.now()).is_zero() {
            at_once += 100;
            pace.spent(clock.now(), 100, RATE);
        }
        assert_eq!(at_once, 200, "a tenth of a second's worth, and the piece that crosses it");
    }
}
