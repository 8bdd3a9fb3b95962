use super::*;
use crate::engine::sim::disk::{SimDisk, SimDiskConfig};

const MIB: u64 = 1 << 20;

/// The space of a pool on a file system of 100 MiB, of which one block is the root's.
fn space(capacity: Option<u64>, margin: u64) -> Space {
    let disk = SimDisk::new(SimDiskConfig { capacity_bytes: 100 * MIB + 4096, ..SimDiskConfig::default() });
    Space::new(Arc::new(disk), "p1", Path::new("/"), capacity, margin, 0)
}

fn available(space: &Space) -> u64 {
    space.status().unwrap().available
}

#[test]
fn a_promise_lowers_what_others_can_have_and_goes_back_when_it_is_dropped() {
    let space = space(Some(10 * MIB), 0);
    let reservation = space.reserve(4 * MIB).unwrap();
    assert_eq!(available(&space), 6 * MIB);
    drop(reservation);
    assert_eq!(available(&space), 10 * MIB);
}

#[test]
fn what_does_not_fit_is_refused_with_what_there_is() {
    let space = space(Some(10 * MIB), 0);
    let _held = space.reserve(9 * MIB).unwrap();
    let error = space.reserve(2 * MIB).unwrap_err();
    assert_eq!(error.to_string(), "pool p1 has 1048576 bytes available, 2097152 are needed");
}

#[test]
fn of_quota_and_file_system_the_smaller_counts() {
    assert_eq!(available(&space(Some(10 * MIB), 0)), 10 * MIB);
    assert_eq!(available(&space(Some(1000 * MIB), 0)), 100 * MIB);
    assert_eq!(available(&space(None, 0)), 100 * MIB);
}

#[test]
fn other_limits_count_at_once_and_take_nothing_back() {
    let space = space(Some(10 * MIB), 0);
    let held = space.reserve(9 * MIB).unwrap();
    space.set_limits(Some(40 * MIB), 0);
    assert_eq!(available(&space), 31 * MIB);
    space.set_limits(Some(4 * MIB), 0);
    assert_eq!((available(&space), held.bytes()), (0, 9 * MIB));
    space.set_limits(None, 30 * MIB);
    assert_eq!(available(&space), 61 * MIB);
}

#[test]
fn the_margin_is_never_given_away() {
    let space = space(None, 30 * MIB);
    assert_eq!(available(&space), 70 * MIB);
    assert!(space.reserve(70 * MIB + 1).is_err());
    let _all = space.reserve(70 * MIB).unwrap();
    assert!(space.reserve(1).is_err());
}

#[test]
fn a_promise_that_the_file_system_has_kept_is_not_counted_twice() {
    // Given a promise of 40 MiB
    let space = space(None, 0);
    let mut reservation = space.reserve(40 * MIB).unwrap();
    assert_eq!(available(&space), 60 * MIB);
    // When the file system hands all of it out
    let disk = &space.inner.disk;
    let file = disk.create_unnamed(Path::new("/")).unwrap();
    disk.allocate(&file, 0, 40 * MIB).unwrap();
    reservation.placed(40 * MIB);
    // Then others can have what they could before
    assert_eq!(available(&space), 60 * MIB);
    // And when half of it is given back, on both sides
    disk.truncate(&file, 20 * MIB).unwrap();
    reservation.commit(20 * MIB);
    let status = space.status().unwrap();
    assert_eq!((status.used, status.reserved, status.available), (20 * MIB, 0, 80 * MIB));
}

#[test]
fn a_promise_can_be_shrunk_and_grown_and_a_growth_that_fails_changes_nothing() {
    let space = space(Some(10 * MIB), 0);
    let mut reservation = space.reserve(4 * MIB).unwrap();
    reservation.shrink(MIB);
    reservation.grow(6 * MIB).unwrap();
    assert_eq!(reservation.bytes(), 9 * MIB);
    assert!(reservation.grow(2 * MIB).is_err());
    assert_eq!((reservation.bytes(), available(&space)), (9 * MIB, MIB));
    reservation.shrink(100 * MIB);
    assert_eq!((reservation.bytes(), available(&space)), (0, 10 * MIB));
}

#[test]
fn a_growth_of_unknown_use_leaves_half_to_others_when_space_is_short() {
    let space = space(Some(10 * MIB), 0);
    let mut reservation = space.reserve_nothing();
    // Plenty: all that was wished for.
    assert_eq!(reservation.grow_between(4096, 2 * MIB).unwrap(), 2 * MIB);
    // Short: half.
    assert_eq!(reservation.grow_between(4096, 64 * MIB).unwrap(), 4 * MIB);
    // But what is needed, is given.
    assert_eq!(reservation.grow_between(3 * MIB, 64 * MIB).unwrap(), 3 * MIB);
    assert!(reservation.grow_between(2 * MIB, 64 * MIB).is_err());
}

#[test]
fn what_is_used_follows_files_that_grow_and_shrink() {
    let space = space(Some(10 * MIB), 0);
    space.changed(0, 3 * MIB);
    space.changed(3 * MIB, 2 * MIB);
    assert_eq!(space.status().unwrap().used, 2 * MIB);
    assert_eq!(available(&space), 8 * MIB);
}
