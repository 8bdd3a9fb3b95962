//! Labels and fireflies as tshark sees them on a router between the site and a remote host.

use std::net::Ipv6Addr;

use penstock_tests::marking::{
    LABELLED_PORTS, MarkedSite, REMOTE, REMOTE_PORT, SITE, obstacle, tag_of, tags_by_port,
};

/// atlas, Production Output.
const ATLAS: (u32, u32) = (2, 16);
const ATLAS_TAG: &str = "SciTag: 144";
/// cms, Production Output.
const CMS: (u32, u32) = (3, 13);
const CMS_TAG: &str = "SciTag: 205";
const MIB: usize = 1 << 20;

/// A connection of the site: its port there, its tags, and whether it begins with a SYN.
type Seen = (u16, Vec<(u32, u32)>, bool);

fn site() -> Option<MarkedSite> {
    if let Some(reason) = obstacle() {
        println!("skipped: {reason}");
        return None;
    }
    Some(MarkedSite::start())
}

#[test]
fn two_experiments_at_once_never_mix_on_their_way_to_clients() {
    let Some(mut site) = site() else { return };
    let file = site.file("data", MIB);
    let put = |path: &str| {
        site.curl(path, &["--location", "--header", "Expect: 100-continue", "--upload-file", &file])
    };
    assert_eq!((put("/one").as_str(), put("/two").as_str(), put("/three").as_str()), ("201", "201", "201"));

    let of = |tag: &'static str| vec!["--location", "--header", tag];
    let (atlas, cms) = (of(ATLAS_TAG), of(CMS_TAG));
    let wishes: Vec<(&str, &[&str])> = (0..4)
        .flat_map(|_| [("/one", atlas.as_slice()), ("/two", cms.as_slice()), ("/three", &["--location"][..])])
        .collect();
    let statuses = site.curl_at_once(&wishes);

    assert!(statuses.iter().all(|status| status == "200"), "{statuses:?}");
    let capture = site.captured();
    let tags = tags_by_port(&capture.packets());
    let labelled: Vec<_> = tags.iter().filter(|(port, _)| LABELLED_PORTS.contains(port)).collect();
    assert_eq!(labelled.len(), 2, "a port for each: {tags:?}");
    let mut seen: Vec<_> = labelled.iter().map(|(_, tags)| (*tags).clone()).collect();
    seen.sort();
    assert_eq!(seen, [vec![ATLAS], vec![CMS]], "one tag on each port, whatever its entropy");
    let fireflies = capture.fireflies();
    let ends = |experiment: u32| {
        fireflies.iter().filter(move |(_, message)| {
            message["context"]["experiment-id"] == experiment && message["flow-lifecycle"]["state"] == "end"
        })
    };
    for (experiment, activity) in [ATLAS, CMS] {
        assert_eq!(ends(experiment).count(), 4, "{fireflies:?}");
        for (header, message) in ends(experiment) {
            assert!(
                header.starts_with("<134>1 ") && header.ends_with(" penstock - firefly-json - "),
                "{header}"
            );
            assert_eq!(message["context"]["activity-id"], activity);
            assert_eq!(
                (&message["flow-id"]["src-ip"], &message["flow-id"]["dst-ip"]),
                (&SITE.into(), &REMOTE.into())
            );
            assert!(message["usage"]["sent"].as_u64().unwrap() >= MIB as u64, "{message}");
        }
    }
}

#[test]
fn an_upload_is_answered_with_its_label_and_told_of_with_the_client_as_its_source() {
    let Some(mut site) = site() else { return };
    let file = site.file("data", MIB);
    let words = [
        "--location",
        "--header",
        "Expect: 100-continue",
        "--header",
        ATLAS_TAG,
        "--upload-file",
        file.as_str(),
    ];
    assert_eq!(site.curl("/file", &words), "201");

    let capture = site.captured();
    let site_address: Ipv6Addr = SITE.parse().unwrap();
    let packets = capture.packets();
    let answers: Vec<_> = packets
        .iter()
        .filter(|packet| {
            packet.from.0 == site_address && LABELLED_PORTS.contains(&packet.from.1) && !packet.syn
        })
        .collect();
    assert!(answers.len() > 3, "acknowledgements and an answer");
    assert!(answers.iter().all(|packet| tag_of(packet.label) == ATLAS), "{answers:?}");
    let fireflies = capture.fireflies();
    let states: Vec<_> =
        fireflies.iter().map(|(_, message)| message["flow-lifecycle"]["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["start", "end"]);
    let (_, end) = &fireflies[1];
    assert_eq!((&end["flow-id"]["src-ip"], &end["flow-id"]["dst-ip"]), (&REMOTE.into(), &SITE.into()));
    assert!(end["usage"]["received"].as_u64().unwrap() >= MIB as u64, "{end}");
}

#[test]
fn third_party_copies_carry_their_label_from_the_first_packet_on() {
    let Some(mut site) = site() else { return };
    let source = site.remote_url("/source");
    let destination = site.remote_url("/copied");

    let pulled = site.copy("/file", &[("Source", &source), ("SciTag", "144")]);
    let pushed = site.copy("/file", &[("Destination", &destination), ("SciTag", "205")]);
    let unmarked = site.copy("/again", &[("Source", &source)]);

    for last in [&pulled, &pushed, &unmarked] {
        assert!(last.starts_with("success"), "{last}");
    }
    let capture = site.captured();
    let (here, there): (Ipv6Addr, Ipv6Addr) = (SITE.parse().unwrap(), REMOTE.parse().unwrap());
    let packets = capture.packets();
    let outgoing = packets.iter().filter(|packet| packet.from.0 == here && packet.to == (there, REMOTE_PORT));
    let mut connections: Vec<Seen> = Vec::new();
    for packet in outgoing {
        let tag = tag_of(packet.label);
        match connections.iter_mut().find(|(port, _, _)| *port == packet.from.1) {
            Some((_, tags, _)) if tags.contains(&tag) => {}
            Some((_, tags, _)) => tags.push(tag),
            None => connections.push((packet.from.1, vec![tag], packet.syn)),
        }
    }
    assert!(connections.iter().all(|(_, _, begins_with_syn)| *begins_with_syn), "{connections:?}");
    let of = |tag: (u32, u32)| connections.iter().filter(|(_, tags, _)| *tags == vec![tag]).count();
    assert!(of(ATLAS) >= 1 && of(CMS) >= 1, "SYN, data and the rest carry one tag: {connections:?}");
    assert!(
        of(ATLAS) + of(CMS) < connections.len(),
        "the unmarked copy has connections of its own: {connections:?}"
    );
    let fireflies = capture.fireflies();
    let of = |experiment: u32| {
        let own =
            fireflies.iter().filter(move |(_, message)| message["context"]["experiment-id"] == experiment);
        own.map(|(_, message)| message).collect::<Vec<_>>()
    };
    assert!(
        of(ATLAS.0).iter().all(|message| message["flow-id"]["src-ip"] == REMOTE),
        "a pull's source is there"
    );
    assert!(of(CMS.0).iter().all(|message| message["flow-id"]["src-ip"] == SITE), "a push's source is here");
    for messages in [of(ATLAS.0), of(CMS.0)] {
        let states: Vec<_> = messages.iter().map(|message| &message["flow-lifecycle"]["state"]).collect();
        assert_eq!(states, ["start", "end"]);
    }
}
