//! Packet marking.

use penstock_service::reference::Default::{Otherwise, Required, Value};
use penstock_service::reference::Form::{Count, Flag, List, Path, Table, Text, Time};
use penstock_service::reference::Key;

/// In the order in which a reader wants to know of them.
pub const KEYS: &[Key] = &[
    Key::new(
        "marking.policy",
        Text,
        Value,
        "\"both\"",
        "Packet marking of transfers that have a SciTag: \"flow-label\", \"firefly\", \"both\" or \"off\".",
        "Networks see whose traffic fills their links; it costs nothing where nobody sends tags.",
    ),
    Key::new(
        "marking.ports",
        Text,
        Otherwise("none"),
        "\"24000-24063\"",
        "Ports for clients whose packets are to carry flow labels: a range, or a number of any that are free.",
        "Each experiment and activity in use takes one, two with TLS; clients must be able to reach them.",
    ),
    Key::new(
        "marking.collectors",
        List,
        Value,
        "[]",
        "Where fireflies go: \"host\", \"host:port\"; port 10514.",
        "A site or its network has one, or reads the flow labels.",
    ),
    Key::new(
        "marking.to_peers",
        Flag,
        Value,
        "true",
        "Fireflies also go to the other end of the flow, port 10514.",
        "Networks on the way and the other site may listen there.",
    ),
    Key::new(
        "marking.period",
        Time,
        Value,
        "\"60 s\"",
        "Between two fireflies of a flow that goes on.",
        "Long flows show while they last.",
    ),
    Key::new(
        "marking.local",
        List,
        Value,
        "[]",
        "Subnets of the site: flows with both ends in them are not marked.",
        "What stays at home fills nobody's links.",
    ),
    Key::new(
        "marking.registry",
        Path,
        Otherwise("the working group's of 2025-09-04, built in"),
        "\"/etc/penstock/scitags.json\"",
        "A JSON file with names of experiments and activities.",
        "Read again when it changes, and at SIGHUP.",
    ),
    Key::new(
        "marking.default_tag",
        Count,
        Otherwise("none"),
        "65",
        "The SciTag of transfers whose door says nothing: 65 to 65535.",
        "Doors know better; for a pool of one experiment it is enough.",
    ),
    Key::new(
        "marking.override",
        Table,
        Otherwise("none"),
        "[{ subnet = \"2001:db8::/32\", policy = \"firefly\" }]",
        "Other policies for the peers of some subnets ([[marking.override]] in a file).",
        "Of several subnets the smallest counts.",
    ),
    Key::new(
        "marking.override.subnet",
        Text,
        Required,
        "\"2001:db8::/32\"",
        "The peers.",
        "One address alone is a subnet, too.",
    ),
    Key::new(
        "marking.override.policy",
        Text,
        Required,
        "\"firefly\"",
        "What holds for them, as marking.policy.",
        "Fireflies alone, for a path whose devices stumble over flow labels.",
    ),
];
