//! When the journal is told that attributes do not count. Each connection may show some: jobs by the thousand do, when a
//! server of their VO has a new certificate. One line tells of it, and how many came since the last.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two lines.
const PERIOD: Duration = Duration::from_secs(60);

/// Lets one warning through in a while, whosever it is.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told_at: Option<Instant>,
    left_out: u64,
}

impl Warnings {
    /// Whether to tell of one more; if so, how many were left out before it.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.told_at.is_some_and(|at| now.saturating_duration_since(at) < PERIOD) {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.told_at = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_is_told_with_the_number_of_the_others() {
        let (warnings, start) = (Warnings::default(), Instant::now());
        assert_eq!(warnings.admit(start), Some(0));
        assert_eq!(warnings.admit(start), None);
        assert_eq!(warnings.admit(start + PERIOD / 2), None);
        assert_eq!(warnings.admit(start + PERIOD), Some(2));
        assert_eq!(warnings.admit(start + PERIOD), None);
        assert_eq!(warnings.admit(start + PERIOD * 3), Some(1));
    }
}
