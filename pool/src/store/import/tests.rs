//! Files that become replicas in place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::engine::disk::ReadMode;
use crate::engine::sim::disk::{SimDisk, SimDiskConfig};
use crate::engine::sim::faults::FaultPlan;
use crate::store::interchange::{STORM_ADLER32, write_adler32};

const OLD: &str = "/old";

fn config() -> StoreConfig {
    StoreConfig {
        root: "/pool".into(),
        pool_name: "p1".to_owned(),
        capacity: None,
        reserve_bytes: 0,
        max_file_size: None,
        direct: false,
    }
}

fn adler32(data: &[u8]) -> u32 {
    let mut adler = simd_adler32::Adler32::new();
    adler.write(data);
    adler.finish()
}

fn put(disk: &SimDisk, name: &str, data: &[u8], claimed: Option<u32>) -> PathBuf {
    let path = Path::new(OLD).join(name);
    disk.create_dir_all(path.parent().unwrap()).unwrap();
    let file = disk.create_unnamed(Path::new(OLD)).unwrap();
    disk.write_all_at(&file, data, 0).unwrap();
    if let Some(claimed) = claimed {
        write_adler32(disk, &file, claimed).unwrap();
    }
    disk.link(&file, &path).unwrap();
    path
}

/// Ten files in two directories, every one with good checksums of XRootD's and StoRM's.
fn tree() -> SimDisk {
    let disk = SimDisk::new(SimDiskConfig::default());
    for number in 0..10_u8 {
        let data = vec![number; 1000 * usize::from(number)];
        put(&disk, &format!("d{}/f{number}", number % 2), &data, Some(adler32(&data)));
    }
    disk
}

