//! Bits that change on the disk: no wrong byte leaves, what is not touched is served, and everybody is told.

use std::path::{Path, PathBuf};

use penstock_door_proto::v1::transfer_event::Event;
use penstock_door_proto::v1::{FailureCode, ReplicaState};
use penstock_tests::curl::{Answer, Curl};
use penstock_tests::damage;
use penstock_tests::files::{self, KIB, MIB};
use penstock_tests::lone_pool::LonePool;
use penstock_tests::pair::Pair;
use penstock_tests::patience::eventually;
use penstock_tests::pool_client::{self, Client, next, ready_url, start};
use penstock_tests::volume::{Kind, Volume};

/// Blocks that are checked as a whole.
const BLOCK_BYTES: u64 = MIB;

/// A pair with a file of that size at `/file`, and where it lies.
fn pair_with_file(size: u64, more: &str) -> (Pair, Vec<u8>, PathBuf) {
    let pair = Pair::start(more);
    let file = files::file(pair.directory(), "in", size, size);
    let _ = pair.put("/file", &file).expect(201);
    let replica = the_replica(&pair);
    (pair, std::fs::read(file).unwrap(), replica)
}

fn the_replica(pair: &Pair) -> PathBuf {
    let [replica] = files::replicas(&pair.pool.root()).try_into().expect("one replica");
    replica
}

fn id_of(replica: &Path) -> &str {
    replica.file_name().unwrap().to_str().unwrap()
}

fn range(pair: &Pair, range: &str) -> Answer {
    pair.curl("/file").follow().arg("--range").arg(range).run()
}

/// Whether the download is not what a client would take for the whole file.
fn is_cut_or_refused(answer: &Answer) -> bool {
    answer.exit != 0 || answer.status >= 400
}

#[test]
fn a_download_ends_before_the_rotten_block_and_all_before_it_is_right() {
    let (pair, data, replica) = pair_with_file(5 * MIB + 77, "");
    let rotten = 3 * MIB + 500_000;

    damage::flip_bit(&replica, rotten);

    let answer = pair.get("/file");
    assert!(is_cut_or_refused(&answer), "{} {}", answer.exit, answer.status);
    assert!(answer.body.len() as u64 <= rotten / BLOCK_BYTES * BLOCK_BYTES, "{} bytes", answer.body.len());
    assert!(data.starts_with(&answer.body), "a wrong byte has left the pool");
    assert!(answer.body.len() as u64 == 3 * MIB, "the good blocks are sent: {} bytes", answer.body.len());
}

#[test]
fn the_pool_the_door_and_the_admin_are_told_of_a_rotten_replica() {
    let (pair, _, replica) = pair_with_file(3 * MIB, "");
    damage::flip_bit(&replica, MIB + 1);

    let _ = pair.get("/file");

    let told = eventually("the replica is broken", || {
        let told = pair.pool.replica(id_of(&replica));
        (told.state() == ReplicaState::Broken).then_some(told)
    });
    assert!(told.broken_because.contains("block 1"), "{}", told.broken_because);
    let listed = pair.pool.client().replicas();
    assert_eq!(listed[0].state(), ReplicaState::Broken, "{listed:?}");
    let status = pair.pool.client().status();
    assert_eq!(status.broken_replicas, 1);
    assert!(status.problems.join("\n").contains("broken"), "{:?}", status.problems);
    let metrics = pair.pool.metrics();
    assert!(metrics.sum("penstock_pool_bad_blocks_total") >= 1.0);
    assert_eq!(metrics.sum_where("penstock_replicas", "state=\"broken\""), 1.0);
    let shown = pair.pool.command(&["replicas", "show", id_of(&replica)]).expect_good();
    assert!(shown.stdout.contains("block 1"), "the admin is shown why: {}", shown.stdout);
    // Who asks for it now is told in words, before any byte.
    let answer = pair.get("/file");
    assert!((400..600).contains(&answer.status), "{} {}", answer.exit, answer.status);
    assert!(answer.text().contains("damaged") || answer.text().contains("broken"), "{}", answer.text());
    assert_eq!(answer.text().trim_end().lines().count(), 1, "{}", answer.text());
}

