//! What does not fit is refused, at once and alone.

use rustix::io::Errno;

use super::*;
use crate::engine::sim::faults::{Call, FaultPlan};

fn small_disk(capacity_bytes: usize) -> SimDisk {
    SimDisk::new(SimDiskConfig { capacity_bytes: capacity_bytes as u64, ..SimDiskConfig::default() })
}

fn open_with(disk: &SimDisk, configure: impl FnOnce(&mut StoreConfig)) -> Store {
    let mut config = config(Path::new(ROOT));
    configure(&mut config);
    Store::open_root(Arc::new(disk.clone()), &config).unwrap()
}

#[test]
fn a_replica_that_cannot_fit_is_refused_before_its_first_byte() {
    let disk = small_disk(10 * MIB);
    let store = open_on(&disk);
    let error = store.admit(spec("a", Some(11 * MIB as u64))).unwrap_err();
    assert_eq!(error.http_status(), 507);
    let text = error.to_string();
    assert!(text.starts_with("replica a cannot be stored: pool p1 has "), "{text}");
    // And a length beyond all numbers is nothing special.
    assert_eq!(store.admit(spec("a", Some(u64::MAX))).unwrap_err().http_status(), 507);
}

#[test]
fn the_quota_holds_on_a_disk_with_plenty_of_space() {
    let disk = sim(1);
    let store = open_with(&disk, |config| config.capacity = Some(MIB as u64));
    upload(&disk, &store, "a", &bytes(600 * KIB, 1)).unwrap();
    let error = upload(&disk, &store, "b", &bytes(600 * KIB, 2)).unwrap_err();
    assert_eq!(error.http_status(), 507);
    store.delete(&id("a")).unwrap();
    upload(&disk, &store, "b", &bytes(600 * KIB, 2)).unwrap();
}

#[test]
fn a_replica_larger_than_allowed_is_413_whoever_set_the_limit() {
    let disk = sim(1);
    let store = open_with(&disk, |config| config.max_file_size = Some(1000));
    let cases: [(u64, Option<u64>, &str); 3] = [
        (1001, None, "replica a is too large: 1001 bytes, at most 1000 are allowed"),
        (1001, Some(2000), "replica a is too large: 1001 bytes, at most 1000 are allowed"),
        (11, Some(10), "replica a is too large: 11 bytes, at most 10 are allowed"),
    ];
    for (size, maximum_size, expected) in cases {
        let error = store.admit(UploadSpec { maximum_size, ..spec("a", Some(size)) }).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.http_status()), (expected, 413));
    }
    store.admit(UploadSpec { maximum_size: Some(2000), ..spec("a", Some(1000)) }).unwrap();
}

#[test]
fn a_replica_of_unknown_length_is_stopped_at_the_limit() {
    let disk = sim(1);
    let store = open_with(&disk, |config| config.max_file_size = Some(10_000));
    let mut upload = store.begin_upload(spec("a", None)).unwrap();
    assert_eq!(upload.allocated(), 12_288, "no more than the limit in whole blocks");
    upload.ensure(10_000).unwrap();
    assert_eq!(upload.ensure(12_289).unwrap_err().http_status(), 413);
    let data = bytes(10_001, 1);
    assert_eq!(upload.commit(commit_of(&data)).unwrap_err().http_status(), 413);
}

#[test]
fn a_pool_that_fills_up_fails_only_the_upload_that_asks_for_more() {
    // Given a pool of 20 MiB, and two uploads of unknown length
    let disk = small_disk(20 * MIB);
    let store = open_on(&disk);
    let mut greedy = store.begin_upload(spec("greedy", None)).unwrap();
    let mut modest = store.begin_upload(spec("modest", None)).unwrap();
    // When one wants more than there is
    let error = write_by_ring(&disk, &mut greedy, &bytes(20 * MIB, 1), MIB).unwrap_err();
    // Then that one fails
    assert_eq!(error.http_status(), 507);
    assert!(!error.is_disk_error());
    // And the other goes on, and has the room of the first when that has gone
    let data = bytes(15 * MIB, 2);
    write_by_ring(&disk, &mut modest, &data[..MIB], MIB).unwrap();
    drop(greedy);
    write_by_ring(&disk, &mut modest, &data, MIB).unwrap();
    modest.commit(commit_of(&data)).unwrap();
    assert!(read(&store, &store.open(&id("modest")).unwrap()) == data);
}

