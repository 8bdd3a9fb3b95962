//! How many connections one client may have: no single one can take all that the door has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::network::client_of;

/// Sent to a connection that is one too many, before it is closed.
pub const REFUSAL: &[u8] = b"HTTP/1.1 429 Too many connections from your address\r\nRetry-After: 10\r\n\
    Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 73\r\n\r\n\
    your address has as many connections here as it may have; try again later";

/// The connections of all clients.
#[derive(Debug)]
pub struct Clients {
    limit: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection; its place is free again when this goes.
#[derive(Debug)]
pub struct Place {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    /// None yet; at most `limit` of each.
    pub fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self { limit: limit as usize, open: Mutex::default() })
    }

    /// A place for one more connection; `None` when the client has as many as it may.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let client = client_of(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Place { clients: Arc::clone(self), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.clients.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_limit_and_takes_nothing_from_others() {
        let clients = Clients::new(2);
        let admit = |address: &str| clients.admit(address.parse().unwrap());
        let (one, two) = (admit("192.0.2.1"), admit("::ffff:192.0.2.1"));
        assert!(one.is_some() && two.is_some());
        assert!(admit("192.0.2.1").is_none());
        let other = admit("192.0.2.2");
        assert!(other.is_some());
        drop(one);
        let again = admit("192.0.2.1");
        assert!(again.is_some() && admit("192.0.2.1").is_none());
        drop((two, other, again));
        assert!(clients.open.lock().unwrap().is_empty(), "nothing is kept of those who have gone");
    }

    #[test]
    fn all_addresses_of_a_network_of_ipv6_are_one_client() {
        let clients = Clients::new(1);
        let first = clients.admit("2001:db8::1".parse().unwrap());
        assert!(first.is_some());
        assert!(clients.admit("2001:db8::ffff:0:0:2".parse().unwrap()).is_none());
        assert!(clients.admit("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn the_refusal_says_its_length() {
        let text = std::str::from_utf8(REFUSAL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{}", body.len());
    }
}
