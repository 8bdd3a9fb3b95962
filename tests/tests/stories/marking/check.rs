//! `penstock-pool marking check`, and a pool whose names cannot be read.

use std::process::{Command, Output};

use penstock_tests::binaries::binary;
use penstock_tests::room::Room;
use serde_json::Value;

/// Runs it with a configuration that has these lines about marking.
fn check(room: &Room, listen: &str, marking: &str) -> Output {
    let config = room.join("pool.toml");
    let text = format!(
        "name = \"p\"\nroot = \"{}\"\n[data]\nlisten = \"{listen}\"\nadvertise = \"pool:2881\"\n[marking]\n{marking}",
        room.join("pool").display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(binary("penstock-pool"));
    command.arg("--config").arg(&config).args(["marking", "check", "--json"]).output().unwrap()
}

/// What it says of one thing: whether it works, and why.
fn said(output: &Output, what: &str) -> (Option<bool>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.into_iter().find(|line| line["what"] == what);
    let line = line.unwrap_or_else(|| panic!("nothing of {what} in {text}"));
    (line["works"].as_bool(), line["why"].as_str().unwrap().to_owned())
}

#[test]
fn what_will_not_work_is_named_with_what_to_do() {
    let room = Room::new();

    let output =
        check(&room, "0.0.0.0:2881", "ports = \"24000-24003\"\ncollectors = [\"nowhere.invalid\"]\n");

    assert!(!output.status.success());
    let (works, why) = said(&output, "ports for clients");
    assert!(works == Some(false) && why.contains("listen on \"[::]:2881\""), "{why}");
    let (works, why) = said(&output, "collector");
    assert!(works == Some(false) && why.starts_with("nowhere.invalid:10514: "), "{why}");
    assert_eq!(said(&output, "names"), (Some(true), "14 experiments".to_owned()));
}

#[test]
fn a_policy_without_labels_needs_nothing_of_the_kernel() {
    let room = Room::new();

    let output = check(&room, "0.0.0.0:2881", "policy = \"firefly\"\nports = 4\n");

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(said(&output, "ports for clients").0, None);
}

#[test]
fn a_pool_whose_names_cannot_be_read_does_not_start_and_says_so() {
    let room = Room::new();
    let config = room.join("pool.toml");
    std::fs::write(room.join("names.json"), "{}").unwrap();
    let text = format!(
        "name = \"p\"\nroot = \"{}\"\n[data]\nlisten = \"127.0.0.1:0\"\n[marking]\nregistry = \"{}\"\n",
        room.join("pool").display(),
        room.join("names.json").display()
    );
    std::fs::write(&config, text).unwrap();

    let output =
        Command::new(binary("penstock-pool")).arg("--check").arg("--config").arg(&config).output().unwrap();

    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        complaint.contains("marking.registry: ") && complaint.contains("names.json is no registry"),
        "{complaint}"
    );
}
