//! Throughput over the last hour, for people who come to look: a bounded ring of samples.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two samples.
pub const SAMPLE_PERIOD: Duration = Duration::from_secs(10);
/// Samples that are kept: an hour of them.
pub const SAMPLES_KEPT: usize = 360;

/// Mean rates over one period.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// Bytes per second written to replicas.
    pub in_rate: f64,
    /// Bytes per second of replicas sent.
    pub out_rate: f64,
}

/// The samples.
#[derive(Debug, Default)]
pub struct History(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    /// Oldest first.
    samples: VecDeque<Sample>,
    /// When the last one was taken, and the totals then.
    last: Option<(Instant, u64, u64)>,
}

impl History {
    /// Takes note of the totals of bytes in and out; a sample comes of it once a period is over. On the monotonic clock,
    /// so that a clock that jumps leaves no trace.
    pub fn note(&self, now: Instant, in_bytes: u64, out_bytes: u64) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, in_before, out_before) = *ring.last.get_or_insert((now, in_bytes, out_bytes));
        let elapsed = now.saturating_duration_since(since);
        if elapsed < SAMPLE_PERIOD {
            return;
        }
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        let sample = Sample { in_rate: rate(in_before, in_bytes), out_rate: rate(out_before, out_bytes) };
        // A daemon that was stopped for a while has been slow all that time.
        let periods = (elapsed.as_secs_f64() / SAMPLE_PERIOD.as_secs_f64()) as usize;
        for _ in 0..periods.clamp(1, SAMPLES_KEPT) {
            if ring.samples.len() >= SAMPLES_KEPT {
                ring.samples.pop_front();
            }
            ring.samples.push_back(sample);
        }
        ring.last = Some((now, in_bytes, out_bytes));
    }

    /// The samples so far, oldest first.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).samples.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_mean_rate_of_its_period() {
        let (history, start) = (History::default(), Instant::now());
        history.note(start, 0, 0);
        history.note(start + Duration::from_secs(5), 700, 70);
        assert!(history.samples().is_empty(), "the period is not over");
        history.note(start + SAMPLE_PERIOD, 1000, 100);
        history.note(start + SAMPLE_PERIOD * 2, 1000, 300);
        let expected = [Sample { in_rate: 100.0, out_rate: 10.0 }, Sample { in_rate: 0.0, out_rate: 20.0 }];
        assert_eq!(history.samples(), expected);
    }

    #[test]
    fn no_more_than_an_hour_is_kept_however_long_it_runs_or_sleeps() {
        let (history, start) = (History::default(), Instant::now());
        history.note(start, 0, 0);
        for number in 1..=400_u32 {
            history.note(start + SAMPLE_PERIOD * number, u64::from(number) * 10, 0);
        }
        assert_eq!(history.samples().len(), SAMPLES_KEPT);
        history.note(start + SAMPLE_PERIOD * 100_000, 4000, 0);
        assert_eq!(history.samples().len(), SAMPLES_KEPT);
    }

    #[test]
    fn a_pause_of_the_daemon_is_a_pause_on_the_axis_too() {
        let (history, start) = (History::default(), Instant::now());
        history.note(start, 0, 0);
        history.note(start + SAMPLE_PERIOD * 3, 300, 0);
        assert_eq!(history.samples(), [Sample { in_rate: 10.0, out_rate: 0.0 }; 3]);
    }
}
