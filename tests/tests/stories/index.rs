//! The pool's index: a start that asks no file, and an index that is lost, damaged or another's.

use std::path::{Path, PathBuf};
use std::process::Command;

use penstock_door_proto::v1::ReplicaState;
use penstock_tests::admin;
use penstock_tests::binaries::binary;
use penstock_tests::daemon::Daemon;
use penstock_tests::damage;
use penstock_tests::files::{self, MIB};
use penstock_tests::lone_pool::LonePool;
use penstock_tests::pair::Pair;
use penstock_tests::patience::eventually;
use penstock_tests::room::Room;

/// Enough that looking at each of them shows.
const REPLICAS: usize = 100;
/// Calls on files below `data` that a start may make, however many replicas there are: one that was in flight takes 40,
/// as the directories above it are made durable.
const FEW_CALLS: usize = 60;

/// A pair whose pool has [`REPLICAS`] small files `/f0`, `/f1`, …
fn pair_with_files() -> (Pair, Vec<u8>) {
    let pair = Pair::start("");
    let file = files::file(pair.directory(), "in", 3000, 1);
    for number in 0..REPLICAS {
        let _ = pair.put(&format!("/f{number}"), &file).expect(201);
    }
    (pair, std::fs::read(file).unwrap())
}

fn index_of(pool: &LonePool) -> PathBuf {
    pool.root().join("index")
}

fn all_is_served(pair: &Pair, data: &[u8]) {
    eventually("the door has found the pool", || (pair.get("/f0").status == 200).then_some(()));
    for number in 0..REPLICAS {
        assert!(pair.get(&format!("/f{number}")).expect(200).body == data, "/f{number}");
    }
    assert_eq!(pair.pool.client().replicas().len(), REPLICAS);
    let status = pair.pool.client().status();
    assert_eq!((status.replicas, status.broken_replicas, status.orphaned_replicas), (REPLICAS as u64, 0, 0));
    accounts_are_right(&pair.pool);
}

fn accounts_are_right(pool: &LonePool) {
    let output =
        Command::new("du").args(["-s", "--block-size=1"]).arg(pool.root().join("data")).output().unwrap();
    let on_disk: f64 =
        String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap().parse().unwrap();
    let metrics = pool.metrics();
    assert_eq!(metrics.sum_where("penstock_space_bytes", "part=\"used\""), on_disk);
    assert_eq!(metrics.sum_where("penstock_space_bytes", "part=\"reserved\""), 0.0);
}

/// Starts the pool under strace; returns how many calls it made on replicas and their directories until it was ready.
/// `None` where there is no strace, or nobody may be traced.
fn calls_of_a_start(pool: &mut LonePool) -> Option<usize> {
    let trace = pool.config.with_file_name("trace");
    let mut command = Command::new("strace");
    // -D: the traced process is our child, not strace.
    command.args(["-D", "-f", "-y", "-qq", "-e", "trace=%file,%desc", "-o"]).arg(&trace);
    command.arg(binary("penstock-pool")).arg("--config").arg(&pool.config);
    let can = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    if !can.is_ok_and(|status| status.success()) {
        println!("skipped: no strace here");
        return None;
    }
    pool.daemon = Daemon::spawn("penstock-pool under strace", &mut command);
    let _ = pool.daemon.line("penstock-pool ready: ");
    let text = std::fs::read_to_string(trace).unwrap();
    Some(text.lines().filter(|line| is_about_a_replica(line, &pool.root())).count())
}

/// `…/data/ab/cd…`, as a path or as what a descriptor stands for.
fn is_about_a_replica(line: &str, root: &Path) -> bool {
    let beginning = format!("{}/data/", root.display());
    line.match_indices(&beginning).any(|(at, _)| {
        let rest = &line.as_bytes()[at + beginning.len()..];
        rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit)
    })
}

#[test]
fn after_a_clean_stop_a_start_looks_at_no_replica() {
    let (mut pair, data) = pair_with_files();
    pair.pool.stop();
    let closed = redb::ReadOnlyDatabase::open(index_of(&pair.pool).join("replicas.redb")).map(drop);
    assert!(closed.is_ok(), "{closed:?}: an index that was not closed is walked through at the start");

    let Some(calls) = calls_of_a_start(&mut pair.pool) else { return };

    assert_eq!(calls, 0, "for {REPLICAS} replicas");
    all_is_served(&pair, &data);
}

#[test]
fn after_a_kill_a_start_looks_at_what_was_in_flight_only() {
    let (mut pair, data) = pair_with_files();
    // What is intended is durable before it is done, and whatever came before with it: all but the last is settled.
    pair.pool.kill();

    let Some(calls) = calls_of_a_start(&mut pair.pool) else { return };

    assert!(calls <= FEW_CALLS, "{calls} calls for {REPLICAS} replicas");
    all_is_served(&pair, &data);
}

