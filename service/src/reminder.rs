//! What is worth a line in the log each day for as long as it holds, and no more often: a certificate that ends soon.

use std::time::{Duration, Instant};

/// A log that is looked at once a day has it then.
const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// When something was said last.
#[derive(Debug, Clone, Copy)]
pub struct Reminder {
    said_at: Instant,
}

impl Reminder {
    /// It has just been said.
    #[must_use]
    pub fn said(now: Instant) -> Self {
        Self { said_at: now }
    }

    /// Whether to say it again; if so, it counts as said.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = now.saturating_duration_since(self.said_at) >= PERIOD;
        if is_due {
            self.said_at = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_said_again_after_a_day_and_once_a_day() {
        let start = Instant::now();
        let mut reminder = Reminder::said(start);
        assert!(!reminder.is_due(start + PERIOD / 2));
        assert!(reminder.is_due(start + PERIOD));
        assert!(!reminder.is_due(start + PERIOD + PERIOD / 2));
        assert!(reminder.is_due(start + PERIOD * 2));
    }
}
