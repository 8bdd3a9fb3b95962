//! The index's file: absent, damaged, of another, and a disk that has no room for it.

use proptest::prelude::*;
use rustix::io::Errno;

use super::*;
use crate::engine::disk::{Disk, KernelDisk};
use crate::engine::sim::faults::{Call, FaultPlan};

fn index_path() -> std::path::PathBuf {
    Path::new(ROOT).join("index/replicas.redb")
}

fn filled(disk: &SimDisk) -> Store {
    let store = open_on(disk);
    for replica in ["a", "b", "c"] {
        upload(disk, &store, replica, replica.as_bytes()).unwrap();
    }
    store.mark_broken(&id("b"), "a block is wrong").unwrap();
    store
}

fn index_files(disk: &SimDisk) -> Vec<String> {
    let mut names: Vec<String> = disk
        .list_dir(&Path::new(ROOT).join("index"))
        .unwrap()
        .into_iter()
        .map(|name| name.into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn after_a_clean_stop_no_replica_is_touched() {
    let disk = sim(1);
    let store = filled(&disk);
    for replica in ["a", "b", "c"] {
        store.results().put("door1:1", Some(&id(replica)), Vec::new()).unwrap();
    }
    drop(store);
    // When no attribute can be read from now on, then the start does not notice
    disk.set_faults(FaultPlan::none().fail(Call::Attribute, 1.0, Errno::IO));
    let store = open_on(&disk);
    let calls = disk.calls();
    assert_eq!((store.scan_report().scanned, store.scan_report().examined), (false, 0));
    assert_eq!(store.counts(), ReplicaCounts { all: 3, broken: 1, ..ReplicaCounts::default() });
    let listed = store.list(None, 10).unwrap().replicas;
    assert_eq!(listed.iter().map(|stat| stat.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(calls < 100, "{calls} calls");
}

#[test]
fn an_index_that_is_not_there_is_made_anew() {
    let disk = sim(1);
    drop(filled(&disk));
    remove_index(&disk, Path::new(ROOT));
    let store = open_on(&disk);
    assert!(store.scan_report().scanned);
    assert_index_is_what_the_files_say(&store);
    assert_eq!(index_files(&disk), ["replicas.redb"]);
    drop(store);
    assert!(!open_on(&disk).scan_report().scanned);
}

#[test]
fn an_index_that_cannot_be_used_is_set_aside_and_made_anew() {
    let foreign = || {
        let other = sim(2);
        drop(open_on(&other));
        other.contents(&index_path()).unwrap()
    };
    let noise = |disk: &SimDisk| {
        let file = disk.lock(&index_path()).unwrap();
        let content = disk.contents(&index_path()).unwrap();
        disk.write_all_at(&file, &vec![0xa5; content.len()], 0).unwrap();
    };
    let put_foreign = |disk: &SimDisk| {
        let (file, content) = (disk.lock(&index_path()).unwrap(), foreign());
        disk.truncate(&file, 0).unwrap();
        disk.write_all_at(&file, &content, 0).unwrap();
    };
    let empty = |disk: &SimDisk| disk.truncate(&disk.lock(&index_path()).unwrap(), 0).unwrap();
    let half = |disk: &SimDisk| disk.truncate(&disk.lock(&index_path()).unwrap(), 70_000).unwrap();
    type Spoil<'a> = &'a dyn Fn(&SimDisk);
    let ways: [(&str, Spoil<'_>); 4] =
        [("noise", &noise), ("foreign", &put_foreign), ("empty", &empty), ("half", &half)];
    for (name, spoil) in ways {
        let disk = sim(1);
        drop(filled(&disk));
        spoil(&disk);
        let store = open_on(&disk);
        assert!(store.scan_report().scanned, "{name}");
        assert_eq!(store.health(), StoreHealth::default(), "{name}");
        assert_index_is_what_the_files_say(&store);
        assert_eq!(index_files(&disk), ["replicas.redb", "replicas.redb.bad-1"], "{name}");
        drop(store);
        assert!(!open_on(&disk.crash()).scan_report().scanned, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bits_in_the_index_lose_no_replica(
        flips in prop::collection::vec((0.0..1.0_f64, 0..8_u8), 1..40),
    ) {
        let disk = sim(1);
        drop(filled(&disk));
        let length = disk.contents(&index_path()).unwrap().len();
        for (place, bit) in flips {
            disk.corrupt(&index_path(), (place * length as f64) as u64, bit);
        }
        // Flips that do not show at once may do so at any later use; then the index is given up.
        let store = open_on(&disk);
        let _ = upload(&disk, &store, "d", b"d");
        let listed = store.list(None, 10);
        drop((listed, store));
        // It may have been set aside.
        let _ = disk.remove(&index_path());
        let store = open_on(&disk);
        for replica in ["a", "b", "c"] {
            prop_assert_eq!(read(&store, &store.open(&id(replica)).unwrap()), replica.as_bytes());
        }
    }
}

#[test]
fn a_pool_whose_index_fails_works_on_without_it_and_makes_a_new_one_at_the_next_start() {
    let disk = sim(1);
    let store = filled(&disk);
    disk.set_faults(FaultPlan::none().fail(Call::SyncData, 1.0, Errno::IO));
    upload(&disk, &store, "d", b"d").unwrap();
    disk.set_faults(FaultPlan::none());
    let lost = store.health().index_lost.unwrap();
    assert!(lost.contains("Input/output error"), "{lost}");
    // Everything that needs no index still works
    store.delete(&id("a")).unwrap();
    store.set_state(&id("b"), ReplicaState::Ready, None).unwrap();
    assert_index_is_what_the_files_say(&store);
    // And what does need it says so
    let error = store.results().put("door1:9", None, Vec::new()).unwrap_err();
    assert!(error.to_string().starts_with("cannot keep a transfer's result: the pool's index "), "{error}");
    // The next start makes a new one
    let store = open_on(&disk.crash());
    assert!(store.scan_report().scanned);
    assert_eq!(store.health(), StoreHealth::default());
    assert_index_is_what_the_files_say(&store);
    let listed = store.list(None, 10).unwrap().replicas;
    assert_eq!(listed.iter().map(|stat| stat.id.as_str()).collect::<Vec<_>>(), ["b", "c", "d"]);
}

#[test]
fn an_index_that_fails_and_cannot_be_set_aside_lets_nothing_be_changed() {
    let disk = sim(1);
    let store = filled(&disk);
    let plan = FaultPlan::none().fail(Call::SyncData, 1.0, Errno::IO).fail(Call::Rename, 1.0, Errno::IO);
    disk.set_faults(plan);
    let error = store.delete(&id("a")).unwrap_err();
    assert!(matches!(error, StoreError::Index { .. }), "{error}");
    assert!(error.is_disk_error());
    store.open(&id("a")).unwrap();
    // Doors are told, too, not to send uploads.
    assert!(store.health().read_only.is_some());
    store.recover().unwrap_err();
    // As soon as it can be, the pool goes on.
    disk.set_faults(FaultPlan::none());
    store.recover().unwrap();
    assert_eq!(store.health().read_only, None);
    store.delete(&id("a")).unwrap();
}

#[test]
fn a_pool_on_a_full_disk_starts_and_deletes_even_without_its_index() {
    let disk = SimDisk::new(SimDiskConfig { capacity_bytes: 16 * MIB as u64, ..SimDiskConfig::default() });
    drop(filled(&disk));
    remove_index(&disk, Path::new(ROOT));
    let hog = disk.create_unnamed(Path::new("/")).unwrap();
    disk.allocate(&hog, 0, disk.space(Path::new("/")).unwrap().free).unwrap();
    let store = open_on(&disk);
    assert!(store.health().index_lost.unwrap().contains("a new one cannot be made"));
    store.delete(&id("a")).unwrap();
    assert_index_is_what_the_files_say(&store);
    drop((hog, store));
    let store = open_on(&disk);
    assert_eq!(store.health(), StoreHealth::default());
    assert_eq!(store.counts().all, 2);
}

#[test]
fn what_was_no_usable_replica_is_looked_at_again_at_every_start() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"bytes").unwrap();
    let path = store.inner.layout.replica(&id("a"));
    let note = store.inner.layout.data().join("note.txt");
    drop(store);
    // Given a replica that lost its attributes, a file of somebody else's, and a start that sees them
    let file = disk.open(&path, crate::engine::disk::ReadMode::Buffered).unwrap();
    let line = disk.attribute(&file, attributes::ATTRIBUTE_NAME).unwrap().unwrap();
    disk.set_attribute(&file, attributes::ATTRIBUTE_NAME, b"nonsense").unwrap();
    let stranger = disk.create_unnamed(Path::new(ROOT)).unwrap();
    disk.write_all_at(&stranger, b"note", 0).unwrap();
    disk.link(&stranger, &note).unwrap();
    remove_index(&disk, Path::new(ROOT));
    for _ in 0..2 {
        let store = open_on(&disk);
        assert_eq!((store.scan_report().problems, store.counts().all), (2, 0), "{:?}", store.scan_report());
        assert_eq!(used(&store), disk_usage(&disk, &Path::new(ROOT).join("data")));
    }
    // When both are put right, then the next start finds it so
    disk.set_attribute(&file, attributes::ATTRIBUTE_NAME, &line).unwrap();
    disk.remove(&note).unwrap();
    let store = open_on(&disk);
    assert_eq!((store.scan_report().problems, store.counts().all), (0, 1), "{:?}", store.scan_report());
    assert_index_is_what_the_files_say(&store);
    assert_eq!(used(&store), disk_usage(&disk, &Path::new(ROOT).join("data")));
}

#[test]
fn an_upload_that_runs_is_listed_as_one() {
    let disk = sim(1);
    let store = open_on(&disk);
    for replica in ["a", "c"] {
        upload(&disk, &store, replica, b"bytes").unwrap();
    }
    let uploads = ["b", "d"].map(|replica| store.begin_upload(spec(replica, Some(7))).unwrap());
    let listed = |after: Option<&str>, limit| {
        let page = store.list(after.map(id).as_ref(), limit).unwrap();
        let names: Vec<String> = page
            .replicas
            .iter()
            .map(|stat| format!("{} {} {}", stat.id, stat.attributes.state, stat.size))
            .collect();
        (names.join(", "), page.next.map(|next| next.to_string()))
    };
    assert_eq!(listed(None, 10).0, "a ready 5, b uploading 7, c ready 5, d uploading 7");
    assert_eq!(listed(None, 2), ("a ready 5, b uploading 7".to_owned(), Some("b".to_owned())));
    assert_eq!(listed(Some("b"), 2), ("c ready 5, d uploading 7".to_owned(), None));
    drop(uploads);
    assert_eq!(listed(None, 10).0, "a ready 5, c ready 5");
}

#[test]
fn many_at_once_on_a_real_disk_leave_an_index_that_is_what_the_files_say() {
    let Some((dir, store)) = super::upload::on_kernel(|_| ()) else { return };
    std::thread::scope(|scope| {
        for worker in 0..8_u8 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..12 {
                    let replica = format!("w{worker}-{number}");
                    let data = bytes(100 * usize::from(worker) + number, worker);
                    let admission = store.admit(spec(&replica, None)).unwrap();
                    admission.store_small(&data, commit_of(&data)).unwrap();
                    match number % 3 {
                        0 => store.delete(&id(&replica)).unwrap(),
                        1 => drop(store.mark_suspect(&id(&replica), "by chance").unwrap()),
                        _ => store.results().put(&replica, Some(&id(&replica)), data).unwrap(),
                    }
                }
            });
        }
    });
    assert_index_is_what_the_files_say(&store);
    assert_eq!(store.counts(), ReplicaCounts { all: 64, suspect: 32, ..ReplicaCounts::default() });
    assert_eq!(store.results().all().len(), 32);
    drop(store);
    let store = Store::open_root(Arc::new(KernelDisk), &config(&dir.path().join("pool"))).unwrap();
    assert!(!store.scan_report().scanned);
    assert_index_is_what_the_files_say(&store);
    assert_eq!(used(&store), disk_usage(&KernelDisk, &dir.path().join("pool/data")));
}
