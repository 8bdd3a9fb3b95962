//! Power may fail at any call: what was acknowledged is there, and nothing is there by half.

use rustix::io::Errno;

use super::*;
use crate::engine::sim::faults::{Call, FaultPlan};

const OLD: &[u8] = b"the replica that was there before";
const SEEDS: u64 = 24;
/// More calls than any of the stories makes.
const CALLS_MAX: u64 = 200;

/// Tells a story again and again, with the process being killed or the power failing at its first call, its second, and
/// so on until it ends before that; each time with several seeds. A kill is followed by a restart and then the end of
/// the power: what a restart has found must stay. `check` gets what the story gave (an acknowledgement, or an error), and
/// the store as it is after the restart.
fn crash_at_every_call<T: std::fmt::Debug>(
    story: impl Fn(&SimDisk, &Store) -> Result<T, StoreError>,
    check: impl Fn(&Result<T, StoreError>, &Store),
) {
    for seed in 0..SEEDS {
        let killed = seed % 2 == 1;
        let mut ended = false;
        for call in 1..=CALLS_MAX {
            let disk = sim(seed);
            let store = open_on(&disk);
            upload(&disk, &store, "old", OLD).unwrap();
            disk.set_faults(FaultPlan::none().crash_at(call));
            let outcome = story(&disk, &store);
            ended = !disk.is_dead();
            drop(store);
            let after = if killed { disk.kill() } else { disk.crash() };
            println!("seed {seed}, end at call {call}: {outcome:?}");
            let store = open_on(&after);
            let found = listed(&store);
            assert!(!store.scan_report().scanned, "{:?}", store.health());
            check(&outcome, &store);
            assert_eq!(used(&store), disk_usage(&after, &Path::new(ROOT).join("data")));
            assert_eq!(store.scan_report().problems, 0, "{:?}", store.scan_report());
            assert_index_is_what_the_files_say(&store);
            let later = after.crash();
            drop(store);
            let store = open_on(&later);
            assert_eq!(listed(&store), found, "what a restart had found is not what the next one finds");
            assert_index_is_what_the_files_say(&store);
            if ended {
                assert!(call > 3, "the story made only {call} calls");
                break;
            }
        }
        assert!(ended, "the story makes more than {CALLS_MAX} calls");
    }
}

fn listed(store: &Store) -> Vec<ReplicaStat> {
    store.list(None, usize::MAX).unwrap().replicas
}

fn assert_old_is_whole(store: &Store) {
    let replica = store.open(&id("old")).unwrap();
    assert_eq!(read(store, &replica), OLD);
    assert_eq!(replica.attributes().checksums, commit_of(OLD).checksums);
}

fn assert_new_is_whole_or_not_there(acknowledged: bool, store: &Store, data: &[u8]) {
    match store.open(&id("new")) {
        Ok(replica) => {
            assert!(read(store, &replica) == data, "another content");
            assert_eq!(replica.attributes().checksums, commit_of(data).checksums);
        }
        Err(StoreError::NotFound { .. }) => assert!(!acknowledged, "acknowledged and lost"),
        Err(error) => panic!("{error}"),
    }
    assert_old_is_whole(store);
}

#[test]
fn an_upload_is_whole_or_not_there() {
    let data = bytes(100 * KIB + 9, 5);
    crash_at_every_call(
        |disk, store| upload(disk, store, "new", &data),
        |outcome, store| assert_new_is_whole_or_not_there(outcome.is_ok(), store, &data),
    );
}

#[test]
fn a_small_upload_is_whole_or_not_there() {
    let data = bytes(9000, 5);
    crash_at_every_call(
        |_, store| store.admit(spec("new", None))?.store_small(&data, commit_of(&data)),
        |outcome, store| assert_new_is_whole_or_not_there(outcome.is_ok(), store, &data),
    );
}

#[test]
fn a_shelf_that_an_earlier_process_made_is_made_durable_before_it_is_relied_upon() {
    for seed in 0..SEEDS {
        // Given a process that made the directories of a replica, and ended before it made their names durable
        let disk = sim(seed);
        let store = open_on(&disk);
        store.begin_upload(spec("new", None)).unwrap().abort();
        drop(store);
        // When the next process finds them and puts a replica there
        let store = open_on(&disk);
        upload(&disk, &store, "new", b"bytes").unwrap();
        // Then the replica survives the end of the power
        let store = open_on(&disk.crash());
        assert_eq!(read(&store, &store.open(&id("new")).unwrap()), b"bytes", "seed {seed}");
    }
}

