//! Where fireflies are collected: host names to addresses, looked up again now and then on a thread of their own.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};

use super::settings::Collector;

/// How often names are looked up.
const LOOKUP_PERIOD: Duration = Duration::from_secs(60);
/// Addresses of one name that are kept.
const MOST_ADDRESSES: usize = 8;

/// The collectors' addresses, as they are known now.
#[derive(Debug)]
pub(super) struct Collectors {
    addresses: Arc<Mutex<Vec<Vec<SocketAddr>>>>,
    /// Its end is the thread's.
    _stop: Option<mpsc::Sender<()>>,
}

impl Collectors {
    /// Knows addresses at once, and names as soon as they are looked up.
    pub(super) fn start(collectors: &[Collector]) -> io::Result<Collectors> {
        let literal = |collector: &Collector| {
            let address = collector.host.parse::<IpAddr>().ok();
            address.map(|address| SocketAddr::new(address, collector.port)).into_iter().collect()
        };
        let addresses: Arc<Mutex<Vec<Vec<SocketAddr>>>> =
            Arc::new(Mutex::new(collectors.iter().map(literal).collect()));
        let names = collectors.iter().enumerate().filter(|(_, one)| one.host.parse::<IpAddr>().is_err());
        let names: Vec<(usize, Collector)> = names.map(|(place, one)| (place, one.clone())).collect();
        let mut stop = None;
        if !names.is_empty() {
            let (sender, stopped) = mpsc::channel();
            let addresses = Arc::clone(&addresses);
            thread::Builder::new()
                .name("firefly-names".to_owned())
                .spawn(move || keep_looking_up(&names, &addresses, &stopped))?;
            stop = Some(sender);
        }
        Ok(Collectors { addresses, _stop: stop })
    }

    /// Each collector's addresses, the best first; none of one whose name is not known.
    pub(super) fn now(&self) -> Vec<Vec<SocketAddr>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn keep_looking_up(
    names: &[(usize, Collector)],
    addresses: &Mutex<Vec<Vec<SocketAddr>>>,
    stopped: &mpsc::Receiver<()>,
) {
    let mut unknown = vec![false; names.len()];
    loop {
        for ((place, collector), was_unknown) in names.iter().zip(&mut unknown) {
            let found = look_up(collector);
            match &found {
                Ok(_) => *was_unknown = false,
                // Told once; the addresses that were known before may still be right.
                Err(error) if !std::mem::replace(was_unknown, true) => {
                    tracing::warn!(%collector, %error, "the collector of fireflies has no address now");
                }
                Err(_) => {}
            }
            if let (Ok(found), Some(known)) =
                (found, addresses.lock().unwrap_or_else(PoisonError::into_inner).get_mut(*place))
            {
                *known = found;
            }
        }
        match stopped.recv_timeout(LOOKUP_PERIOD) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// The addresses of a collector. Asks the system's resolver, which may take long.
pub fn look_up(collector: &Collector) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> =
        (collector.host.as_str(), collector.port).to_socket_addrs()?.take(MOST_ADDRESSES).collect();
    if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn addresses_are_known_at_once_and_names_soon() {
        let list: Vec<Collector> =
            ["192.0.2.1", "[2001:db8::1]:9", "localhost:7"].map(|text| text.parse().unwrap()).into();
        let collectors = Collectors::start(&list).unwrap();
        let now = collectors.now();
        assert_eq!(now[0], ["192.0.2.1:10514".parse().unwrap()]);
        assert_eq!(now[1], ["[2001:db8::1]:9".parse().unwrap()]);
        let until = Instant::now() + Duration::from_secs(20);
        while collectors.now()[2].is_empty() {
            assert!(Instant::now() < until, "localhost has an address");
            thread::sleep(Duration::from_millis(5));
        }
        assert!(collectors.now()[2].iter().all(|address| address.ip().is_loopback() && address.port() == 7));
    }
}
