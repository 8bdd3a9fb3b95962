//! When brief lookups may run on the thread that asks, which has other clients to answer.
//!
//! Rows whose pages are in memory are read in microseconds, less than it takes to hand the work over; one that has to
//! come from a disk may take milliseconds, in which that thread does nothing else. Nobody knows beforehand. So lookups
//! may take a time that a hand-over would take, too; what they take beyond it adds up, what they leave of it is taken off.
//! When the sum is too large, the next ones are handed over for a while. That bounds the part of its time that a thread
//! waits for the disk, however slow that is; and one lookup that was slow because the system let others run, which may be
//! any, is soon made up for by those that were not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a lookup may take, on average.
const ALLOWED: Duration = Duration::from_micros(100);
/// What all of them together may take beyond that,
const MOST_DEBT: Duration = Duration::from_millis(20);
/// before the next ones are handed over for so long.
const PAUSE: Duration = Duration::from_secs(1);

/// What the last lookups were like.
#[derive(Debug)]
pub struct Patience {
    epoch: Instant,
    debt_micros: AtomicU64,
    /// Since the epoch.
    handed_over_until_micros: AtomicU64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            debt_micros: AtomicU64::new(0),
            handed_over_until_micros: AtomicU64::new(0),
        }
    }
}

impl Patience {
    /// Whether a lookup that begins now may run on the thread that asks.
    pub fn allows(&self, now: Instant) -> bool {
        micros(now.duration_since(self.epoch)) >= self.handed_over_until_micros.load(Ordering::Relaxed)
    }

    /// One has run there.
    pub fn note(&self, began_at: Instant, took: Duration) {
        let after = |debt: u64| debt.saturating_add(micros(took)).saturating_sub(micros(ALLOWED));
        // It never fails, as every number has one after it. Of two at once none is lost.
        let before = self
            .debt_micros
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |debt| Some(after(debt)))
            .unwrap_or_else(|debt| debt);
        if after(before) > micros(MOST_DEBT) {
            self.debt_micros.store(0, Ordering::Relaxed);
            let until = micros((began_at + took + PAUSE).duration_since(self.epoch));
            self.handed_over_until_micros.fetch_max(until, Ordering::Relaxed);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lookups that take so long, one after the other, until they are handed over.
    fn until_handed_over(patience: &Patience, times: impl IntoIterator<Item = Duration>) -> Option<Instant> {
        let mut now = patience.epoch;
        for took in times {
            assert!(patience.allows(now));
            patience.note(now, took);
            now += took;
            if !patience.allows(now) {
                return Some(now);
            }
        }
        None
    }

    #[test]
    fn what_waits_for_a_disk_is_handed_over_for_a_while_whatever_the_disk() {
        for took in [Duration::from_micros(300), Duration::from_millis(10), Duration::from_secs(2)] {
            let patience = Patience::default();
            let waited = until_handed_over(&patience, std::iter::repeat_n(took, 1000)).unwrap();

            assert!(!patience.allows(waited + PAUSE - Duration::from_millis(1)), "{took:?}");
            assert!(patience.allows(waited + PAUSE), "{took:?}");
            let longest = MOST_DEBT * 2 + took;
            assert!(waited - patience.epoch <= longest, "{took:?}: {:?}", waited - patience.epoch);
        }
    }

    #[test]
    fn what_is_in_memory_stays_where_it_is_though_the_system_lets_others_run_now_and_then() {
        let usual = std::iter::repeat_n(Duration::from_micros(15), 199);
        let round = usual.chain([Duration::from_millis(4)]);
        let patience = Patience::default();
        assert_eq!(until_handed_over(&patience, std::iter::repeat_n(round, 500).flatten()), None);
    }
}
