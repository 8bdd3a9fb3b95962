//! `penstock-pool transfers`, `transfer`, `completions`, `man`, against a pool that works.

use std::process::Command;
use std::time::{Duration, Instant};

use penstock_tests::admin::{self, Outcome};
use penstock_tests::binaries::binary;
use penstock_tests::files::{self, MIB};
use penstock_tests::lone_pool::LonePool;
use penstock_tests::patience::eventually;
use penstock_tests::pool_client::{Client, ready_url, start, upload};
use penstock_tests::raw::Raw;
use penstock_tests::room::Room;
use penstock_tests::site::{Site, target};
use serde_json::Value;

/// One object on each line.
fn rows(outcome: &Outcome) -> Vec<Value> {
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// An upload that has begun and does not go on.
async fn half_an_upload(pool: &LonePool, door: &mut Client, id: &str, path: &str) -> Raw {
    let mut events = start(door, upload(id, path)).await.unwrap();
    let url = ready_url(&mut events).await;
    let mut client = Raw::connect(pool.data);
    client.send(format!("PUT {} HTTP/1.1\r\nHost: pool\r\nContent-Length: 3000000\r\n\r\n", target(&url)));
    client.send(vec![7; 2_500_000]);
    client
}

#[test]
fn an_admin_sees_who_moves_what_and_ends_it() {
    let pool = LonePool::start("");
    pool.client().call(async |mut door: Client| {
        let mut client = half_an_upload(&pool, &mut door, "t1", "/atlas/data").await;
        let _waiting = start(&mut door, upload("t2", "/cms/data")).await.unwrap();
        let row = eventually("the upload moves", || {
            let outcome = pool.command(&["transfers", "--json", "--filter", "state=running"]).expect_good();
            rows(&outcome).into_iter().find(|row| row["bytes_moved"].as_u64() > Some(0))
        });
        assert_eq!((row["transfer"].as_str(), row["path"].as_str()), (Some("t1"), Some("/atlas/data")));
        assert_eq!(row["bytes_requested"], 3_000_000);
        let table = pool.command(&["transfers", "--sort", "path"]).expect_good().stdout;
        let lines: Vec<&str> = table.lines().collect();
        assert!(
            lines[0].starts_with("TRANSFER") && lines[1].contains("t1") && lines[2].contains("t2"),
            "{table}"
        );
        let shown = pool.command(&["transfer", "show", "t1"]).expect_good().stdout;
        assert!(shown.contains("/atlas/data") && shown.contains("connection"), "{shown}");

        let cancelled = pool.command(&["transfer", "cancel", "t1", "--reason", "the disk is needed"]);

        assert_eq!(cancelled.expect_good().stdout, "t1 is cancelled\n");
        assert!(!client.rest().starts_with(b"HTTP/1.1 2"), "no success is told");
        let left = rows(&pool.command(&["transfers", "--json"]).expect_good());
        assert!(left.iter().all(|row| row["transfer"] != "t1"), "{left:?}");
        let ended =
            rows(&pool.command(&["transfers", "--json", "--all", "--filter", "transfer=t1"]).expect_good());
        assert_eq!(ended[0]["why"], "the disk is needed");
        let again = pool.command(&["transfer", "cancel", "t1"]);
        assert_eq!(again.status, 1, "{}", again.stdout);
    });
}

#[test]
fn a_pool_that_is_busy_answers_its_admin() {
    let site = Site::start();
    let socket = site.data().join("grpc.sock");
    let file = files::file(site.room(), "in", 4 * MIB, 3);
    let bytes = std::fs::read(&file).unwrap();
    let busy = &|number: usize| {
        for round in 0..12 {
            let path = format!("/{number}/{round}");
            let _ = site.put(&path, &file).expect(201);
            assert!(site.get(&path).expect(200).body == bytes, "{path}");
        }
    };
    let (mut slowest, mut most) = (Duration::ZERO, 0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|number| scope.spawn(move || busy(number))).collect();
        while !clients.iter().all(|client| client.is_finished()) {
            for words in [
                &["transfers", "--json", "--sort", "rate"][..],
                &["status"],
                &["replicas", "list", "--limit", "10"],
                &["scrub", "start", "--restart"],
                &["scrub", "status"],
            ] {
                let asked = Instant::now();
                let outcome = admin::at_socket(&socket, words).expect_good();
                slowest = slowest.max(asked.elapsed());
                if words[0] == "transfers" {
                    most = most.max(rows(&outcome).len());
                }
            }
        }
    });
    assert!(most > 0, "never saw a transfer");
    assert!(slowest < Duration::from_secs(10), "an answer took {slowest:?}");
}

#[test]
fn watching_tells_again_and_again_until_it_is_stopped() {
    let pool = LonePool::start("");
    let mut command = Command::new(binary("penstock-pool"));
    command.args(["transfers", "--watch=100ms", "--socket"]).arg(pool.socket());
    let watching = penstock_tests::daemon::Daemon::spawn("penstock-pool transfers --watch", &mut command);
    eventually("three looks", || {
        (watching.stdout().matches("0 running, 0 waiting").count() >= 3).then_some(())
    });
}

#[test]
fn a_replica_is_deleted_only_by_who_means_it() {
    let pool = LonePool::start("");
    let refused = pool.command(&["replicas", "delete", "r1"]);
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    let missing = pool.command(&["replicas", "delete", "r1", "--yes", "--missing-ok"]).expect_good();
    assert_eq!(missing.stdout, "r1 was not there\n");
}

#[test]
fn shells_and_man_learn_the_commands_from_the_program_itself() {
    let room = Room::new();
    let run = |words: &[&str]| {
        let output = Command::new(binary("penstock-pool")).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completions", shell]).contains("transfers"), "{shell}");
    }
    assert!(run(&["man"]).contains(".TH penstock-pool 1"));
    let pages = room.join("man");
    let _ = run(&["man", "--dir", pages.to_str().unwrap()]);
    assert!(pages.join("penstock-pool-transfers.1").is_file());
    let script = room.join("completion.bash");
    std::fs::write(&script, run(&["completions", "bash"])).unwrap();
    let checked = Command::new("bash").arg("-n").arg(&script).status().unwrap();
    assert!(checked.success(), "bash reads it");
}
