//! What is kept of transfers until their door acknowledges it, and what is recovered instead.

use super::*;

#[test]
fn a_result_is_there_after_a_crash_until_it_is_removed() {
    let disk = sim(1);
    let store = open_on(&disk);
    store.results().put("door1:7", None, b"seven".to_vec()).unwrap();
    store.results().put("door1:8", None, b"eight".to_vec()).unwrap();
    let disk = disk.crash();
    let store = open_on(&disk);
    let all = [("door1:7".to_owned(), b"seven".to_vec()), ("door1:8".to_owned(), b"eight".to_vec())];
    assert_eq!(store.results().all(), all);
    store.results().remove("door1:7");
    assert_eq!(store.results().all(), all[1..]);
    drop(store);
    assert_eq!(open_on(&disk).results().all(), all[1..]);
}

#[test]
fn an_upload_without_a_result_is_recovered_again_and_again_until_it_has_one() {
    // Given an upload that is whole, and a pool that was killed before anybody kept its result
    let mut disk = sim(1);
    let store = open_on(&disk);
    let stat = upload(&disk, &store, "a", b"bytes").unwrap();
    for _ in 0..2 {
        // When it starts again
        disk = disk.kill();
        let store = open_on(&disk);
        // Then it tells of the upload
        let upload = RecoveredUpload { transfer: "door1:1".to_owned(), replica: id("a"), stat: stat.clone() };
        assert_eq!(store.recovered(), [upload]);
    }
    // When its result is kept, then there is nothing to recover
    let disk = disk.kill();
    let store = open_on(&disk);
    store.results().put("door1:1", Some(&id("a")), b"stored".to_vec()).unwrap();
    let store = open_on(&disk.kill());
    assert_eq!(store.recovered(), []);
    assert_eq!(store.results().all().len(), 1);
}

#[test]
fn the_result_of_another_transfer_does_not_settle_an_upload() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"bytes").unwrap();
    store.results().put("door1:other", Some(&id("a")), Vec::new()).unwrap();
    assert_eq!(open_on(&disk.kill()).recovered().len(), 1);
}

#[test]
fn an_upload_whose_replica_was_deleted_is_not_recovered() {
    let disk = sim(1);
    let store = open_on(&disk);
    upload(&disk, &store, "a", b"bytes").unwrap();
    store.delete(&id("a")).unwrap();
    drop(store);
    assert_eq!(open_on(&disk).recovered(), []);
}

#[test]
fn where_the_scrub_was_is_there_after_a_restart() {
    let disk = sim(1);
    let store = open_on(&disk);
    assert_eq!(store.scrub_cursor(), None);
    store.set_scrub_cursor(b"at r7".to_vec());
    drop(store);
    assert_eq!(open_on(&disk).scrub_cursor(), Some(b"at r7".to_vec()));
}

#[test]
fn checksums_of_blocks_are_there_for_readers_at_once_and_after_a_restart() {
    let disk = sim(1);
    let store = open_on(&disk);
    let data = bytes(MIB + 9, 1);
    let admission = store.admit(spec("a", None)).unwrap();
    let commit = Commit { blocks: vec![17, 4], ..commit_of(&data) };
    admission.store_small(&data, commit).unwrap();
    let blocks = |store: &Store| store.open(&id("a")).unwrap().blocks().map(|blocks| blocks.to_vec());
    assert_eq!(blocks(&store), Some(vec![17, 4]));
    drop(store);
    let store = open_on(&disk);
    assert_eq!(blocks(&store), Some(vec![17, 4]));
    assert_eq!(store.without_blocks(None, 10), IdPage::default());
    // A new replica of that id has its own.
    store.delete(&id("a")).unwrap();
    upload(&disk, &store, "a", &data).unwrap();
    assert_eq!(blocks(&store), None);
    assert_eq!(store.without_blocks(None, 10).ids, [id("a")]);
    // And takes only as many as it has blocks.
    let error = store.set_blocks(&id("a"), vec![1]).unwrap_err();
    assert_eq!(error.to_string(), "replica a has 2 blocks, 1 checksums were given");
    let open = store.open(&id("a")).unwrap();
    store.set_blocks(&id("a"), vec![1, 2]).unwrap();
    assert_eq!(open.blocks().unwrap().to_vec(), [1, 2]);
    drop((open, store));
    assert_eq!(blocks(&open_on(&disk)), Some(vec![1, 2]));
}

#[test]
fn replicas_without_checksums_of_blocks_are_found_page_by_page() {
    let disk = sim(1);
    let store = open_on(&disk);
    for replica in 0..30 {
        upload(&disk, &store, &format!("r{replica:02}"), &bytes(replica, 1)).unwrap();
    }
    for replica in (0..30).step_by(2) {
        let blocks = vec![7; usize::from(replica > 0)];
        store.set_blocks(&id(&format!("r{replica:02}")), blocks).unwrap();
    }
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.without_blocks(after.as_ref(), 4);
        assert!(page.ids.len() <= 4);
        found.extend(page.ids.iter().map(ToString::to_string));
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<String> = (1..30).step_by(2).map(|replica| format!("r{replica:02}")).collect();
    assert_eq!(found, expected);
    assert!(pages >= 4);
}
