//! How transfers without a SciTag are marked.

use penstock_service::reference::Default::{Otherwise, Required};
use penstock_service::reference::Form::{Count, Path, Table, Text};
use penstock_service::reference::Key;

/// What is left when nothing else says anything.
pub const DEFAULT_TAG: Key = Key::new(
    "marking.default_tag",
    Count,
    Otherwise("the pool decides"),
    "65",
    "The SciTag of transfers of which neither the request nor a rule says anything: 65 to 65535.",
    "Experiment times 64, and activity: docs/packet-marking.md.",
);

/// The door's rules, in the order in which a reader wants to know of them.
pub const RULES: &[Key] = &[
    Key::new(
        "marking.experiments",
        Table,
        Otherwise("none"),
        "[]",
        "Whose traffic a request without a SciTag is ([[marking.experiments]] in a file); the first that fits counts.",
        "A site with one experiment needs marking.default_tag only.",
    ),
    Key::new(
        "marking.activities",
        Table,
        Otherwise("none"),
        "[]",
        "What it is for ([[marking.activities]] in a file); the first that fits counts.",
        "Without any, activity 1.",
    ),
    Key::new(
        "marking.experiments.vo",
        Text,
        Otherwise("any"),
        "\"atlas\"",
        "The client's VO, or its group.",
        "All that is given must fit.",
    ),
    Key::new(
        "marking.experiments.issuer",
        Text,
        Otherwise("any"),
        "\"https://atlas-auth.cern.ch/\"",
        "Who has issued the client's token.",
        "A slash at the end makes no difference.",
    ),
    Key::new(
        "marking.experiments.path",
        Path,
        Otherwise("any"),
        "\"/atlas\"",
        "At or below this path.",
        "Whole components count.",
    ),
    Key::new(
        "marking.experiments.experiment",
        Text,
        Required,
        "\"atlas\"",
        "The experiment: a number from 1 to 1023, or a name of the working group's registry.",
        "Networks know the numbers.",
    ),
    Key::new(
        "marking.activities.experiment",
        Text,
        Otherwise("any"),
        "\"atlas\"",
        "Only of this experiment.",
        "Activities are numbered by each experiment for itself.",
    ),
    Key::new(
        "marking.activities.path",
        Path,
        Otherwise("any"),
        "\"/atlas/datadisk\"",
        "At or below this path.",
        "Whole components count.",
    ),
    Key::new(
        "marking.activities.role",
        Text,
        Otherwise("any"),
        "\"production\"",
        "A role of the client, as in /atlas/Role=production.",
        "Production and users share paths at some sites.",
    ),
    Key::new(
        "marking.activities.user",
        Text,
        Otherwise("any"),
        "\"pilot\"",
        "The client's user name.",
        "As the log has it.",
    ),
    Key::new(
        "marking.activities.activity",
        Count,
        Required,
        "4",
        "The activity: a number from 1 to 63.",
        "Names of them are the experiment's own.",
    ),
];
