//! Stories of verification, on files of a temporary directory and a clock that is turned by hand.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::io::Errno;
use tempfile::TempDir;

use super::background::{ScrubSettings, ScrubState, ScrubStatus, Shared};
use super::buffer::Buffer;
use super::reading::{Reading, Step};
use super::settle;
use super::verify::verify;
use super::walk::{Next, Walk};
use crate::checksum::{Algorithm, AlgorithmSet, BLOCK_SIZE_BYTES, BlockChecksums, Hasher};
use crate::engine::disk::KernelDisk;
use crate::engine::sim::disk::{SimDisk, SimDiskConfig};
use crate::engine::sim::faults::{Call, FaultPlan};
use crate::store::{Commit, ReplicaId, ReplicaStat, ReplicaState, Store, StoreConfig, UploadSpec};
use crate::transfer::{Clock, ManualClock};

const MIB: u64 = 1 << 20;
/// Fast enough to be out of the way where the rate is not what a story is about.
const FAST: u64 = 1 << 40;
const DAY: Duration = Duration::from_secs(86_400);

struct Scene {
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    shared: Arc<Shared>,
    walk: Walk,
    settings: ScrubSettings,
    dir: TempDir,
}

fn open(root: &Path) -> Arc<Store> {
    let config = StoreConfig {
        root: root.to_owned(),
        pool_name: "p".into(),
        capacity: None,
        reserve_bytes: 0,
        max_file_size: None,
        direct: true,
    };
    Arc::new(Store::open_root(Arc::new(KernelDisk), &config).unwrap())
}

impl Scene {
    fn new() -> Self {
        Self::at_rate(FAST)
    }

    fn at_rate(rate: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = ScrubSettings { rate_bytes_per_second: NonZeroU64::new(rate), period: 30 * DAY };
        let clock = Arc::new(ManualClock::default());
        let (store, shared, walk) = Self::begin(dir.path(), settings, &clock);
        Self { store, clock, shared, walk, settings, dir }
    }

    fn begin(
        root: &Path,
        settings: ScrubSettings,
        clock: &Arc<ManualClock>,
    ) -> (Arc<Store>, Arc<Shared>, Walk) {
        let store = open(root);
        let shared = Arc::new(Shared::new(&store, settings, clock.clone()));
        let walk = Walk::new(Arc::clone(&store), Arc::clone(&shared));
        (store, shared, walk)
    }

    /// The daemon ends and starts again.
    fn restart(self) -> Self {
        let Self { store, clock, shared, mut walk, settings, dir } = self;
        shared.desk().ending = true;
        assert_eq!(walk.step(), Next::End);
        drop((store, shared, walk));
        let (store, shared, walk) = Self::begin(dir.path(), settings, &clock);
        Self { store, clock, shared, walk, settings, dir }
    }

    /// Brings a replica into the store as an upload does.
    fn store(&self, name: &str, data: &[u8]) -> ReplicaId {
        self.store_with(name, data, &[Algorithm::Adler32], true)
    }

    fn store_with(&self, name: &str, data: &[u8], algorithms: &[Algorithm], blocks: bool) -> ReplicaId {
        let id = ReplicaId::new(name).unwrap();
        let spec = UploadSpec {
            replica: id.clone(),
            transfer: "t".into(),
            path: "/p".into(),
            class: String::new(),
            size: Some(data.len() as u64),
            maximum_size: None,
        };
        let checksum = |algorithm: &Algorithm| {
            let mut hasher = Hasher::new(*algorithm);
            hasher.update(data);
            (algorithm.name().to_owned(), hasher.finish().hex().to_string())
        };
        let commit = Commit {
            size: data.len() as u64,
            checksums: algorithms.iter().map(checksum).collect::<BTreeMap<_, _>>(),
            blocks: if blocks { block_checksums(data) } else { Vec::new() },
            created_at: self.now(),
        };
        self.store.begin_upload(spec).unwrap().commit_small(data, commit).unwrap();
        id
    }

    fn now(&self) -> Timestamp {
        Timestamp::try_from(self.clock.now().wall()).unwrap()
    }

    fn stat(&self, id: &ReplicaId) -> ReplicaStat {
        self.store.stat(id).unwrap()
    }

