//! What a daemon says to a configuration that is wrong, and to a place that is taken.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use penstock_tests::binaries::binary;
use penstock_tests::daemon::Daemon;
use penstock_tests::files::{self, MIB};
use penstock_tests::room::Room;
use penstock_tests::site::{Plan, Site};

#[test]
fn a_wrong_configuration_names_file_line_and_key_and_nothing_is_bound() {
    let room = Room::new();
    // Whoever bound before checking would complain of these.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let root = room.join("pool");
    let pool = format!("name = \"pool01\"\nroot = \"{}\"\n[data]\nlisten = \"{address}\"\n", root.display());
    let door = format!(
        "listen = \"{address}\"\nnamespace = \"{0}/ns.db\"\nmacaroon_keys = \"{0}/keys\"\n\
         [[pools]]\nname = \"pool01\"\nsocket = \"{0}/grpc.sock\"\n",
        room.path().display()
    );
    let cases = [
        ("penstock-pool", &pool, "name = \"pool01\"", "nmae = \"pool01\"", ":1: nmae: "),
        ("penstock-pool", &pool, "listen = ", "listne = ", ":4: data.listne: "),
        ("penstock-pool", &pool, "[data]", "capacity = true\n[data]", ":3: capacity: "),
        ("penstock-pool", &pool, "[data]", "capacity = \"much\"\n[data]", ":3: capacity: "),
        ("penstock-pool", &pool, "[data]", "io_mode = \"fast\"\n[data]", ":3: io_mode: "),
        ("penstock-pool", &pool, "[data]", "[data", ":3"),
        ("penstock-door", &door, "listen = ", "lisen = ", ":1: lisen: "),
        ("penstock-door", &door, "[[pools]]", "anonymous = \"perhaps\"\n[[pools]]", ":4: anonymous: "),
        ("penstock-door", &door, "socket = ", "sokcet = ", ":6: "),
        ("penstock-door", &door, "[[pools]]", "timeouts = 5\n[[pools]]", ":4: timeouts: "),
    ];
    for (program, good, right, wrong, expected) in cases {
        assert!(good.contains(right), "{right}");
        let path = room.join("wrong.toml");
        std::fs::write(&path, good.replacen(right, wrong, 1)).unwrap();
        let mut daemon = Daemon::spawn(program, Command::new(binary(program)).arg("--config").arg(&path));

        let status = daemon.ended();

        let said = daemon.stderr();
        assert!(!status.success(), "{program} with {wrong}");
        assert!(said.contains(&format!("wrong.toml{expected}")), "{program} with {wrong}: {said}");
        assert!(!said.contains("in use"), "{program} with {wrong}: {said}");
        assert!(!root.exists(), "{program} with {wrong} has made its directory");
        assert_eq!(said.trim_end().lines().count(), 1, "one line: {said}");
    }
}

#[test]
fn the_one_process_site_names_file_line_and_key_too() {
    let plan = Plan::new().config("anonymous = \"read\"\nresreve = 2\n");

    let (room, mut daemon) = plan.spawn();

    assert!(!daemon.ended().success());
    let said = daemon.stderr();
    assert!(said.contains("penstock.toml:2: ") && said.contains("resreve"), "{said}");
    assert!(said.contains("reserve\""), "it suggests the nearest key: {said}");
    assert!(daemon.stdout().is_empty());
    assert!(!room.join("data").exists(), "nothing is made");
}

#[test]
fn a_wrong_option_is_explained() {
    for (option, value) in [("--listen", "here"), ("--anonymous", "perhaps"), ("--no-such-option", "x")] {
        let (_room, mut daemon) = Plan::new().argument(option).argument(value).spawn();

        assert!(!daemon.ended().success(), "{option} {value}");
        assert!(daemon.stderr().contains(option), "{}", daemon.stderr());
    }
}

#[test]
fn check_says_that_a_good_configuration_is_good_and_starts_nothing() {
    let room = Room::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = room.join("pool");
    let path = room.join("pool.toml");
    let address = taken.local_addr().unwrap();
    let text = format!("name = \"pool01\"\nroot = \"{}\"\n[data]\nlisten = \"{address}\"\n", root.display());
    std::fs::write(&path, text).unwrap();
    let mut command = Command::new(binary("penstock-pool"));

    let mut daemon = Daemon::spawn("penstock-pool", command.arg("--config").arg(&path).arg("--check"));

    assert!(daemon.ended().success(), "{}", daemon.stderr());
    assert!(daemon.stdout().contains("pool01"), "{}", daemon.stdout());
    assert!(!root.exists());
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for option in ["--listen", "--pool-listen", "--admin-listen"] {
        let (_room, mut daemon) = Plan::new().argument(option).argument(&address).spawn();

        assert!(!daemon.ended().success(), "{option}");
        assert!(daemon.stderr().contains(&address), "{option}: {}", daemon.stderr());
        assert!(!daemon.stdout().contains("ready"), "{option}: {}", daemon.stdout());
    }
}

#[test]
fn a_second_daemon_on_the_same_directory_is_refused_and_does_no_harm() {
    let mut site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    let mut command = Command::new(binary("penstock"));
    command.args(["serve", "--data"]).arg(site.data());
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--pool-listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);

    let mut second = Daemon::spawn("the second penstock", &mut command);

    assert!(second.ended_within(Duration::from_secs(10)).is_some_and(|status| !status.success()));
    let said = second.stderr();
    assert!(said.contains(&site.data().display().to_string()), "{said}");
    assert!(site.daemon.runs());
    assert!(site.get("/file").expect(200).body == std::fs::read(&file).unwrap());
    let _ = site.put("/after", &file).expect(201);
}
