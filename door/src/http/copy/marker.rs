//! Performance markers: how a copy stands, as lines that davix, gfal2, FTS and Pelican read.
//!
//! Their parsers want one space after the colon, lines below 1024 bytes, a Stripe Index below the Total Stripe Count,
//! and `Perf Marker` and `End` alone on their lines; they ignore lines that they do not know.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use jiff::Timestamp;
use penstock_door_proto::v1 as proto;

use crate::metrics::Direction;
use crate::transfers::copy::{CopyStatus, Figures};

/// Longest line in bytes, its end not counted: below the 1000 that the protocol's users agreed on, and davix reads into
/// 1024 bytes.
const MAX_LINE_BYTES: usize = 999;
/// The states of dCache's markers, which clients show: 3 before bytes can move, 10 from then on.
const STATE_PREPARING: u32 = 3;
const STATE_MOVING: u32 = 10;
/// What the limits of a transfer are called.
type Share = (&'static str, f64);

/// The marker of a copy at a time.
pub fn marker(status: &CopyStatus, now: Timestamp) -> String {
    let mut text = String::with_capacity(1024);
    text.push_str("Perf Marker\n");
    field(&mut text, "Timestamp", now.as_second());
    match &status.figures {
        None => {
            field(&mut text, "State", STATE_PREPARING);
            field(&mut text, "State description", &status.preparation);
            field(&mut text, "Stripe Index", 0);
            field(&mut text, "Total Stripe Count", 1);
        }
        Some(figures) => {
            field(&mut text, "State", STATE_MOVING);
            field(&mut text, "State description", "transfer has started");
            field(&mut text, "Stripe Index", 0);
            field(&mut text, "Stripe Start Time", figures.started_at.as_second());
            field(&mut text, "Stripe Last Transferred", figures.last_moved_at.as_second());
            field(&mut text, "Stripe Transfer Time", seconds_between(figures.started_at, now));
            field(&mut text, "Stripe Bytes Transferred", figures.bytes_moved);
            field(&mut text, "Stripe Status", stripe_status(status));
            field(&mut text, "Total Stripe Count", 1);
            connections(&mut text, status.direction, &figures.connections);
            diagnosis(&mut text, figures);
        }
    }
    text.push_str("End\n");
    text
}

/// The line that ends the stream.
pub fn last_line(result: &Result<(), String>) -> String {
    let mut text = String::new();
    match result {
        Ok(()) => line(&mut text, "success: Created"),
        Err(why) => line(&mut text, &format!("failure: {why}")),
    }
    text
}

fn stripe_status(status: &CopyStatus) -> &'static str {
    match status.end {
        None => "RUNNING",
        Some(Ok(_)) => "DONE",
        Some(Err(_)) => "CANCELED",
    }
}

fn seconds_between(start: Timestamp, end: Timestamp) -> i64 {
    end.duration_since(start).as_secs().max(0)
}

/// The addresses of both ends. Several connections of a copy lead to one server mostly, so that the first one's are
/// those of the stripe. Clients read the first only: those that carried bytes go before those that led there (a door
/// that redirects).
fn connections(text: &mut String, direction: Option<Direction>, connections: &[proto::Connection]) {
    let mut connections: Vec<_> = connections.iter().collect();
    connections.sort_by_key(|connection| connection.bytes_received == 0 && connection.bytes_sent == 0);
    let mut known = BTreeSet::new();
    let mut remotes = String::new();
    for remote in connections.iter().filter_map(|connection| address(connection.remote.as_ref())) {
        // Whole addresses or none: half a one would be another.
        if remotes.len() + remote.len() + "    RemoteConnections: ,".len() > MAX_LINE_BYTES {
            break;
        }
        if known.insert(remote.clone()) {
            remotes.push_str(if remotes.is_empty() { "" } else { "," });
            remotes.push_str(&remote);
        }
    }
    if !remotes.is_empty() {
        field(text, "RemoteConnections", remotes);
    }
    let Some(first) = connections.first() else { return };
    let (source, destination) = match direction {
        Some(Direction::Pull) => (&first.remote, &first.local),
        Some(Direction::Push) => (&first.local, &first.remote),
        None => return,
    };
    if let Some(source) = address(source.as_ref()) {
        field(text, "Stripe Source", source);
    }
    if let Some(destination) = address(destination.as_ref()) {
        field(text, "Stripe Destination", destination);
    }
}

