//! SIGHUP: what it changes, what has to wait for the next start, and that a broken file changes nothing.

use std::fs;
use std::net::TcpStream;
use std::path::Path;

use penstock_tests::cluster::{Cluster, make_keys};
use penstock_tests::daemon::Daemon;
use penstock_tests::lone_pool::LonePool;
use penstock_tests::pair::Pair;
use penstock_tests::patience::eventually;
use penstock_tests::room::Room;
use penstock_tests::site::Plan;
use rustix::process::Signal;

/// Told at every reload that was made.
const READ: &str = "the configuration was read again";
/// Told at every reload that was not.
const REFUSED: &str = "the configuration is not used, the old one stays";

fn lines_with(daemon: &Daemon, text: &str) -> Vec<String> {
    daemon.stderr().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// Sends SIGHUP and waits until the log has one line more of that kind. Gives that line.
fn reload(daemon: &Daemon, expected: &str) -> String {
    let before = lines_with(daemon, expected).len();
    daemon.signal(Signal::HUP);
    eventually(expected, || lines_with(daemon, expected).into_iter().nth(before))
}

fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_pools_limits_and_log_level_change_while_it_runs() {
    let mut pool = LonePool::start("capacity = \"10 MiB\"\nlog = \"error\"\nlimits.connections = 100\n");
    let total = |pool: &LonePool| pool.metrics().sum_where("penstock_space_bytes", "part=\"total\"");
    assert_eq!(total(&pool), f64::from(10 << 20));
    assert_eq!(pool.daemon.stderr(), "", "nothing that is an error has happened");
    change(&pool.config, "10 MiB", "30 MiB");
    change(&pool.config, "\"error\"", "\"info\"");
    change(&pool.config, "limits.connections = 100", "limits.connections = 1");

    let _ = reload(&pool.daemon, READ);

    assert_eq!(total(&pool), f64::from(30 << 20));
    let _first = TcpStream::connect(pool.data).unwrap();
    eventually("a second connection is one too many", || {
        let _second = TcpStream::connect(pool.data).unwrap();
        (pool.metrics().sum("penstock_data_connections_refused_total") > 0.0).then_some(())
    });
    pool.stop();
}

#[test]
fn what_counts_from_the_next_start_on_is_named() {
    let pool = LonePool::start("shards = 1\n");
    change(&pool.config, "shards = 1", "shards = 2\ntimeouts.idle = \"7 s\"");

    let line = reload(&pool.daemon, "these new settings count from the next start on");

    assert!(line.contains("shards, timeouts.idle"), "{line}");
}

#[test]
fn a_broken_file_changes_nothing_and_is_one_line_that_says_where() {
    let mut pair = Pair::start("capacity = \"20 MiB\"\n");
    let door = pair.directory().join("door.toml");
    let site = Plan::new().config("anonymous = \"read\"\n").start();
    let files: [(&Daemon, &Path, &str, &str, &str); 3] = [
        (&pair.pool.daemon, &pair.pool.config, "capacity = ", "capacty = ", "pool.toml:5: capacty: "),
        (&pair.door, &door, "name = \"door01\"", "name = 7", "door.toml:1: name: "),
        (
            &site.daemon,
            &site.room().join("penstock.toml"),
            "\"read\"",
            "\"all\"",
            "penstock.toml:1: anonymous: ",
        ),
    ];
    for (daemon, file, right, wrong, complaint) in files {
        change(file, right, wrong);
        let before = daemon.stderr().lines().count();

        let line = reload(daemon, REFUSED);

        assert!(line.contains(complaint) && line.contains("ERROR"), "{line}");
        assert_eq!(daemon.stderr().lines().count(), before + 1, "one line: {}", daemon.stderr());
        change(file, wrong, right);
        let _ = reload(daemon, READ);
    }
    pair.wait_until_joined();
    assert_eq!(pair.pool.metrics().sum_where("penstock_space_bytes", "part=\"total\""), f64::from(20 << 20));
    assert!(pair.pool.daemon.runs() && pair.door.runs());
    let _ = site.get("/").expect(200);
}

#[test]
fn a_door_takes_new_keys_and_refuses_tokens_of_the_old_ones() {
    let pair = Pair::start("");
    let ask = |token: &str| {
        let url = format!("http://{}/", pair.door_address());
        penstock_tests::curl::Curl::new(url)
            .token(Some(token))
            .method("PROPFIND")
            .header("Depth", "0")
            .run()
            .status
    };
    assert_eq!(ask(&pair.token), 207);
    let (keys, token) = (pair.directory().join("macaroon.keys"), pair.directory().join("token"));
    fs::remove_file(&keys).unwrap();
    let broken = reload(&pair.door, REFUSED);
    assert!(broken.contains("macaroon.keys"), "{broken}");
    assert_eq!(ask(&pair.token), 207, "the old keys stay");
    fs::remove_file(&token).unwrap();
    make_keys(&pair.directory().join("door.toml"), &token);

    let _ = reload(&pair.door, READ);

    assert_eq!(ask(&pair.token), 401);
    assert_eq!(ask(fs::read_to_string(token).unwrap().trim()), 207);
}

#[test]
fn a_door_whose_certificate_has_ended_reaches_its_pools_again_with_a_new_one() {
    let mut cluster = Cluster::start(1);
    let probe = cluster.room().join("file");
    fs::write(&probe, b"bytes").unwrap();
    let upload = |cluster: &Cluster| cluster.curl("/file").follow().upload(&probe).run().status;
    assert_eq!(upload(&cluster), 201);
    // It ends while the door runs, and the pool is restarted later.
    let _ = cluster.authority.issue_until("door", std::time::SystemTime::now());
    let _ = reload(&cluster.door, READ);
    cluster.pools[0].daemon.terminate();
    assert!(cluster.pools[0].daemon.ended().success());
    cluster.pools[0].start_again();
    eventually("the door is refused", || {
        (upload(&cluster) == 503 && cluster.door.stderr().contains("pool lost")).then_some(())
    });
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(upload(&cluster), 503, "it stays refused");

    let _ = cluster.authority.issue("door");
    let _ = reload(&cluster.door, READ);

    eventually("it is let in", || (upload(&cluster) / 100 == 2).then_some(()));
}

#[test]
fn a_site_on_one_machine_takes_what_anybody_may_do_from_its_file() {
    let room = Room::new();
    let site = Plan::new().room(room).config("anonymous = \"none\"\n").start();
    let ask = || {
        penstock_tests::curl::Curl::new(site.url("/")).method("PROPFIND").header("Depth", "0").run().status
    };
    assert_eq!(ask(), 401);
    change(&site.room().join("penstock.toml"), "none", "read");

    let _ = reload(&site.daemon, READ);

    assert_eq!(ask(), 207);
}