#[test]
fn without_an_index_all_replicas_are_looked_at_once_and_the_log_says_so() {
    let (mut pair, data) = pair_with_files();
    pair.pool.stop();
    std::fs::remove_dir_all(index_of(&pair.pool)).unwrap();

    let calls = calls_of_a_start(&mut pair.pool);

    assert!(calls.is_none_or(|calls| calls >= REPLICAS), "{calls:?}: else the first test shows nothing");
    if calls.is_none() {
        pair.pool.start_again();
    }
    let log = pair.pool.daemon.stderr();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("index")), "{log}");
    all_is_served(&pair, &data);
    pair.pool.stop();
    let Some(calls) = calls_of_a_start(&mut pair.pool) else { return };
    assert_eq!(calls, 0, "the new index is as good as the old one");
}

#[test]
fn an_index_that_is_damaged_cut_off_or_of_another_pool_is_moved_aside_and_made_anew() {
    let (mut pair, data) = pair_with_files();
    let stranger = LonePool::start("");
    let foreign = {
        let mut stranger = stranger;
        stranger.stop();
        let copy = pair.directory().join("foreign-index");
        let copied = Command::new("cp").arg("-a").args([&index_of(&stranger), &copy]).status().unwrap();
        assert!(copied.success());
        copy
    };
    let index_files = |pool: &LonePool| -> Vec<PathBuf> {
        std::fs::read_dir(index_of(pool)).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let garble = |path: &Path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &files::bytes(64 << 10, 5), 0).unwrap();
    };
    let cut = |path: &Path| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    for what in ["garbled", "cut off", "empty", "another's"] {
        pair.pool.stop();
        match what {
            "garbled" => index_files(&pair.pool).iter().for_each(|path| garble(path)),
            "cut off" => index_files(&pair.pool).iter().for_each(|path| cut(path)),
            "empty" => index_files(&pair.pool).iter().for_each(|path| std::fs::write(path, b"").unwrap()),
            _ => {
                std::fs::remove_dir_all(index_of(&pair.pool)).unwrap();
                std::fs::rename(&foreign, index_of(&pair.pool)).unwrap();
            }
        }

        pair.pool.start_again();

        let log = pair.pool.daemon.stderr();
        assert!(
            log.lines().any(|line| line.contains("WARN") && line.contains("index")),
            "{what}: the log says nothing:\n{log}"
        );
        all_is_served(&pair, &data);
    }
}

#[test]
fn the_index_is_not_rebuilt_under_a_running_pool() {
    let (pair, data) = pair_with_files();

    let refused = admin::with_config(&pair.pool.config, &["index", "rebuild"]);

    assert_ne!(refused.status, 0);
    assert!(refused.stderr.contains("in use"), "{}", refused.stderr);
    assert_eq!(refused.stderr.trim_end().lines().count(), 1, "{}", refused.stderr);
    all_is_served(&pair, &data);
}

#[test]
fn a_rebuild_reads_every_file_and_finds_what_is_rotten() {
    let mut pair = Pair::start("");
    let file = files::file(pair.directory(), "in", 3 * MIB, 1);
    for name in ["/a", "/b", "/c"] {
        let _ = pair.put(name, &file).expect(201);
    }
    let replicas = files::replicas(&pair.pool.root());
    let id = |number: usize| replicas[number].file_name().unwrap().to_str().unwrap();
    pair.pool.stop();
    std::fs::remove_dir_all(index_of(&pair.pool)).unwrap();
    damage::flip_bit(&replicas[1], 1000);

    let told = admin::with_config(&pair.pool.config, &["index", "rebuild"]);

    let said = format!("{}{}", told.stdout, told.stderr);
    assert!(said.contains(id(1)), "the report names the rotten one: {said}");
    pair.pool.start_again();
    for (number, state) in
        [ReplicaState::Ready, ReplicaState::Broken, ReplicaState::Ready].into_iter().enumerate()
    {
        let replica = pair.pool.replica(id(number));
        assert_eq!(replica.state(), state, "{replica:?}");
        assert!(replica.block_checksums || state == ReplicaState::Broken, "{replica:?}");
    }
    accounts_are_right(&pair.pool);
}

#[test]
fn a_quick_rebuild_reads_attributes_only_and_everything_is_served() {
    let (mut pair, data) = pair_with_files();
    pair.pool.stop();
    std::fs::remove_dir_all(index_of(&pair.pool)).unwrap();

    let _ = admin::with_config(&pair.pool.config, &["index", "rebuild", "--quick"]).expect_good();

    pair.pool.start_again();
    let log = pair.pool.daemon.stderr();
    assert!(!log.lines().any(|line| line.contains("WARN") && line.contains("index")), "{log}");
    all_is_served(&pair, &data);
}

#[test]
fn what_others_put_into_the_directory_is_reported_and_left_alone() {
    let room = Room::new();
    let mut pool = LonePool::start_at(&room.join("pool"), room.path(), "");
    pool.stop();
    let stranger = pool.root().join("data/notes.txt");
    std::fs::write(&stranger, b"not a replica").unwrap();

    let told = admin::with_config(&pool.config, &["index", "rebuild"]);

    pool.start_again();
    let said = format!("{}{}", told.stdout, told.stderr);
    assert!(said.contains("notes.txt"), "{said}");
    assert!(pool.client().replicas().is_empty());
    assert_eq!(std::fs::read(stranger).unwrap(), b"not a replica");
}
