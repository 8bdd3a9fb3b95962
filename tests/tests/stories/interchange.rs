//! Sites that move to Penstock and away from it: checksums in the attributes where others look for them, and files of
//! others taken in as they lie.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use penstock_door_proto::v1::{self as proto, ChecksumAlgorithm, ReplicaState};
use penstock_tests::admin;
use penstock_tests::attributes::{self, Claim};
use penstock_tests::curl::Curl;
use penstock_tests::files::{self, KIB, MIB};
use penstock_tests::lone_pool::LonePool;
use penstock_tests::pair::Pair;
use penstock_tests::pool_client::{self, Client, ready_url, start};
use penstock_tests::room::Room;
use penstock_tests::site::{Plan, Site};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn adler32_of(replica: &proto::ReplicaInfo) -> Option<String> {
    let mut adler32 = replica.checksums.iter().filter(|sum| sum.algorithm() == ChecksumAlgorithm::Adler32);
    adler32.next().map(|sum| hex(&sum.value))
}

fn others_are_content(site: &Site) {
    let found = attributes::read(&files::replicas(site.data()));
    assert!(!found.is_empty());
    for file in found {
        assert_eq!(file.problems(), [""; 0], "{}", file.path.display());
    }
}

#[test]
fn every_stored_file_has_the_checksum_where_xrootd_and_storm_look_for_it() {
    let site = Site::start();
    for size in [0, 1, 10 * KIB, 64 * KIB + 1, 3 * MIB + 5] {
        let file = files::file(site.room(), "in", size, size);
        let _ = site.put(&format!("/file{size}"), &file).expect(201);
        let pipe = std::process::Stdio::from(std::fs::File::open(&file).unwrap());
        let _ = site.curl(&format!("/pipe{size}")).follow().upload_stdin(pipe).run().expect(201);
    }
    assert_eq!(files::replicas(site.data()).len(), 10);

    others_are_content(&site);

    // And they last.
    let site = site.crash_and_restart();
    others_are_content(&site);
}

#[test]
fn computing_further_checksums_leaves_those_for_others_fresh() {
    let site = Plan::new().config("checksums = [\"md5\", \"sha256\"]\n").start();
    let file = files::file(site.room(), "in", 2 * MIB + 1, 1);
    let _ = site.put("/file", &file).expect(201);
    let [replica] = files::replicas(site.data()).try_into().unwrap();
    let id = replica.file_name().unwrap().to_str().unwrap().to_owned();

    let result = site.pool_client().call(async |mut door: Client| {
        let request = proto::VerifyReplicaRequest {
            replica_id: id.clone(),
            compute: vec![ChecksumAlgorithm::Sha512.into(), ChecksumAlgorithm::Crc32c.into()],
        };
        let mut events = door.verify_replica(request).await.unwrap().into_inner();
        loop {
            let event = events.message().await.unwrap().expect("a result comes at the end");
            if let Some(result) = event.result {
                break result;
            }
        }
    });

    assert!(result.good, "{:?}", result.problems);
    others_are_content(&site);
    let algorithms: Vec<_> =
        site.pool_client().replica(&id).checksums.iter().map(|sum| sum.algorithm()).collect();
    for wanted in [
        ChecksumAlgorithm::Adler32,
        ChecksumAlgorithm::Md5,
        ChecksumAlgorithm::Sha256,
        ChecksumAlgorithm::Sha512,
        ChecksumAlgorithm::Crc32c,
    ] {
        assert!(algorithms.contains(&wanted), "{wanted:?} is not among {algorithms:?}");
    }
}

#[test]
fn what_a_changed_file_says_is_stale_for_xrootd() {
    let site = Site::start();
    let file = files::file(site.room(), "in", MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    let [replica] = files::replicas(site.data()).try_into().unwrap();

    std::fs::OpenOptions::new()
        .write(true)
        .open(&replica)
        .unwrap()
        .set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(100))
        .unwrap();

    let [found] = attributes::read(&[replica]).try_into().unwrap();
    assert!(!found.xrootd.unwrap().fresh, "the reader follows XRootD's rule");
}

