//! One TCP connection's part in a transfer that has a tag: counted at its beginning, told of by fireflies.
//!
//! A flow lives on its connection's shard, and ends when it is dropped. It never keeps the connection open: its last
//! numbers are those that were noted last, or those of the moment if the connection is open still.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use slab::Slab;

use super::Mark;
use super::counters::Labelled;
use super::firefly::{Firefly, State, Supplier, Usage};
use super::label::FlowLabel;
use crate::engine::core::Core;
use crate::engine::net::socket::TcpFacts;
use crate::engine::net::{Connection, Watched};

/// How often a shard looks for flows that are to be told of again.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

thread_local! {
    /// The flows of this shard that have begun and are told of.
    static OPEN: RefCell<Slab<Rc<Told>>> = RefCell::default();
}

/// A flow.
pub struct Flow {
    mark: Mark,
    supplier: Supplier,
    local: SocketAddr,
    peer: SocketAddr,
    label: u32,
    watched: Watched,
    /// What the connection had carried before.
    before: TcpFacts,
    /// Set once it has begun and there is something to tell.
    told: RefCell<Option<(usize, Rc<Told>)>>,
    begun: Cell<bool>,
    /// All bytes were moved: what the kernel has taken will arrive.
    complete: Cell<bool>,
    /// Somebody else may use the connection already: what was noted last is what this flow has moved.
    as_noted: Cell<bool>,
}

/// What is told of a flow that has begun.
struct Told {
    mark: Mark,
    supplier: Supplier,
    local: SocketAddr,
    peer: SocketAddr,
    watched: Watched,
    before: TcpFacts,
    latest: Cell<TcpFacts>,
    noted: Cell<bool>,
    started_at: SystemTime,
    due_at: Cell<Instant>,
}

impl Flow {
    /// A flow that has not begun yet. What the connection has carried so far is none of it.
    #[must_use]
    pub fn new(mark: &Mark, connection: &Connection, supplier: Supplier) -> Flow {
        Flow::since(connection.tcp_facts().unwrap_or_default(), mark, connection, supplier)
    }

    /// The first flow of a connection: all that has come so far is part of it, the body that nobody has read yet above all.
    #[must_use]
    pub fn first(mark: &Mark, connection: &Connection, supplier: Supplier) -> Flow {
        Flow::since(TcpFacts::default(), mark, connection, supplier)
    }

    fn since(before: TcpFacts, mark: &Mark, connection: &Connection, supplier: Supplier) -> Flow {
        Flow {
            mark: mark.clone(),
            supplier,
            local: connection.local(),
            peer: connection.peer(),
            label: connection.flow_label(),
            watched: connection.watch(),
            before,
            told: RefCell::new(None),
            begun: Cell::new(false),
            complete: Cell::new(false),
            as_noted: Cell::new(false),
        }
    }

    /// Bytes move. Only the first call counts.
    pub fn begin(&self, now: Instant) {
        if self.begun.replace(true) {
            return;
        }
        let marking = self.mark.marking();
        let policy = self.mark.policy(self.peer, || Some(self.local.ip()));
        marking.counters().flow(self.labelled(policy.has_labels()));
        if !policy.has_fireflies() || !marking.sends() {
            return;
        }
        let told = Rc::new(Told {
            mark: self.mark.clone(),
            supplier: self.supplier,
            local: self.local,
            peer: self.peer,
            watched: self.watched.clone(),
            before: self.before,
            latest: Cell::new(self.watched.tcp_facts().unwrap_or(self.before)),
            noted: Cell::new(false),
            started_at: SystemTime::now(),
            due_at: Cell::new(now + marking.settings().period),
        });
        told.tell(State::Start, false);
        let number = OPEN.with_borrow_mut(|open| open.insert(Rc::clone(&told)));
        *self.told.borrow_mut() = Some((number, told));
    }

    /// Remembers how much has moved, as the connection may be closed next.
    pub fn note(&self) {
        if let Some((_, told)) = &*self.told.borrow() {
            told.note();
        }
    }

    /// All bytes were moved.
    pub fn complete(self) {
        self.complete.set(true);
    }

    /// The flow has ended, and its connection may serve another one: what was noted last counts.
    pub fn end_as_noted(self) {
        self.as_noted.set(true);
    }

    /// What has become of its label.
    fn labelled(&self, wanted: bool) -> Labelled {
        match FlowLabel::tag_of(self.label) {
            Some(tag) if tag == self.mark.tag() => return Labelled::Yes,
            Some(_) => return Labelled::OtherPort,
            None => {}
        }
        let abilities = self.mark.marking().abilities();
        if self.peer.is_ipv4() {
            Labelled::NotIpv6
        } else if FlowLabel::new(self.mark.tag(), 0).is_none() {
            Labelled::NoSuchLabel
        } else if !wanted {
            Labelled::Policy
        } else if abilities.made.is_ok() && abilities.accepted.is_ok() {
            Labelled::NoPort
        } else {
            Labelled::Unsupported
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        if let Some((number, told)) = self.told.take() {
            // A shard that ends has dropped its list by then.
            let _ = OPEN.try_with(|open| open.borrow_mut().try_remove(number));
            if !self.as_noted.get() || !told.noted.get() {
                told.note();
            }
            told.tell(State::End, self.complete.get());
        }
    }
}

impl Told {
    fn note(&self) {
        if let Some(facts) = self.watched.tcp_facts() {
            self.latest.set(facts);
            self.noted.set(true);
        }
    }

