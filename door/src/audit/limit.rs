//! How many refusals are recorded: a bucket for each client, and one for all.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::auth::clients::ClientTable;

/// Of one client: at once, and for each second that follows.
const CLIENT_BURST: f64 = 50.0;
const CLIENT_PER_SECOND: f64 = 1.0;
/// Of all clients. A record is at most some 2 KiB, so that a day of attacks from everywhere is some 2 GiB at the very
/// worst, and some hundred MiB in practice.
const ALL_BURST: f64 = 1000.0;
const ALL_PER_SECOND: f64 = 10.0;
/// A client's bucket is full again by then.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// What is left of a limit.
#[derive(Debug, Default)]
struct Bucket {
    /// Taken out, and when that was; trickles back.
    taken: f64,
    at: Option<Instant>,
}

impl Bucket {
    fn refill(&mut self, now: Instant, per_second: f64) {
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.taken = (self.taken - since.as_secs_f64() * per_second).max(0.0);
        self.at = Some(now);
    }
}

/// The limit of refusals.
#[derive(Debug)]
pub struct Limit {
    clients: ClientTable<Bucket>,
    all: Bucket,
    left_out: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self { clients: ClientTable::new(FORGET_AFTER), all: Bucket::default(), left_out: 0 }
    }
}

impl Limit {
    /// Whether one more is recorded, and how many were left out since the last one.
    pub fn admit(&mut self, client: IpAddr, now: Instant) -> Option<u64> {
        self.all.refill(now, ALL_PER_SECOND);
        let own = self.clients.visit(client, now);
        own.refill(now, CLIENT_PER_SECOND);
        if own.taken + 1.0 > CLIENT_BURST || self.all.taken + 1.0 > ALL_BURST {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        own.taken += 1.0;
        self.all.taken += 1.0;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()
    }

    #[test]
    fn one_client_is_limited_by_itself_and_what_was_left_out_is_told() {
        let mut limit = Limit::default();
        let start = Instant::now();
        let admitted = (0..200).filter(|_| limit.admit(address(1), start).is_some()).count();
        assert_eq!(admitted, 50);
        assert_eq!(limit.admit(address(2), start), Some(150));
        assert_eq!(limit.admit(address(1), start + Duration::from_secs(2)), Some(0));
        assert_eq!(limit.admit(address(1), start + Duration::from_secs(2)), Some(0));
        assert_eq!(limit.admit(address(1), start + Duration::from_secs(2)), None);
    }

    #[test]
    fn many_clients_are_limited_together() {
        let mut limit = Limit::default();
        let start = Instant::now();
        let admitted = (0..5000).filter(|number| limit.admit(address(*number), start).is_some()).count();
        assert_eq!(admitted, 1000);
        let later = start + Duration::from_secs(10);
        let admitted = (6000..9000).filter(|number| limit.admit(address(*number), later).is_some()).count();
        assert_eq!(admitted, 100);
    }
}
