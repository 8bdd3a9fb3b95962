//! Copies of a pool's own replicas.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use penstock_door_proto::v1;
use v1::transfer_request::Kind;

use super::{PATIENCE, Stage, bytes};
use crate::checksum::Algorithm;
use crate::store::{ReplicaId, ReplicaState};
use crate::transfer::state::StateName;
use crate::transfer::{FailureCode, Transfer};

impl Stage {
    fn copy(&self, wanted: &[v1::ChecksumAlgorithm]) -> Arc<Transfer> {
        self.copy_limited(wanted, 0)
    }

    fn copy_limited(&self, wanted: &[v1::ChecksumAlgorithm], bytes_per_second: u64) -> Arc<Transfer> {
        let copy = v1::LocalCopy {
            source_replica_id: "r0".into(),
            wanted_checksums: wanted.iter().map(|algorithm| (*algorithm).into()).collect(),
        };
        self.start_limited("r1", Kind::LocalCopy(copy), bytes_per_second)
    }

    /// Changes one byte of a replica behind the store's back, where the disk keeps it.
    fn spoil(&self, replica: &str, offset: u64) {
        let id = ReplicaId::new(replica).unwrap();
        let path = self.store.open(&id).unwrap();
        let raw = path.file().raw();
        let file = std::fs::OpenOptions::new().write(true).open(format!("/proc/self/fd/{raw}")).unwrap();
        let mut byte = [0];
        std::fs::File::open(format!("/proc/self/fd/{raw}"))
            .unwrap()
            .read_exact_at(&mut byte, offset)
            .unwrap();
        file.write_all_at(&[!byte[0]], offset).unwrap();
        file.sync_all().unwrap();
    }
}

#[test]
fn a_copy_of_any_size_is_whole_and_has_the_checksums_of_the_original() {
    for size in [0, 1, 4096, 1 << 20, 5_000_001] {
        let (stage, file) = (Stage::new(), bytes(size));
        stage.store("r0", &file);

        let finished = stage.succeeds(&stage.copy(&[]));

        assert!(stage.stored("r1").unwrap() == file, "{size}");
        assert!(stage.stored("r0").unwrap() == file, "{size}: the original stays");
        assert_eq!(finished.size, size as u64);
        assert_eq!(finished.summary.bytes_moved, size as u64);
    }
}

#[test]
fn checksums_that_are_wanted_are_computed_on_the_way() {
    let (stage, file) = (Stage::new(), bytes(3_000_000));
    stage.store("r0", &file);

    let finished = stage.succeeds(&stage.copy(&[v1::ChecksumAlgorithm::Md5, v1::ChecksumAlgorithm::Sha256]));

    let algorithms: Vec<_> = finished.checksums.iter().map(|checksum| checksum.algorithm()).collect();
    for algorithm in [Algorithm::Adler32, Algorithm::Md5, Algorithm::Sha256] {
        assert!(algorithms.contains(&algorithm), "{algorithms:?}");
    }
    let copied = stage.store.open(&ReplicaId::new("r1").unwrap()).unwrap();
    assert!(copied.attributes().checksums.contains_key("md5"));
}

#[test]
fn a_damaged_original_is_found_out_and_not_copied() {
    let (stage, file) = (Stage::new(), bytes(3_000_000));
    stage.store("r0", &file);
    stage.spoil("r0", 2_000_000);

    // Bytes that are shared are not read; these are wanted.
    let failure = stage.fails(&stage.copy(&[v1::ChecksumAlgorithm::Md5]));

    assert_eq!(failure.code, FailureCode::ReplicaBroken, "{failure}");
    let original = stage.store.open(&ReplicaId::new("r0").unwrap()).unwrap();
    assert_eq!(original.state(), ReplicaState::Broken);
}

#[test]
fn an_original_that_is_not_there_or_is_broken_is_refused() {
    let stage = Stage::new();
    assert_eq!(stage.fails(&stage.copy(&[])).code, FailureCode::NotFound);
    stage.store("r0", &bytes(5000));
    stage.store.mark_broken(&ReplicaId::new("r0").unwrap(), "somebody said so").unwrap();
    assert_eq!(stage.fails(&stage.copy(&[])).code, FailureCode::ReplicaBroken);
}

#[test]
fn a_copy_that_is_called_off_leaves_nothing() {
    let (stage, file) = (Stage::new(), bytes(8 << 20));
    stage.store("r0", &file);
    // A minute at this rate; md5, so that bytes move at all where the file system could share them.
    let transfer = stage.copy_limited(&[v1::ChecksumAlgorithm::Md5], 128 << 10);
    stage.reaches(&transfer, StateName::Running);

    transfer.cancel("the story wants it");

    let began_at = std::time::Instant::now();
    while transfer.open_claims() > 0 {
        assert!(began_at.elapsed() < PATIENCE, "it is not let go of");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(transfer.state().name(), StateName::Cancelled);
    stage.no_replica_is_left();
    stage.nothing_is_left_in_use();
}