    fn start(&self) {
        self.shared.start(false, None).unwrap();
    }

    fn status(&self) -> ScrubStatus {
        self.shared.status(self.store.counts().all)
    }

    /// Works, and turns the clock whenever the scrub waits, until the pass has ended.
    fn finish_pass(&mut self) -> ScrubStatus {
        self.work_while(|status| status.state == ScrubState::Running)
    }

    fn work_while(&mut self, go_on: impl Fn(&ScrubStatus) -> bool) -> ScrubStatus {
        for _ in 0..100_000 {
            let status = self.status();
            if !go_on(&status) {
                return status;
            }
            match self.walk.step() {
                Next::Step => {}
                Next::Wait(wait) => self.clock.advance(wait),
                Next::End => panic!("nobody has ended it"),
            }
        }
        panic!("the scrub does not come to an end: {:?}", self.status());
    }

    fn flip_bit(&self, id: &ReplicaId, byte: u64, bit: u8) {
        let path = find(&self.dir.path().join("data"), id.as_str()).expect("the replica has a file");
        // Opened for writing, so that the page cache and the disk agree on the damage.
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut at = [0];
        file.read_exact_at(&mut at, byte).unwrap();
        file.write_all_at(&[at[0] ^ (1 << bit)], byte).unwrap();
        file.sync_all().unwrap();
    }
}

fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(Result::unwrap).find_map(|entry| {
        if entry.file_type().unwrap().is_dir() {
            find(&entry.path(), name)
        } else {
            (entry.file_name() == name).then(|| entry.path())
        }
    })
}

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 7) as u8).collect()
}

fn block_checksums(data: &[u8]) -> Vec<u32> {
    let mut blocks = BlockChecksums::new();
    blocks.update(data);
    blocks.finish()
}

#[test]
fn what_comes_after_a_pass_has_begun_is_for_the_next_one() {
    let mut scene = Scene::new();
    let old = scene.store("a", b"old");
    scene.start();
    scene.clock.advance(Duration::from_secs(1));
    let new = scene.store("b", b"new");
    let status = scene.finish_pass();
    assert_eq!((status.replicas_verified, status.done), (1, 1.0));
    assert!(scene.stat(&old).attributes.verified_at.is_some());
    assert!(scene.stat(&new).attributes.verified_at.is_none());
    scene.clock.advance(Duration::from_secs(1));
    scene.start();
    assert_eq!(scene.finish_pass().replicas_verified, 2);
}