/// `tcp:[2001:db8::1]:2345` or `tcp:192.0.2.1:1234`. Nothing for what is no address.
fn address(endpoint: Option<&proto::Endpoint>) -> Option<String> {
    let endpoint = endpoint?;
    let address: std::net::IpAddr = endpoint.address.parse().ok()?;
    Some(match address.to_canonical() {
        std::net::IpAddr::V4(address) => format!("tcp:{address}:{}", endpoint.port),
        std::net::IpAddr::V6(address) => format!("tcp:[{address}]:{}", endpoint.port),
    })
}

/// What people look for when a copy is slow. Clients hand these lines on or ignore them.
fn diagnosis(text: &mut String, figures: &Figures) {
    let tcp: Vec<_> = figures.connections.iter().filter_map(|connection| connection.tcp.as_ref()).collect();
    if !tcp.is_empty() {
        let retransmits = tcp.iter().fold(0u64, |sum, tcp| sum.saturating_add(tcp.retransmits));
        field(text, "Stripe Retransmits", retransmits);
    }
    if let Some(limited_by) = figures.limits.as_ref().and_then(limited_by) {
        field(text, "X-Penstock-Limited-By", limited_by);
    }
    if !figures.activity.is_empty() {
        field(text, "X-Penstock-Activity", &figures.activity);
    }
}

