//! Stories of replicas that are damaged, cached, evicted and changed, as a client of the data port sees them.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use penstock_door_proto::v1;
use rustix::io::Errno;

use super::*;
use crate::checksum::BlockChecksums;
use crate::engine::disk::Disk;
use crate::engine::sim::disk::{Cache, SimDisk, SimDiskConfig};
use crate::engine::sim::faults::{Call, FaultPlan};
use crate::engine::sim::ring::RingFaults;
use crate::engine::sim::world::World;
use crate::store::{Commit, StoreConfig, UploadSpec};
use crate::transfer::connection::TRANSFER_KEY;
use crate::transfer::simulated::client::read_as_client;
use crate::transfer::simulated::site::{PATH, REPLICA, port, serve};
use crate::transfer::{FailureCode, State};

const MIB: u64 = 1 << 20;
/// Three blocks, and a short one.
const SIZE: u64 = 3 * MIB + 5000;
const TURNS: usize = 1_000_000;
const TRACKED: Cache = Cache::Tracked { evicting: false };

/// A pool with one replica, in a world where nothing goes wrong by itself.
struct Site {
    world: World,
    disk: SimDisk,
    store: Arc<Store>,
    reading: Arc<Reading>,
    content: Vec<u8>,
    transfer: Option<Arc<Transfer>>,
    io_mode: IoMode,
    buffer_bytes: usize,
}

/// What a client got.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    /// All that it asked for, as it was stored.
    All,
    /// So many bytes, as they were stored, of what it asked for.
    Cut(u64),
    /// An error and its text.
    Refused(u16, String),
    /// Other bytes than were stored.
    Wrong,
}

impl Site {
    fn new(cache: Cache, verify: VerifyReads) -> Site {
        Self::with(SimDiskConfig { cache, ..SimDiskConfig::default() }, verify, IoMode::Direct, true)
    }

    fn with(config: SimDiskConfig, verify: VerifyReads, io_mode: IoMode, with_blocks: bool) -> Site {
        let seed = config.seed;
        let disk = SimDisk::new(config);
        let config = StoreConfig {
            root: PathBuf::from("/pool"),
            pool_name: "sim".into(),
            capacity: None,
            reserve_bytes: 0,
            max_file_size: None,
            direct: io_mode == IoMode::Direct,
        };
        let store = Arc::new(Store::open_root(Arc::new(disk.clone()), &config).unwrap());
        let content = content();
        upload(&store, &content, with_blocks);
        let world = World::new(seed, RingFaults::default(), disk.clone(), 4).unwrap();
        let reading = Arc::new(Reading::new(Arc::clone(&store), io_mode, verify));
        Site { world, disk, store, reading, content, transfer: None, io_mode, buffer_bytes: 100_000 }
    }

    fn file(&self) -> PathBuf {
        let name = Path::new(REPLICA).file_name();
        self.disk.files().into_iter().find(|path| path.file_name() == name).unwrap()
    }

    fn id(&self) -> ReplicaId {
        ReplicaId::new(REPLICA).unwrap()
    }

    fn get(&mut self, range: Range<u64>) -> Got {
        self.ask(&format!("bytes={}-{}", range.start, range.end - 1), range, v1::Get::default(), false)
    }

    fn ask(&mut self, ranges: &str, expected: Range<u64>, get: v1::Get, thinking: bool) -> Got {
        let (status, body, length) = self.answer(ranges, get, thinking);
        let expected = &self.content[expected.start as usize..expected.end as usize];
        match status {
            200 | 206 if body == expected => Got::All,
            200 | 206 if expected.starts_with(&body) && length == expected.len() => {
                Got::Cut(body.len() as u64)
            }
            200 | 206 => Got::Wrong,
            status => Got::Refused(status, String::from_utf8(body).unwrap()),
        }
    }

