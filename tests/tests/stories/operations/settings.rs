//! `config` and `check`, and settings from the environment and the command line.

use std::process::Command;

use penstock_tests::admin;
use penstock_tests::binaries::binary;
use penstock_tests::curl::Curl;
use penstock_tests::daemon::Daemon;
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

#[test]
fn the_one_process_site_is_set_from_all_places_and_prints_what_is_in_effect() {
    let room = Room::new();
    let path = room.join("penstock.toml");
    std::fs::write(&path, "url = \"https://storage.example.org\"\ncapacity = \"1 TiB\"\ndrain = 7\n")
        .unwrap();
    let output = Command::new(binary("penstock"))
        .args(["config", "--json", "--set", "drain=9", "--listen", "127.0.0.1:1", "--config"])
        .arg(&path)
        .env("PENSTOCK_SITE_CAPACITY", "5 TiB")
        .env("PENSTOCK_SITE_DRAIN", "8")
        .env("PENSTOCK_SITE_MARKING_PORTS", "24000-24063")
        .output()
        .unwrap();
    let rows = String::from_utf8(output.stdout).unwrap();
    for (key, value, origin) in [
        ("url", "\"https://storage.example.org\"", path.to_str().unwrap()),
        ("capacity", "5 TiB", "PENSTOCK_SITE_CAPACITY"),
        ("marking.ports", "\"24000-24063\"", "PENSTOCK_SITE_MARKING_PORTS"),
        ("drain", "9", "--set"),
        ("listen", "\"127.0.0.1:1\"", "--listen"),
        ("anonymous", "\"none\"", "default"),
    ] {
        let row = row(&rows, "key", key);
        let told = row["value"].as_str().unwrap_or_default();
        assert_eq!(
            (told.trim_matches('"'), row["origin"].as_str()),
            (value.trim_matches('"'), Some(origin)),
            "{key}"
        );
    }
}

#[test]
fn the_one_process_site_serves_as_its_environment_says() {
    let room = Room::new();
    let start = |environment: &[(&str, &str)]| {
        let mut command = Command::new(binary("penstock"));
        command.args(["serve", "--pool-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--set", "anonymous=read"]).current_dir(room.path());
        Daemon::spawn("penstock", command.envs(environment.iter().copied()))
    };
    let mut wrong = start(&[("PENSTOCK_SITE_LISTNE", "127.0.0.1:0")]);
    assert!(!wrong.ended().success());
    assert!(wrong.stderr().contains("did you mean \"PENSTOCK_SITE_LISTEN\"?"), "{}", wrong.stderr());

    let data = room.join("from-environment");
    let mut site =
        start(&[("PENSTOCK_SITE_LISTEN", "127.0.0.1:0"), ("PENSTOCK_SITE_DATA", data.to_str().unwrap())]);
    let ready = site.line("penstock ready:");
    let door = ready.split_once("door=").unwrap().1.split(' ').next().unwrap();
    assert!(data.join("token").is_file());
    // Who shows no token may look, as --set says, and is not asked who they are.
    let _ = Curl::new(format!("{door}/nothing")).run().expect(404);
}
