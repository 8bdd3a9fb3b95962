//! Waiting for something to become true, with an end.

use std::thread;
use std::time::{Duration, Instant};

/// How long a story waits for what should happen at once, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `look` gives something; panics with `what` when it does not within [`PATIENCE`].
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("{what}: not within {PATIENCE:?}"))
}

/// Waits until `look` gives something, at most so long.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(INTERVAL);
    }
}
