//! Which replicas were read lately: what is read again is worth a place in the page cache.
//!
//! Science data are mostly read once, and O_DIRECT keeps them from pushing everything else out of the cache. A file
//! that many jobs read in turn (a software image, a shared input) would then come from the disk every time. So the
//! first reader goes past the cache, and the next ones within some minutes fill it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A read is remembered for at least so long, and at most twice as long.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Replicas that a generation holds; more start a new one early.
const GENERATION_SIZE: usize = 4096;

/// Reads of the last minutes, in two generations.
#[derive(Debug)]
pub struct Recent {
    hasher: RandomState,
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<u64>,
    old: HashSet<u64>,
    began_at: Option<Instant>,
}

impl Default for Recent {
    fn default() -> Self {
        Recent { hasher: RandomState::new(), generations: Mutex::default() }
    }
}

impl Recent {
    /// Notes a read from the disk. True when there was another one lately.
    pub fn note(&self, replica: &str, now: Instant) -> bool {
        let replica = self.hasher.hash_one(replica);
        let generations = &mut *self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let aged = generations.began_at.is_none_or(|began_at| now - began_at > REMEMBERED);
        if aged || generations.young.len() >= GENERATION_SIZE {
            generations.old = std::mem::take(&mut generations.young);
            generations.began_at = Some(now);
        }
        !generations.young.insert(replica) || generations.old.contains(&replica)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_read_is_noticed_for_some_minutes() {
        let recent = Recent::default();
        let start = Instant::now();
        assert!(!recent.note("a", start));
        assert!(!recent.note("b", start));
        assert!(recent.note("a", start + Duration::from_secs(1)));
        assert!(recent.note("b", start + REMEMBERED + Duration::from_secs(1)), "one generation back");
        let much_later = start + 4 * REMEMBERED;
        assert!(!recent.note("c", much_later));
        assert!(!recent.note("a", much_later + 2 * REMEMBERED));
    }

    #[test]
    fn memory_is_bounded() {
        let recent = Recent::default();
        let now = Instant::now();
        for number in 0..10 * GENERATION_SIZE {
            recent.note(&number.to_string(), now);
        }
        let generations = recent.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_SIZE);
    }
}
