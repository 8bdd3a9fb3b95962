use super::*;
use crate::engine::sim::disk::{SimDisk, SimDiskConfig};
use crate::engine::sim::faults::FaultPlan;

fn disk() -> (SimDisk, Arc<dyn Disk>) {
    let disk = SimDisk::new(SimDiskConfig::default());
    (disk.clone(), Arc::new(disk))
}

fn open(disk: &Arc<dyn Disk>, pool: &str) -> Result<Root, RootError> {
    Root::open(disk, Path::new("/site/pool"), pool)
}

/// Writes a file as an operator would.
fn write(disk: &Arc<dyn Disk>, path: &str, content: &[u8]) {
    let path = Path::new(path);
    disk.create_dir_all(path.parent().unwrap()).unwrap();
    let file = disk.create_unnamed(path.parent().unwrap()).unwrap();
    disk.write_all_at(&file, content, 0).unwrap();
    disk.link(&file, path).unwrap();
}

#[test]
fn a_replica_lies_where_the_crc_of_its_id_says() {
    // The check value of CRC-32/ISO-HDLC: cbf43926 for "123456789".
    let id = ReplicaId::new("123456789").unwrap();
    assert_eq!(Shelf::of(&id), Shelf(0xcb, 0xf4));
    assert_eq!(Layout::new(Path::new("/p")).replica(&id), Path::new("/p/data/cb/f4/123456789"));
}

#[test]
fn ids_that_count_up_are_spread_evenly() {
    let mut counts = std::collections::HashMap::new();
    for number in 0..655_360 {
        *counts.entry(Shelf::of(&ReplicaId::new(&format!("{number:012}")).unwrap())).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 65_536, "some directories stay empty");
    assert!(*counts.values().max().unwrap() <= 30, "some directories get far more than the mean of 10");
}

#[test]
fn a_root_that_was_made_is_found_again() {
    let (_, disk) = disk();
    let made = open(&disk, "p1").unwrap().marker;
    assert_eq!((made.format, made.pool.as_str(), made.uuid.len()), (1, "p1", 36));
    assert_eq!(open(&disk, "p1").unwrap().marker, made);
}

#[test]
fn a_second_daemon_on_the_same_root_is_refused_and_told_who_has_it() {
    let (_, disk) = disk();
    let first = open(&disk, "p1").unwrap();
    let error = open(&disk, "p1").unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "/site/pool is in use by another pool daemon (process {}): stop that one, or give this one a root of \
             its own",
            std::process::id()
        )
    );
    drop(first);
    open(&disk, "p1").unwrap();
}

#[test]
fn the_root_of_another_pool_is_refused() {
    let (_, disk) = disk();
    open(&disk, "p1").unwrap();
    let error = open(&disk, "p2").unwrap_err();
    assert_eq!(
        error.to_string(),
        "/site/pool belongs to pool \"p1\", this is pool \"p2\": correct the root or the pool's name"
    );
}

#[test]
fn a_root_of_a_later_release_is_refused_whatever_else_its_marker_says() {
    let (_, disk) = disk();
    write(&disk, "/site/pool/penstock-pool.json", br#"{"format": 2, "pools": ["p1"]}"#);
    let error = open(&disk, "p1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "/site/pool has layout version 2, this release knows up to 1: install a newer release"
    );
}

#[test]
fn a_marker_that_is_damaged_is_refused_with_its_reason() {
    let (_, disk) = disk();
    write(&disk, "/site/pool/penstock-pool.json", b"{\"format\": 1}");
    let text = open(&disk, "p1").unwrap_err().to_string();
    assert!(
        text.starts_with("/site/pool/penstock-pool.json is not a pool's marker: missing field"),
        "{text}"
    );
}

#[test]
fn data_of_nobody_knows_whom_is_refused() {
    let (_, disk) = disk();
    write(&disk, "/site/pool/data/cb/f4/123456789", b"");
    let error = open(&disk, "p1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "/site/pool has data but no penstock-pool.json: restore the marker, or choose an empty directory"
    );
}

#[test]
fn a_marker_without_data_makes_one_think_of_a_missing_mount() {
    let (_, disk) = disk();
    let marker = br#"{"format": 1, "pool": "p1", "uuid": "u", "created": "c"}"#;
    write(&disk, "/site/pool/penstock-pool.json", marker);
    let error = open(&disk, "p1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "/site/pool has a penstock-pool.json but no data directory: is its file system mounted?"
    );
}

#[test]
fn the_top_directory_of_a_new_file_system_counts_as_empty() {
    let (_, disk) = disk();
    disk.create_dir_all(Path::new("/site/pool/data/lost+found")).unwrap();
    open(&disk, "p1").unwrap();
}

#[test]
fn a_file_system_without_attributes_is_refused() {
    let disk = SimDisk::new(SimDiskConfig { attributes: false, ..SimDiskConfig::default() });
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let error = open(&disk, "p1").unwrap_err();
    assert!(matches!(error, RootError::NoAttributes { .. }), "{error}");
}

#[test]
fn a_crash_at_any_call_of_the_first_start_does_not_keep_the_next_from_succeeding() {
    for seed in 0..20 {
        for n in 1.. {
            let disk = SimDisk::new(SimDiskConfig { seed, ..SimDiskConfig::default() });
            disk.set_faults(FaultPlan::none().crash_at(n));
            let opened = open(&(Arc::new(disk.clone()) as Arc<dyn Disk>), "p1");
            let finished = !disk.is_dead();
            let after: Arc<dyn Disk> = Arc::new(disk.crash());
            let again = open(&after, "p1").unwrap_or_else(|error| panic!("seed {seed}, call {n}: {error}"));
            if let Ok(root) = opened {
                // What has once been in use is the same pool for ever.
                assert_eq!(root.marker, again.marker, "seed {seed}, call {n}");
            }
            if finished {
                assert!(n > 10, "the first start made only {n} calls");
                break;
            }
        }
    }
}

#[test]
fn a_root_that_cannot_be_used_for_want_of_rights_is_told_with_what_to_do() {
    let told = |errno| {
        let source = io::Error::from_raw_os_error(errno);
        RootError::Io { step: "lock", path: "/pool/lock".into(), source }.to_string()
    };
    assert!(
        told(13).starts_with("cannot lock /pool/lock: ") && told(13).contains("(chown -R)"),
        "{}",
        told(13)
    );
    assert!(told(30).ends_with("mount it for writing"), "{}", told(30));
    assert_eq!(told(5), "cannot lock /pool/lock: Input/output error (os error 5)");
}
