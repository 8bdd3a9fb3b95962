//! The firefly: one datagram that tells whose a flow is, when it begins, while it goes on, and when it ends.
//!
//! A syslog header (RFC 5424) and JSON behind it, version 1 of the working group's schema; its inner objects allow no
//! further keys but in `netlink`. Collectors drop what has no header, and one of them what has no `usage`.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use super::tag::Tag;

/// Facility local0, severity informational.
const SYSLOG_PRIORITY: u8 = 134;
/// RFC 5424 §6: what is not known is a dash.
const SYSLOG_NIL: &str = "-";
/// RFC 5424 §6.2.4.
const LONGEST_HOST_BYTES: usize = 255;
/// What made the flow, as collectors know it.
const APPLICATION: &str = "penstock";
/// The schema's version.
const VERSION: u8 = 1;

/// Where a flow is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It begins.
    Start,
    /// It goes on.
    Ongoing,
    /// It has ended.
    End,
}

/// Who supplies the data: that end is the flow's source, whoever tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Supplier {
    /// This pool.
    Here,
    /// The other side.
    There,
}

/// Bytes of a flow, and what the kernel knows of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes that this side received.
    pub received: u64,
    /// Bytes that it sent.
    pub sent: u64,
    /// Round trips.
    pub rtt: Duration,
    /// How much they differ.
    pub rtt_variance: Duration,
    /// The shortest.
    pub least_rtt: Duration,
    /// Segments sent again.
    pub retransmits: u64,
    /// In bytes per second.
    pub delivery_rate: u64,
    /// In segments.
    pub congestion_window: u32,
}

