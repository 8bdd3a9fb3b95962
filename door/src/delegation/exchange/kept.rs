//! Tokens that were got for users' tokens: in memory, bounded, until they end.

use std::collections::HashMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::message::Got;
use crate::auth::secret::Secret;

/// Tokens that are kept; of more, the one that ends first goes.
const MAX_KEPT: usize = 4096;

/// Stands for a user's token, which is not kept itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Of a token of an issuer's.
    pub fn of(issuer: &str, token: &Secret) -> Self {
        let mut hash = Sha256::new();
        hash.update((issuer.len() as u64).to_be_bytes());
        hash.update(issuer);
        hash.update(token.expose());
        Self(hash.finalize().into())
    }
}

/// What is kept.
#[derive(Debug, Default)]
pub struct Kept(HashMap<Key, Got>);

impl Kept {
    /// What was got for a token. One that has ended is still told when it can be refreshed.
    pub fn find(&mut self, key: &Key, now: Timestamp) -> Option<Got> {
        let is_over = |got: &Got| got.refresh_token.is_none() && ended(got, now);
        if self.0.get(key).is_some_and(is_over) {
            self.0.remove(key);
        }
        self.0.get(key).cloned()
    }

    /// Keeps what was got.
    pub fn keep(&mut self, key: Key, got: Got, now: Timestamp) {
        if self.0.len() >= MAX_KEPT && !self.0.contains_key(&key) {
            self.0.retain(|_, got| !ended(got, now));
        }
        if self.0.len() >= MAX_KEPT && !self.0.contains_key(&key) {
            let first = self.0.iter().min_by_key(|(_, got)| got.fresh.expires_at).map(|(key, _)| *key);
            first.map(|first| self.0.remove(&first));
        }
        self.0.insert(key, got);
    }
}

fn ended(got: &Got, now: Timestamp) -> bool {
    got.fresh.expires_at.is_none_or(|expires_at| expires_at <= now)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::super::message::Fresh;
    use super::*;

    fn got(expires_at: Option<Timestamp>, refresh: Option<&str>) -> Got {
        let fresh = Fresh { access_token: Secret::new("t"), expires_at };
        Got { fresh, refresh_token: refresh.map(Secret::new) }
    }

    fn key(number: usize) -> Key {
        Key::of("https://idp", &Secret::new(number.to_string()))
    }

    #[test]
    fn a_token_is_kept_until_its_end_or_for_as_long_as_it_can_be_refreshed() {
        let (mut kept, now) = (Kept::default(), Timestamp::UNIX_EPOCH);
        let soon = now + SignedDuration::from_secs(1);
        kept.keep(key(1), got(Some(soon), None), now);
        kept.keep(key(2), got(Some(soon), Some("r")), now);
        assert!(kept.find(&key(1), now).is_some() && kept.find(&key(3), now).is_none());
        assert!(kept.find(&key(1), soon).is_none());
        assert!(kept.find(&key(2), soon).is_some());
        assert_eq!(kept.0.len(), 1, "what has ended is gone");
    }

    #[test]
    fn only_so_many_are_kept_and_those_that_end_first_go() {
        let (mut kept, now) = (Kept::default(), Timestamp::UNIX_EPOCH);
        let at = |seconds| Some(now + SignedDuration::from_secs(seconds));
        for number in 0..=MAX_KEPT {
            kept.keep(key(number), got(at(1000 + number as i64), None), now);
        }
        assert_eq!(kept.0.len(), MAX_KEPT);
        assert!(kept.find(&key(0), now).is_none() && kept.find(&key(1), now).is_some());
    }

    #[test]
    fn one_token_of_two_issuers_is_not_the_same() {
        let token = Secret::new("b");
        assert_ne!(Key::of("a", &token), Key::of("ab", &Secret::new("")));
        assert_ne!(Key::of("a", &token), Key::of("b", &token));
    }
}