fn run(disk: &SimDisk, options: &ImportOptions) -> (ImportReport, Vec<serde_json::Value>) {
    let mut list = Vec::new();
    let report =
        import(Arc::new(disk.clone()), &config(), Path::new(OLD), options, &mut list, &mut |_| true).unwrap();
    let lines = String::from_utf8(list).unwrap();
    (report, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn open(disk: &SimDisk) -> Store {
    Store::open_root(Arc::new(disk.clone()), &config()).unwrap()
}

#[test]
fn files_become_orphans_in_place_with_the_checksums_that_they_had() {
    let disk = tree();
    let options = ImportOptions { prefix: "/atlas".to_owned(), sample_every: 4, ..ImportOptions::default() };
    let (report, list) = run(&disk, &options);
    assert_eq!((report.imported, report.bytes, report.problems), (10, 45_000, 0), "{report:?}");
    assert_eq!((report.read, report.believed), (3, 7));
    let store = open(&disk.crash());
    assert_eq!((store.counts().all, store.counts().orphaned), (10, 10));
    for number in 0..10_u8 {
        let path = format!("/atlas/d{}/f{number}", number % 2);
        let line = list.iter().find(|line| line["path"] == path.as_str()).unwrap();
        let data = vec![number; 1000 * usize::from(number)];
        let replica = store.open(&ReplicaId::new(line["id"].as_str().unwrap()).unwrap()).unwrap();
        assert_eq!(replica.attributes().path, path);
        let expected = BTreeMap::from([("adler32".to_owned(), format!("{:08x}", adler32(&data)))]);
        assert_eq!(replica.attributes().checksums, expected);
        assert_eq!(line["checksums"]["adler32"], expected["adler32"].as_str());
        assert_eq!(line["size"], data.len());
        // The old name stays, of the same file.
        let old = store.disk().stat(&Path::new(OLD).join(format!("d{}/f{number}", number % 2))).unwrap();
        assert_eq!(old.inode, replica.identity().inode);
    }
    // What was not read has its blocks' checksums yet to get; what was, has them.
    assert_eq!(store.without_blocks(None, 100).ids.len(), 7);
    assert_eq!(store.recovered(), []);
}

#[test]
fn a_second_run_finds_everything_there_and_lists_it_again() {
    let disk = tree();
    let (_, first) = run(&disk, &ImportOptions::default());
    let (report, second) = run(&disk, &ImportOptions::default());
    assert_eq!((report.imported, report.present, report.read), (0, 10, 0));
    assert_eq!(first, second);
}

#[test]
fn a_dry_run_changes_nothing_and_tells_the_same() {
    let disk = tree();
    let before = disk.files();
    let options = ImportOptions { dry_run: true, ..ImportOptions::default() };
    let (dry, list) = run(&disk, &options);
    assert_eq!(disk.files(), before);
    let (real, real_list) = run(&disk, &ImportOptions::default());
    assert_eq!((dry, list), (real, real_list));
}

#[test]
fn a_wrong_checksum_is_reported_its_file_left_and_every_later_file_read() {
    let disk = tree();
    // Given a file whose attribute is wrong, and which is sampled
    put(&disk, "a-first", b"Wikipedia", Some(1));
    let (report, _) = run(&disk, &ImportOptions::default());
    assert_eq!((report.imported, report.read, report.believed, report.problems), (10, 11, 0, 1));
    assert_eq!(report.distrusted_after, Some("/old/a-first".into()));
    let text = &report.problem_texts[0];
    assert!(text.starts_with("/old/a-first: its adler32 is 11e60398, its attribute says 00000001"), "{text}");
}

#[test]
fn files_without_believable_checksums_are_read() {
    let disk = SimDisk::new(SimDiskConfig::default());
    let data = vec![7; 3 << 20];
    put(&disk, "bare", &data, None);
    // The attributes of two systems say different things
    let path = put(&disk, "contradictory", &data, Some(adler32(&data)));
    let file = disk.open(&path, ReadMode::Buffered).unwrap();
    disk.set_attribute(&file, STORM_ADLER32, b"00000001").unwrap();
    let options =
        ImportOptions { checksums: [Algorithm::Md5].into_iter().collect(), ..ImportOptions::default() };
    let (report, list) = run(&disk, &options);
    assert_eq!((report.imported, report.read, report.bytes_read), (2, 2, 6 << 20));
    assert_eq!(list[0]["checksums"]["adler32"], format!("{:08x}", adler32(&data)));
    assert!(list[0]["checksums"]["md5"].is_string());
    let store = open(&disk);
    assert!(store.without_blocks(None, 10).ids.is_empty());
}

#[test]
fn names_are_taken_away_when_asked_for() {
    let disk = tree();
    let (report, _) = run(&disk, &ImportOptions { remove_names: true, ..ImportOptions::default() });
    assert_eq!(report.problems, 0);
    let disk = disk.crash();
    assert!(disk.files().iter().all(|path| !path.starts_with(OLD)), "{:?}", disk.files());
    assert_eq!(open(&disk).counts().all, 10);
}

#[test]
fn a_file_that_took_the_place_of_an_imported_one_is_a_problem_and_no_replica_is_replaced() {
    let disk = tree();
    run(&disk, &ImportOptions::default());
    disk.remove(Path::new("/old/d1/f3")).unwrap();
    put(&disk, "d1/f3", b"something else", None);
    let (report, _) = run(&disk, &ImportOptions::default());
    assert_eq!((report.present, report.problems), (9, 1));
    assert!(report.problem_texts[0].contains("another file was imported from this path"), "{report:?}");
}

#[test]
fn a_directory_that_lies_in_the_root_or_holds_it_is_refused() {
    let disk = SimDisk::new(SimDiskConfig::default());
    for directory in ["/pool/data", "/pool", "/"] {
        let refused = import(
            Arc::new(disk.clone()),
            &config(),
            Path::new(directory),
            &ImportOptions::default(),
            &mut Vec::new(),
            &mut |_| true,
        );
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("lie one in the other"), "{text}");
    }
}

#[test]
fn an_import_that_is_cut_short_anywhere_is_finished_by_the_next() {
    for (seed, call) in (0..4).flat_map(|seed| (1..900).step_by(23).map(move |call| (seed, call))) {
        let disk = tree();
        disk.sync_file_system(Path::new("/")).unwrap();
        drop(open(&disk));
        disk.set_faults(FaultPlan::none().crash_at(call));
        let options = ImportOptions { remove_names: seed % 2 == 1, ..ImportOptions::default() };
        let _ =
            import(Arc::new(disk.clone()), &config(), Path::new(OLD), &options, &mut Vec::new(), &mut |_| {
                true
            });
        let after = if seed < 2 { disk.kill() } else { disk.crash() };
        let (report, list) = run(&after, &options);
        assert_eq!(report.problems, 0, "seed {seed}, call {call}: {report:?}");
        let store = open(&after);
        assert_eq!(store.counts().all, 10, "seed {seed}, call {call}");
        if seed % 2 == 0 {
            assert_eq!(list.len(), 10);
        }
    }
}