#[test]
fn the_damage_is_remembered_over_restarts_and_crashes() {
    let (mut pair, _, replica) = pair_with_file(2 * MIB, "");
    damage::flip_bit(&replica, 5);
    let _ = pair.get("/file");
    let state = |pair: &Pair| pair.pool.replica(id_of(&replica)).state();
    eventually("the replica is broken", || (state(&pair) == ReplicaState::Broken).then_some(()));

    pair.pool.kill();
    pair.pool.start_again();
    assert_eq!(state(&pair), ReplicaState::Broken);
    pair.pool.stop();
    pair.pool.start_again();

    assert_eq!(state(&pair), ReplicaState::Broken);
    assert_eq!(pair.pool.client().status().broken_replicas, 1);
}

#[test]
fn ranges_that_touch_the_rotten_block_are_not_served_and_those_that_do_not_are() {
    // One replica for each range: the first that touches the bad block breaks its replica.
    let rotten = 2 * MIB + 17;
    let cases = [
        ("0-1048575", true, "before"),
        ("0-2097151", true, "up to the block's first byte"),
        ("1048000-2097151", true, "parts of two good blocks"),
        ("3145728-", true, "after it"),
        ("-100", true, "the end"),
        ("2097152-2097152", false, "the block's first byte, which is right itself"),
        ("2097169-2097169", false, "the rotten byte"),
        ("3145727-3145727", false, "the block's last byte"),
        ("2500000-2500009", false, "a few right bytes of the block"),
        ("2097151-2097152", false, "across its beginning"),
        ("3145727-3145728", false, "across its end"),
    ];
    let pair = Pair::start("");
    let file = files::file(pair.directory(), "in", 4 * MIB + 1000, 4);
    let data = std::fs::read(&file).unwrap();
    for (range, served, what) in cases {
        let _ = pair.put("/file", &file);
        let replica = eventually("there is one replica", || {
            let replicas = files::replicas(&pair.pool.root());
            (replicas.len() == 1).then(|| replicas[0].clone())
        });
        damage::flip_bit(&replica, rotten);

        let answer = self::range(&pair, range);

        if served {
            let length = data.len();
            let part = match range.split_once('-').unwrap() {
                ("", last) => &data[length - last.parse::<usize>().unwrap()..],
                (first, "") => &data[first.parse().unwrap()..],
                (first, last) => &data[first.parse().unwrap()..=last.parse().unwrap()],
            };
            assert!(answer.expect(206).body == part, "{what}: {range}");
            assert_eq!(pair.pool.replica(id_of(&replica)).state(), ReplicaState::Ready, "{what}: {range}");
        } else {
            assert!(is_cut_or_refused(&answer), "{what}: {range} is answered with {}", answer.status);
            if answer.status == 206 {
                // Cut, not refused: what came before the block is right.
                let first: usize = range.split_once('-').unwrap().0.parse().unwrap();
                let good = (rotten / BLOCK_BYTES * BLOCK_BYTES) as usize;
                assert!(answer.body.len() <= good.saturating_sub(first), "{what}: {range}");
                assert!(data[first..].starts_with(&answer.body), "{what}: {range}");
            }
            eventually("the replica is broken", || {
                (pair.pool.replica(id_of(&replica)).state() == ReplicaState::Broken).then_some(())
            });
        }
        let _ = pair.curl("/file").method("DELETE").run().expect(204);
        eventually("it is gone", || files::replicas(&pair.pool.root()).is_empty().then_some(()));
    }
}

#[test]
fn several_ranges_in_one_answer_end_before_the_rotten_block() {
    let (pair, data, replica) = pair_with_file(4 * MIB, "");
    damage::flip_bit(&replica, 3 * MIB);

    let good = range(&pair, "0-99,1048576-1048675").expect(206);
    let bad = range(&pair, "0-99,3145800-3145899");

    let holds = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|window| window == part);
    assert!(holds(&good.body, &data[..100]) && holds(&good.body, &data[1_048_576..1_048_676]));
    assert!(is_cut_or_refused(&bad), "{}", bad.status);
    assert!(!holds(&bad.body, &data[3_145_800..3_145_900]), "bytes of a bad block have left the pool");
}

