//! Several runs of one measurement: how fast, and how far the runs can be trusted.

use serde::Serialize;

/// Runs that differ by more than this share of their median were disturbed.
const TRUSTED_SPREAD: f64 = 0.2;

/// The smallest, the middle and the largest result of some runs, and all of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The middle one; of an even number of runs the mean of the two in the middle.
    pub median: f64,
    /// The largest.
    pub max: f64,
    /// Each, in the order of the runs.
    pub runs: Vec<f64>,
}

impl Spread {
    /// Of these runs; `None` if there are none.
    pub fn of(runs: Vec<f64>) -> Option<Self> {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { min, median, max, runs })
    }

    /// How far the runs lie apart, as a share of the median.
    pub fn width(&self) -> f64 {
        if self.median > 0.0 { (self.max - self.min) / self.median } else { 0.0 }
    }

    /// Are the runs close enough to each other?
    pub fn is_trusted(&self) -> bool {
        self.width() <= TRUSTED_SPREAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_run_is_the_median_and_the_order_is_kept() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0, 9.0, 2.5]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 9.0));
        assert_eq!(spread.runs, [3.0, 1.0, 2.0, 9.0, 2.5]);
        assert_eq!(Spread::of(vec![1.0, 3.0]).unwrap().median, 2.0);
        assert_eq!(Spread::of(vec![]), None);
    }

    #[test]
    fn runs_that_differ_by_more_than_a_fifth_are_not_trusted() {
        assert!(Spread::of(vec![10.0, 9.0, 11.0]).unwrap().is_trusted());
        assert!(!Spread::of(vec![10.0, 8.9, 11.0]).unwrap().is_trusted());
        assert!(Spread::of(vec![0.0]).unwrap().is_trusted());
    }
}
