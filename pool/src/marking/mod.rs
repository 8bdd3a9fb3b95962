//! Packet marking (SciTags): whose traffic a flow is, told to networks by the IPv6 flow label of its packets, and by
//! fireflies, datagrams beside it.
//!
//! * [`tag`], [`label`], [`registry`]: experiment and activity as numbers, as bits of a label, as names.
//! * [`policy`], [`settings`]: what is marked, and how.
//! * [`probe`]: what this kernel does. [`ports`]: which port's connections carry which label.
//! * [`firefly`], [`flow`]: what is told of a connection, and when; [`sender`] and [`collectors`]: to whom.
//! * [`counters`]: what is counted.
//!
//! Nothing here ever delays a transfer, or lets one fail.
#![forbid(unsafe_code)]

mod collectors;
pub mod counters;
pub mod firefly;
pub mod flow;
pub mod label;
pub mod policy;
pub mod ports;
pub mod probe;
pub mod registry;
#[cfg(test)]
pub(crate) mod schema;
mod sender;
pub mod settings;
pub mod tag;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use penstock_service::watch::{Look, Watched};

pub use self::collectors::look_up;
pub use self::counters::{Direction, Labelled, MarkingCollector};
pub use self::firefly::Supplier;
pub use self::flow::Flow;
pub use self::label::FlowLabel;
pub use self::policy::Policy;
pub use self::ports::{Gate, PortBook};
pub use self::probe::Abilities;
pub use self::registry::{Names, Registry, RegistryError};
pub use self::settings::Settings;
pub use self::tag::{Tag, Wish};

use self::counters::Counters;
use self::firefly::Firefly;
use self::sender::Sender;

/// The marking of one pool.
pub struct Marking {
    settings: Settings,
    abilities: Abilities,
    registry: Watched<Registry>,
    sender: Option<Sender>,
    counters: Arc<Counters>,
}

impl fmt::Debug for Marking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marking").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Marking {
    /// Reads the registry, looks at what the kernel does, and starts the thread that sends fireflies, each if it is
    /// needed. Only a registry that cannot be used is an error: marking is not worth a pool that does not start.
    pub fn start(settings: Settings) -> Result<Arc<Marking>, RegistryError> {
        let registry = Watched::new(look(&settings), || read(&settings))?;
        let abilities = match settings.rules.may_label() {
            true => Abilities::probe(),
            false => Abilities::unasked(),
        };
        let counters = Arc::new(Counters::default());
        let mut sender = None;
        if settings.rules.may_send() {
            match Sender::start(&settings, &counters) {
                Ok(started) => sender = Some(started),
                Err(error) => tracing::warn!(%error, "no fireflies are sent: their thread does not start"),
            }
        }
        let marking = Marking { settings, abilities, registry, sender, counters };
        marking.say_what_works();
        Ok(Arc::new(marking))
    }

    fn say_what_works(&self) {
        if !self.settings.rules.may_label() {
            return;
        }
        for (which, works) in [("makes", &self.abilities.made), ("accepts", &self.abilities.accepted)] {
            if let Err(reason) = works {
                tracing::warn!(
                    reason,
                    "connections that the pool {which} carry no flow labels here (penstock-pool marking check)"
                );
            }
        }
    }

    /// What a transfer is marked with, if at all.
    #[must_use]
    pub fn mark(self: &Arc<Self>, wish: Wish) -> Option<Mark> {
        let tag = match wish {
            Wish::Unsaid => self.settings.default_tag?,
            Wish::Unmarked => return None,
            Wish::Tagged(tag) => tag,
        };
        if !self.settings.rules.may_label() && !self.settings.rules.may_send() {
            return None;
        }
        let names = Arc::new(self.registry.current().names(tag));
        Some(Mark { marking: Arc::clone(self), tag, names })
    }

    /// Reads the registry again if its file has changed, or anyway when `force` is set; an error leaves the names that
    /// were known before. True when there are new ones.
    pub fn reload(&self, force: bool) -> Result<bool, RegistryError> {
        if self.settings.registry.is_none() {
            return Ok(false);
        }
        self.registry.reload(force, look(&self.settings), || read(&self.settings))
    }

    /// What is configured.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What this kernel does.
    #[must_use]
    pub fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// What is counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Fireflies can be sent.
    fn sends(&self) -> bool {
        self.sender.is_some()
    }

    fn tell(&self, firefly: Firefly) {
        if let Some(sender) = &self.sender {
            sender.send(firefly);
        }
    }

    /// Waits until the fireflies that are on their way are sent, at most so long.
    pub fn flush(&self, limit: Duration) {
        if let Some(sender) = &self.sender {
            sender.flush(limit);
        }
    }
}

fn look(settings: &Settings) -> Look {
    Look::at(settings.registry.as_deref())
}

fn read(settings: &Settings) -> Result<Registry, RegistryError> {
    settings.registry.as_deref().map_or_else(|| Ok(Registry::built_in()), Registry::load)
}

/// What one transfer is marked with. It belongs to the transfer, never to a connection.
#[derive(Clone)]
pub struct Mark {
    marking: Arc<Marking>,
    tag: Tag,
    names: Arc<Names>,
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mark").field("tag", &self.tag).finish_non_exhaustive()
    }
}

impl Mark {
    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// What it is called.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Whose it is.
    #[must_use]
    pub fn marking(&self) -> &Arc<Marking> {
        &self.marking
    }

    /// Bytes of the transfer have moved.
    pub fn moved(&self, direction: Direction, bytes: u64) {
        if bytes > 0 {
            self.marking.counters.moved(&self.names, direction, bytes);
        }
    }

