//! How long single operations took, in a histogram: percentiles instead of means.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longer operations count as this long.
const LONGEST_MICROSECONDS: u64 = 600_000_000;
/// 1 part in 100 is as exact as latencies are worth telling.
const SIGNIFICANT_DIGITS: u8 = 2;

/// The latencies of one or several runs.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        // Cannot fail: the bounds are constants that satisfy 2 * low <= high and digits <= 5.
        let histogram = Histogram::new_with_bounds(1, LONGEST_MICROSECONDS, SIGNIFICANT_DIGITS);
        Self(histogram.expect("the bounds are constants that suit"))
    }

    /// One operation more.
    pub fn record(&mut self, took: Duration) {
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(microseconds.clamp(1, LONGEST_MICROSECONDS));
    }

    /// Those of another run, too.
    pub fn add(&mut self, other: &Latencies) {
        // Both have the same bounds, so it cannot fail.
        let _ = self.0.add(&other.0);
    }

    /// The percentiles; `None` without an operation.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let at = |percentile| self.0.value_at_percentile(percentile);
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p99_9: at(99.9),
            max: self.0.max(),
        })
    }
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Operations.
    pub count: u64,
    /// Half of them took at most that long.
    pub p50: u64,
    /// 9 of 10.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p99_9: u64,
    /// The longest.
    pub max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_hundredth() {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|number| latencies.record(Duration::from_micros(number * 10)));
        let found = latencies.percentiles().unwrap();
        assert_eq!(found.count, 1000);
        for (value, expected) in
            [(found.p50, 5000), (found.p90, 9000), (found.p99, 9900), (found.max, 10_000)]
        {
            let off = value.abs_diff(expected) as f64 / expected as f64;
            assert!(off <= 0.01, "{value} is not {expected}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_short_to_count_is_not_lost() {
        let mut latencies = Latencies::new();
        latencies.record(Duration::ZERO);
        latencies.record(Duration::from_secs(1 << 40));
        let mut sum = Latencies::new();
        sum.add(&latencies);
        assert_eq!(sum.percentiles().unwrap().count, 2);
        assert_eq!(Latencies::new().percentiles(), None);
    }
}
