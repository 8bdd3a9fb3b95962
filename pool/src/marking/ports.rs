//! Which port carries which label: the connections that a listener accepts carry the listener's label, so each pair of
//! experiment and activity gets a port of its own, on demand, out of a bounded set.
//!
//! A port is given up when it is idle: nobody was sent to it, or left it, for longer than a redirect URL is good for, and
//! it has no connection. So no connection ever outlives the meaning of its port.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::label::FlowLabel;
use super::settings::Ports;
use super::tag::Tag;

/// What the listeners of one port share with the book.
#[derive(Debug)]
pub struct Gate {
    opened_at: Instant,
    /// When somebody was sent to it last, or left it, after it was opened.
    used_at_ms: AtomicU64,
    idle_limit: Duration,
    connections: AtomicUsize,
    listeners: AtomicUsize,
    closed: AtomicBool,
}

impl Gate {
    fn new(now: Instant, idle_limit: Duration) -> Gate {
        Gate {
            opened_at: now,
            used_at_ms: AtomicU64::new(0),
            idle_limit,
            connections: AtomicUsize::new(0),
            listeners: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    fn used(&self, now: Instant) {
        let since = now.saturating_duration_since(self.opened_at).as_millis();
        self.used_at_ms.fetch_max(u64::try_from(since).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// A listener of the port, while the guard lives.
    #[must_use]
    pub fn listener(self: &Arc<Self>) -> Listening {
        self.listeners.fetch_add(1, Ordering::AcqRel);
        Listening(Arc::clone(self))
    }

    /// A connection of the port, while the guard lives.
    #[must_use]
    pub fn connection(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::AcqRel);
        Connected(Arc::clone(self))
    }

    /// Whether its listeners are to end: asked by each of them now and then.
    pub fn is_over(&self, now: Instant) -> bool {
        let used_at = self.opened_at + Duration::from_millis(self.used_at_ms.load(Ordering::Acquire));
        let idle = self.connections.load(Ordering::Acquire) == 0
            && now.saturating_duration_since(used_at) >= self.idle_limit;
        if idle {
            self.closed.store(true, Ordering::Release);
        }
        self.closed.load(Ordering::Acquire)
    }
}

/// See [`Gate::listener`].
#[derive(Debug)]
pub struct Listening(Arc<Gate>);

impl Drop for Listening {
    fn drop(&mut self) {
        // One that fails takes the others with it: the port's share of them would be lost otherwise.
        self.0.closed.store(true, Ordering::Release);
        self.0.listeners.fetch_sub(1, Ordering::AcqRel);
    }
}

/// See [`Gate::connection`].
#[derive(Debug)]
pub struct Connected(Arc<Gate>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.used(Instant::now());
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A port to be opened.
#[derive(Debug)]
pub struct Opening<'a> {
    /// Its number; 0: any that is free.
    pub port: u16,
    /// What its connections are to carry.
    pub label: FlowLabel,
    /// What its listeners share.
    pub gate: &'a Arc<Gate>,
}

#[derive(Debug)]
struct Open {
    tag: Tag,
    secure: bool,
    port: u16,
    gate: Arc<Gate>,
}

impl Open {
    /// Nothing of it is left.
    fn has_gone(&self) -> bool {
        self.gate.closed.load(Ordering::Acquire) && self.gate.listeners.load(Ordering::Acquire) == 0
    }
}

/// All ports that are open.
#[derive(Debug)]
pub struct PortBook {
    ports: Ports,
    idle_limit: Duration,
    open: Mutex<Vec<Open>>,
}

impl PortBook {
    /// None is open. `idle_limit`: longer than any URL with one of these ports is good for.
    #[must_use]
    pub fn new(ports: Ports, idle_limit: Duration) -> PortBook {
        PortBook { ports, idle_limit, open: Mutex::default() }
    }

    /// The port of a tag, with TLS or without; opened with `open`, which gives its number, if there is none yet. `None`:
    /// all are taken, or none can be opened.
    pub fn port_for(
        &self,
        tag: Tag,
        secure: bool,
        now: Instant,
        mut open: impl FnMut(Opening<'_>) -> io::Result<u16>,
    ) -> Option<u16> {
        let mut known = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let own = known.iter().find(|one| one.tag == tag && one.secure == secure && !one.gate.is_over(now));
        if let Some(own) = own {
            own.gate.used(now);
            // Between the look and the mark it may have become idle: then it is not to be used.
            if !own.gate.closed.load(Ordering::Acquire) {
                return Some(own.port);
            }
        }
        known.retain(|one| !one.has_gone());
        if known.len() >= self.ports.count() {
            return None;
        }
        let label = FlowLabel::random(tag)?;
        let numbers = match self.ports {
            Ports::None => return None,
            Ports::Any(_) => 0..=0,
            Ports::Range(first, last) => first..=last,
        };
        let free: Vec<u16> = numbers.filter(|number| !known.iter().any(|one| one.port == *number)).collect();
        for port in free {
            let gate = Arc::new(Gate::new(now, self.idle_limit));
            match open(Opening { port, label, gate: &gate }) {
                Ok(port) => {
                    known.push(Open { tag, secure, port, gate });
                    return Some(port);
                }
                // Somebody else's.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    tracing::warn!(%error, port, %tag, "no port can be opened whose connections carry flow labels");
                    return None;
                }
            }
        }
        None
    }

    /// Ports that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        let known = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|one| !one.gate.closed.load(Ordering::Acquire)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(130);

    fn tag(activity: u16) -> Tag {
        Tag::new(2, activity).unwrap()
    }

    /// Opens ports, and keeps their listeners.
    #[derive(Default)]
    struct Opener {
        listening: Vec<(u16, FlowLabel, Listening)>,
        taken: Vec<u16>,
        gates: Vec<Arc<Gate>>,
    }

    impl Opener {
        fn open(&mut self, opening: &Opening<'_>) -> io::Result<u16> {
            if self.taken.contains(&opening.port) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            self.listening.push((opening.port, opening.label, opening.gate.listener()));
            self.gates.push(Arc::clone(opening.gate));
            Ok(opening.port)
        }

        fn port(&mut self, book: &PortBook, tag: Tag, secure: bool, now: Instant) -> Option<u16> {
            book.port_for(tag, secure, now, |opening| self.open(&opening))
        }

        /// What the shards do: listeners whose port is over end.
        fn look(&mut self, now: Instant) {
            let over: Vec<bool> = self.gates.iter().map(|gate| gate.is_over(now)).collect();
            let mut number = 0;
            self.listening.retain(|_| {
                number += 1;
                !over[number - 1]
            });
            let mut number = 0;
            self.gates.retain(|_| {
                number += 1;
                !over[number - 1]
            });
        }
    }

    #[test]
    fn each_tag_has_one_port_with_tls_and_one_without_which_are_used_again() {
        let (book, mut opener, now) =
            (PortBook::new(Ports::Range(100, 109), IDLE), Opener::default(), Instant::now());
        let first = opener.port(&book, tag(1), false, now);
        assert_eq!(first, Some(100));
        assert_eq!(opener.port(&book, tag(2), false, now), Some(101));
        assert_eq!(opener.port(&book, tag(1), true, now), Some(102));
        assert_eq!(opener.port(&book, tag(1), false, now), first);
        assert_eq!(book.open(), 3);
        for (port, label, _) in &opener.listening {
            let expected = if *port == 101 { tag(2) } else { tag(1) };
            assert_eq!(FlowLabel::tag_of(label.bits()), Some(expected));
        }
    }

    #[test]
    fn their_number_is_bounded_and_other_peoples_ports_are_passed_over() {
        let (book, now) = (PortBook::new(Ports::Range(100, 103), IDLE), Instant::now());
        let mut opener = Opener { taken: vec![100, 102], ..Opener::default() };
        assert_eq!(opener.port(&book, tag(1), false, now), Some(101));
        assert_eq!(opener.port(&book, tag(2), false, now), Some(103));
        assert_eq!(opener.port(&book, tag(3), false, now), None);
        let none = PortBook::new(Ports::None, IDLE);
        assert_eq!(opener.port(&none, tag(1), false, now), None);
        let high = Tag::new(600, 1).unwrap();
        let book = PortBook::new(Ports::Range(100, 103), IDLE);
        assert_eq!(Opener::default().port(&book, high, false, now), None, "it has no label");
    }

    #[test]
    fn an_idle_port_is_given_up_and_its_number_used_for_another_tag_once_its_listeners_have_gone() {
        let (book, mut opener, now) =
            (PortBook::new(Ports::Range(100, 100), IDLE), Opener::default(), Instant::now());
        assert_eq!(opener.port(&book, tag(1), false, now), Some(100));
        let later = now + IDLE / 2;
        assert_eq!(opener.port(&book, tag(1), false, later), Some(100), "used again");
        assert_eq!(opener.port(&book, tag(2), false, now + IDLE), None, "not idle for long enough");
        let idle = later + IDLE;
        assert!(opener.gates[0].is_over(idle));
        assert_eq!(opener.port(&book, tag(2), false, idle), None, "its listener is still there");
        opener.look(idle);
        assert_eq!(opener.port(&book, tag(2), false, idle), Some(100));
    }

    #[test]
    fn a_port_with_a_connection_is_never_idle() {
        let (book, mut opener, now) =
            (PortBook::new(Ports::Range(100, 100), IDLE), Opener::default(), Instant::now());
        assert_eq!(opener.port(&book, tag(1), false, now), Some(100));
        let connection = opener.gates[0].connection();
        assert!(!opener.gates[0].is_over(now + IDLE * 10));
        drop(connection);
        assert!(opener.gates[0].is_over(now + IDLE * 10));
        assert_eq!(book.open(), 0);
    }
}
