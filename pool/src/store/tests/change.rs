//! Replicas that are there: read, changed, listed, deleted.

use super::*;
use crate::engine::disk::Disk;

#[test]
fn who_reads_a_replica_reads_on_when_it_is_deleted() {
    let Some((dir, store)) = super::upload::on_kernel(|_| ()) else { return };
    let data = bytes(100 * KIB, 1);
    store.admit(spec("a", None)).unwrap().store_small(&data, commit_of(&data)).unwrap();
    let replica = store.open(&id("a")).unwrap();
    store.delete(&id("a")).unwrap();
    assert!(replica.is_deleted());
    assert!(read(&store, &replica) == data);
    // Even past the page cache, by a handle that was not open before.
    replica.direct().unwrap();
    assert!(matches!(store.open(&id("a")), Err(StoreError::NotFound { .. })));
    assert_eq!(used(&store), disk_usage(&**store.disk(), &dir.path().join("pool/data")));
}

#[test]
fn a_new_replica_of_a_deleted_id_is_not_confused_with_the_old_one() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"old").unwrap();
    let old = store.open(&id("a")).unwrap();
    store.delete(&id("a")).unwrap();
    upload(&disk, &store, "a", b"new one").unwrap();
    let new = store.open(&id("a")).unwrap();
    assert_eq!((read(&store, &old), read(&store, &new)), (b"old".to_vec(), b"new one".to_vec()));
    assert_ne!(old.identity().to_string(), new.identity().to_string());
    // And the end of the last reader of the old one does not take the new one from its readers.
    drop(old);
    assert_eq!(store.readers(&id("a")), 1);
}

#[test]
fn readers_of_one_replica_share_it_and_are_counted() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"bytes").unwrap();
    let handles = disk.open_handles();
    let first = store.open(&id("a")).unwrap();
    let second = store.open(&id("a")).unwrap();
    assert_eq!(first.file().raw(), second.file().raw());
    assert_eq!(store.readers(&id("a")), 2);
    drop((first, second));
    assert_eq!((store.readers(&id("a")), disk.open_handles()), (0, handles));
}

#[test]
fn what_is_not_there_cannot_be_opened_deleted_or_changed() {
    let disk = sim(1);
    let store = open_on(&disk);
    let missing = id("a");
    let errors = [
        store.open(&missing).map(|_| ()).unwrap_err(),
        store.delete(&missing).unwrap_err(),
        store.set_checksums(&missing, &BTreeMap::new()).map(|_| ()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!((error.to_string().as_str(), error.http_status()), ("replica a is not in this pool", 404));
    }
}

#[test]
fn a_checksum_that_is_added_is_there_for_readers_and_after_a_restart() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"bytes").unwrap();
    let reader = store.open(&id("a")).unwrap();
    let identity = reader.identity();
    let md5 = BTreeMap::from([("md5".to_owned(), "4b3a6218bb3e3a7303e8a171a60fcf92".to_owned())]);
    store.set_checksums(&id("a"), &md5).unwrap();
    assert_eq!(reader.attributes().checksums.len(), 2);
    assert_eq!(reader.identity(), identity, "the bytes are the same");
    drop((reader, store));
    let store = open_on(&disk.crash());
    let stat = store.stat(&id("a")).unwrap();
    assert_eq!(stat.attributes.checksums["md5"], md5["md5"]);
    assert_eq!(stat.attributes.checksums["adler32"], commit_of(b"bytes").checksums["adler32"]);
}

#[test]
fn a_checksum_that_differs_from_the_recorded_one_is_not_written_over_it() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"Wikipedia").unwrap();
    let wrong = BTreeMap::from([("adler32".to_owned(), "03da0195".to_owned())]);
    let error = store.set_checksums(&id("a"), &wrong).unwrap_err();
    assert_eq!(error.to_string(), "replica a has adler32 03da0195, but 11e60398 is recorded");
    assert_eq!(store.stat(&id("a")).unwrap().attributes.checksums["adler32"], "11e60398");
}

