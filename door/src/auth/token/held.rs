//! Which keys of an issuer are at hand, how old they are, and whether to ask for them again.
//!
//! The periods are those of the WLCG token profile: asked for again after 6 hours, of no use after 2 days. In between,
//! tokens are checked with what is known, so that an issuer that is away stops nobody. Nobody can make the door ask more
//! often than once a minute, whatever tokens they show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::jwks::Jwks;
use super::jws::PublicKey;

/// From then on keys are asked for again.
pub const REFRESH_AFTER: Duration = Duration::from_secs(6 * 3600);
/// From then on they are of no use.
pub const EXPIRE_AFTER: Duration = Duration::from_secs(48 * 3600);
/// Between two attempts.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);

/// What is known of an issuer's keys.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// Since when they are known here, and how old they were then.
    keys: Option<(Arc<Jwks>, Instant, Duration)>,
    asked_at: Option<Instant>,
}

/// What to do for one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Check it with this key.
    Use(PublicKey),
    /// The same; and it is time to ask again.
    UseAndRefresh(PublicKey),
    /// Ask, and judge again.
    Ask,
    /// The issuer has been asked a moment ago, and has no such key.
    Unknown,
    /// The issuer has been asked a moment ago, and gave nothing.
    Nothing,
}

impl Held {
    /// Judges a key id.
    pub fn judge(&self, key_id: &str, now: Instant) -> Judgement {
        let Some((keys, age)) = self.alive(now) else {
            return if self.may_ask(now) { Judgement::Ask } else { Judgement::Nothing };
        };
        match keys.find(key_id) {
            Some(key) if age >= REFRESH_AFTER && self.may_ask(now) => Judgement::UseAndRefresh(key.clone()),
            Some(key) => Judgement::Use(key.clone()),
            // A new key may have come since.
            None if self.may_ask(now) => Judgement::Ask,
            None => Judgement::Unknown,
        }
    }

    /// Whether to ask without a token that needs it.
    pub fn is_due(&self, now: Instant) -> bool {
        self.may_ask(now) && self.alive(now).is_none_or(|(_, age)| age >= REFRESH_AFTER)
    }

    /// Somebody asks now.
    pub fn asking(&mut self, now: Instant) {
        self.asked_at = Some(now);
    }

    /// These are the issuer's keys now; others are not any more.
    pub fn learn(&mut self, keys: Jwks, now: Instant) {
        self.remember(keys, now, Duration::ZERO);
    }

    /// These were the issuer's keys some time ago: what is left of their time is theirs.
    pub fn remember(&mut self, keys: Jwks, now: Instant, age: Duration) {
        self.keys = Some((Arc::new(keys), now, age));
    }

    fn alive(&self, now: Instant) -> Option<(&Jwks, Duration)> {
        let (keys, since, age_then) = self.keys.as_ref()?;
        let age = now.saturating_duration_since(*since).saturating_add(*age_then);
        (age < EXPIRE_AFTER).then_some((keys, age))
    }

    fn may_ask(&self, now: Instant) -> bool {
        self.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(id: &str) -> Jwks {
        let text =
            format!("{{\"keys\":[{{\"kty\":\"RSA\",\"kid\":\"{id}\",\"n\":\"AQAB\",\"e\":\"AQAB\"}}]}}");
        Jwks::parse(text.as_bytes()).unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn keys_are_used_refreshed_and_given_up_at_their_times() {
        let start = Instant::now();
        let mut held = Held::default();
        assert_eq!(held.judge("a", start), Judgement::Ask);
        held.asking(start);
        held.learn(keys("a"), start);
        let key = keys("a").find("a").unwrap().clone();
        let table = [
            (SECOND, Judgement::Use(key.clone()), false),
            (REFRESH_AFTER - SECOND, Judgement::Use(key.clone()), false),
            (REFRESH_AFTER, Judgement::UseAndRefresh(key.clone()), true),
            (EXPIRE_AFTER - SECOND, Judgement::UseAndRefresh(key.clone()), true),
            (EXPIRE_AFTER, Judgement::Ask, true),
        ];
        for (age, judgement, is_due) in table {
            assert_eq!(held.judge("a", start + age), judgement, "{age:?}");
            assert_eq!(held.is_due(start + age), is_due, "{age:?}");
        }
    }

    #[test]
    fn keys_that_were_remembered_have_what_is_left_of_their_time() {
        let start = Instant::now();
        let mut held = Held::default();
        held.remember(keys("a"), start, EXPIRE_AFTER - 10 * SECOND);
        held.asking(start);
        assert!(matches!(held.judge("a", start + 9 * SECOND), Judgement::Use(_)));
        assert_eq!(held.judge("a", start + 10 * SECOND), Judgement::Nothing);
        held.remember(keys("a"), start, REFRESH_AFTER - SECOND);
        assert!(!Held { asked_at: None, ..held.clone() }.is_due(start));
        assert!(Held { asked_at: None, ..held }.is_due(start + SECOND), "it is asked at its time");
    }

    #[test]
    fn an_issuer_that_is_away_is_asked_once_a_minute_while_its_keys_go_on() {
        let start = Instant::now();
        let mut held = Held::default();
        held.learn(keys("a"), start);
        let late = start + REFRESH_AFTER;
        held.asking(late);
        assert!(matches!(held.judge("a", late + SECOND), Judgement::Use(_)));
        assert!(matches!(held.judge("a", late + RETRY_AFTER), Judgement::UseAndRefresh(_)));
        let end = start + EXPIRE_AFTER;
        held.asking(end);
        assert_eq!(held.judge("a", end + SECOND), Judgement::Nothing);
    }

    #[test]
    fn an_unknown_key_id_makes_the_door_ask_at_most_once_a_minute() {
        let start = Instant::now();
        let mut held = Held::default();
        held.asking(start);
        held.learn(keys("a"), start);
        assert_eq!(held.judge("b", start + SECOND), Judgement::Unknown);
        assert_eq!(held.judge("b", start + RETRY_AFTER), Judgement::Ask);
        held.asking(start + RETRY_AFTER);
        held.learn(keys("b"), start + RETRY_AFTER);
        assert!(matches!(held.judge("b", start + RETRY_AFTER + SECOND), Judgement::Use(_)));
        assert_eq!(
            held.judge("a", start + RETRY_AFTER + SECOND),
            Judgement::Unknown,
            "the key was withdrawn"
        );
    }
}