/// What is told of a flow at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Firefly {
    /// Where it is in its life.
    pub state: State,
    /// When it began.
    pub started_at: SystemTime,
    /// Now; of one that has ended, its end.
    pub now: SystemTime,
    /// This side.
    pub local: SocketAddr,
    /// The other side.
    pub peer: SocketAddr,
    /// Who supplies the data.
    pub supplier: Supplier,
    /// Whose it is.
    pub tag: Tag,
    /// How much of it.
    pub usage: Usage,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Message<'a> {
    version: u8,
    flow_lifecycle: Lifecycle<'a>,
    flow_id: FlowId,
    context: Context,
    usage: Bytes,
    netlink: Netlink,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Lifecycle<'a> {
    state: State,
    start_time: &'a str,
    current_time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct FlowId {
    afi: &'static str,
    src_ip: IpAddr,
    dst_ip: IpAddr,
    protocol: &'static str,
    src_port: u16,
    dst_port: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Context {
    experiment_id: u16,
    activity_id: u16,
    application: &'static str,
}

#[derive(Serialize)]
struct Bytes {
    received: u64,
    sent: u64,
}

/// Free in form; milliseconds, as `ss` shows them.
#[derive(Serialize)]
struct Netlink {
    rtt: f64,
    rttvar: f64,
    minrtt: f64,
    retrans: u64,
    delivery_rate: u64,
    cwnd: u32,
}

impl Firefly {
    /// The datagram, as the host of that name sends it.
    #[must_use]
    pub fn datagram(&self, host: &str) -> Vec<u8> {
        let (started_at, now) = (time(self.started_at), time(self.now));
        let (source, destination) = match self.supplier {
            Supplier::Here => (self.local, self.peer),
            Supplier::There => (self.peer, self.local),
        };
        let milliseconds = |length: Duration| length.as_micros() as f64 / 1000.0;
        let message = Message {
            version: VERSION,
            flow_lifecycle: Lifecycle {
                state: self.state,
                start_time: &started_at,
                current_time: &now,
                end_time: (self.state == State::End).then_some(now.as_str()),
            },
            flow_id: FlowId {
                afi: if source.is_ipv4() { "ipv4" } else { "ipv6" },
                src_ip: source.ip(),
                dst_ip: destination.ip(),
                protocol: "tcp",
                src_port: source.port(),
                dst_port: destination.port(),
            },
            context: Context {
                experiment_id: self.tag.experiment(),
                activity_id: self.tag.activity(),
                application: APPLICATION,
            },
            usage: Bytes { received: self.usage.received, sent: self.usage.sent },
            netlink: Netlink {
                rtt: milliseconds(self.usage.rtt),
                rttvar: milliseconds(self.usage.rtt_variance),
                minrtt: milliseconds(self.usage.least_rtt),
                retrans: self.usage.retransmits,
                delivery_rate: self.usage.delivery_rate,
                cwnd: self.usage.congestion_window,
            },
        };
        let mut datagram =
            format!("<{SYSLOG_PRIORITY}>1 {now} {} {APPLICATION} - firefly-json - ", host_field(host))
                .into_bytes();
        // Numbers, addresses and fixed words: nothing in it that JSON could not hold.
        let _ = serde_json::to_writer(&mut datagram, &message);
        datagram
    }
}

/// A host's name as it may stand in the header: printable ASCII without spaces.
fn host_field(host: &str) -> &str {
    let good =
        !host.is_empty() && host.len() <= LONGEST_HOST_BYTES && host.bytes().all(|b| b.is_ascii_graphic());
    if good { host } else { SYSLOG_NIL }
}

/// `2024-11-02T16:07:01.769470+00:00`.
fn time(at: SystemTime) -> String {
    // Out of jiff's calendar: after the year 9999.
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::marking::schema;

    fn firefly() -> Firefly {
        let at = |micros| SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
        Firefly {
            state: State::End,
            started_at: at(1_730_563_600_000_001),
            now: at(1_730_563_621_769_470),
            local: "[2001:db8::1]:2881".parse().unwrap(),
            peer: "[2001:db8::2]:40000".parse().unwrap(),
            supplier: Supplier::Here,
            tag: Tag::new(2, 16).unwrap(),
            usage: Usage {
                received: 300,
                sent: 1_000_000,
                rtt: Duration::from_micros(1500),
                retransmits: 7,
                ..Usage::default()
            },
        }
    }

    /// Header and message of a datagram.
    fn parts(datagram: &[u8]) -> (String, Value) {
        let text = std::str::from_utf8(datagram).unwrap();
        let start = text.find('{').unwrap();
        (text[..start].to_owned(), serde_json::from_str(&text[start..]).unwrap())
    }

    #[test]
    fn the_datagram_is_as_collectors_want_it() {
        let (header, message) = parts(&firefly().datagram("pool01.example.org"));
        assert_eq!(
            header,
            "<134>1 2024-11-02T16:07:01.769470+00:00 pool01.example.org penstock - firefly-json - "
        );
        assert_eq!(
            message,
            json!({
                "version": 1,
                "flow-lifecycle": {
                    "state": "end",
                    "start-time": "2024-11-02T16:06:40.000001+00:00",
                    "current-time": "2024-11-02T16:07:01.769470+00:00",
                    "end-time": "2024-11-02T16:07:01.769470+00:00",
                },
                "flow-id": {
                    "afi": "ipv6", "src-ip": "2001:db8::1", "dst-ip": "2001:db8::2",
                    "protocol": "tcp", "src-port": 2881, "dst-port": 40000,
                },
                "context": {"experiment-id": 2, "activity-id": 16, "application": "penstock"},
                "usage": {"received": 300, "sent": 1_000_000},
                "netlink": {
                    "rtt": 1.5, "rttvar": 0.0, "minrtt": 0.0, "retrans": 7, "delivery_rate": 0, "cwnd": 0,
                },
            })
        );
        schema::check(&message).unwrap();
    }

    #[test]
    fn who_supplies_the_data_is_the_source_and_only_the_last_one_has_an_end() {
        let told = Firefly { supplier: Supplier::There, state: State::Ongoing, ..firefly() };
        let (_, message) = parts(&told.datagram("h"));
        assert_eq!(message["flow-id"]["src-ip"], "2001:db8::2");
        assert_eq!(message["flow-id"]["dst-port"], 2881);
        assert_eq!(message["flow-lifecycle"].get("end-time"), None);
    }

    #[test]
    fn a_host_name_that_would_break_the_header_is_left_out() {
        for host in ["", "two words", "naïve", "line\nbreak", &"x".repeat(256)] {
            let (header, _) = parts(&firefly().datagram(host));
            assert!(header.contains("+00:00 - penstock - firefly-json - "), "{header:?}");
        }
    }

    #[test]
    fn the_schema_refuses_what_the_working_groups_schema_refuses() {
        let good = parts(&firefly().datagram("h")).1;
        let cases: [(&str, Value); 8] = [
            ("/version", json!(2)),
            ("/flow-lifecycle/state", json!("paused")),
            ("/flow-lifecycle/start-time", json!(5)),
            ("/flow-id/afi", json!("ipx")),
            ("/flow-id/src-port", json!(70_000)),
            ("/context/experiment-id", json!("atlas")),
            ("/usage", Value::Null),
            ("/usage/sent", json!(-1)),
        ];
        for (place, value) in cases {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = value;
            assert!(schema::check(&bad).is_err(), "{place}");
        }
        for place in ["/flow-lifecycle", "/flow-id", "/context", "/usage"] {
            let mut bad = good.clone();
            bad.pointer_mut(place).unwrap().as_object_mut().unwrap().insert("more".into(), json!(1));
            assert!(schema::check(&bad).unwrap_err().contains("more"), "{place}");
            let mut bad = good.clone();
            bad.as_object_mut().unwrap().remove(&place[1..]);
            assert!(schema::check(&bad).is_err(), "{place} is missing");
        }
    }

    proptest! {
        #[test]
        fn every_firefly_obeys_the_schema_and_fits_a_datagram(
            number in 65u16..,
            state in 0usize..3,
            here: bool,
            ends in any::<([u16; 8], [u16; 8], u16, u16)>(),
            four: bool,
            times in (0u64..4_000_000_000_000_000, 0u64..4_000_000_000_000_000),
            counts in any::<(u64, u64, u32, u64, u64, u32)>(),
        ) {
            let address = |words: [u16; 8], port: u16| {
                let ip = if four {
                    IpAddr::from([words[0] as u8, words[1] as u8, words[2] as u8, words[3] as u8])
                } else {
                    IpAddr::from(words)
                };
                SocketAddr::new(ip, port)
            };
            let firefly = Firefly {
                state: [State::Start, State::Ongoing, State::End][state],
                started_at: SystemTime::UNIX_EPOCH + Duration::from_micros(times.0),
                now: SystemTime::UNIX_EPOCH + Duration::from_micros(times.1),
                local: address(ends.0, ends.2),
                peer: address(ends.1, ends.3),
                supplier: if here { Supplier::Here } else { Supplier::There },
                tag: Tag::try_from(number).unwrap(),
                usage: Usage {
                    received: counts.0,
                    sent: counts.1,
                    rtt: Duration::from_micros(counts.2.into()),
                    retransmits: counts.3,
                    delivery_rate: counts.4,
                    congestion_window: counts.5,
                    ..Usage::default()
                },
            };
            let datagram = firefly.datagram("pool01.example.org");
            prop_assert!(datagram.len() < 1024, "{} bytes", datagram.len());
            let (_, message) = parts(&datagram);
            prop_assert_eq!(schema::check(&message), Ok(()));
            prop_assert_eq!(&message["context"]["experiment-id"], firefly.tag.experiment());
        }
    }
}
