//! From the first byte to a replica that is there.

use rustix::io::Errno;

use super::*;
use crate::engine::disk::KernelDisk;
use crate::engine::sim::faults::{Call, FaultPlan};
use crate::store::upload::{Stage, Uploading};

/// A store on a real file system, beside the test's own binary; `None`, with the reason printed, where that file
/// system has no attributes.
pub(super) fn on_kernel(configure: impl FnOnce(&mut StoreConfig)) -> Option<(tempfile::TempDir, Store)> {
    let dir = tempfile::TempDir::new_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    let mut config = config(&dir.path().join("pool"));
    configure(&mut config);
    match Store::open_root(Arc::new(KernelDisk), &config) {
        Ok(store) => Some((dir, store)),
        Err(error @ OpenError::Root(RootError::NoAttributes { .. })) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_replica_is_found_again_after_a_restart_with_all_that_is_known_of_it() {
    let disk = sim(1);
    let store = open_on(&disk);
    let data = bytes(300 * KIB + 7, 1);
    let made = upload(&disk, &store, "a", &data).unwrap();
    drop(store);
    let store = open_on(&disk);
    let replica = store.open(&id("a")).unwrap();
    assert_eq!(read(&store, &replica), data);
    assert_eq!(replica.stat(), made);
    assert_eq!(made.attributes.checksums, commit_of(&data).checksums);
    assert_eq!((made.attributes.path.as_str(), made.attributes.transfer.as_str()), ("/data/a", "door1:1"));
    assert_eq!(store.counts(), ReplicaCounts { all: 1, ..ReplicaCounts::default() });
}

#[test]
fn replicas_of_every_size_come_back_byte_for_byte_from_a_real_file_system() {
    let Some((dir, store)) = on_kernel(|_| ()) else { return };
    let sizes = [0, 1, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1];
    for (number, size) in sizes.into_iter().enumerate() {
        let data = bytes(size, number as u8);
        let small = format!("small-{size}");
        store.admit(spec(&small, Some(size as u64))).unwrap().store_small(&data, commit_of(&data)).unwrap();
        let large = format!("large-{size}");
        let upload = store.begin_upload(spec(&large, None)).unwrap();
        upload.commit_small(&data, commit_of(&data)).unwrap();
    }
    assert_eq!(used(&store), disk_usage(&KernelDisk, &dir.path().join("pool/data")));
    drop(store);
    let store = Store::open_root(Arc::new(KernelDisk), &config(&dir.path().join("pool"))).unwrap();
    for (number, size) in sizes.into_iter().enumerate() {
        for kind in ["small", "large"] {
            let replica = store.open(&id(&format!("{kind}-{size}"))).unwrap();
            assert!(read(&store, &replica) == bytes(size, number as u8), "{kind}-{size}");
        }
    }
    assert_eq!(used(&store), disk_usage(&KernelDisk, &dir.path().join("pool/data")));
    assert_eq!(store.scan_report().replicas, 2 * sizes.len() as u64);
    assert_eq!(store.scan_report().problems, 0);
}

#[test]
fn what_du_says_is_what_the_pool_says() {
    let Some((dir, store)) = on_kernel(|_| ()) else { return };
    for number in 0..20_u8 {
        let data = bytes(usize::from(number) * 10_000, number);
        let admission = store.admit(spec(&format!("r{number}"), None)).unwrap();
        admission.store_small(&data, commit_of(&data)).unwrap();
    }
    store.delete(&id("r7")).unwrap();
    let du = std::process::Command::new("du")
        .args(["-s", "--block-size=1"])
        .arg(dir.path().join("pool/data"))
        .output()
        .unwrap();
    let text = String::from_utf8(du.stdout).unwrap();
    assert_eq!(text.split('\t').next().unwrap().parse::<u64>().unwrap(), used(&store));
}

#[test]
fn a_replica_of_unknown_length_grows_in_steps_and_is_cut_to_its_length() {
    let disk = sim(1);
    let store = open_on(&disk);
    let data = bytes(65 * MIB + 5, 3);
    let mut upload = store.begin_upload(spec("a", None)).unwrap();
    assert_eq!(upload.allocated(), 64 * MIB as u64);
    write_by_ring(&disk, &mut upload, &data, MIB).unwrap();
    assert_eq!(upload.allocated(), 128 * MIB as u64);
    let stat = upload.commit(commit_of(&data)).unwrap();
    assert_eq!(stat.size, data.len() as u64);
    // The last block, and one for the attributes.
    assert_eq!(stat.allocated, (65 * MIB + 2 * 4096) as u64);
    assert!(read(&store, &store.open(&id("a")).unwrap()) == data);
}

#[test]
fn an_upload_that_ends_early_leaves_nothing() {
    let disk = sim(1);
    let store = open_on(&disk);
    let (before, handles) = (disk.files(), disk.open_handles());
    let data = bytes(100 * KIB, 1);
    for end in [Upload::abort, |upload| drop(upload)] {
        let mut upload = store.begin_upload(spec("a", None)).unwrap();
        write_by_ring(&disk, &mut upload, &data, 64 * KIB).unwrap();
        end(upload);
        assert_eq!(disk.files(), before);
        let space = store.space().unwrap();
        assert_eq!(space.reserved, 0);
        assert_eq!(space.used, disk_usage(&disk, &Path::new(ROOT).join("data")));
        assert!(matches!(store.open(&id("a")), Err(StoreError::NotFound { .. })));
    }
    assert_eq!(disk.open_handles(), handles, "only the lock and the index are open");
}

#[test]
fn an_id_that_exists_is_refused_and_its_replica_stays() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"first").unwrap();
    let error = store.begin_upload(spec("a", Some(6))).unwrap_err();
    assert_eq!(error.to_string(), "replica a exists already: a replica is never overwritten");
    assert_eq!(error.http_status(), 409);
    assert_eq!(read(&store, &store.open(&id("a")).unwrap()), b"first");
}

