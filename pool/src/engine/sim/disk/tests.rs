use rustix::io::Errno;

use super::*;

const BLOCK: usize = PAGE_BYTES as usize;

fn disk_with(seed: u64) -> SimDisk {
    SimDisk::new(SimDiskConfig { seed, ..SimDiskConfig::default() })
}

/// A file in `/d`, whose own name is durable.
fn with_directory(disk: &SimDisk) -> File {
    disk.create_dir_all(Path::new("/d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.create_unnamed(Path::new("/d")).unwrap()
}

#[test]
fn what_was_synced_survives_every_crash_whole() {
    for seed in 0..200 {
        let disk = disk_with(seed);
        let file = with_directory(&disk);
        disk.write_all_at(&file, b"bytes", 0).unwrap();
        disk.set_attribute(&file, "user.a", b"1").unwrap();
        disk.sync_all(&file).unwrap();
        disk.link(&file, Path::new("/d/f")).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        let after = disk.crash();
        assert_eq!(after.contents(Path::new("/d/f")).unwrap(), b"bytes", "seed {seed}");
        let file = after.open(Path::new("/d/f"), ReadMode::Buffered).unwrap();
        assert_eq!(after.attribute(&file, "user.a").unwrap().unwrap(), b"1", "seed {seed}");
    }
}

#[test]
fn each_sync_that_is_left_out_is_punished_by_some_seed() {
    // Which of: sync of the data, sync of the attributes, sync of the directory
    let left_out = [[false, false, true], [true, false, true], [true, true, false]];
    for [data, attributes, name] in left_out {
        let survives = |seed| {
            let disk = disk_with(seed);
            let file = with_directory(&disk);
            disk.write_all_at(&file, &[7; BLOCK], 0).unwrap();
            disk.set_attribute(&file, "user.a", b"1").unwrap();
            match (data, attributes) {
                (true, true) => disk.sync_all(&file).unwrap(),
                (true, false) => disk.sync_data(&file).unwrap(),
                (false, _) => {}
            }
            disk.link(&file, Path::new("/d/f")).unwrap();
            if name {
                disk.sync_dir(Path::new("/d")).unwrap();
            }
            let after = disk.crash();
            let Ok(file) = after.open(Path::new("/d/f"), ReadMode::Buffered) else { return false };
            let has_attribute = after.attribute(&file, "user.a").unwrap().is_some();
            after.contents(Path::new("/d/f")).unwrap() == [7; BLOCK] && has_attribute
        };
        let survived = (0..200).filter(|&seed| survives(seed)).count();
        assert!(survived < 200, "data {data}, attributes {attributes}, name {name}: nothing was ever lost");
    }
}

#[test]
fn the_same_seed_crashes_the_same_way() {
    let left = |seed| {
        let disk = disk_with(seed);
        for number in 0..20 {
            let file = with_directory(&disk);
            disk.write_all_at(&file, &[number; 3 * BLOCK], 0).unwrap();
            disk.link(&file, &Path::new("/d").join(number.to_string())).unwrap();
        }
        let after = disk.crash();
        let files = after.files();
        let contents: Vec<_> = files.iter().map(|path| after.contents(path)).collect();
        (files, contents)
    };
    assert_eq!(left(5), left(5));
    assert_ne!(left(5), left(6));
}

#[test]
fn a_removal_that_was_not_made_durable_may_come_undone() {
    let came_back = (0..100).filter(|&seed| {
        let disk = disk_with(seed);
        let file = with_directory(&disk);
        disk.sync_all(&file).unwrap();
        disk.link(&file, Path::new("/d/f")).unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        drop(file);
        disk.remove(Path::new("/d/f")).unwrap();
        !disk.crash().files().is_empty()
    });
    let came_back = came_back.count();
    assert!((1..100).contains(&came_back), "{came_back} of 100");
}

#[test]
fn after_the_crash_of_the_plan_every_call_fails() {
    let disk = disk_with(0);
    let file = with_directory(&disk);
    disk.set_faults(FaultPlan::none().crash_at(2));
    disk.write_all_at(&file, b"one", 0).unwrap();
    assert!(disk.write_all_at(&file, b"two", 0).is_err());
    assert!(disk.is_dead());
    assert_eq!(disk.sync_all(&file).unwrap_err().raw_os_error(), Some(libc::EIO));
}

#[test]
fn a_fault_hits_the_calls_it_is_meant_for_as_often_as_planned() {
    let disk = disk_with(3);
    let file = with_directory(&disk);
    disk.set_faults(FaultPlan::none().fail(Call::SetAttribute, 0.5, Errno::IO));
    let failed = (0..200).filter(|_| disk.set_attribute(&file, "user.a", b"").is_err()).count();
    assert!((60..140).contains(&failed), "{failed} of 200");
    for _ in 0..200 {
        disk.metadata(&file).unwrap();
    }
}

#[test]
fn a_full_disk_says_so_and_has_room_again_when_a_file_goes() {
    // Room for two directories, "/" and "/d", and eight blocks.
    let capacity_bytes = 10 * PAGE_BYTES;
    let disk = SimDisk::new(SimDiskConfig { capacity_bytes, ..SimDiskConfig::default() });
    let file = with_directory(&disk);
    disk.allocate(&file, 0, 8 * PAGE_BYTES).unwrap();
    assert_eq!(disk.space(Path::new("/d")).unwrap().free, 0);
    let error = disk.allocate(&file, 8 * PAGE_BYTES, 1).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(
        disk.write_all_at(&file, b"x", 8 * PAGE_BYTES).unwrap_err().raw_os_error(),
        Some(libc::ENOSPC)
    );
    drop(file);
    assert_eq!(disk.space(Path::new("/d")).unwrap().free, 8 * PAGE_BYTES);
}

#[test]
fn direct_io_must_be_aligned_and_buffered_need_not() {
    let disk = disk_with(0);
    let file = with_directory(&disk);
    disk.allocate(&file, 0, 4 * PAGE_BYTES).unwrap();
    let raw = file.raw();
    disk.ring_write(raw, b"unaligned", 3).unwrap();
    assert!(disk.set_direct(&file, true).unwrap());
    let cases: [(usize, u64, bool); 4] =
        [(BLOCK, PAGE_BYTES, true), (2 * BLOCK, 0, true), (BLOCK, 1, false), (BLOCK - 1, 0, false)];
    for (length, offset, good) in cases {
        assert_eq!(disk.ring_write(raw, &vec![1; length], offset).is_ok(), good, "{length} at {offset}");
        assert_eq!(disk.ring_read(raw, &mut vec![0; length], offset).is_ok(), good, "{length} at {offset}");
    }
}

#[test]
fn the_ring_may_not_write_where_nothing_was_allocated() {
    let disk = disk_with(0);
    let file = with_directory(&disk);
    disk.allocate(&file, 0, PAGE_BYTES).unwrap();
    disk.ring_write(file.raw(), &[1; BLOCK], 0).unwrap();
    let error = disk.ring_write(file.raw(), &[1; BLOCK], PAGE_BYTES).unwrap_err();
    assert_eq!(error.to_string(), "write of 4096 bytes at 4096, where no space was allocated");
}

#[test]
fn a_disk_without_direct_io_refuses_it() {
    let disk = SimDisk::new(SimDiskConfig { direct: false, ..SimDiskConfig::default() });
    let file = with_directory(&disk);
    assert!(!disk.set_direct(&file, true).unwrap());
    assert_eq!(disk.reopen(&file, ReadMode::Direct).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_flipped_bit_is_there_before_and_after_a_crash() {
    let disk = disk_with(0);
    let file = with_directory(&disk);
    disk.write_all_at(&file, &[0; 10], 0).unwrap();
    disk.sync_all(&file).unwrap();
    disk.link(&file, Path::new("/d/f")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    assert!(disk.corrupt(Path::new("/d/f"), 7, 3));
    assert!(!disk.corrupt(Path::new("/d/f"), 10, 3));
    assert_eq!(disk.contents(Path::new("/d/f")).unwrap()[7], 8);
    assert_eq!(disk.crash().contents(Path::new("/d/f")).unwrap()[7], 8);
}

#[test]
fn open_files_are_counted_until_the_last_handle_goes() {
    let disk = disk_with(0);
    let file = with_directory(&disk);
    let second = file.clone();
    assert_eq!(disk.open_handles(), 1);
    drop(file);
    assert_eq!(disk.open_handles(), 1);
    drop(second);
    assert_eq!(disk.open_handles(), 0);
}