    fn policy(&self, peer: SocketAddr, local: impl FnOnce() -> Option<IpAddr>) -> Policy {
        self.marking.settings.rules.decide(peer.ip(), local)
    }

    /// The flow label of a connection that is to be made to `peer`; 0: none.
    #[must_use]
    pub fn label_towards(&self, peer: SocketAddr) -> u32 {
        let wanted = peer.ip().to_canonical().is_ipv6()
            && self.marking.abilities.made.is_ok()
            && self.policy(peer, || address_towards(peer)).has_labels();
        let label = if wanted { FlowLabel::random(self.tag) } else { None };
        label.map_or(0, FlowLabel::bits)
    }

    /// Whether a client at that address is to be sent to a port whose connections carry the label. `local`: this pool's
    /// address, if that is known.
    #[must_use]
    pub fn labels_client(&self, client: Option<IpAddr>, local: IpAddr) -> bool {
        let client = client.map(|client| client.to_canonical());
        let wanted = client.is_none_or(|client| {
            let local = || (!local.is_unspecified()).then_some(local);
            let local =
                || local().or_else(|| address_towards(SocketAddr::new(client, settings::FIREFLY_PORT)));
            client.is_ipv6() && self.policy(SocketAddr::new(client, 0), local).has_labels()
        });
        wanted && self.marking.abilities.accepted.is_ok() && FlowLabel::new(self.tag, 0).is_some()
    }
}

/// The address of this machine that `peer` would see. Connecting a datagram socket sends nothing.
fn address_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag() -> Tag {
        Tag::new(2, 16).unwrap()
    }

    fn quiet(rules: policy::Rules) -> Settings {
        Settings { rules, to_peers: false, ..Settings::default() }
    }

    #[test]
    fn a_transfer_is_marked_as_it_wishes_else_as_the_pool_is_configured() {
        let with_default = Settings { default_tag: Some(tag()), ..quiet(policy::Rules::default()) };
        let other = Tag::new(3, 1).unwrap();
        for (settings, wish, expected) in [
            (quiet(policy::Rules::default()), Wish::Unsaid, None),
            (with_default.clone(), Wish::Unsaid, Some(tag())),
            (with_default.clone(), Wish::Unmarked, None),
            (with_default, Wish::Tagged(other), Some(other)),
            (quiet(policy::Rules { policy: Policy::Off, ..Default::default() }), Wish::Tagged(other), None),
        ] {
            let marking = Marking::start(settings).unwrap();
            assert_eq!(marking.mark(wish).map(|mark| mark.tag()), expected, "{wish:?}");
        }
    }

    #[test]
    fn new_names_are_taken_from_the_file_and_a_broken_one_leaves_the_old_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("registry.json");
        let write = |name: &str| {
            let text = format!(
                r#"{{"version":1,"experiments":[{{"expName":"{name}","expId":2,"activities":[{{"activityName":"a","activityId":16}}]}}]}}"#
            );
            std::fs::write(dir.path().join("new"), text).unwrap();
            std::fs::rename(dir.path().join("new"), &path).unwrap();
        };
        write("first");
        let settings = Settings { registry: Some(path.clone()), ..quiet(policy::Rules::default()) };
        let marking = Marking::start(settings.clone()).unwrap();
        let name = || marking.mark(Wish::Tagged(tag())).unwrap().names().experiment.clone();
        let early = marking.mark(Wish::Tagged(tag())).unwrap();
        assert_eq!(name(), "first");
        assert!(!marking.reload(false).unwrap(), "nothing has changed");
        write("second");
        assert!(marking.reload(false).unwrap());
        assert_eq!(name(), "second");
        assert_eq!(early.names().experiment, "first", "a transfer keeps the name that it began with");
        std::fs::write(&path, "broken").unwrap();
        assert!(marking.reload(false).is_err());
        assert_eq!((name(), marking.reload(false).unwrap()), ("second".to_owned(), false));
        assert!(Marking::start(settings).is_err(), "a pool does not start with it");
    }

    #[test]
    fn only_peers_with_ipv6_that_the_policy_has_labels_for_get_one() {
        let local = vec!["2001:db8::/32".parse().unwrap(), "::1".parse().unwrap()];
        let marking = Marking::start(quiet(policy::Rules { local, ..Default::default() })).unwrap();
        if marking.abilities().made.is_err() {
            println!("skipped: no labels here: {:?}", marking.abilities());
            return;
        }
        let mark = marking.mark(Wish::Tagged(tag())).unwrap();
        let label = mark.label_towards("[2001:db9::1]:443".parse().unwrap());
        assert_eq!(FlowLabel::tag_of(label), Some(tag()));
        for peer in ["192.0.2.1:443", "[::ffff:192.0.2.1]:443", "[::1]:443"] {
            assert_eq!(mark.label_towards(peer.parse().unwrap()), 0, "{peer}");
        }
        let here: IpAddr = "2001:db8::7".parse().unwrap();
        for (client, sent) in [
            (Some("2001:db9::1"), true),
            (Some("2001:db8::1"), false),
            (Some("192.0.2.1"), false),
            (None, true),
        ] {
            let client = client.map(|client| client.parse().unwrap());
            assert_eq!(mark.labels_client(client, here), sent, "{client:?}");
        }
        let high = marking.mark(Wish::Tagged(Tag::new(600, 1).unwrap())).unwrap();
        assert_eq!(high.label_towards("[2001:db9::1]:443".parse().unwrap()), 0);
        assert!(!high.labels_client(None, here));
    }
}