#[test]
fn a_pass_verifies_every_replica_and_says_when() {
    let mut scene = Scene::new();
    let ids = [
        scene.store("small", b"abc"),
        scene.store("empty", b""),
        scene.store("large", &bytes(3 * BLOCK_SIZE_BYTES + 5, 1)),
    ];
    scene.start();
    let status = scene.finish_pass();
    assert_eq!((status.replicas_verified, status.replicas_found_broken, status.replicas_skipped), (3, 0, 0));
    assert_eq!(status.bytes_verified, 3 + 3 * MIB + 5);
    assert_eq!((status.state, status.done, status.passes), (ScrubState::Idle, 1.0, 1));
    for id in &ids {
        assert!(scene.stat(id).attributes.verified_at.is_some(), "{id}");
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is_and_named() {
    let length = 2 * BLOCK_SIZE_BYTES + 100;
    for byte in [0, MIB - 1, MIB, 2 * MIB + 99] {
        let mut scene = Scene::new();
        let id = scene.store("r", &bytes(length, 7));
        let good = scene.store("good", b"abc");
        scene.flip_bit(&id, byte, (byte % 8) as u8);
        scene.start();
        let status = scene.finish_pass();
        assert_eq!((status.replicas_verified, status.replicas_found_broken), (2, 1), "byte {byte}");
        let attributes = scene.stat(&id).attributes;
        assert_eq!(attributes.state, ReplicaState::Broken);
        let because = attributes.broken_because.unwrap();
        let block = byte / MIB;
        let last = ((block + 1) * MIB).min(length as u64) - 1;
        let place = format!("block {block} (bytes {}-{last}) has crc32c ", block * MIB);
        assert!(because.starts_with(&place) && because.contains("adler32 of the file is"), "{because}");
        assert_eq!(scene.stat(&good).attributes.state, ReplicaState::Ready);
    }
}

#[test]
fn without_checksums_of_blocks_the_whole_files_decide_and_the_blocks_get_theirs() {
    let mut scene = Scene::new();
    let data = bytes(BLOCK_SIZE_BYTES + 1, 3);
    let good = scene.store_with("good", &data, &[Algorithm::Adler32, Algorithm::Md5], false);
    let bad = scene.store_with("bad", &data, &[Algorithm::Sha256], false);
    scene.flip_bit(&bad, MIB, 3);
    scene.start();
    scene.finish_pass();
    let blocks = scene.store.open(&good).unwrap().blocks().expect("they are filled in");
    assert_eq!(blocks.to_vec(), block_checksums(&data));
    assert!(
        scene.store.open(&bad).unwrap().blocks().is_none_or(|blocks| blocks.is_empty()),
        "nothing is learnt from a broken one"
    );
    let because = scene.stat(&bad).attributes.broken_because.unwrap();
    assert!(because.starts_with("sha256 of the file is "), "{because}");
}

#[test]
fn replicas_without_checksums_of_blocks_come_first() {
    let mut scene = Scene::at_rate(MIB);
    let first = scene.store("a", &bytes(BLOCK_SIZE_BYTES, 1));
    let unchecked = scene.store_with("z", &bytes(BLOCK_SIZE_BYTES, 2), &[Algorithm::Adler32], false);
    scene.start();
    scene.work_while(|status| status.replicas_verified == 0);
    assert!(scene.stat(&unchecked).attributes.verified_at.is_some());
    assert!(scene.stat(&first).attributes.verified_at.is_none());
    assert_eq!(scene.finish_pass().replicas_verified, 2, "each is read once");
}

#[test]
fn checksums_of_blocks_that_are_not_the_files_are_made_anew_if_its_own_agree() {
    let mut scene = Scene::new();
    let data = bytes(2 * BLOCK_SIZE_BYTES, 4);
    let id = scene.store("r", &data);
    scene.store.set_blocks(&id, vec![1, 2]).unwrap();
    scene.start();
    assert_eq!(scene.finish_pass().replicas_found_broken, 0);
    assert_eq!(scene.stat(&id).attributes.state, ReplicaState::Ready);
    assert_eq!(scene.store.open(&id).unwrap().blocks().unwrap().to_vec(), block_checksums(&data));
}

#[test]
fn the_rate_is_kept() {
    let mut scene = Scene::at_rate(2 * MIB);
    for name in ["a", "b", "c", "d"] {
        scene.store(name, &bytes(5 * BLOCK_SIZE_BYTES, 1));
    }
    scene.start();
    let start = scene.clock.now();
    scene.finish_pass();
    let seconds = scene.clock.now().since(start).as_secs_f64();
    // 20 MiB at 2 MiB/s, and what opening costs; the last block is not waited for.
    assert!((9.0..=10.5).contains(&seconds), "{seconds} s");
}

#[test]
fn a_pass_may_have_a_rate_of_its_own() {
    let mut scene = Scene::at_rate(FAST);
    scene.store("a", &bytes(9 * BLOCK_SIZE_BYTES, 1));
    scene.shared.start(false, NonZeroU64::new(MIB)).unwrap();
    assert_eq!(scene.status().rate_bytes_per_second, NonZeroU64::new(MIB));
    let start = scene.clock.now();
    let status = scene.finish_pass();
    assert!(scene.clock.now().since(start) >= Duration::from_secs(7));
    assert_eq!(status.rate_bytes_per_second, NonZeroU64::new(FAST), "the next one is as configured");
}

#[test]
fn what_transfers_use_is_left_out_and_tried_once_more_at_the_end() {
    let mut scene = Scene::new();
    for name in ["a", "b", "c"] {
        scene.store(name, &bytes(BLOCK_SIZE_BYTES, 1));
    }
    let id = |name| ReplicaId::new(name).unwrap();
    let read_for_ever = scene.store.open(&id("a")).unwrap();
    let read_for_a_while = scene.store.open(&id("b")).unwrap();
    scene.start();
    scene.work_while(|status| status.replicas_verified == 0);
    assert_eq!(scene.status().replicas_skipped, 2);
    drop(read_for_a_while);
    let status = scene.finish_pass();
    assert_eq!((status.replicas_verified, status.replicas_skipped), (2, 1));
    assert!(scene.stat(&id("b")).attributes.verified_at.is_some());
    assert!(read_for_ever.attributes().verified_at.is_none());
}

#[test]
fn a_replica_that_a_transfer_opens_in_the_middle_is_left_to_it() {
    let mut scene = Scene::at_rate(MIB);
    let id = scene.store("a", &bytes(4 * BLOCK_SIZE_BYTES, 1));
    scene.start();
    scene.work_while(|status| status.bytes_verified < 2 * MIB);
    let replica = scene.store.open(&id).unwrap();
    let status = scene.finish_pass();
    assert_eq!((status.replicas_verified, status.replicas_skipped), (0, 1));
    assert_eq!(status.bytes_verified, 2 * MIB, "nothing more is read of it");
    drop(replica);
}

#[test]
fn the_scrub_does_not_count_as_a_reader() {
    let mut scene = Scene::at_rate(MIB);
    let id = scene.store("a", &bytes(4 * BLOCK_SIZE_BYTES, 1));
    scene.start();
    scene.work_while(|status| status.bytes_verified < MIB);
    assert_eq!(scene.store.readers(&id), 0);
}

#[test]
fn a_replica_that_is_deleted_in_the_middle_is_nobodys_fault() {
    let mut scene = Scene::at_rate(MIB);
    let id = scene.store("a", &bytes(4 * BLOCK_SIZE_BYTES, 1));
    scene.start();
    scene.work_while(|status| status.bytes_verified < 2 * MIB);
    scene.store.delete(&id).unwrap();
    let status = scene.finish_pass();
    assert_eq!((status.replicas_verified, status.replicas_found_broken), (0, 0));
}

#[test]
fn a_stopped_pass_goes_on_where_it_was() {
    let mut scene = Scene::at_rate(MIB);
    for name in ["a", "b", "c", "d"] {
        scene.store(name, &bytes(BLOCK_SIZE_BYTES, 1));
    }
    scene.start();
    scene.work_while(|status| status.replicas_verified < 2);
    scene.shared.stop();
    assert_eq!(scene.status().state, ScrubState::Stopped);
    for _ in 0..3 {
        let Next::Wait(wait) = scene.walk.step() else { panic!("it works on") };
        scene.clock.advance(wait);
    }
    assert_eq!(scene.status().bytes_verified, 2 * MIB);
    scene.start();
    let status = scene.finish_pass();
    assert_eq!((status.replicas_verified, status.bytes_verified), (4, 4 * MIB));
}

#[test]
fn a_restart_begins_with_the_first_replica() {
    let mut scene = Scene::at_rate(MIB);
    for name in ["a", "b"] {
        scene.store(name, &bytes(BLOCK_SIZE_BYTES, 1));
    }
    scene.start();
    scene.work_while(|status| status.replicas_verified < 1);
    scene.clock.advance(Duration::from_secs(1));
    scene.shared.start(true, None).unwrap();
    assert_eq!(scene.status().replicas_verified, 0);
    assert_eq!(scene.finish_pass().replicas_verified, 2);
}

#[test]
fn a_pass_survives_the_daemons_end_and_goes_on_a_minute_after_its_start() {
    let mut scene = Scene::at_rate(MIB);
    for name in ["a", "b", "c", "d"] {
        scene.store(name, &bytes(BLOCK_SIZE_BYTES, 1));
    }
    scene.start();
    let before = scene.work_while(|status| status.replicas_verified < 3);

    let mut scene = scene.restart();

    let status = scene.status();
    assert_eq!((status.state, status.replicas_verified), (ScrubState::Idle, 3));
    assert_eq!(status.pass_started_at, before.pass_started_at);
    assert_eq!(status.next_pass_at, Some(scene.clock.now().wall() + Duration::from_secs(60)));
    assert_eq!(scene.walk.step(), Next::Wait(Duration::from_secs(60)));
    scene.clock.advance(Duration::from_secs(60));
    let status = scene.finish_pass();
    assert_eq!((status.replicas_verified, status.bytes_verified), (4, 4 * MIB), "none is read twice");
}

#[test]
fn what_was_stopped_stays_so_over_the_daemons_end() {
    let mut scene = Scene::at_rate(MIB);
    scene.store("a", &bytes(BLOCK_SIZE_BYTES, 1));
    scene.start();
    scene.shared.stop();
    scene.walk.step();
    let mut scene = scene.restart();
    scene.clock.advance(90 * DAY);
    assert!(matches!(scene.walk.step(), Next::Wait(_)));
    assert_eq!((scene.status().state, scene.status().next_pass_at), (ScrubState::Stopped, None));
}

#[test]
fn a_clock_that_was_years_ahead_and_is_set_right_does_not_put_the_scrub_off_for_years() {
    let mut scene = Scene::new();
    scene.store("a", b"abc");
    let right = scene.clock.now().wall();
    scene.clock.set_wall(right + 3000 * DAY);
    scene.start();
    let wrong = scene.finish_pass();
    assert!(wrong.pass_started_at.unwrap() >= right + 3000 * DAY);

    scene.clock.set_wall(right);

    // It is due, and runs by itself.
    let status = scene.work_while(|status| status.pass_started_at.unwrap() > right + 2000 * DAY);
    assert!(status.pass_started_at.unwrap() < right + DAY, "{status:?}");
    let status = scene.finish_pass();
    assert_eq!(status.next_pass_at, Some(status.pass_started_at.unwrap() + 30 * DAY));
}

#[test]
fn passes_start_by_themselves_once_in_a_period() {
    let mut scene = Scene::new();
    scene.store("a", b"abc");
    // Right after the start of the daemon there are better things to do.
    assert_eq!(scene.walk.step(), Next::Wait(Duration::from_secs(60)));
    scene.clock.advance(Duration::from_secs(60));
    scene.walk.step();
    let status = scene.finish_pass();
    assert_eq!(status.passes, 1);
    assert_eq!(status.next_pass_at, Some(status.pass_started_at.unwrap() + 30 * DAY));
    let Next::Wait(wait) = scene.walk.step() else { panic!("a pass a month is enough") };
    assert!(wait > 29 * DAY && wait <= 30 * DAY, "{wait:?}");
    scene.clock.advance(wait);
    scene.walk.step();
    assert_eq!(scene.finish_pass().passes, 2);
}

#[test]
fn a_scrub_that_is_switched_off_needs_a_rate_to_be_started_with() {
    let mut scene = Scene::at_rate(0);
    scene.store("a", b"abc");
    scene.clock.advance(90 * DAY);
    assert!(matches!(scene.walk.step(), Next::Wait(_)));
    assert_eq!((scene.status().state, scene.status().next_pass_at), (ScrubState::Idle, None));
    assert!(scene.shared.start(false, None).is_err());
    scene.shared.start(false, NonZeroU64::new(FAST)).unwrap();
    assert_eq!(scene.finish_pass().passes, 1);
}

#[test]
fn broken_replicas_are_left_to_those_who_repair_them() {
    let mut scene = Scene::new();
    let id = scene.store("a", b"abc");
    scene.store.set_state(&id, ReplicaState::Broken, Some("x")).unwrap();
    scene.start();
    let status = scene.finish_pass();
    assert_eq!((status.replicas_verified, status.replicas_found_broken), (0, 0));
    assert_eq!(scene.stat(&id).attributes.broken_because.as_deref(), Some("x"));
}

#[test]
fn a_verified_replica_is_whole_again() {
    let scene = Scene::new();
    let id = scene.store("a", &bytes(BLOCK_SIZE_BYTES + 1, 5));
    scene.flip_bit(&id, MIB, 0);
    let nothing = AlgorithmSet::EMPTY;
    let verification = verify(&scene.store, &id, nothing, |_, _| true).unwrap().unwrap();
    assert!(!verification.good);
    assert_eq!(verification.problems.len(), 2, "{:?}", verification.problems);
    assert_eq!(scene.stat(&id).attributes.state, ReplicaState::Broken);

    scene.flip_bit(&id, MIB, 0);
    let verification = verify(&scene.store, &id, nothing, |_, _| true).unwrap().unwrap();
    assert!(verification.good, "{:?}", verification.problems);
    let attributes = scene.stat(&id).attributes;
    assert_eq!((attributes.state, attributes.broken_because), (ReplicaState::Ready, None));
    assert!(attributes.verified_at.is_some());
}

/// A replica "r" of two blocks on a simulated disk.
fn simulated() -> (SimDisk, Store, ReplicaId) {
    let disk = SimDisk::new(SimDiskConfig::default());
    let config = StoreConfig {
        root: "/pool".into(),
        pool_name: "p".into(),
        capacity: None,
        reserve_bytes: 0,
        max_file_size: None,
        direct: true,
    };
    let store = Store::open_root(Arc::new(disk.clone()), &config).unwrap();
    let data = bytes(2 * BLOCK_SIZE_BYTES, 9);
    let id = ReplicaId::new("r").unwrap();
    let spec = UploadSpec {
        replica: id.clone(),
        transfer: "t".into(),
        path: "/p".into(),
        class: String::new(),
        size: Some(data.len() as u64),
        maximum_size: None,
    };
    let mut adler32 = Hasher::new(Algorithm::Adler32);
    adler32.update(&data);
    let commit = Commit {
        size: data.len() as u64,
        checksums: BTreeMap::from([("adler32".to_owned(), adler32.finish().hex().to_string())]),
        blocks: block_checksums(&data),
        created_at: Timestamp::UNIX_EPOCH,
    };
    store.begin_upload(spec).unwrap().commit_small(&data, commit).unwrap();
    (disk, store, id)
}

#[test]
fn what_the_disk_does_not_give_is_suspect_and_served_still() {
    let (disk, store, id) = simulated();
    let mut reading = Reading::open(&store, &id, AlgorithmSet::EMPTY).unwrap();
    let mut buffer = Buffer::new();
    assert!(matches!(reading.step(&disk, &mut buffer).unwrap(), Step::More { bytes: MIB }));

    disk.set_faults(FaultPlan::none().fail(Call::Read, 1.0, Errno::IO));
    let error = reading.step(&disk, &mut buffer).unwrap_err();
    disk.set_faults(FaultPlan::none());
    settle::suspect(&store, &reading, &error).unwrap();

    let attributes = store.stat(&id).unwrap().attributes;
    assert_eq!(attributes.state, ReplicaState::Ready);
    let because = attributes.suspect_because.unwrap();
    assert!(because.starts_with("cannot be read from byte 1048576 on: "), "{because}");
    // It was the cable: all is well again.
    assert!(verify(&store, &id, AlgorithmSet::EMPTY, |_, _| true).unwrap().unwrap().good);
    assert_eq!(store.stat(&id).unwrap().attributes.suspect_because, None);
}

#[test]
fn what_is_right_at_the_second_reading_is_not_broken_but_suspect() {
    let scene = Scene::new();
    let id = scene.store_with("r", &bytes(BLOCK_SIZE_BYTES, 9), &[Algorithm::Adler32], false);
    // Whoever holds it open knows it by what it was then.
    let held = scene.store.open(&id).unwrap();
    let mut reading = Reading::open(&scene.store, &id, AlgorithmSet::EMPTY).unwrap();
    let (disk, mut buffer) = (Arc::clone(scene.store.disk()), Buffer::new());
    // Given bytes that come wrong when the file is read first, and right when it is read again
    scene.flip_bit(&id, 7, 3);
    assert!(matches!(reading.step(&*disk, &mut buffer).unwrap(), Step::More { bytes: MIB }));
    scene.flip_bit(&id, 7, 3);
    let Step::Ended { judgement, .. } = reading.step(&*disk, &mut buffer).unwrap() else {
        panic!("it has been read twice")
    };

    let settled = settle::settle(&scene.store, &reading, &judgement, scene.now()).unwrap();

    assert_eq!(settled, settle::Settled::Good);
    let attributes = held.attributes();
    assert_eq!(attributes.state, ReplicaState::Ready);
    let because = attributes.suspect_because.unwrap();
    assert!(
        because.starts_with("read wrong once, and right when read again: adler32 of the file is "),
        "{because}"
    );
}