    fn answer(&mut self, ranges: &str, get: v1::Get, thinking: bool) -> (u16, Vec<u8>, usize) {
        let kind = v1::transfer_request::Kind::Get(get);
        let (port, transfer) = port(&self.store, &self.reading, self.io_mode, "get-1", kind);
        let (server, client) = self.world.connect(self.buffer_bytes);
        self.world.spawn(serve(port, server, false));
        let key = transfer.capability().expose();
        let request = format!(
            "GET {PATH}?{TRANSFER_KEY}={key} HTTP/1.1\r\nHost: pool\r\nRange: {ranges}\r\nConnection: close\r\n\r\n"
        );
        let received = Rc::new(RefCell::new(None));
        let result = Rc::clone(&received);
        self.world.spawn(async move {
            *result.borrow_mut() = read_as_client(&client.into(), request.into_bytes(), thinking).await.ok();
        });
        assert!(self.world.run(TURNS), "the download never ends");
        assert_eq!(self.world.panicked(), 0);
        assert_eq!(self.world.core().arena().used(), 0, "buffers are left in use");
        self.transfer = Some(transfer);
        received.borrow_mut().take().expect("an answer")
    }

    /// Of the last transfer.
    fn failure(&self) -> (FailureCode, String) {
        match self.transfer.as_ref().unwrap().state() {
            State::Failed(failed) => (failed.failure.code, failed.failure.text().to_owned()),
            other => panic!("the transfer has not failed but is {:?}", other.name()),
        }
    }

    fn state(&self) -> ReplicaState {
        self.store.stat(&self.id()).unwrap().attributes.state
    }

    fn evict(&self, range: Range<u64>) {
        let replica = self.store.open(&self.id()).unwrap();
        self.disk.drop_cached(replica.file(), range.start, range.end - range.start).unwrap();
    }

    fn count(&self, counter: impl Fn(&ReadCounters) -> &AtomicU64) -> u64 {
        counter(self.reading.counters()).load(Ordering::Relaxed)
    }
}

pub(super) fn content() -> Vec<u8> {
    (0..SIZE).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect()
}

pub(super) fn upload(store: &Store, content: &[u8], with_blocks: bool) {
    let size = content.len() as u64;
    let spec = UploadSpec {
        replica: ReplicaId::new(REPLICA).unwrap(),
        transfer: "put-1".into(),
        path: PATH.into(),
        class: String::new(),
        size: Some(size),
        maximum_size: None,
    };
    let mut blocks = BlockChecksums::new();
    blocks.update(content);
    let blocks = if with_blocks { blocks.finish() } else { Vec::new() };
    let commit = Commit { size, checksums: Default::default(), blocks, created_at: Timestamp::UNIX_EPOCH };
    store.begin_upload(spec).unwrap().commit_small(content, commit).unwrap();
}

#[test]
fn one_flipped_bit_anywhere_cuts_or_refuses_every_range_that_touches_its_block_and_no_other() {
    let bytes = [0, 1, 4096, MIB - 1, MIB, 2 * MIB - 1, 2 * MIB + 777, 3 * MIB, SIZE - 1];
    let ranges = [
        0..SIZE,
        0..1,
        4000..5000,
        MIB - 1..MIB,
        MIB - 1..MIB + 1,
        MIB..2 * MIB,
        MIB + 5..MIB + 70_000,
        2 * MIB - 100_000..2 * MIB + 100_000,
        3 * MIB..SIZE,
        SIZE - 1..SIZE,
    ];
    let modes = [IoMode::Direct, IoMode::Dontcache, IoMode::Buffered];
    for (number, byte) in bytes.into_iter().enumerate() {
        for (other, range) in ranges.iter().enumerate() {
            for verify in [VerifyReads::FromDisk, VerifyReads::Always] {
                let cache = [TRACKED, Cache::Hot, Cache::Cold, Cache::Unknown][(number + other) % 4];
                let io_mode = modes[(number + other) % modes.len()];
                let config = SimDiskConfig { cache, ..SimDiskConfig::default() };
                let mut site = Site::with(config, verify, io_mode, true);
                assert!(site.disk.corrupt(&site.file(), byte, (byte % 8) as u8));

                let got = site.get(range.clone());

                let bad = byte / MIB * MIB..(byte / MIB + 1) * MIB;
                let what = format!("byte {byte}, range {range:?}, {verify}, {cache:?}, {io_mode}: {got:?}");
                if range.end <= bad.start || range.start >= bad.end {
                    assert_eq!(got, Got::All, "{what}");
                    assert_eq!(site.state(), ReplicaState::Ready, "{what}");
                    continue;
                }
                assert_eq!(site.state(), ReplicaState::Broken, "{what}");
                match got {
                    Got::Cut(sent) => assert_eq!(sent, bad.start.saturating_sub(range.start), "{what}"),
                    Got::Refused(500, _) => assert!(range.end - range.start <= 64 << 10, "{what}"),
                    _ => panic!("{what}"),
                }
            }
        }
    }
}

