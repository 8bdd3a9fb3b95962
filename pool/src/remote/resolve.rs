//! Host names to addresses, off the shards: the system's resolver blocks, for many seconds when name servers are away.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::error::RemoteError;
use super::url::Origin;
use crate::engine::blocking::Blocking;

/// Threads of their own, so that name servers that are away hold up no file operation.
const THREADS: usize = 16;
/// Addresses of one name that are tried.
pub const MAX_ADDRESSES: usize = 8;

/// Asks the system (files, DNS, whatever is configured there).
pub struct Resolver {
    threads: Arc<Blocking>,
}

impl Resolver {
    /// Threads start when needed.
    #[must_use]
    pub fn new() -> Resolver {
        Resolver { threads: Blocking::new(THREADS) }
    }

    /// The addresses of a server, in the order to try them (RFC 8305 §4): families in turn.
    pub async fn resolve(&self, origin: &Origin) -> Result<Vec<SocketAddr>, RemoteError> {
        if let Ok(address) = origin.bare_host().parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, origin.port)]);
        }
        let failed = |problem: String| RemoteError::Resolve { host: origin.host.clone(), problem };
        let (sender, receiver) = oneshot::channel();
        let (host, port) = (origin.host.clone(), origin.port);
        let job = Box::new(move || {
            // Whoever asked may have given up.
            let _ = sender.send((host.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>));
        });
        self.threads.run(job).map_err(|error| failed(error.to_string()))?;
        match receiver.await {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(failed("it has no address".into())),
            Ok(Ok(addresses)) => Ok(in_turn(addresses)),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("the resolver has stopped".into())),
        }
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

/// The families in turn, beginning with the one that the system put first.
fn in_turn(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered: Vec<SocketAddr> = Vec::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return ordered;
        }
        for address in pair.into_iter().flatten() {
            if ordered.len() < MAX_ADDRESSES && !ordered.contains(&address) {
                ordered.push(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_the_systems_choice_is_first() {
        let list = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        let cases: [(&[&str], &[&str]); 4] = [
            (
                &["[::1]:1", "[::2]:1", "1.1.1.1:1", "2.2.2.2:1"],
                &["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1"],
            ),
            (&["1.1.1.1:1", "2.2.2.2:1", "[::1]:1"], &["1.1.1.1:1", "[::1]:1", "2.2.2.2:1"]),
            (&["1.1.1.1:1", "1.1.1.1:1"], &["1.1.1.1:1"]),
            (&[], &[]),
        ];
        for (given, expected) in cases {
            assert_eq!(in_turn(list(given)), list(expected));
        }
        let many: Vec<SocketAddr> = (0..100).map(|last| ([192, 0, 2, last], 1).into()).collect();
        assert_eq!(in_turn(many).len(), MAX_ADDRESSES);
    }
}