#[test]
fn two_uploads_of_one_id_at_once_are_refused_until_the_first_gives_up() {
    let disk = sim(1);
    let store = open_on(&disk);
    let first = store.admit(spec("a", Some(5))).unwrap();
    assert!(matches!(store.admit(spec("a", Some(5))), Err(StoreError::Exists { .. })));
    drop(first);
    upload(&disk, &store, "a", b"again").unwrap();
}

#[test]
fn a_refused_upload_does_not_hide_the_replica_that_is_there() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"first").unwrap();
    let _ = store.begin_upload(spec("a", None)).unwrap_err();
    store.open(&id("a")).unwrap();
}

#[test]
fn a_replica_whose_name_cannot_be_made_durable_is_taken_away_again() {
    let disk = sim(1);
    let store = open_on(&disk);
    let before = disk.files();
    let begun = store.begin_upload(spec("a", None)).unwrap();
    disk.set_faults(FaultPlan::none().fail(Call::SyncDir, 1.0, Errno::IO));
    let error = begun.commit_small(b"bytes", commit_of(b"bytes")).unwrap_err();
    assert!(error.to_string().starts_with("cannot make the name durable of replica a: "), "{error}");
    assert!(error.is_disk_error());
    assert_eq!(disk.files(), before);
    assert_eq!(used(&store), disk_usage(&disk, &Path::new(ROOT).join("data")));
    disk.set_faults(FaultPlan::none());
    upload(&disk, &store, "a", b"bytes").unwrap();
}

#[test]
fn a_replica_is_seen_by_nobody_before_its_name_is_durable() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"bytes").unwrap();
    // As it is between the name and the sync of its directory.
    let spec = Arc::new(spec("a", None));
    let naming = Uploading { stage: Stage::Naming, since: Timestamp::UNIX_EPOCH, spec };
    store.inner.claims().insert(id("a"), naming);
    assert!(matches!(store.open(&id("a")), Err(StoreError::NotFound { .. })));
    assert!(matches!(store.delete(&id("a")), Err(StoreError::NotFound { .. })));
    store.inner.claims().remove(&id("a"));
    store.open(&id("a")).unwrap();
}