/// `source 62%, network 30%, disk 8%`: the largest first, without what is nothing.
fn limited_by(limits: &proto::Limits) -> Option<String> {
    let mut shares: Vec<Share> = vec![
        ("source", limits.source),
        ("network", limits.network),
        ("disk", limits.disk),
        ("checksum", limits.checksum),
        ("queue", limits.queue),
    ];
    shares.retain(|(_, share)| *share >= 0.005);
    shares.sort_by(|left, right| right.1.total_cmp(&left.1));
    let parts: Vec<_> =
        shares.iter().map(|(name, share)| format!("{name} {:.0}%", share.min(1.0) * 100.0)).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn field(text: &mut String, name: &str, value: impl Display) {
    line(text, &format!("    {name}: {value}"));
}

/// One line: what a pool or a remote server wrote must not make two of it, nor one that is too long.
fn line(text: &mut String, content: &str) {
    let end =
        (0..=MAX_LINE_BYTES.min(content.len())).rev().find(|at| content.is_char_boundary(*at)).unwrap_or(0);
    for character in content[..end].chars() {
        // Writing to a String cannot fail.
        let _ = text.write_char(if character.is_control() { ' ' } else { character });
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64, millis: i32) -> Timestamp {
        Timestamp::new(seconds, millis * 1_000_000).unwrap()
    }

    fn moving(started_at: Timestamp, last_moved_at: Timestamp, bytes_moved: u64) -> CopyStatus {
        let figures = Figures { last_moved_at, bytes_moved, ..Figures::from(started_at) };
        CopyStatus { figures: Some(figures), ..CopyStatus::new(Some(Direction::Pull), started_at) }
    }

    fn to(address: &str, port: u32) -> proto::Connection {
        let remote = Some(proto::Endpoint { address: address.into(), port });
        proto::Connection { remote, ..Default::default() }
    }

    #[test]
    fn the_guides_example_is_reproduced_with_the_end_lines_that_parsers_want() {
        let accepted = at(1_569_404_602, 100);
        let preparing = CopyStatus::new(Some(Direction::Pull), accepted);
        let running = moving(at(1_569_404_602, 900), at(1_569_404_607, 0), 531_501_280);
        let stream =
            marker(&preparing, accepted) + &marker(&running, at(1_569_404_607, 100)) + &last_line(&Ok(()));
        assert_eq!(stream, include_str!("../../../tests/golden/guide_stream.txt"));
    }

    #[test]
    fn the_references_example_is_reproduced() {
        let mut status = moving(at(1_569_403_178, 900), at(1_569_403_183, 0), 503_928_392);
        status.figures.as_mut().unwrap().connections = vec![to("2001:db8::1", 2345), to("192.0.2.1", 1234)];
        let text = marker(&status, at(1_569_403_183, 100));
        let ours = text.replace("    Stripe Source: tcp:[2001:db8::1]:2345\n", "");
        assert_eq!(ours, include_str!("../../../tests/golden/reference_marker.txt"));
    }

    #[test]
    fn the_last_lines_are_those_that_operators_know() {
        let failure = |why: &str| last_line(&Err(why.to_owned()));
        assert_eq!(failure("rejected GET: 404 Not Found"), "failure: rejected GET: 404 Not Found\n");
        assert_eq!(failure("rejected GET: 401 Unauthorized"), "failure: rejected GET: 401 Unauthorized\n");
        assert_eq!(last_line(&Ok(())), "success: Created\n");
    }

    #[test]
    fn the_sides_of_a_stripe_are_those_that_the_bytes_take() {
        let mut connection = to("2001:db8::1", 2345);
        connection.local = Some(proto::Endpoint { address: "192.0.2.9".into(), port: 5 });
        let lines = |direction| {
            let mut text = String::new();
            connections(&mut text, direction, std::slice::from_ref(&connection));
            text
        };
        assert!(lines(Some(Direction::Pull)).ends_with(
            "    Stripe Source: tcp:[2001:db8::1]:2345\n    Stripe Destination: tcp:192.0.2.9:5\n"
        ));
        assert!(lines(Some(Direction::Push)).ends_with(
            "    Stripe Source: tcp:192.0.2.9:5\n    Stripe Destination: tcp:[2001:db8::1]:2345\n"
        ));
    }

    #[test]
    fn the_connections_that_carry_the_bytes_stand_before_those_that_led_there() {
        let door = to("192.0.2.1", 80);
        let pool = proto::Connection { bytes_received: 1, ..to("192.0.2.2", 2881) };
        let mut text = String::new();
        connections(&mut text, Some(Direction::Pull), &[door, pool]);
        assert_eq!(
            text,
            "    RemoteConnections: tcp:192.0.2.2:2881,tcp:192.0.2.1:80\n    Stripe Source: tcp:192.0.2.2:2881\n"
        );
    }

    #[test]
    fn a_hundred_connections_fit_into_one_line_as_whole_addresses() {
        let connections: Vec<_> = (0..100)
            .map(|number| to(&format!("2001:db8:1111:2222:3333:4444:5555:{number:x}"), 50_000))
            .collect();
        let mut status = moving(at(1, 0), at(2, 0), 3);
        status.figures.as_mut().unwrap().connections = connections;
        let text = marker(&status, at(5, 0));
        let line = text.lines().find(|line| line.contains("RemoteConnections")).unwrap();
        assert!(line.len() <= MAX_LINE_BYTES && line.len() > MAX_LINE_BYTES - 100, "{}", line.len());
        assert!(line.ends_with("]:50000"), "{line}");
    }

    #[test]
    fn what_limits_a_copy_is_told_in_the_order_of_its_weight() {
        let limits = |source, network, disk| proto::Limits { source, network, disk, ..Default::default() };
        assert_eq!(limited_by(&limits(0.08, 0.62, 0.30)).unwrap(), "network 62%, disk 30%, source 8%");
        assert_eq!(limited_by(&limits(1.0, 0.0, 0.004)).unwrap(), "source 100%");
        assert_eq!(limited_by(&limits(0.0, f64::NAN, -1.0)), None);
    }

    proptest! {
        #[test]
        fn no_text_of_others_breaks_the_form(text in any::<String>(), long in "\\PC{0,3000}", bytes: u64) {
            let mut status = CopyStatus::new(Some(Direction::Push), at(1, 0));
            status.preparation = text.clone() + &long;
            let preparing = marker(&status, at(2, 0));
            let mut running = moving(at(5, 0), at(4, 0), bytes);
            let figures = running.figures.as_mut().unwrap();
            figures.activity = long + &text;
            figures.connections = vec![to(&text, 1), to("192.0.2.1", 70_000)];
            let stream = preparing + &marker(&running, at(3, 0)) + &last_line(&Err(text));
            prop_assert!(stream.lines().all(|line| line.len() <= MAX_LINE_BYTES));
            prop_assert_eq!(stream.matches("Perf Marker\n").count(), 2);
            prop_assert_eq!(stream.split('\n').filter(|line| *line == "End").count(), 2);
            prop_assert!(!stream.contains('\r'));
            prop_assert!(stream.ends_with('\n') && stream.lines().last().unwrap().starts_with("failure: "));
        }
    }
}