#[test]
fn a_bad_block_is_named_to_the_door_and_kept_in_the_replicas_attributes() {
    let mut site = Site::new(Cache::Cold, VerifyReads::FromDisk);
    site.disk.corrupt(&site.file(), 2 * MIB + 9, 0);

    assert_eq!(site.get(0..SIZE), Got::Cut(2 * MIB));

    let (code, text) = site.failure();
    assert_eq!(code, FailureCode::ReplicaBroken);
    for part in ["replica-1", "block 2", "from byte 2097152", "its CRC32C is", "instead of"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let because = site.store.stat(&site.id()).unwrap().attributes.broken_because.unwrap();
    assert!(because.starts_with("block 2 (1 MiB from byte 2097152 on) is not what was stored"), "{because}");
    assert_eq!(site.count(|counters| &counters.bad_blocks), 1);
    let Got::Refused(500, text) = site.get(0..10) else { panic!("a broken replica was served") };
    assert_eq!(text.trim(), "replica replica-1 is broken and not served");
}

#[test]
fn a_small_range_of_a_bad_block_is_answered_with_an_error_that_says_why() {
    let mut site = Site::new(TRACKED, VerifyReads::FromDisk);
    site.disk.corrupt(&site.file(), 100, 0);
    let Got::Refused(500, text) = site.get(5000..5010) else { panic!("it was answered") };
    assert!(text.contains("block 0") && text.contains("nothing of it was sent"), "{text}");
}

#[test]
fn in_a_multipart_answer_the_parts_before_a_bad_block_are_sent() {
    let mut site = Site::new(Cache::Cold, VerifyReads::FromDisk);
    site.disk.corrupt(&site.file(), MIB, 0);
    let (status, body, length) = site.answer("bytes=10-19,1048576-1048585,0-4", v1::Get::default(), false);
    assert_eq!(status, 206);
    let first = &site.content[10..20];
    assert!(body.windows(10).any(|window| window == first), "the first part is not there");
    assert!(body.len() < length);
    assert!(!String::from_utf8_lossy(&body).contains("Content-Range: bytes 0-4/"));
    assert_eq!(site.state(), ReplicaState::Broken);
}

#[test]
fn what_is_left_of_a_broken_replica_is_given_to_those_who_ask_for_it() {
    let mut site = Site::new(Cache::Cold, VerifyReads::FromDisk);
    site.disk.corrupt(&site.file(), MIB, 0);
    assert_eq!(site.get(0..SIZE), Got::Cut(MIB));
    let rescue = v1::Get { allow_broken: true, ..Default::default() };
    assert_eq!(site.ask("bytes=2097152-", 2 * MIB..SIZE, rescue.clone(), false), Got::All);
    let (status, body, _) = site.answer("bytes=0-", rescue, false);
    assert_eq!((status, body.len() as u64), (206, SIZE));
}

#[test]
fn what_was_checked_is_sent_from_the_page_cache_unchecked_until_it_is_evicted() {
    let mut site = Site::new(TRACKED, VerifyReads::FromDisk);
    let (known, checked) = (
        |site: &Site| site.count(|counters| &counters.known_good_bytes),
        |site: &Site| site.count(|counters| &counters.verified_cached_bytes),
    );
    // Given a replica that was read through the page cache
    site.io_mode = IoMode::Buffered;
    site.reading = Arc::new(Reading::new(Arc::clone(&site.store), IoMode::Buffered, VerifyReads::FromDisk));
    assert_eq!(site.get(0..SIZE), Got::All);
    assert_eq!((known(&site), checked(&site)), (0, SIZE));
    // When the disk rots under it
    site.disk.corrupt_medium(&site.file(), 7, 0);
    // Then it is still sent from there
    assert_eq!(site.get(0..SIZE), Got::All);
    assert_eq!(site.get(10..20), Got::All);
    assert_eq!((known(&site), checked(&site)), (SIZE + 10, SIZE));
    // Until a page of the block is evicted: then it is checked again, and found
    site.evict(0..4096);
    assert!(matches!(site.get(0..100), Got::Refused(500, _)));
    assert_eq!(site.state(), ReplicaState::Broken);
}

#[test]
fn always_believes_nothing_that_is_in_the_page_cache() {
    let mut site = Site::new(TRACKED, VerifyReads::Always);
    assert_eq!((site.get(0..SIZE), site.get(0..SIZE), site.get(5..6)), (Got::All, Got::All, Got::All));
    assert_eq!(site.count(|counters| &counters.known_good_bytes), 0);
    let verified = site.count(|c| &c.verified_cached_bytes) + site.count(|c| &c.verified_direct_bytes);
    assert_eq!(verified, 2 * SIZE + MIB);
}

#[test]
fn a_file_that_was_touched_behind_our_back_is_checked_again() {
    let mut site = Site::new(TRACKED, VerifyReads::FromDisk);
    for _ in 0..2 {
        assert_eq!(site.get(10..20), Got::All);
    }
    assert_eq!(site.count(|counters| &counters.verified_cached_bytes), MIB);
    let file = Arc::clone(site.store.open(&site.id()).unwrap().file());
    site.disk.set_attribute(&file, "user.somebody", b"was here").unwrap();
    assert_eq!(site.get(10..20), Got::All);
    assert_eq!(site.count(|counters| &counters.verified_cached_bytes), 2 * MIB);
}

#[test]
fn read_ahead_does_not_bring_back_unchecked_what_was_checked_and_evicted() {
    for seed in 0..40 {
        // Given a replica of which all blocks were checked, and then evicted
        let config = SimDiskConfig { seed, cache: TRACKED, ..SimDiskConfig::default() };
        let mut site = Site::with(config, VerifyReads::FromDisk, IoMode::Buffered, true);
        assert_eq!(site.get(0..SIZE), Got::All);
        site.evict(0..SIZE);
        // When the second one rots, and the first is read, with read-ahead into the second
        site.disk.corrupt_medium(&site.file(), MIB + 3, 0);
        assert_eq!(site.get(0..10), Got::All);
        // Then the second is found to be bad, however much of it is in the page cache
        assert!(matches!(site.get(MIB..MIB + 10), Got::Refused(500, _)), "seed {seed}");
    }
}

#[test]
fn a_bad_copy_in_the_page_cache_is_not_a_bad_disk() {
    for (io_mode, direct) in [(IoMode::Buffered, true), (IoMode::Direct, true), (IoMode::Buffered, false)] {
        let config = SimDiskConfig { cache: TRACKED, direct, ..SimDiskConfig::default() };
        let mut site = Site::with(config, VerifyReads::Always, io_mode, true);
        // Given a good replica in the page cache, one page of which goes bad there
        assert_eq!(site.get(MIB..MIB + 10), Got::All);
        site.disk.corrupt_cached(&site.file(), MIB + 3, 0);
        // Then readers get what was stored, and the bad copy is dropped
        assert_eq!(site.get(MIB..MIB + 10), Got::All);
        assert_eq!((site.count(|c| &c.bad_blocks), site.count(|c| &c.rescued_blocks)), (1, 1));
        assert_eq!(site.get(MIB..MIB + 10), Got::All);
        assert_eq!(site.count(|counters| &counters.bad_blocks), 1, "the bad copy is still there");
        assert_eq!(site.state(), ReplicaState::Ready);
    }
}

#[test]
fn a_good_copy_in_the_page_cache_is_sent_when_the_disk_gives_wrong_bytes() {
    let mut site = Site::new(TRACKED, VerifyReads::FromDisk);
    assert_eq!(site.get(MIB..MIB + 10), Got::All);
    site.disk.corrupt_medium(&site.file(), MIB + 3, 0);
    site.disk.set_cache(Cache::Cold);
    assert_eq!(site.get(0..SIZE), Got::All);
    assert_eq!(site.count(|counters| &counters.rescued_blocks), 1);
    // And the replica is served on, but to be looked at soon.
    assert_eq!(site.state(), ReplicaState::Ready);
    let suspect = site.store.stat(&site.id()).unwrap().attributes.suspect_because.unwrap();
    assert!(suspect.contains("block 1 "), "{suspect}");
}

#[test]
fn a_read_error_fails_the_transfer_with_its_text_and_makes_the_replica_suspect() {
    for range in [0..SIZE, 0..10, MIB..MIB + 10] {
        let mut site = Site::new(Cache::Cold, VerifyReads::FromDisk);
        site.disk.set_faults(FaultPlan::none().fail(Call::RingRead, 1.0, Errno::IO));
        let small = range.end - range.start < 100;
        match site.get(range) {
            Got::Refused(500, text) if small => assert!(text.contains("Input/output error"), "{text}"),
            got => assert_eq!((got, small), (Got::Cut(0), false)),
        }
        let (code, text) = site.failure();
        assert_eq!(code, FailureCode::DiskError);
        assert!(text.contains("reading at byte ") && text.contains("Input/output error"), "{text}");
        let attributes = site.store.stat(&site.id()).unwrap().attributes;
        assert!(attributes.suspect_because.is_some_and(|because| because.contains("Input/output error")));
        // It is served as soon as the disk reads again.
        site.disk.set_faults(FaultPlan::none());
        assert_eq!((attributes.state, site.get(0..SIZE)), (ReplicaState::Ready, Got::All));
    }
}

#[test]
fn without_checks_anything_is_served_and_counted() {
    let mut site = Site::new(Cache::Cold, VerifyReads::Never);
    site.disk.corrupt(&site.file(), MIB, 0);
    assert_eq!(site.get(0..SIZE), Got::Wrong);
    assert_eq!(site.get(0..10), Got::All);
    assert_eq!(site.count(|counters| &counters.unverified_bytes), SIZE + 10);
    assert_eq!(site.state(), ReplicaState::Ready);
}

#[test]
fn a_replica_without_known_checksums_is_served_and_counted() {
    for cache in [Cache::Hot, Cache::Cold] {
        let config = SimDiskConfig { cache, ..SimDiskConfig::default() };
        let mut site = Site::with(config, VerifyReads::Always, IoMode::Direct, false);
        assert_eq!((site.get(0..SIZE), site.get(7..17)), (Got::All, Got::All));
        assert_eq!(site.count(|counters| &counters.unverified_bytes), SIZE + 10);
    }
}

#[test]
fn a_file_that_is_shorter_than_its_record_breaks_the_replica() {
    let mut site = Site::new(Cache::Cold, VerifyReads::FromDisk);
    let replica = site.store.open(&site.id()).unwrap();
    site.disk.truncate(replica.file(), 2 * MIB + 100).unwrap();
    assert_eq!(site.get(0..SIZE), Got::Cut(2 * MIB));
    assert_eq!(site.failure().0, FailureCode::ReplicaBroken);
    assert_eq!(replica.state(), ReplicaState::Broken);
}

#[test]
fn a_slow_client_does_not_have_its_blocks_read_again_and_again() {
    for (io_mode, cache) in [(IoMode::Direct, TRACKED), (IoMode::Buffered, TRACKED)] {
        let config = SimDiskConfig { cache, ..SimDiskConfig::default() };
        let mut site = Site::with(config, VerifyReads::FromDisk, io_mode, true);
        site.buffer_bytes = 20_000;
        assert_eq!(site.ask("bytes=0-", 0..SIZE, v1::Get::default(), true), Got::All);
        let verified = site.count(|c| &c.verified_cached_bytes) + site.count(|c| &c.verified_direct_bytes);
        assert!(verified <= SIZE + 4 * MIB, "{io_mode}: {verified} bytes were checked for {SIZE}");
    }
}

#[test]
fn who_reads_alone_past_the_page_cache_joins_those_who_come_to_fill_it() {
    let site = Site::new(Cache::Cold, VerifyReads::FromDisk);
    let replica = site.store.open(&site.id()).unwrap();
    let reader = |name: &str| {
        let kind = v1::transfer_request::Kind::Get(v1::Get::default());
        let (_, transfer) = port(&site.store, &site.reading, site.io_mode, name, kind);
        Source::new(site.world.core(), &site.reading, &replica, &transfer)
    };
    let (first, second) = (reader("get-1"), reader("get-2"));
    assert!(matches!(first.stretch(0..SIZE).way, Way::Past { .. }));
    assert!(matches!(first.stretch(MIB..SIZE).way, Way::Past { .. }));
    assert!(matches!(second.stretch(0..SIZE).way, Way::Through { .. }));
    assert!(matches!(first.stretch(2 * MIB..SIZE).way, Way::Through { .. }));
}