#[test]
fn a_head_request_asks_no_block() {
    let (pair, data, replica) = pair_with_file(2 * MIB, "");
    damage::flip_bit(&replica, 7);

    let head = pair.curl("/file").follow().head().header("Want-Digest", "adler32").run().expect(200);

    assert_eq!(head.header("Content-Length"), Some(data.len().to_string().as_str()));
    assert_eq!(head.header("Digest"), Some(format!("adler32={}", files::adler32_hex(&data)).as_str()));
}

#[test]
fn small_files_rot_too_and_are_refused_whole() {
    for size in [1, 100, 64 * KIB, 64 * KIB + 1, MIB - 1] {
        let (pair, _, replica) = pair_with_file(size, "");
        damage::flip_bit(&replica, size - 1);

        let answer = pair.get("/file");

        assert!(is_cut_or_refused(&answer), "{size} bytes are answered with {}", answer.status);
        assert!(
            answer.status >= 400 || answer.body.is_empty(),
            "{size}: a byte of a bad block has left the pool"
        );
        eventually("the replica is broken", || {
            (pair.pool.replica(id_of(&replica)).state() == ReplicaState::Broken).then_some(())
        });
    }
}

#[test]
fn a_file_that_was_cut_off_or_grew_is_not_served_as_if_it_had_not() {
    for (what, change) in [("cut off", -1_i64), ("longer", 1)] {
        let (pair, data, replica) = pair_with_file(2 * MIB, "");
        let file = std::fs::OpenOptions::new().write(true).open(&replica).unwrap();
        file.set_len(data.len().checked_add_signed(change as isize).unwrap() as u64).unwrap();
        drop(file);

        let answer = pair.get("/file");

        assert!(is_cut_or_refused(&answer), "{what}: {}", answer.status);
        assert!(data.starts_with(&answer.body) || answer.status >= 400, "{what}");
    }
}

#[test]
fn a_pool_that_is_told_never_to_check_serves_what_there_is() {
    let (pair, mut data, replica) = pair_with_file(3 * MIB, "verify_reads = \"never\"\n");
    damage::flip_bit(&replica, 2 * MIB);

    let answer = pair.get("/file").expect(200);

    data[2 << 20] ^= 1;
    assert!(answer.body == data);
}