    fn tell(&self, state: State, complete: bool) {
        let (facts, before) = (self.latest.get(), self.before);
        // What the kernel has taken and not seen acknowledged counts only where it will arrive.
        let sent = match complete {
            true => facts.bytes_given.saturating_sub(before.bytes_given),
            false => facts.bytes_acknowledged.saturating_sub(before.bytes_acknowledged),
        };
        self.mark.marking().tell(Firefly {
            state,
            started_at: self.started_at,
            now: SystemTime::now(),
            local: self.local,
            peer: self.peer,
            supplier: self.supplier,
            tag: self.mark.tag(),
            usage: Usage {
                received: facts.bytes_received.saturating_sub(before.bytes_received),
                sent,
                rtt: facts.rtt,
                rtt_variance: facts.rtt_variance,
                least_rtt: facts.least_rtt,
                retransmits: facts.retransmits.saturating_sub(before.retransmits),
                delivery_rate: facts.delivery_rate,
                congestion_window: facts.congestion_window,
            },
        });
    }
}

/// Runs on every shard: tells again and again of flows that go on.
pub async fn tell_of_ongoing(core: Rc<Core>) {
    loop {
        core.sleep(LOOK_PERIOD).await;
        tell_due(core.now());
    }
}

fn tell_due(now: Instant) {
    OPEN.with_borrow(|open| {
        for (_, told) in open {
            if told.due_at.get() <= now {
                told.due_at.set(now + told.mark.marking().settings().period);
                told.note();
                told.tell(State::Ongoing, false);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;

    use serde_json::Value;

    use super::super::tag::{Tag, Wish};
    use super::super::{Marking, Settings, schema};
    use super::*;
    use crate::engine::sim::disk::{SimDisk, SimDiskConfig};
    use crate::engine::sim::ring::RingFaults;
    use crate::engine::sim::world::World;

    const PERIOD: Duration = Duration::from_secs(60);

    struct Stage {
        marking: Arc<Marking>,
        collector: UdpSocket,
        world: World,
    }

    impl Stage {
        fn new() -> Stage {
            let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
            collector.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let address = collector.local_addr().unwrap().to_string();
            let marking = Marking::start(Settings {
                collectors: vec![address.parse().unwrap()],
                to_peers: false,
                period: PERIOD,
                ..Settings::default()
            });
            let disk = SimDisk::new(SimDiskConfig::default());
            let world = World::new(3, RingFaults::default(), disk, 1).unwrap();
            Stage { marking: marking.unwrap(), collector, world }
        }

        fn flow(&self) -> Flow {
            let mark = self.marking.mark(Wish::Tagged(Tag::new(2, 16).unwrap())).unwrap();
            let (end, _) = self.world.net().pair(100);
            Flow::new(&mark, &Connection::new(Rc::clone(self.world.core()), end), Supplier::There)
        }

        /// The next firefly's state, after it was held against the schema.
        fn next(&self) -> String {
            let mut datagram = [0; 2048];
            let length = self.collector.recv(&mut datagram).unwrap();
            let text = std::str::from_utf8(&datagram[..length]).unwrap();
            let message: Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
            schema::check(&message).unwrap();
            assert_eq!(message["flow-id"]["src-ip"], "192.0.2.2", "the supplier is the source: {text}");
            message["flow-lifecycle"]["state"].as_str().unwrap().to_owned()
        }

        fn silent(&self) -> bool {
            self.marking.flush(Duration::from_secs(10));
            self.collector.set_nonblocking(true).unwrap();
            let nothing = self.collector.recv(&mut [0; 2048]).is_err();
            self.collector.set_nonblocking(false).unwrap();
            nothing
        }
    }

    #[test]
    fn a_flow_is_told_of_at_its_start_while_it_goes_on_and_at_its_end() {
        let stage = Stage::new();
        let flow = stage.flow();
        assert!(stage.silent(), "nothing has moved");
        let now = Instant::now();
        flow.begin(now);
        flow.begin(now);
        assert_eq!(stage.next(), "start");
        tell_due(now + PERIOD - Duration::from_secs(1));
        assert!(stage.silent(), "its time has not come, and it began once");
        tell_due(now + PERIOD);
        tell_due(now + PERIOD);
        assert_eq!(stage.next(), "ongoing");
        tell_due(now + PERIOD * 2);
        assert_eq!(stage.next(), "ongoing");
        flow.complete();
        assert_eq!(stage.next(), "end");
        tell_due(now + PERIOD * 9);
        assert!(stage.silent(), "it has ended");
    }

    #[test]
    fn a_flow_that_never_began_is_never_told_of() {
        let stage = Stage::new();
        drop(stage.flow());
        assert!(stage.silent());
        assert_eq!(stage.marking.counters().flows(Labelled::NotIpv6), 0);
    }

    #[test]
    fn a_flow_over_ipv4_counts_as_one_without_a_label() {
        let stage = Stage::new();
        stage.flow().begin(Instant::now());
        assert_eq!(stage.marking.counters().flows(Labelled::NotIpv6), 1);
    }
}