/// A directory of files of another system; returns the bytes by name.
fn foreign_files(directory: &Path, claims: &[(&str, u64, Claim)]) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for (seed, (name, size, claim)) in (1..).zip(claims) {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = files::file(path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap(), *size, seed);
        attributes::claim(&path, *claim);
        all.insert((*name).to_owned(), std::fs::read(&path).unwrap());
    }
    all
}

/// A stopped pool, and a directory for files of another system on the same disk.
fn stopped_pool(room: &Room) -> (LonePool, PathBuf) {
    let mut pool = LonePool::start_at(&room.join("pool"), room.path(), "");
    pool.stop();
    (pool, room.join("foreign"))
}

/// Downloads a replica as a door would have it done.
fn download(pool: &LonePool, id: &str) -> Vec<u8> {
    pool.client().call(async |mut door: Client| {
        let transfer = format!("get-{id}");
        let mut events = start(&mut door, pool_client::download(&transfer, "/file", id)).await.unwrap();
        Curl::new(ready_url(&mut events).await).run().expect(200).body
    })
}

#[test]
fn files_of_others_are_imported_with_the_checksums_of_their_bytes() {
    let room = Room::new();
    let (mut pool, foreign) = stopped_pool(&room);
    let originals = foreign_files(
        &foreign,
        &[
            ("valid", 3 * MIB + 1, Claim::XrootdValid),
            ("deep/er/storm", 100 * KIB, Claim::StormValid),
            ("deep/stale", 2 * MIB, Claim::XrootdStale),
            ("plain", 10 * KIB, Claim::Nothing),
            ("empty", 0, Claim::Nothing),
            ("malformed", 5000, Claim::XrootdMalformed),
            ("with a space and ü", 77, Claim::XrootdValid),
        ],
    );

    let outcome = admin::with_config(&pool.config, &["import", foreign.to_str().unwrap()]).expect_good();

    pool.start_again();
    let replicas = pool.client().replicas();
    assert_eq!(replicas.len(), originals.len(), "{}{}", outcome.stdout, outcome.stderr);
    let mut seen = BTreeMap::new();
    for replica in &replicas {
        assert_ne!(replica.state(), ReplicaState::Broken, "{replica:?}");
        let (name, bytes) = originals
            .iter()
            .find(|(name, _)| replica.path.trim_start_matches('/') == name.as_str())
            .unwrap_or_else(|| panic!("{} is no file of the directory", replica.path));
        assert_eq!(replica.size, bytes.len() as u64, "{name}");
        assert_eq!(
            adler32_of(replica),
            Some(files::adler32_hex(bytes)),
            "{name}: a stale record is not believed"
        );
        assert!(download(&pool, &replica.replica_id) == *bytes, "{name}");
        seen.insert(name, ());
    }
    assert_eq!(seen.len(), originals.len());
    for file in attributes::read(&files::replicas(&pool.root())) {
        assert_eq!(file.problems(), [""; 0], "what was imported can be taken away again");
    }
}

#[test]
fn files_whose_attributes_tell_other_bytes_are_reported_by_name() {
    let room = Room::new();
    let (mut pool, foreign) = stopped_pool(&room);
    // Sorted before all others, so that it is in the sample.
    let originals = foreign_files(
        &foreign,
        &[
            ("a-wrong", 2 * MIB, Claim::XrootdWrong),
            ("b-wrong", 20 * KIB, Claim::StormWrong),
            ("c-good", MIB, Claim::XrootdValid),
        ],
    );

    let outcome = admin::with_config(&pool.config, &["import", foreign.to_str().unwrap()]);

    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    for name in ["a-wrong", "b-wrong"] {
        assert!(said.contains(name), "{said}");
    }
    pool.start_again();
    let replicas = pool.client().replicas();
    for (name, bytes) in &originals {
        let replica = replicas.iter().find(|replica| replica.path.trim_start_matches('/') == name);
        if name == "c-good" {
            assert!(download(&pool, &replica.expect("it is imported").replica_id) == *bytes);
        } else if let Some(replica) = replica {
            // Never taken for what the attribute says.
            assert_eq!(replica.state(), ReplicaState::Broken, "{replica:?}");
            assert!(!replica.broken_because.is_empty());
        }
    }
}