#[test]
fn an_allocation_that_fails_gives_its_space_back() {
    for errno in [Errno::NOSPC, Errno::IO] {
        let disk = small_disk(10 * MIB);
        let store = open_on(&disk);
        let before = store.space().unwrap();
        let index_before = disk_usage(&disk, &Path::new(ROOT).join("index"));
        disk.set_faults(FaultPlan::none().fail(Call::Allocate, 1.0, errno));
        let error = store.begin_upload(spec("a", Some(MIB as u64))).unwrap_err();
        assert_eq!(error.is_disk_error(), errno == Errno::IO, "{error}");
        assert_eq!(error.http_status(), if errno == Errno::IO { 500 } else { 507 });
        let after = store.space().unwrap();
        assert_eq!(after.reserved, 0);
        // Two directories were made for it, and the index told of it.
        let index = disk_usage(&disk, &Path::new(ROOT).join("index")) - index_before;
        assert_eq!(after.available, before.available - 2 * 4096 - index);
        disk.set_faults(FaultPlan::none());
        upload(&disk, &store, "a", &bytes(MIB, 1)).unwrap();
    }
}

#[test]
fn a_large_step_that_fails_is_followed_by_the_smallest_that_does() {
    let mut seen = [0; 3];
    for seed in 0..60 {
        let disk = sim(seed);
        let store = open_on(&disk);
        let mut upload = store.begin_upload(spec("a", None)).unwrap();
        let before = store.space().unwrap().reserved;
        disk.set_faults(FaultPlan::none().fail(Call::Allocate, 0.5, Errno::NOSPC));
        let outcome = upload.ensure(64 * MIB as u64 + 1);
        let grown = upload.allocated() - 64 * MIB as u64;
        // What is promised is what is allocated, and what it had beyond that from the start.
        assert_eq!(store.space().unwrap().reserved, before + grown);
        match (outcome, grown) {
            (Ok(()), 4096) => seen[0] += 1,
            (Ok(()), grown) if grown == 64 * MIB as u64 => seen[1] += 1,
            (Err(error), 0) if error.http_status() == 507 => seen[2] += 1,
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(seen.iter().all(|&times| times > 3), "{seen:?}");
}

#[test]
fn a_disk_that_does_not_tell_its_free_space_is_ill_not_full() {
    let disk = sim(1);
    let store = open_on(&disk);
    disk.set_faults(FaultPlan::none().fail(Call::Space, 1.0, Errno::IO));
    let error = store.admit(spec("a", Some(1))).unwrap_err();
    assert!(error.to_string().contains("cannot tell how much space is free in /pool/data"), "{error}");
    assert_eq!((error.http_status(), error.is_disk_error()), (500, true));
}

#[test]
fn a_small_replica_of_unknown_length_needs_no_more_room_than_it_has_bytes() {
    let disk = small_disk(300 * KIB);
    let store = open_on(&disk);
    let data = bytes(200 * KIB, 1);
    let admission = store.admit(spec("a", None)).unwrap();
    admission.store_small(&data, commit_of(&data)).unwrap();
    let error =
        store.admit(spec("b", None)).and_then(|admission| admission.store_small(&data, commit_of(&data)));
    assert_eq!(error.unwrap_err().http_status(), 507);
}

#[test]
fn a_full_disk_does_not_keep_a_pool_from_starting_and_deleting() {
    let disk = small_disk(MIB);
    let store = open_on(&disk);
    upload(&disk, &store, "a", &bytes(500 * KIB, 1)).unwrap();
    drop(store);
    // Given a disk that somebody else has filled to the last block
    let hog = crate::engine::disk::Disk::create_unnamed(&disk, Path::new("/")).unwrap();
    let free = crate::engine::disk::Disk::space(&disk, Path::new("/")).unwrap().free;
    crate::engine::disk::Disk::allocate(&disk, &hog, 0, free).unwrap();
    let store = open_on(&disk);
    assert_eq!(store.space().unwrap().available, 0);
    store.open(&id("a")).unwrap();
    store.delete(&id("a")).unwrap();
    assert!(store.space().unwrap().available >= 500 * KIB as u64);
}
