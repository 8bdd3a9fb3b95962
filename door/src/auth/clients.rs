//! What is remembered of each client for a while: a table that cannot be made to grow.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use super::network::client_of;

/// Clients that are told apart. Beyond, all others count as one.
const MAX_CLIENTS: usize = 8192;
/// Between two looks for what can be forgotten, when the table is full.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);
/// Who stands for all that have no place of their own; nobody comes from there.
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A value for each client, forgotten after a while without a visit.
#[derive(Debug)]
pub struct ClientTable<T> {
    entries: HashMap<IpAddr, (T, Instant)>,
    forget_after: Duration,
    swept_at: Option<Instant>,
}

impl<T: Default> ClientTable<T> {
    /// An empty one.
    pub fn new(forget_after: Duration) -> Self {
        Self { entries: HashMap::new(), forget_after, swept_at: None }
    }

    /// What is remembered of a client, which comes now.
    pub fn visit(&mut self, address: IpAddr, now: Instant) -> &mut T {
        let mut client = client_of(address);
        if !self.entries.contains_key(&client) && self.entries.len() >= MAX_CLIENTS {
            self.sweep(now);
            if self.entries.len() >= MAX_CLIENTS {
                client = OTHERS;
            }
        }
        let old = |at: Instant| now.saturating_duration_since(at) >= self.forget_after;
        let (value, at) = self.entries.entry(client).or_insert_with(|| (T::default(), now));
        if old(*at) {
            *value = T::default();
        }
        *at = now;
        value
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept_at.is_some_and(|at| now.saturating_duration_since(at) < SWEEP_PERIOD) {
            return;
        }
        self.swept_at = Some(now);
        let forget_after = self.forget_after;
        self.entries.retain(|_, (_, at)| now.saturating_duration_since(*at) < forget_after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_remembered_until_it_has_stayed_away() {
        let mut table: ClientTable<u32> = ClientTable::new(Duration::from_secs(60));
        let (start, client) = (Instant::now(), "192.0.2.1".parse().unwrap());
        *table.visit(client, start) += 1;
        assert_eq!(*table.visit(client, start + Duration::from_secs(59)), 1);
        assert_eq!(*table.visit(client, start + Duration::from_secs(119)), 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let mut table: ClientTable<u32> = ClientTable::new(Duration::from_secs(60));
        let now = Instant::now();
        *table.visit("2001:db8::1".parse().unwrap(), now) += 1;
        assert_eq!(*table.visit("2001:db8::2".parse().unwrap(), now), 1);
        assert_eq!(*table.visit("2001:db8:0:1::1".parse().unwrap(), now), 0);
    }

    #[test]
    fn a_flood_of_addresses_takes_one_place_until_others_are_forgotten() {
        let mut table: ClientTable<u32> = ClientTable::new(Duration::from_secs(60));
        let now = Instant::now();
        let address = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number));
        for number in 0..20_000 {
            *table.visit(address(number), now) += 1;
        }
        assert_eq!(table.entries.len(), MAX_CLIENTS + 1);
        assert_eq!(*table.visit(address(1), now), 1, "who was there first keeps its own");
        let later = now + Duration::from_secs(61);
        assert_eq!(*table.visit(address(30_000), later), 0);
        assert!(table.entries.len() < MAX_CLIENTS);
    }
}