#[test]
fn a_deletion_that_was_acknowledged_stays_and_one_that_was_not_leaves_all_or_nothing() {
    crash_at_every_call(
        |_, store| store.delete(&id("old")),
        |outcome, store| match store.open(&id("old")) {
            Ok(_) => {
                assert!(outcome.is_err(), "deleted and back");
                assert_old_is_whole(store);
            }
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        },
    );
}

#[test]
fn a_change_of_attributes_is_there_or_not_and_never_by_half() {
    let md5 = BTreeMap::from([("md5".to_owned(), "00112233445566778899aabbccddeeff".to_owned())]);
    crash_at_every_call(
        |_, store| store.set_checksums(&id("old"), &md5),
        |outcome, store| {
            let replica = store.open(&id("old")).unwrap();
            assert_eq!(read(store, &replica), OLD);
            let checksums = replica.attributes().checksums;
            assert_eq!(checksums["adler32"], commit_of(OLD).checksums["adler32"]);
            match checksums.get("md5") {
                Some(value) => assert_eq!(value, &md5["md5"]),
                None => assert!(outcome.is_err(), "acknowledged and lost"),
            }
        },
    );
}

#[test]
fn a_change_of_state_is_there_or_not_and_the_index_knows_which() {
    crash_at_every_call(
        |_, store| {
            store.mark_broken(&id("old"), "block 3 is wrong")?;
            store.set_state(&id("old"), ReplicaState::Ready, None)?;
            store.mark_suspect(&id("old"), "a read failed")
        },
        |outcome, store| {
            let attributes = store.stat(&id("old")).unwrap().attributes;
            if outcome.is_ok() {
                assert_eq!(attributes.suspect_because.as_deref(), Some("a read failed"));
                assert_eq!(attributes.state, ReplicaState::Ready);
                assert_eq!(store.counts(), ReplicaCounts { all: 1, suspect: 1, ..ReplicaCounts::default() });
            }
        },
    );
}

#[test]
fn an_upload_that_was_acknowledged_has_a_result_or_is_recovered() {
    let data = bytes(9000, 5);
    crash_at_every_call(
        |disk, store| {
            let stat = upload(disk, store, "new", &data)?;
            store.results().put("door1:1", Some(&stat.id), b"stored".to_vec())?;
            Ok(stat)
        },
        |outcome, store| {
            let kept = store.results().all().iter().any(|(transfer, _)| transfer == "door1:1");
            let recovered = store.recovered().iter().any(|upload| upload.replica == id("new"));
            let there = store.open(&id("new")).is_ok();
            assert_eq!(there, kept || recovered, "{outcome:?}");
            assert!(!(kept && recovered), "told twice");
            if outcome.is_ok() {
                assert!(kept);
            }
            for upload in store.recovered() {
                assert_eq!(upload.stat, store.stat(&upload.replica).unwrap());
            }
        },
    );
}

#[test]
fn a_removal_that_has_begun_is_brought_to_its_end() {
    // Given a removal whose intent is durable, and nothing else of it
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "old", OLD).unwrap();
    let intent = index::Change::Intend(id("old"), index::Intent::Removal);
    store.inner.index.wait(store.inner.index.submit_soon([intent])).unwrap();
    // While it lasts it is listed as what it is
    assert_eq!(listed(&store)[0].attributes.state, ReplicaState::Removing);
    // When the process is killed, then the next one removes the replica
    let store = open_on(&disk.kill());
    assert_eq!(listed(&store), []);
    assert_eq!(store.scan_report().examined, 1);
}

#[test]
fn a_removal_that_could_not_be_made_durable_does_not_hit_the_next_replica_of_that_id() {
    // Given a removal that has taken the name away, and could not make that durable
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "old", OLD).unwrap();
    disk.set_faults(FaultPlan::none().fail(Call::SyncDir, 1.0, Errno::IO));
    store.delete(&id("old")).unwrap_err();
    disk.set_faults(FaultPlan::none());
    // When a new replica comes under that id, and the power fails at once
    upload(&disk, &store, "old", b"new").unwrap();
    let store = open_on(&disk.crash());
    // Then it is there
    assert_eq!(read(&store, &store.open(&id("old")).unwrap()), b"new");
}
