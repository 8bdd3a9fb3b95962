//! Failed attempts to get in: who fails again and again is answered more and more slowly.
//!
//! Only answers that refuse wait, so that good clients behind the same address lose nothing. Passwords can be guessed:
//! while many wrong ones of an address wait for their answers, no further one is looked at.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::clients::ClientTable;

/// Failures that cost nothing: people mistype.
const FREE_FAILURES: u32 = 5;
/// The first pause, which doubles with each failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After so long without a failure an address begins anew.
const FORGET_AFTER: Duration = Duration::from_secs(120);
/// Refusals of one address that wait at once, before its passwords are not looked at.
const MAX_WAITING: u32 = 16;

#[derive(Debug, Default)]
struct Failures {
    count: u32,
    last_at: Option<Instant>,
    waiting: Arc<()>,
}

/// The failures of all clients.
#[derive(Debug, Clone)]
pub struct Attempts(Arc<Mutex<ClientTable<Failures>>>);

/// The address has too many wrong passwords on the way: 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logins from your address; try again later")]
pub struct TooManyFailures;

/// A refusal that waits; its place is free again when this goes.
#[derive(Debug)]
pub struct Penalty {
    pause: Duration,
    _place: Arc<()>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(ClientTable::new(FORGET_AFTER))))
    }
}

impl Attempts {
    /// Whether a password of this client is looked at now.
    pub fn may_guess(&self, client: IpAddr, now: Instant) -> Result<(), TooManyFailures> {
        let mut table = self.lock();
        let waiting = Arc::strong_count(&table.visit(client, now).waiting) - 1;
        if waiting < MAX_WAITING as usize { Ok(()) } else { Err(TooManyFailures) }
    }

    /// What a client showed was no good.
    pub fn failed(&self, client: IpAddr, now: Instant) -> Penalty {
        let mut table = self.lock();
        let failures = table.visit(client, now);
        let old = failures.last_at.is_none_or(|at| now.saturating_duration_since(at) >= FORGET_AFTER);
        failures.count = if old { 1 } else { failures.count.saturating_add(1) };
        failures.last_at = Some(now);
        Penalty { pause: pause(failures.count), _place: Arc::clone(&failures.waiting) }
    }

    fn lock(&self) -> MutexGuard<'_, ClientTable<Failures>> {
        // Numbers are whole after whatever happened.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Penalty {
    /// Waits before the refusal is told.
    pub async fn wait(self) {
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
    }
}

fn pause(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_PAUSE.saturating_mul(1 << doublings.min(10)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failures_are_free_and_then_each_costs_more_up_to_a_bound() {
        let millis: Vec<u128> = (0..=12).map(|failures| pause(failures).as_millis()).collect();
        assert_eq!(millis, [0, 0, 0, 0, 0, 0, 250, 500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn failures_count_for_an_address_and_are_forgotten() {
        let attempts = Attempts::default();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let start = Instant::now();
        for _ in 0..6 {
            drop(attempts.failed(one, start));
        }
        assert_eq!(attempts.failed(one, start).pause, Duration::from_millis(500));
        assert_eq!(attempts.failed(other, start).pause, Duration::ZERO);
        let later = start + FORGET_AFTER;
        assert_eq!(attempts.may_guess(one, later - Duration::from_secs(1)), Ok(()));
        assert_eq!(
            attempts.failed(one, later).pause,
            Duration::ZERO,
            "a good login does not keep them alive"
        );
    }

    #[test]
    fn while_many_refusals_wait_no_further_password_of_the_address_is_looked_at() {
        let attempts = Attempts::default();
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let now = Instant::now();
        let mut waiting: Vec<Penalty> = (0..MAX_WAITING).map(|_| attempts.failed(one, now)).collect();
        assert_eq!(attempts.may_guess(one, now), Err(TooManyFailures));
        assert_eq!(attempts.may_guess(other, now), Ok(()));
        waiting.pop();
        assert_eq!(attempts.may_guess(one, now), Ok(()));
    }
}