#[test]
fn an_operator_can_rescue_what_is_left_of_a_broken_replica() {
    let pool = LonePool::start("");
    let body = files::bytes(3 * MIB, 1);
    pool.client().call(async |mut door: Client| {
        let mut events = start(&mut door, pool_client::upload("t1", "/file")).await.unwrap();
        let url = ready_url(&mut events).await;
        let file = pool.config.with_file_name("body");
        std::fs::write(&file, &body).unwrap();
        let upload = Curl::new(url).upload(&file).start();
        pool_client::finished(&mut events).await;
        pool_client::keep(&mut door, "t1").await;
        let _ = upload.wait().expect(201);
        let [replica] = files::replicas(&pool.root()).try_into().unwrap();
        damage::flip_bit(&replica, MIB);
        let mut events = start(&mut door, pool_client::download("t2", "/file", "replica-t1")).await.unwrap();
        let url = ready_url(&mut events).await;
        let cut = Curl::new(url).run();
        assert!(is_cut_or_refused(&cut));
        let failed = loop {
            match next(&mut events).await {
                Event::Failed(failed) => break failed,
                Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(failed.code(), FailureCode::ReplicaBroken, "the door is told: {}", failed.text);
        assert!(failed.text.contains("block 1"), "{}", failed.text);

        let refused = start(&mut door, pool_client::download("t3", "/file", "replica-t1")).await;
        let mut rescue = pool_client::download("t4", "/file", "replica-t1");
        let get = penstock_door_proto::v1::Get { allow_broken: true, ..Default::default() };
        rescue.kind = Some(penstock_door_proto::v1::transfer_request::Kind::Get(get));
        let mut events = start(&mut door, rescue).await.unwrap();
        let rescued = Curl::new(ready_url(&mut events).await).run().expect(200);

        assert!(refused.is_err(), "a broken replica is not served unless asked for");
        let mut expected = body.clone();
        expected[1 << 20] ^= 1;
        assert!(rescued.body == expected, "everything that is there");
    });
}

#[test]
fn the_scrub_finds_rot_that_nobody_has_read_and_says_why() {
    let pair = Pair::start("[scrub]\nrate = \"1 GiB\"\n");
    let file = files::file(pair.directory(), "in", 3 * MIB, 1);
    for name in ["/a", "/b", "/c"] {
        let _ = pair.put(name, &file).expect(201);
    }
    let replicas = files::replicas(&pair.pool.root());
    damage::flip_bit(&replicas[1], 2 * MIB + 3);

    let _ = pair.pool.command(&["scrub", "start", "--restart"]).expect_good();

    let status = eventually("all are read, and one is broken", || {
        let status = pair.pool.client().status();
        let scrub = status.scrub.as_ref()?;
        (scrub.replicas_verified >= 2 && scrub.replicas_found_broken == 1).then_some(status)
    });
    assert_eq!(status.broken_replicas, 1);
    let broken = pair.pool.replica(id_of(&replicas[1]));
    assert_eq!(broken.state(), ReplicaState::Broken);
    assert!(broken.broken_because.contains("block 2"), "{}", broken.broken_because);
    let shown = pair.pool.command(&["replicas", "show", id_of(&replicas[1])]).expect_good();
    assert!(shown.stdout.contains("block 2"), "{}", shown.stdout);
    let told = pair.pool.command(&["scrub", "status"]).expect_good();
    assert!(told.stdout.contains("broken"), "{}", told.stdout);
    for good in [0, 2] {
        let replica = pair.pool.replica(id_of(&replicas[good]));
        assert_eq!(replica.state(), ReplicaState::Ready);
        assert!(replica.verified_at.is_some());
    }
}

#[test]
fn rot_below_the_page_cache_is_caught_once_the_good_bytes_are_gone_from_it() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let Some(volume) = Volume::new_or_skip(kind) else { continue };
        // No time of the file changes: only the bytes of the disk do.
        let pair = Pair::start_with_root(&volume.path().join("pool"), "io_mode = \"buffered\"\n");
        let file = files::file(pair.directory(), "in", 4 * MIB, 9);
        let data = std::fs::read(&file).unwrap();
        let _ = pair.put("/file", &file).expect(201);
        let replica = the_replica(&pair);
        for _ in 0..3 {
            assert!(pair.get("/file").expect(200).body == data, "checked, in the page cache, and known good");
        }

        volume.flip_bit_on_disk(&replica, 2 * MIB + 99);

        assert!(pair.get("/file").expect(200).body == data, "what is in memory is right still");
        damage::drop_from_cache(&replica);
        let answer = pair.get("/file");
        assert!(is_cut_or_refused(&answer), "{kind:?}: known good once, and rotten since: {}", answer.status);
        assert!(answer.body.len() as u64 <= 2 * MIB && data.starts_with(&answer.body), "{kind:?}");
        eventually("the replica is broken", || {
            (pair.pool.replica(id_of(&replica)).state() == ReplicaState::Broken).then_some(())
        });
    }
}

#[test]
fn a_bit_that_is_changed_through_the_page_cache_is_caught_though_the_block_was_known_good() {
    let (pair, data, replica) = pair_with_file(4 * MIB, "");
    for _ in 0..4 {
        assert!(pair.get("/file").expect(200).body == data, "read again and again, and so in the page cache");
    }

    // As a program would that writes to the file: all of it stays in the page cache.
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&replica).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[data[MIB as usize] ^ 1], MIB).unwrap();
    drop(file);

    let answer = pair.get("/file");
    assert!(is_cut_or_refused(&answer), "{}", answer.status);
    assert!(answer.body.len() as u64 <= MIB && data.starts_with(&answer.body), "{} bytes", answer.body.len());
}