#[test]
fn a_state_changes_durably_and_only_as_states_may() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"bytes").unwrap();
    store.set_state(&id("a"), ReplicaState::Broken, Some("block 0 is wrong")).unwrap();
    assert_eq!(store.counts(), ReplicaCounts { all: 1, broken: 1, orphaned: 0, suspect: 0 });
    let error = store.set_state(&id("a"), ReplicaState::Orphaned, None).unwrap_err();
    assert_eq!(error.to_string(), "replica a is broken and cannot become orphaned");
    drop(store);
    let store = open_on(&disk.crash());
    let attributes = store.stat(&id("a")).unwrap().attributes;
    assert_eq!(attributes.state, ReplicaState::Broken);
    assert_eq!(attributes.broken_because.as_deref(), Some("block 0 is wrong"));
    assert_eq!(store.counts(), ReplicaCounts { all: 1, broken: 1, orphaned: 0, suspect: 0 });
    let stat = store.set_state(&id("a"), ReplicaState::Ready, None).unwrap();
    assert_eq!(stat.attributes.broken_because, None);
    assert_eq!(store.counts().broken, 0);
}

#[test]
fn a_listing_is_in_the_order_of_ids_page_by_page() {
    let disk = sim(1);
    let store = open_on(&disk);
    let mut ids: Vec<String> = (0..25).map(|number| format!("r{number}")).collect();
    for replica in &ids {
        upload(&disk, &store, replica, replica.as_bytes()).unwrap();
    }
    ids.sort();
    let mut listed = Vec::new();
    let mut after = None;
    let mut pages = 0;
    loop {
        let page = store.list(after.as_ref(), 10).unwrap();
        pages += 1;
        listed.extend(page.replicas.iter().map(|stat| stat.id.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!((listed, pages), (ids, 3));
    assert_eq!(store.list(None, 0).unwrap(), Page { replicas: Vec::new(), next: None });
}

/// Puts a file among the replicas, as somebody with root's rights might.
fn smuggle(disk: &SimDisk, path: &Path, attribute: Option<&str>, data: &[u8]) {
    disk.create_dir_all(path.parent().unwrap()).unwrap();
    let file = disk.create_unnamed(path.parent().unwrap()).unwrap();
    disk.write_all_at(&file, data, 0).unwrap();
    if let Some(line) = attribute {
        disk.set_attribute(&file, attributes::ATTRIBUTE_NAME, line.as_bytes()).unwrap();
    }
    disk.link(&file, path).unwrap();
}

#[test]
fn files_that_are_not_as_they_should_be_are_reported_not_served_and_still_counted_as_space() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "good", b"bytes").unwrap();
    let line = "v=1 size=5 state=ready created=2026-01-31T08:30:00Z";
    smuggle(&disk, &store.inner.layout.replica(&id("bare")), None, b"bytes");
    smuggle(&disk, &store.inner.layout.replica(&id("short")), Some(line), b"byte");
    smuggle(&disk, &store.inner.layout.data().join("00/00/elsewhere"), Some(line), b"bytes");
    smuggle(&disk, &store.inner.layout.data().join("notes.txt"), None, b"bytes");
    smuggle(&disk, &store.inner.layout.data().join("AB/00/good"), Some(line), b"bytes");
    drop(store);
    remove_index(&disk, Path::new(ROOT));

    let store = open_on(&disk);
    let report = store.scan_report();
    assert_eq!((report.replicas, report.problems), (1, 5));
    let problem = |start: String| report.problem_texts.iter().any(|text| text.starts_with(&start));
    assert!(problem("/pool/data/notes.txt: is not the pool's".to_owned()), "{report:#?}");
    assert!(problem("/pool/data/00/00/elsewhere: is not the pool's".to_owned()), "{report:#?}");
    let bare = store.open(&id("bare")).unwrap_err();
    assert_eq!(
        bare.to_string(),
        "replica bare cannot be served: the file has no attribute user.penstock.replica; restore its attributes \
         or delete it"
    );
    let short = store.open(&id("short")).unwrap_err();
    assert_eq!(short.to_string(), "replica short is damaged: it was stored with 5 bytes, its file has 4");
    assert_eq!((bare.http_status(), short.http_status()), (500, 500));
    let listed = store.list(None, 10).unwrap().replicas;
    assert_eq!(listed.iter().map(|stat| stat.id.as_str()).collect::<Vec<_>>(), ["good"]);
    // An operator can delete what cannot be served.
    let before = used(&store);
    store.delete(&id("bare")).unwrap();
    store.delete(&id("short")).unwrap();
    // Each had one block of bytes; only the second had attributes.
    assert_eq!(before - used(&store), 3 * 4096);
}