#[test]
fn nothing_is_stored_under_attributes_that_could_not_be_read_back() {
    let disk = sim(1);
    let store = open_on(&disk);
    for (algorithm, value) in [("SHA-256", "00"), ("md5", "not hex")] {
        let checksums = BTreeMap::from([(algorithm.to_owned(), value.to_owned())]);
        let admission = store.admit(spec("a", Some(5))).unwrap();
        let commit = Commit { checksums: checksums.clone(), ..commit_of(b"bytes") };
        let error = admission.store_small(b"bytes", commit).unwrap_err();
        assert!(matches!(error, StoreError::Attributes { .. }), "{error}");
        upload(&disk, &store, "a", b"bytes").unwrap();
        let error = store.set_checksums(&id("a"), &checksums).unwrap_err();
        assert!(matches!(error, StoreError::Attributes { .. }), "{error}");
        store.delete(&id("a")).unwrap();
    }
}

#[test]
fn fewer_bytes_than_announced_are_no_replica() {
    let disk = sim(1);
    let store = open_on(&disk);
    let upload = store.begin_upload(spec("a", Some(100))).unwrap();
    let error = upload.commit(commit_of(b"too short")).unwrap_err();
    assert_eq!(error.to_string(), "replica a was announced with 100 bytes, but 9 arrived");
    assert!(matches!(store.open(&id("a")), Err(StoreError::NotFound { .. })));
}

#[test]
fn more_bytes_than_announced_get_no_room() {
    let disk = sim(1);
    let store = open_on(&disk);
    let mut upload = store.begin_upload(spec("a", Some(5000))).unwrap();
    // The padding of the last block is no byte too many.
    upload.ensure(8192).unwrap();
    assert!(matches!(upload.ensure(8193), Err(StoreError::SizeMismatch { announced: 5000, .. })));
}

#[test]
fn a_shelf_that_somebody_tidied_away_is_made_anew() {
    let Some((dir, store)) = on_kernel(|_| ()) else { return };
    store.begin_upload(spec("a", Some(1))).unwrap().abort();
    let shelf = store.inner.layout.shelf(layout::Shelf::of(&id("a")));
    std::fs::remove_dir(&shelf).unwrap();
    std::fs::remove_dir(shelf.parent().unwrap()).unwrap();
    let admission = store.admit(spec("a", Some(1))).unwrap();
    admission.store_small(b"x", commit_of(b"x")).unwrap();
    assert_eq!(used(&store), disk_usage(&KernelDisk, &dir.path().join("pool/data")));
}

#[test]
fn direct_io_is_used_where_the_file_system_takes_it_and_not_elsewhere() {
    for direct in [true, false] {
        let disk = SimDisk::new(SimDiskConfig { direct, ..SimDiskConfig::default() });
        let store = open_on(&disk);
        assert_eq!(store.begin_upload(spec("a", Some(5))).unwrap().direct(), direct);
        upload(&disk, &store, "a", b"bytes").unwrap();
        let replica = store.open(&id("a")).unwrap();
        assert_eq!(replica.direct().unwrap().is_some(), direct);
    }
}

#[test]
fn leftovers_of_file_systems_without_unnamed_files_are_removed_at_the_start() {
    let Some((dir, store)) = on_kernel(|_| ()) else { return };
    store.begin_upload(spec("a", Some(1))).unwrap().abort();
    let shelf = store.inner.layout.shelf(layout::Shelf::of(&id("a")));
    drop(store);
    std::fs::write(shelf.join(".penstock-tmp-0123"), b"half an upload").unwrap();
    remove_index(&KernelDisk, &dir.path().join("pool"));
    let store = Store::open_root(Arc::new(KernelDisk), &config(&dir.path().join("pool"))).unwrap();
    assert_eq!(store.scan_report().leftovers_removed, 1);
    assert_eq!(std::fs::read_dir(&shelf).unwrap().count(), 0);
}
