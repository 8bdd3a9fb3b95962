//! Sends fireflies, on a thread of its own: whoever moves bytes only puts a note into a bounded queue, and if that is
//! full, the firefly is dropped and counted.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use std::{io, thread};

use super::collectors::Collectors;
use super::counters::{Counters, Sent};
use super::firefly::Firefly;
use super::settings::{FIREFLY_PORT, Settings};

/// Fireflies that wait to be sent.
const QUEUE: usize = 4096;

enum Note {
    Firefly(Box<Firefly>),
    /// Whoever waits at the other end is told when all before it are sent.
    Flush(SyncSender<()>),
}

/// Where fireflies are given to.
#[derive(Debug)]
pub(super) struct Sender {
    queue: SyncSender<Note>,
    counters: Arc<Counters>,
}

impl Sender {
    /// Starts the thread. It ends with the sender.
    pub(super) fn start(settings: &Settings, counters: &Arc<Counters>) -> io::Result<Sender> {
        let (queue, notes) = sync_channel(QUEUE);
        let post = Post {
            host: host_name(),
            four: open((Ipv4Addr::UNSPECIFIED, 0).into())?,
            six: open((Ipv6Addr::UNSPECIFIED, 0).into())?,
            to_peers: settings.to_peers,
            collectors: Collectors::start(&settings.collectors)?,
            counters: Arc::clone(counters),
        };
        thread::Builder::new().name("fireflies".to_owned()).spawn(move || post.run(&notes))?;
        Ok(Sender { queue, counters: Arc::clone(counters) })
    }

    /// Sends it when its turn comes. Never waits.
    pub(super) fn send(&self, firefly: Firefly) {
        if self.queue.try_send(Note::Firefly(Box::new(firefly))).is_err() {
            self.counters.firefly(Sent::Dropped);
        }
    }

    /// Waits until all that were given before are sent, at most so long.
    pub(super) fn flush(&self, limit: Duration) {
        let (done, waiting) = sync_channel(1);
        if self.queue.try_send(Note::Flush(done)).is_ok() {
            // When time is over, what is left is lost, as the network may lose any of them.
            let _ = waiting.recv_timeout(limit);
        }
    }
}

/// The thread's own.
struct Post {
    host: String,
    four: Option<UdpSocket>,
    six: Option<UdpSocket>,
    to_peers: bool,
    collectors: Collectors,
    counters: Arc<Counters>,
}

/// A socket that never waits; `None` where the machine has no such addresses.
fn open(address: SocketAddr) -> io::Result<Option<UdpSocket>> {
    match UdpSocket::bind(address) {
        Ok(socket) => {
            socket.set_nonblocking(true)?;
            Ok(Some(socket))
        }
        Err(_) => Ok(None),
    }
}

impl Post {
    fn run(self, notes: &Receiver<Note>) {
        for note in notes {
            match note {
                Note::Firefly(firefly) => self.send(&firefly),
                Note::Flush(done) => {
                    // Whoever asked may have given up.
                    let _ = done.try_send(());
                }
            }
        }
    }

    fn send(&self, firefly: &Firefly) {
        let datagram = firefly.datagram(&self.host);
        if self.to_peers {
            self.send_to(&datagram, &[SocketAddr::new(firefly.peer.ip(), FIREFLY_PORT)]);
        }
        for addresses in self.collectors.now() {
            self.send_to(&datagram, &addresses);
        }
    }

    /// To the first of a host's addresses that the system takes it for.
    fn send_to(&self, datagram: &[u8], addresses: &[SocketAddr]) {
        let went_out = addresses.iter().any(|address| {
            let socket = if address.is_ipv4() { &self.four } else { &self.six };
            socket.as_ref().is_some_and(|socket| socket.send_to(datagram, address).is_ok())
        });
        self.counters.firefly(if went_out { Sent::Yes } else { Sent::Failed });
    }
}

/// This machine's name, as the kernel has it.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::firefly::{State, Supplier, Usage};
    use super::super::tag::Tag;
    use super::*;

    fn firefly(port: u16) -> Firefly {
        Firefly {
            state: State::Start,
            started_at: SystemTime::now(),
            now: SystemTime::now(),
            local: "192.0.2.1:2881".parse().unwrap(),
            peer: SocketAddr::from(([127, 0, 0, 1], port)),
            supplier: Supplier::Here,
            tag: Tag::new(2, 16).unwrap(),
            usage: Usage::default(),
        }
    }

    fn settings(collectors: &[String]) -> Settings {
        let collectors = collectors.iter().map(|text| text.parse().unwrap()).collect();
        Settings { collectors, to_peers: false, ..Settings::default() }
    }

    #[test]
    fn every_collector_gets_every_firefly() {
        let collectors = [UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap()];
        let names = collectors.each_ref().map(|socket| socket.local_addr().unwrap().to_string());
        let counters = Arc::new(Counters::default());
        let sender = Sender::start(&settings(&names), &counters).unwrap();
        for port in [1, 2, 3] {
            sender.send(firefly(port));
        }
        sender.flush(Duration::from_secs(10));
        for collector in &collectors {
            collector.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            for port in [1, 2, 3] {
                let mut datagram = [0; 2048];
                let length = collector.recv(&mut datagram).unwrap();
                let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
                assert!(
                    text.starts_with("<134>1 ") && text.contains(&format!("\"dst-port\":{port}}}")),
                    "{text}"
                );
            }
        }
        assert_eq!(counters.fireflies(Sent::Yes), 6);
    }

    #[test]
    fn a_collector_that_nobody_can_reach_is_counted_and_stops_nobody() {
        let good = UdpSocket::bind("127.0.0.1:0").unwrap();
        // The broadcast address is refused without the socket's leave.
        let names = ["255.255.255.255:9".to_owned(), good.local_addr().unwrap().to_string()];
        let counters = Arc::new(Counters::default());
        let sender = Sender::start(&settings(&names), &counters).unwrap();
        sender.send(firefly(1));
        sender.flush(Duration::from_secs(10));
        good.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert!(good.recv(&mut [0; 2048]).is_ok());
        assert_eq!((counters.fireflies(Sent::Yes), counters.fireflies(Sent::Failed)), (1, 1));
    }

    #[test]
    fn what_does_not_fit_into_the_queue_is_dropped_and_counted() {
        let (queue, notes) = sync_channel(2);
        let counters = Arc::new(Counters::default());
        let sender = Sender { queue, counters: Arc::clone(&counters) };
        for port in 1..=5 {
            sender.send(firefly(port));
        }
        assert_eq!(counters.fireflies(Sent::Dropped), 3);
        assert_eq!(notes.try_iter().count(), 2);
    }
}
