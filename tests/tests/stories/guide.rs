//! The operator's guide names every setting, and no other.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use penstock_tests::binaries::binary;
use penstock_tests::daemon::Daemon;
use penstock_tests::room::Room;

/// A key that no daemon has. What is said to it lists those that there are.
const UNKNOWN: &str = "zzzzzzzzzzzz";

#[test]
fn the_guide_names_every_setting_and_no_other() {
    let programs: [(&str, &[(&str, &str)]); 3] = [
        (
            "penstock",
            &[
                ("", ""),
                ("marking", "[marking]"),
                ("marking.override", "[[marking.override]]"),
                ("marking.experiments", "[[marking.experiments]]"),
                ("marking.activities", "[[marking.activities]]"),
            ],
        ),
        (
            "penstock-pool",
            &[
                ("", ""),
                ("data", "[data]"),
                ("admin", "[admin]"),
                ("grpc", "[grpc]"),
                ("queues", "[[queues]]"),
                ("timeouts", "[timeouts]"),
                ("limits", "[limits]"),
                ("scrub", "[scrub]"),
                ("tpc", "[tpc]"),
                ("marking", "[marking]"),
                ("marking.override", "[[marking.override]]"),
                ("tracing", "[tracing]"),
            ],
        ),
        (
            "penstock-door",
            &[
                ("", ""),
                ("tls", "[tls]"),
                ("authentication", "[authentication]"),
                ("authentication.issuers", "[[authentication.issuers]]"),
                ("redirect", "[redirect]"),
                ("copy", "[copy]"),
                ("delegation", "[delegation]"),
                ("delegation.exchange", "[[delegation.exchange]]"),
                ("marking", "[marking]"),
                ("marking.experiments", "[[marking.experiments]]"),
                ("marking.activities", "[[marking.activities]]"),
                ("limits", "[limits]"),
                ("timeouts", "[timeouts]"),
                ("pools", "[[pools]]"),
                ("tracing", "[tracing]"),
            ],
        ),
    ];
    for (program, tables) in programs {
        let mut keys = BTreeSet::new();
        for (table, header) in tables {
            for key in known_keys(program, header) {
                keys.insert(if table.is_empty() { key } else { format!("{table}.{key}") });
            }
        }
        // A table stands for its keys.
        for (table, _) in tables {
            keys.remove(*table);
        }

        let documented = documented_keys(program);

        assert_eq!(
            keys, documented,
            "{program}: on the left what there is, on the right what the guide names"
        );
    }
}

/// What the program says that there is, to a key that there is not.
fn known_keys(program: &str, header: &str) -> Vec<String> {
    let room = Room::new();
    let path = room.join("config.toml");
    std::fs::write(&path, format!("{header}\n{UNKNOWN} = 1\n")).unwrap();
    let mut command = Command::new(binary(program));
    let mut daemon = Daemon::spawn(program, command.arg("--config").arg(&path));
    assert!(!daemon.ended().success(), "{program} {header}");
    let said = daemon.stderr();
    let list = match said.split_once("there is no such key here; there are ") {
        Some((_, list)) => list.split(',').map(|key| key.trim().to_owned()).collect(),
        // "… expected one of `a`, `b`": every second piece is a name.
        None => {
            let list = said.split_once("expected ").map(|(_, list)| list.to_owned());
            list.unwrap_or_default().split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        }
    };
    assert!(list.len() > 1 || header == "[admin]", "{program} {header}: {said}");
    list
}

/// The first column of the program's table.
fn documented_keys(program: &str) -> BTreeSet<String> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operators-guide.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, rest) =
        guide.split_once(&format!("<!-- keys of {program} -->")).expect("the guide has the table");
    let (table, _) = rest.split_once("<!-- end of keys -->").expect("the table ends");
    let key = |line: &str| line.strip_prefix("| `")?.split('`').next().map(str::to_owned);
    table.lines().filter_map(key).collect()
}
