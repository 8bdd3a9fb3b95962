//! The doors that were seen or configured: where clients that lost their way are sent back to.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::transfer::request::Door;

/// Doors that are remembered beside the configured ones. A site has a handful; more means that someone makes names up.
const MAX_SEEN_DOORS: usize = 256;

/// URLs by door name.
#[derive(Debug)]
pub struct Doors {
    configured: HashMap<String, String>,
    seen: Mutex<HashMap<String, String>>,
}

impl Doors {
    /// The configured ones; these never change.
    #[must_use]
    pub fn new(configured: HashMap<String, String>) -> Self {
        Self { configured, seen: Mutex::default() }
    }

    /// Remembers where a door answers. A configured URL is never replaced.
    pub fn saw(&self, door: &Door) {
        if door.name.is_empty() || door.url.is_empty() || self.configured.contains_key(&door.name) {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < MAX_SEEN_DOORS || seen.contains_key(&door.name) {
            seen.insert(door.name.clone(), door.url.clone());
        }
    }

    /// Where a door answers.
    #[must_use]
    pub fn url(&self, name: &str) -> Option<String> {
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        self.configured.get(name).cloned().or_else(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(name: &str, url: &str) -> Door {
        Door { name: name.into(), url: url.into() }
    }

    #[test]
    fn a_door_that_was_seen_is_found_again_at_its_latest_url() {
        let doors = Doors::new(HashMap::new());
        assert_eq!(doors.url("a"), None);
        doors.saw(&door("a", "http://a:1"));
        doors.saw(&door("a", "http://a:2"));
        doors.saw(&door("b", ""));
        assert_eq!(doors.url("a").as_deref(), Some("http://a:2"));
        assert_eq!(doors.url("b"), None);
    }

    #[test]
    fn nobody_can_move_a_configured_door() {
        let doors = Doors::new(HashMap::from([("a".into(), "https://a.example.org".into())]));
        doors.saw(&door("a", "http://evil"));
        assert_eq!(doors.url("a").as_deref(), Some("https://a.example.org"));
    }

    #[test]
    fn made_up_names_do_not_fill_the_memory() {
        let doors = Doors::new(HashMap::new());
        for number in 0..2 * MAX_SEEN_DOORS {
            doors.saw(&door(&format!("d{number}"), "http://x"));
        }
        assert_eq!(doors.url("d0").as_deref(), Some("http://x"));
        assert_eq!(doors.url(&format!("d{MAX_SEEN_DOORS}")), None);
    }
}
