//! A disk that does not write makes the pool read-only, until it does again.

use rustix::io::Errno;

use super::*;
use crate::engine::sim::faults::{Call, FaultPlan};

fn store_one(store: &Store, replica: &str) -> Result<ReplicaStat, StoreError> {
    store.admit(spec(replica, None))?.store_small(b"bytes", commit_of(b"bytes"))
}

#[test]
fn repeated_write_errors_make_the_pool_read_only_until_it_is_recovered() {
    let disk = sim(1);
    let store = open_on(&disk);
    store_one(&store, "old").unwrap();
    // Given a disk on which nothing becomes durable
    disk.set_faults(FaultPlan::none().fail(Call::SyncAll, 1.0, Errno::IO));
    for attempt in 0..WRITE_ERRORS_MAX {
        assert_eq!(store.health().read_only, None, "after {attempt} errors");
        store_one(&store, "new").unwrap_err();
    }
    // Then uploads are refused at once, and what is there is still read
    let error = store.admit(spec("new", None)).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
    assert_eq!((error.http_status(), error.is_disk_error()), (503, false));
    let text = error.to_string();
    assert!(text.contains("Input/output error") && text.contains("recover the pool"), "{text}");
    assert_eq!(read(&store, &store.open(&id("old")).unwrap()), b"bytes");
    // And a recovery that cannot write changes nothing
    let error = store.recover().unwrap_err();
    assert!(error.to_string().starts_with("cannot write and read back a probe in /pool/data: "), "{error}");
    assert!(store.health().read_only.is_some());
    // When the disk is repaired, then a recovery makes it take uploads again, and leaves no trace
    disk.set_faults(FaultPlan::none());
    let files = disk.files();
    store.recover().unwrap();
    assert_eq!((store.health(), disk.files()), (StoreHealth::default(), files));
    store_one(&store, "new").unwrap();
}

#[test]
fn a_file_system_that_became_read_only_needs_no_second_error() {
    let store = open_on(&sim(1));
    store.note_write_error(&Errno::ROFS.into());
    assert!(store.health().read_only.is_some());
}

#[test]
fn errors_with_a_success_between_and_full_disks_do_not_count() {
    let store = open_on(&sim(1));
    for round in 0..4 {
        for _ in 1..WRITE_ERRORS_MAX {
            store.note_write_error(&Errno::IO.into());
        }
        store_one(&store, &format!("r{round}")).unwrap();
    }
    for _ in 0..10 {
        store.note_write_error(&Errno::NOSPC.into());
    }
    assert_eq!(store.health().read_only, None);
}

#[test]
fn replicas_can_be_removed_from_a_pool_that_is_read_only() {
    let store = open_on(&sim(1));
    store_one(&store, "a").unwrap();
    store.note_write_error(&Errno::ROFS.into());
    store.delete(&id("a")).unwrap();
}

#[test]
fn a_suspect_replica_is_counted_until_it_is_verified() {
    let disk = sim(1);
    let store = open_on(&disk);
    store_one(&store, "a").unwrap();
    let reader = store.open(&id("a")).unwrap();
    store.mark_suspect(&id("a"), "read failed at 4096").unwrap();
    store.mark_suspect(&id("a"), "another one").unwrap();
    assert_eq!(reader.attributes().suspect_because.as_deref(), Some("read failed at 4096"));
    drop((reader, store));
    let store = open_on(&disk.crash());
    assert_eq!(store.counts().suspect, 1);
    let at = "2026-02-01T00:00:00Z".parse().unwrap();
    let stat = store.set_verified(&id("a"), at).unwrap();
    assert_eq!((stat.attributes.suspect_because, stat.attributes.verified_at), (None, Some(at)));
    assert_eq!(store.counts().suspect, 0);
}

#[test]
fn a_replica_that_breaks_does_so_for_all_who_read_it_and_keeps_its_first_reason() {
    let disk = sim(1);
    let store = open_on(&disk);
    store_one(&store, "a").unwrap();
    let reader = store.open(&id("a")).unwrap();
    store.mark_broken(&id("a"), "block 3 is wrong").unwrap();
    assert_eq!(reader.state(), ReplicaState::Broken);
    let stat = store.mark_broken(&id("a"), "block 4 is wrong").unwrap();
    assert_eq!(stat.attributes.broken_because.as_deref(), Some("block 3 is wrong"));
    assert_eq!(store.counts().broken, 1);
}
