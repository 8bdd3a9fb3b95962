//! `penstock-pool config` and `check`, and settings from the environment and the command line.

use std::process::Command;

use penstock_tests::admin;
use penstock_tests::binaries::binary;
use penstock_tests::room::Room;
use serde_json::Value;

fn config(room: &Room) -> std::path::PathBuf {
    let path = room.join("pool.toml");
    let root = room.join("pool");
    std::fs::create_dir(&root).unwrap();
    let text = format!(
        "name = \"pool01\"\nroot = \"{}\"\nshards = 2\n[data]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n",
        root.display()
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn row(rows: &str, key: &str, value: &str) -> Value {
    let mut rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.find(|row| row[key] == value).unwrap_or_else(|| panic!("no {value}"))
}

#[test]
fn each_setting_is_told_with_its_origin() {
    let room = Room::new();
    let path = config(&room);
    let output = Command::new(binary("penstock-pool"))
        .args(["config", "--json", "--set", "timeouts.idle=2 min", "--config"])
        .arg(&path)
        .env("PENSTOCK_POOL_SHARDS", "3")
        .output()
        .unwrap();
    let rows = String::from_utf8(output.stdout).unwrap();
    for (key, value, origin) in [
        ("shards", "3", "PENSTOCK_POOL_SHARDS"),
        ("timeouts.idle", "\"2 min\"", "--set"),
        ("name", "\"pool01\"", path.to_str().unwrap()),
        ("reserve", "\"256 MiB\"", "default"),
    ] {
        let row = row(&rows, "key", key);
        assert_eq!((row["value"].as_str(), row["origin"].as_str()), (Some(value), Some(origin)), "{key}");
    }
}

#[test]
fn a_slip_of_the_pen_outside_the_file_is_named_and_corrected() {
    let room = Room::new();
    let path = config(&room);
    let run = |command: &mut Command| {
        let output = command.arg("--config").arg(&path).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let flag = run(Command::new(binary("penstock-pool")).args(["--set", "shrads=3"]));
    assert!(flag.contains("shrads: there is no such key; did you mean \"shards\"?"), "{flag}");
    let variable = run(Command::new(binary("penstock-pool")).env("PENSTOCK_POOL_SHRADS", "3"));
    assert!(variable.contains("did you mean \"PENSTOCK_POOL_SHARDS\"?"), "{variable}");
}

#[test]
fn the_printed_reference_is_a_configuration_that_starts() {
    let room = Room::new();
    let reference = admin::with_config(&config(&room), &["config", "--default"]).expect_good().stdout;
    let path = room.join("from-reference.toml");
    let root = room.join("pool");
    let text = format!(
        "name = \"pool01\"\nroot = \"{}\"\n{}",
        root.display(),
        reference.replacen("[data]\n", "[data]\nadvertise = \"localhost:2881\"\n", 1)
    );
    std::fs::write(&path, text).unwrap();
    let checked = admin::with_config(&path, &["--check"]).expect_good();
    assert!(checked.stdout.contains("pool01"), "{}", checked.stdout);
}

#[test]
fn check_looks_at_the_machine_and_changes_nothing() {
    let room = Room::new();
    let path = config(&room);
    let good = admin::with_config(&path, &["check", "--json"]).expect_good();
    for what in ["configuration", "root", "io_uring", "space", "clock", "IPv6"] {
        assert_ne!(row(&good.stdout, "what", what)["level"], "failed", "{what}");
    }
    assert_eq!(std::fs::read_dir(room.join("pool")).unwrap().count(), 0, "nothing is left");

    let bad = admin::with_config(
        &path,
        &["check", "--json", "--set", "data.cert=/nonexistent.pem", "--set", "data.key=/nonexistent.key"],
    );

    assert_eq!(bad.status, 1, "{}", bad.stdout);
    let row = row(&bad.stdout, "what", "data, TLS");
    assert_eq!(row["level"], "failed");
    assert!(row["found"].as_str().unwrap().contains("/nonexistent.pem"), "{row}");
    assert!(!row["remedy"].as_str().unwrap().is_empty());
}

#[test]
fn check_of_a_wrong_file_says_the_same_line_as_the_daemon() {
    let room = Room::new();
    let path = room.join("wrong.toml");
    std::fs::write(&path, "nmae = \"pool01\"\n").unwrap();
    let outcome = admin::with_config(&path, &["check"]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stdout.contains("wrong.toml:1: nmae: there is no such key; did you mean \"name\"?"));
}
