//! Those who want a token for the same token: one of them asks, the others have what became of it, good or bad. So an issuer
//! that is away keeps a thousand copies of one user waiting for as long as one or two.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use super::ExchangeError;
use super::kept::Key;

/// There is an entry for each token that somebody waits for, and no other: no more than there are requests.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<Key, Weak<Turn>>>);

/// Where they wait who want the same.
#[derive(Debug, Default)]
pub struct Turn {
    /// Attempts that have failed.
    failed: AtomicU64,
    last_failure: AsyncMutex<LastFailure>,
}

/// The last attempt that has failed, its number, and how.
#[derive(Debug, Default)]
pub struct LastFailure(Option<(u64, Arc<ExchangeError>)>);

impl Turns {
    /// The place for those who ask with this.
    pub fn turn(&self, key: Key) -> Arc<Turn> {
        // Its changes are whole.
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&key).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(key, Arc::downgrade(&turn));
        turn
    }
}

impl Turn {
    /// How many attempts have failed. What fails later has failed for whoever asks now, too.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    /// Waits until nobody else asks. Nobody does while this is held.
    pub async fn wait(&self) -> AsyncMutexGuard<'_, LastFailure> {
        self.last_failure.lock().await
    }

    /// The attempt of who holds this has failed.
    pub fn fails(&self, last: &mut LastFailure, error: ExchangeError) -> Arc<ExchangeError> {
        let error = Arc::new(error);
        last.0 = Some((self.failed.fetch_add(1, Ordering::SeqCst) + 1, Arc::clone(&error)));
        error
    }
}

impl LastFailure {
    /// A failure after so many others.
    pub fn later_than(&self, failed: u64) -> Option<Arc<ExchangeError>> {
        self.0.as_ref().filter(|(number, _)| *number > failed).map(|(_, error)| Arc::clone(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::secret::Secret;

    fn key(number: u32) -> Key {
        Key::of("https://idp", &Secret::new(number.to_string()))
    }

    #[test]
    fn those_who_ask_for_the_same_wait_at_one_place_which_goes_with_them() {
        let turns = Turns::default();
        let (one, same, other) = (turns.turn(key(1)), turns.turn(key(1)), turns.turn(key(2)));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        drop((one, same));
        let _ = turns.turn(key(3));
        assert_eq!(turns.0.lock().unwrap().len(), 2, "of the first nothing is left");
    }

    #[tokio::test]
    async fn a_failure_is_for_those_who_waited_and_not_for_who_comes_later() {
        let turn = Turn::default();
        let before = turn.failed();
        turn.fails(&mut *turn.wait().await, ExchangeError::Unknown);
        let after = turn.failed();
        let last = turn.wait().await;
        assert!(last.later_than(before).is_some());
        assert!(last.later_than(after).is_none(), "the issuer may be there again");
    }
}