#[test]
fn a_rehearsal_of_an_import_changes_nothing_and_a_second_import_adds_nothing() {
    let room = Room::new();
    let (mut pool, foreign) = stopped_pool(&room);
    let originals =
        foreign_files(&foreign, &[("one", MIB, Claim::XrootdValid), ("two", 5 * KIB, Claim::Nothing)]);
    let words = ["import", foreign.to_str().unwrap()];

    let _ = admin::with_config(&pool.config, &[&words[..], &["--dry-run"]].concat()).expect_good();

    assert!(files::replicas(&pool.root()).is_empty());
    for (name, bytes) in &originals {
        assert!(std::fs::read(foreign.join(name)).unwrap() == *bytes, "{name}");
    }
    let _ = admin::with_config(&pool.config, &words).expect_good();
    let _ = admin::with_config(&pool.config, &words).expect_good();
    assert_eq!(files::replicas(&pool.root()).len(), 2);
    pool.start_again();
    assert_eq!(pool.client().replicas().len(), 2);
}

#[test]
fn imported_files_have_their_names_once_the_door_has_adopted_them() {
    let room = Room::new();
    let mut pair = Pair::start_in(&room.join("site"), &room.join("pool"), "");
    let own = files::file(room.path(), "own", KIB, 9);
    let _ = pair.put("/taken", &own).expect(201);
    pair.pool.stop();
    let foreign = room.join("foreign");
    let originals = foreign_files(
        &foreign,
        &[
            ("deep/er/file", 2 * MIB + 1, Claim::XrootdValid),
            ("plain", 300, Claim::Nothing),
            ("taken", 10 * KIB, Claim::StormValid),
        ],
    );
    let _ = admin::with_config(&pair.pool.config, &["import", foreign.to_str().unwrap()]).expect_good();
    pair.pool.start_again();

    let first = admin::adopt(&pair.directory().join("door.toml"), "pool01");
    let second = admin::adopt(&pair.directory().join("door.toml"), "pool01");

    assert_eq!(first.stdout, "pool01: 2 named, 0 had a name before, 1 without a name\n");
    assert!(first.stderr.contains("/taken: gets no name: "), "{}", first.stderr);
    assert_eq!(first.status, 1, "somebody has to look at what was left out");
    assert_eq!(second.stdout, "pool01: 0 named, 0 had a name before, 1 without a name\n");
    pair.wait_until_joined();
    for name in ["deep/er/file", "plain"] {
        assert!(pair.get(&format!("/{name}")).expect(200).body == originals[name], "{name}");
    }
    assert!(pair.get("/taken").expect(200).body == std::fs::read(own).unwrap(), "nothing is replaced");
    let orphans =
        pair.pool.client().replicas().into_iter().filter(|replica| replica.state() == ReplicaState::Orphaned);
    assert_eq!(orphans.map(|replica| replica.path).collect::<Vec<_>>(), ["/taken"]);
}

#[test]
fn nothing_is_imported_into_a_pool_that_runs() {
    let room = Room::new();
    let (mut pool, foreign) = stopped_pool(&room);
    let _ = foreign_files(&foreign, &[("one", KIB, Claim::Nothing)]);
    pool.start_again();

    let refused = admin::with_config(&pool.config, &["import", foreign.to_str().unwrap()]);

    assert_ne!(refused.status, 0);
    assert!(refused.stderr.contains("in use"), "{}", refused.stderr);
    assert!(files::replicas(&pool.root()).is_empty() && foreign.join("one").is_file());
}

#[test]
fn an_imported_file_survives_kills_scrub_and_rebuild_like_any_other() {
    let room = Room::new();
    let (mut pool, foreign) = stopped_pool(&room);
    let originals = foreign_files(&foreign, &[("one", 2 * MIB, Claim::XrootdValid)]);
    let _ = admin::with_config(&pool.config, &["import", foreign.to_str().unwrap()]).expect_good();
    pool.start_again();
    let [before] = pool.client().replicas().try_into().unwrap();

    pool.kill();
    let _ = admin::with_config(&pool.config, &["index", "rebuild"]).expect_good();
    pool.start_again();

    let [after] = pool.client().replicas().try_into().unwrap();
    assert_eq!((after.replica_id.as_str(), after.size), (before.replica_id.as_str(), before.size));
    assert_eq!(after.state(), before.state());
    assert!(after.block_checksums, "the rebuild has read it");
    assert!(download(&pool, &after.replica_id) == originals["one"]);
}
