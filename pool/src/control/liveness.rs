//! Whether what must turn turns: heartbeats of loops, which the watchdog looks at.
#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When a loop has turned last. Struck by the loop, looked at by anybody; neither waits.
#[derive(Debug)]
pub(super) struct Beat {
    /// The clock that does not jump when the time of day is set.
    since: Instant,
    struck_after_ms: AtomicU64,
}

impl Default for Beat {
    fn default() -> Self {
        Self { since: Instant::now(), struck_after_ms: AtomicU64::new(0) }
    }
}

impl Beat {
    /// The loop has turned.
    pub fn strike(&self) {
        self.strike_at(Instant::now());
    }

    /// It has not turned for longer than that.
    pub fn silent_for(&self, limit: Duration) -> bool {
        self.silent_at(Instant::now(), limit)
    }

    fn strike_at(&self, now: Instant) {
        self.struck_after_ms.store(self.after_ms(now), Ordering::Relaxed);
    }

    fn silent_at(&self, now: Instant, limit: Duration) -> bool {
        let silent_ms = self.after_ms(now).saturating_sub(self.struck_after_ms.load(Ordering::Relaxed));
        Duration::from_millis(silent_ms) > limit
    }

    fn after_ms(&self, now: Instant) -> u64 {
        // An age in milliseconds fits for 584 million years.
        u64::try_from(now.saturating_duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_silent_when_its_last_beat_is_longer_ago_than_the_limit() {
        let beat = Beat::default();
        let limit = Duration::from_secs(30);
        let at = |seconds| beat.since + Duration::from_secs(seconds);
        assert!(!beat.silent_at(at(30), limit), "a start has its time as well");
        assert!(beat.silent_at(at(31), limit));
        beat.strike_at(at(31));
        assert!(!beat.silent_at(at(61), limit));
        assert!(beat.silent_at(at(62), limit));
        beat.strike_at(at(62));
        // A look from before the last beat, by a thread that was interrupted in between.
        assert!(!beat.silent_at(at(40), limit));
    }
}
