//! The index made anew while the pool does not run.

use super::*;
use crate::checksum::BlockChecksums;
use crate::engine::disk::Disk;
use crate::engine::sim::faults::FaultPlan;

fn rebuild_on(disk: &SimDisk, depth: RebuildDepth) -> Result<RebuildReport, OpenError> {
    rebuild(Arc::new(disk.clone()), Path::new(ROOT), "p1", depth, &mut |_| true)
}

fn blocks_of(data: &[u8]) -> Vec<u32> {
    let mut blocks = BlockChecksums::new();
    blocks.update(data);
    blocks.finish()
}

fn filled(disk: &SimDisk) -> Vec<u8> {
    let store = open_on(disk);
    let data = bytes(2 * MIB + 100, 1);
    upload(disk, &store, "a", &data).unwrap();
    upload(disk, &store, "b", &data).unwrap();
    upload(disk, &store, "empty", b"").unwrap();
    store.results().put("door1:9", None, b"result".to_vec()).unwrap();
    store.set_scrub_cursor(b"cursor".to_vec());
    data
}

#[test]
fn a_rebuild_computes_what_is_missing_and_keeps_what_only_the_old_index_knew() {
    let disk = sim(1);
    let data = filled(&disk);
    let report = rebuild_on(&disk, RebuildDepth::Bytes).unwrap();
    assert_eq!((report.replicas, report.replicas_before, report.broken, report.problems), (3, Some(3), 0, 0));
    assert_eq!(report.bytes_read, 2 * data.len() as u64);
    let store = open_on(&disk);
    assert!(!store.scan_report().scanned);
    assert_index_is_what_the_files_say(&store);
    for replica in ["a", "b"] {
        assert_eq!(store.open(&id(replica)).unwrap().blocks().unwrap().to_vec(), blocks_of(&data));
    }
    assert_eq!(store.results().all(), [("door1:9".to_owned(), b"result".to_vec())]);
    assert_eq!(store.scrub_cursor(), Some(b"cursor".to_vec()));
    // The uploads have no result yet.
    assert_eq!(store.recovered().len(), 3);
}

#[test]
fn a_rebuild_finds_a_flipped_bit_and_a_quick_one_leaves_the_bytes_alone() {
    let disk = sim(1);
    filled(&disk);
    let path = layout::Layout::new(Path::new(ROOT)).replica(&id("b"));
    assert!(disk.corrupt(&path, MIB as u64 + 5, 3));
    let report = rebuild_on(&disk, RebuildDepth::Attributes).unwrap();
    assert_eq!((report.replicas, report.bytes_read, report.broken), (3, 0, 0));
    let report = rebuild_on(&disk, RebuildDepth::Bytes).unwrap();
    assert_eq!(report.broken, 1);
    assert!(report.findings[0].starts_with("replica b is broken: adler32 of the file is "), "{report:?}");
    let store = open_on(&disk.crash());
    assert_eq!(store.counts().broken, 1);
    assert_eq!(store.stat(&id("b")).unwrap().attributes.state, ReplicaState::Broken);
    assert_eq!(store.open(&id("b")).unwrap().blocks(), None);
    assert_index_is_what_the_files_say(&store);
}

#[test]
fn a_rebuild_that_is_called_off_or_cut_short_leaves_a_pool_that_starts_and_has_lost_nothing() {
    // Called off
    let disk = sim(1);
    filled(&disk);
    let called_off =
        rebuild(Arc::new(disk.clone()), Path::new(ROOT), "p1", RebuildDepth::Bytes, &mut |_| false);
    assert!(called_off.unwrap_err().to_string().contains("called off"));
    // Or the power fails, at any call
    for (seed, call) in (0..4).flat_map(|seed| (1..400).step_by(7).map(move |call| (seed, call))) {
        let disk = disk.kill();
        let _ = seed;
        disk.set_faults(FaultPlan::none().crash_at(call));
        let _ = rebuild_on(&disk, RebuildDepth::Bytes);
        let after = disk.crash();
        let store = open_on(&after);
        assert_eq!(store.results().all().len(), 1, "call {call}");
        assert_eq!(store.counts().all, 3, "call {call}");
        assert_index_is_what_the_files_say(&store);
        let names = after.list_dir(&Path::new(ROOT).join("index")).unwrap();
        assert_eq!(names, ["replicas.redb"], "call {call}");
    }
}

#[test]
fn a_rebuild_refuses_where_a_pool_runs_and_where_there_is_none() {
    let disk = sim(1);
    let store = open_on(&disk);
    let error = rebuild_on(&disk, RebuildDepth::Bytes).unwrap_err();
    assert!(error.to_string().starts_with("/pool is in use by another pool daemon"), "{error}");
    drop(store);
    let error =
        rebuild(Arc::new(disk), Path::new("/else"), "p1", RebuildDepth::Bytes, &mut |_| true).unwrap_err();
    assert_eq!(error.to_string(), "/else is no pool's root: it has no penstock-pool.json");
}
