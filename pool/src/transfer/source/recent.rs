//! Which replicas were read lately: what is read again is worth a place in the page cache.
//!
//! Science data are mostly read once, and O_DIRECT keeps them from pushing everything else out of the cache. A file
//! that many jobs read in turn (a software image, a shared input) would then come from the disk every time. So the
//! first reader goes past the cache, and the next ones within some minutes fill it. Where the first has not ended by then,
//! it joins them: otherwise the disk would be read twice, for as long as it takes.

use std::collections::HashMap;
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
    /// Of each replica, whether it was read more than once.
    young: HashMap<u64, bool>,
    old: HashMap<u64, bool>,
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
        let lately = generations.young.contains_key(&replica) || generations.old.contains_key(&replica);
        generations.young.insert(replica, lately);
        lately
    }

    /// Whether somebody else has begun to read a replica since a read of it was noted.
    pub fn was_joined(&self, replica: &str) -> bool {
        let replica = self.hasher.hash_one(replica);
        let generations = &*self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations
            .young
            .get(&replica)
            .or_else(|| generations.old.get(&replica))
            .is_some_and(|joined| *joined)
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
    fn the_first_reader_hears_of_the_second() {
        let recent = Recent::default();
        let now = Instant::now();
        recent.note("a", now);
        recent.note("b", now);
        assert!(!recent.was_joined("a"));
        recent.note("a", now + REMEMBERED + Duration::from_secs(1));
        assert!(recent.was_joined("a"));
        assert!(!recent.was_joined("b"));
        assert!(!recent.was_joined("c"));
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
