//! Passwords that were good a moment ago. Neither they nor anything that can be made from them alone is kept: only a hash
//! under a key that this process made at its start and keeps to itself.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::auth::secret::Secret;

/// How long a password that was good needs no other look.
const LIFETIME: Duration = Duration::from_secs(300);
/// Users that are kept; beyond, nobody is until some are forgotten.
const MAX_ENTRIES: usize = 10_000;
const KEY_BYTES: usize = 32;

/// What stands for a user with a password.
#[derive(Clone)]
pub struct Fingerprint(Hmac<Sha256>);

/// Users whose passwords were good, with the fingerprints of these.
pub struct Cache {
    key: Secret,
    entries: HashMap<String, ([u8; 32], Instant)>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Cache {
    /// An empty one, with a new key.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key)?;
        Ok(Self { key: Secret::new(key), entries: HashMap::new() })
    }

    /// What stands for them.
    pub fn fingerprint(&self, user: &str, password: &Secret) -> Fingerprint {
        // RFC 2104 §2.
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key.expose()).expect("HMAC takes a key of any length");
        // With its length before it, no name can run over into a password.
        mac.update(&(user.len() as u64).to_be_bytes());
        mac.update(user.as_bytes());
        mac.update(password.expose());
        Fingerprint(mac)
    }

    /// Whether it was good a moment ago.
    pub fn knows(&self, user: &str, fingerprint: &Fingerprint, now: Instant) -> bool {
        self.entries.get(user).is_some_and(|(known, until)| {
            // Compares in constant time.
            *until > now && fingerprint.0.clone().verify_slice(known).is_ok()
        })
    }

    /// It was good.
    pub fn remember(&mut self, user: &str, fingerprint: Fingerprint, now: Instant) {
        if self.entries.len() >= MAX_ENTRIES {
            self.entries.retain(|_, (_, until)| *until > now);
        }
        if self.entries.len() < MAX_ENTRIES || self.entries.contains_key(user) {
            let bytes = fingerprint.0.finalize().into_bytes().into();
            self.entries.insert(user.to_owned(), (bytes, now + LIFETIME));
        }
    }

    /// Nothing that was good before needs to be now.
    pub fn forget_all(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_for_its_user_and_for_a_while() {
        let mut cache = Cache::new().unwrap();
        let secret = |text: &str| Secret::new(text);
        let now = Instant::now();
        let good = cache.fingerprint("paul", &secret("hunter2"));
        assert!(!cache.knows("paul", &good, now));
        cache.remember("paul", good.clone(), now);
        assert!(cache.knows("paul", &good, now + LIFETIME - Duration::from_secs(1)));
        assert!(!cache.knows("paul", &good, now + LIFETIME));
        assert!(!cache.knows("paulh", &cache.fingerprint("paulh", &secret("unter2")), now));
        assert!(!cache.knows("paul", &cache.fingerprint("paul", &secret("hunter3")), now));
        cache.forget_all();
        assert!(!cache.knows("paul", &good, now));
    }

    #[test]
    fn a_cache_does_not_grow_without_end() {
        let mut cache = Cache::new().unwrap();
        let now = Instant::now();
        for number in 0..MAX_ENTRIES + 5 {
            let user = format!("user{number}");
            let good = cache.fingerprint(&user, &Secret::new("x"));
            cache.remember(&user, good, now);
        }
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
        let late = now + LIFETIME;
        let good = cache.fingerprint("late", &Secret::new("x"));
        cache.remember("late", good.clone(), late);
        assert!(cache.knows("late", &good, late) && cache.entries.len() == 1);
    }

    #[test]
    fn nothing_of_a_password_is_printed() {
        let mut cache = Cache::new().unwrap();
        let good = cache.fingerprint("paul", &Secret::new("hunter2"));
        cache.remember("paul", good, Instant::now());
        assert!(!format!("{cache:?}").contains("hunter2"));
    }
}
