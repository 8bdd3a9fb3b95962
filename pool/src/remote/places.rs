//! How many connections each remote server gets, over all shards and transfers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::url::Origin;

/// Connections by server.
#[derive(Debug)]
pub struct Places {
    limit: usize,
    taken: Mutex<HashMap<Origin, usize>>,
}

/// One connection's place; free again when dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    origin: Origin,
}

impl Places {
    /// At most so many for each.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Places> {
        Arc::new(Places { limit: limit.max(1), taken: Mutex::default() })
    }

    /// A place, if one is free.
    #[must_use]
    pub fn take(self: &Arc<Self>, origin: &Origin) -> Option<Place> {
        let mut taken = self.lock();
        let count = taken.entry(origin.clone()).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place { places: Arc::clone(self), origin: origin.clone() })
    }

    /// Places taken, of all servers.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.lock().values().sum()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gets_so_many_and_what_is_given_back_is_free_again() {
        let places = Places::new(2);
        let origin = |port| Origin { secure: false, host: "a".into(), port };
        let first = places.take(&origin(1)).unwrap();
        let _second = places.take(&origin(1)).unwrap();
        assert!(places.take(&origin(1)).is_none());
        assert!(places.take(&origin(2)).is_some(), "another server has its own");
        drop(first);
        assert!(places.take(&origin(1)).is_some());
        assert_eq!(places.taken(), 1, "what was dropped is forgotten");
    }
}
