//! The transfer paths under the simulated ring, disk and network: thousands of runs, each from a seed.
//!
//! Every run uploads a file and reads parts of it back. In some of them operations come short, late, in another order
//! or not at all, the disk fails, connections break, clients vanish, doors cancel. Whatever happens: what was answered
//! with 201 is there, whole and right; what was not is not there; what a client received is right; and nothing is
//! left in use.
//!
//! In some runs bits flip on the medium between the reads, and in the page cache where it is not believed. Then still
//! no wrong byte leaves: an answer ends before a block that has rotted, or is an error, and the replica is broken from
//! then on; what does not touch such a block is served.
//!
//! `PENSTOCK_SIM_SEEDS=100000 cargo test --release -p penstock-pool simulated` runs a campaign;
//! `PENSTOCK_SIM_SEED=17` one seed alone.

pub mod client;
mod fairness;
mod rot;
pub mod site;

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use penstock_door_proto::v1;

use self::client::{open, read_as_client, upload_as_client};
use self::rot::Rot;
use self::site::{PATH, REPLICA, port, serve};
use super::connection::TRANSFER_KEY;
use super::source::{Reading, VerifyReads};
use super::*;
use crate::checksum::BLOCK_SIZE_BYTES;
use crate::engine::file::IoMode;
use crate::engine::sim::disk::{Cache, SimDisk, SimDiskConfig};
use crate::engine::sim::random::Random;
use crate::engine::sim::ring::RingFaults;
use crate::engine::sim::world::World;
use crate::store::{ReplicaId, ReplicaState, Store, StoreConfig, StoreError};

/// Runs in a normal test; a campaign sets PENSTOCK_SIM_SEEDS.
const SEEDS: u64 = 2000;
/// A run that takes more turns of its ring hangs: so many, and some for each time that a receive buffer of the network
/// has to be filled.
const TURNS: usize = 3_000_000;
const TURNS_PER_FILLING: usize = 50;
const TEN_MINUTES: Duration = Duration::from_secs(600);

#[test]
fn whatever_happens_a_transfer_is_whole_or_nothing_and_leaves_nothing_in_use() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("PENSTOCK_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PENSTOCK_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut tally = Tally::default();
    for seed in seeds {
        let run = std::panic::catch_unwind(|| Run::new(seed).go());
        match run {
            Ok(outcome) => tally.add(&outcome),
            Err(panic) => {
                eprintln!("seed {seed} failed; repeat it with PENSTOCK_SIM_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    eprintln!("{tally:?}");
    if tally.runs >= SEEDS {
        // A simulation in which nothing ever happens would show nothing.
        assert!(tally.stored > tally.runs / 3, "{tally:?}");
        assert!(tally.refused > 0 && tally.broken_uploads > 0 && tally.broken_reads > 0, "{tally:?}");
        assert!(tally.whole_reads > tally.runs / 4, "{tally:?}");
        assert!(tally.rotten_reads > tally.runs / 50, "{tally:?}");
        assert!(tally.rescued_blocks > 0 && tally.known_good_bytes > tally.runs << 10, "{tally:?}");
    }
}

/// Handshakes cost more than all the rest of a run.
const TLS_SEEDS: u64 = SEEDS / 8;
/// A client may send its ChangeCipherSpec while the server still sends its own flight (RFC 8446 §D.4); neither reads
/// before it has sent. Six bytes fit into any kernel's buffers, and so they must here.
const TLS_CAPACITY_BYTES: usize = 64;

#[test]
fn over_tls_it_is_no_different() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("PENSTOCK_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PENSTOCK_SIM_SEEDS").unwrap_or(TLS_SEEDS),
    };
    let mut tally = Tally::default();
    for seed in seeds {
        match std::panic::catch_unwind(|| Run::new(seed).over_tls().go()) {
            Ok(outcome) => tally.add(&outcome),
            Err(panic) => {
                eprintln!("seed {seed} failed over TLS; repeat it with PENSTOCK_SIM_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    eprintln!("{tally:?}");
    if tally.runs >= TLS_SEEDS {
        assert!(tally.stored > tally.runs / 3 && tally.whole_reads > tally.runs / 4, "{tally:?}");
        assert!(tally.broken_uploads > 0 && tally.broken_reads > 0, "{tally:?}");
    }
}

#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    stored: u64,
    refused: u64,
    broken_uploads: u64,
    whole_reads: u64,
    broken_reads: u64,
    /// Cut or refused because of a block that had rotted.
    rotten_reads: u64,
    rescued_blocks: u64,
    known_good_bytes: u64,
}

impl Tally {
    fn add(&mut self, outcome: &Outcomes) {
        self.runs += 1;
        match outcome.upload {
            Some(201) => self.stored += 1,
            Some(_) => self.refused += 1,
            None => self.broken_uploads += 1,
        }
        self.whole_reads += outcome.whole_reads;
        self.broken_reads += outcome.broken_reads;
        self.rotten_reads += outcome.rotten_reads;
        self.rescued_blocks += outcome.rescued_blocks;
        self.known_good_bytes += outcome.known_good_bytes;
    }
}

#[derive(Debug, Default)]
struct Outcomes {
    /// The status that the uploading client got.
    upload: Option<u16>,
    whole_reads: u64,
    broken_reads: u64,
    rotten_reads: u64,
    rescued_blocks: u64,
    known_good_bytes: u64,
}

/// How a read ended.
enum Seen {
    Whole,
    Broken,
    Rotten,
}

/// What a run is going to be, all from the seed.
struct Run {
    tls: bool,
    seed: u64,
    random: Random,
    content: Vec<u8>,
    faults: RingFaults,
    chunked: bool,
    expect: bool,
    capacity: usize,
    slots: usize,
    cache: Cache,
    direct: bool,
    io_mode: IoMode,
    wrong_digest: bool,
    verify: VerifyReads,
    rots: bool,
    rot: Rot,
    reads: u64,
    /// The client vanishes, or the door cancels, after so many bytes.
    vanish_after: Option<usize>,
    cancel_after: Option<Duration>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = Random::new(seed);
        let below = |random: &mut Random, bound: u64| random.below(bound);
        let size = match random.below(20) {
            0 => 0,
            1 => 1,
            2..=9 => below(&mut random, 70_000),
            10..=16 => below(&mut random, 300_000),
            17 => (1 << 20) - 1 + below(&mut random, 3),
            _ => below(&mut random, 4 << 20),
        } as usize;
        let mut content = vec![0; size];
        for piece in content.chunks_mut(8) {
            let bytes = random.next_u64().to_ne_bytes();
            piece.copy_from_slice(&bytes[..piece.len()]);
        }
        // Half of the runs have an orderly world: there everything must succeed.
        let unkind = random.chance(0.5);
        let faults = RingFaults {
            short: 200,
            delay: 300,
            read_error: if unkind { below(&mut random, 30) as u32 } else { 0 },
            write_error: if unkind { below(&mut random, 30) as u32 } else { 0 },
            reset: if unkind { below(&mut random, 10) as u32 } else { 0 },
            cancelled: if unkind { below(&mut random, 5) as u32 } else { 0 },
        };
        // Replicas of several blocks are for what blocks do to each other in the page cache.
        let several = size > BLOCK_SIZE_BYTES && random.chance(0.7);
        let cache = match random.below(6) {
            _ if several => Cache::Tracked { evicting: true },
            0 => Cache::Hot,
            1 => Cache::Cold,
            2 => Cache::Random,
            3 => Cache::Unknown,
            _ => Cache::Tracked { evicting: true },
        };
        let verify = match random.below(6) {
            _ if several => VerifyReads::FromDisk,
            0 => VerifyReads::Never,
            1 => VerifyReads::Always,
            _ => VerifyReads::FromDisk,
        };
        let most_reads = if several { 12 } else { 4 };
        let vanishes = unkind && random.chance(0.15);
        let cancels = unkind && random.chance(0.15);
        Run {
            tls: false,
            chunked: random.chance(0.4),
            expect: random.chance(0.5),
            capacity: 1 + random.below(200_000) as usize,
            slots: 1 + random.below(4) as usize,
            direct: random.chance(0.7),
            io_mode: [IoMode::Direct, IoMode::Dontcache, IoMode::Buffered][random.below(3) as usize],
            wrong_digest: random.chance(0.1),
            vanish_after: vanishes.then(|| random.below(size as u64 + 1) as usize),
            cancel_after: cancels.then(|| Duration::from_micros(random.below(20_000))),
            rots: several || verify != VerifyReads::Never && random.chance(0.4),
            rot: Rot::default(),
            reads: 1 + random.below(most_reads),
            verify,
            cache,
            seed,
            content,
            faults,
            random,
        }
    }

    fn over_tls(self) -> Run {
        Run { tls: true, capacity: self.capacity.max(TLS_CAPACITY_BYTES), ..self }
    }

    fn orderly(&self) -> bool {
        self.faults.reset + self.faults.read_error + self.faults.write_error + self.faults.cancelled == 0
            && self.vanish_after.is_none()
            && self.cancel_after.is_none()
    }

    fn turns(&self) -> usize {
        TURNS + TURNS_PER_FILLING * (self.content.len() / self.capacity)
    }

    fn go(mut self) -> Outcomes {
        let disk = SimDisk::new(SimDiskConfig {
            seed: self.seed,
            direct: self.direct,
            cache: self.cache,
            ..SimDiskConfig::default()
        });
        let config = StoreConfig {
            root: PathBuf::from("/pool"),
            pool_name: "sim".into(),
            capacity: None,
            reserve_bytes: 0,
            max_file_size: None,
            direct: self.io_mode == IoMode::Direct,
        };
        let store = Arc::new(Store::open_root(Arc::new(disk.clone()), &config).unwrap());
        let idle_handles = disk.open_handles();
        let mut world = World::new(self.seed, self.faults, disk.clone(), self.slots).unwrap();
        // In three of four runs the disk takes little at once.
        world.core().limit_disk_depth(NonZeroUsize::new((self.seed % 4) as usize));
        let reading = Arc::new(Reading::new(Arc::clone(&store), self.io_mode, self.verify));
        let mut outcomes =
            Outcomes { upload: self.upload(&mut world, &store, &reading), ..Outcomes::default() };
        self.check_upload(outcomes.upload, &store, &disk);
        if outcomes.upload == Some(201) {
            for _ in 0..self.reads {
                if self.rots && self.random.chance(0.3) {
                    let (path, size) = (replica_file(&disk), self.content.len() as u64);
                    self.rot.strike(&disk, &path, size, self.verify, &mut self.random);
                }
                match self.read(&mut world, &store, &reading) {
                    Seen::Whole => outcomes.whole_reads += 1,
                    Seen::Broken => outcomes.broken_reads += 1,
                    Seen::Rotten => outcomes.rotten_reads += 1,
                }
            }
            let counters = reading.counters();
            outcomes.rescued_blocks = counters.rescued_blocks.load(Ordering::Relaxed);
            outcomes.known_good_bytes = counters.known_good_bytes.load(Ordering::Relaxed);
        }
        assert_eq!(world.panicked(), 0, "tasks panicked");
        assert_eq!(world.core().arena().used(), 0, "buffers are left in use");
        assert_eq!(world.core().operations_in_flight(), 0, "operations are left in flight");
        assert_eq!(world.net().open(), 0, "connections are left open");
        assert_eq!(disk.open_handles(), idle_handles, "files are left open");
        let space = store.space().unwrap();
        assert_eq!(space.reserved, 0, "space is left promised");
        outcomes
    }

    fn upload(&mut self, world: &mut World, store: &Arc<Store>, reading: &Arc<Reading>) -> Option<u16> {
        let kind = v1::transfer_request::Kind::Put(v1::Put::default());
        let (port, transfer) = port(store, reading, self.io_mode, "put-1", kind);
        let (server, client) = world.connect(self.capacity);
        world.spawn(serve(port, server, self.tls));
        // The door: keeps what was stored.
        let (core, watched) = (Rc::clone(world.core()), Arc::clone(&transfer));
        let client_done = Rc::new(Cell::new(false));
        let done = Rc::clone(&client_done);
        world.spawn(async move {
            while !done.get() {
                core.sleep(Duration::from_millis(1)).await;
                watched.decide(Verdict::Keep);
            }
        });
        if let Some(after) = self.cancel_after {
            let (core, cancelled) = (Rc::clone(world.core()), Arc::clone(&transfer));
            world.spawn(async move {
                core.sleep(after).await;
                cancelled.cancel("called off by the door");
            });
        }
        let status = Rc::new(Cell::new(None));
        let request = self.put_head(transfer.capability());
        let (body, expect) = (self.body(), self.expect);
        let (vanish_after, tls) = (self.vanish_after, self.tls);
        let result = Rc::clone(&status);
        world.spawn(async move {
            if let Ok(client) = open(client, tls).await {
                result
                    .set(upload_as_client(&client, request, body, expect, vanish_after).await.ok().flatten());
            }
            client_done.set(true);
        });
        assert!(world.run(self.turns()), "the upload never ends");
        status.get()
    }

    fn put_head(&mut self, capability: &Capability) -> Vec<u8> {
        let mut head =
            format!("PUT {PATH}?{TRANSFER_KEY}={} HTTP/1.1\r\nHost: pool\r\n", capability.expose());
        if self.chunked {
            head += "Transfer-Encoding: chunked\r\n";
        } else {
            head += &format!("Content-Length: {}\r\n", self.content.len());
        }
        if self.expect {
            head += "Expect: 100-continue\r\n";
        }
        if self.wrong_digest {
            head += &format!("Digest: adler32={:08x}\r\n", adler32(&self.content) ^ 1);
        }
        (head + "\r\n").into_bytes()
    }

    fn body(&mut self) -> Vec<u8> {
        if !self.chunked {
            return self.content.clone();
        }
        let mut body = Vec::new();
        let mut rest = &self.content[..];
        while !rest.is_empty() {
            let length = 1 + self.random.below(rest.len().min(70_000) as u64) as usize;
            let extension = if self.random.chance(0.2) { ";x=y" } else { "" };
            body.extend_from_slice(format!("{length:x}{extension}\r\n").as_bytes());
            body.extend_from_slice(&rest[..length]);
            body.extend_from_slice(b"\r\n");
            rest = &rest[length..];
        }
        body.extend_from_slice(b"0\r\n\r\n");
        body
    }

    fn check_upload(&self, status: Option<u16>, store: &Store, disk: &SimDisk) {
        let stat = store.stat(&ReplicaId::new(REPLICA).unwrap());
        if self.orderly() {
            assert_eq!(status, Some(if self.wrong_digest { 400 } else { 201 }), "in an orderly world");
        }
        match (status, stat) {
            (Some(201), Ok(stat)) => {
                assert!(!self.wrong_digest, "a wrong digest was accepted");
                assert_eq!(stat.size, self.content.len() as u64);
                let recorded = stat.attributes.checksums.get("adler32").map(String::as_str);
                assert_eq!(recorded, Some(format!("{:08x}", adler32(&self.content)).as_str()));
                let path = replica_file(disk);
                assert!(
                    disk.contents(&path).as_deref() == Some(&self.content[..]),
                    "other bytes were stored"
                );
            }
            (Some(201), Err(error)) => panic!("201 was answered, but {error}"),
            (Some(status), Ok(_)) => panic!("{status} was answered, but the replica is there"),
            // The connection broke after the commit: the door keeps what the client never heard of.
            (None, Ok(stat)) => assert_eq!(stat.size, self.content.len() as u64),
            (_, Err(StoreError::NotFound { .. })) => {}
            (_, Err(error)) => panic!("{error}"),
        }
    }

    fn read(&mut self, world: &mut World, store: &Arc<Store>, reading: &Arc<Reading>) -> Seen {
        let (port, transfer) =
            port(store, reading, self.io_mode, "get-1", v1::transfer_request::Kind::Get(v1::Get::default()));
        let (server, client) = world.connect(self.capacity);
        world.spawn(serve(port, server, self.tls));
        let size = self.content.len() as u64;
        let range = self.random.chance(0.5).then(|| {
            let start = self.random.below(size.max(1));
            (start, start + self.random.below(size - start.min(size)))
        });
        let range = range.filter(|_| size > 0);
        let wanted = range.map_or(0..size, |(first, last)| first..last + 1);
        let was_broken = is_broken(store);
        let mut request = format!(
            "GET {PATH}?{TRANSFER_KEY}={} HTTP/1.1\r\nHost: pool\r\n",
            transfer.capability().expose()
        );
        if let Some((first, last)) = range {
            request += &format!("Range: bytes={first}-{last}\r\n");
        }
        request += "Connection: close\r\n\r\n";
        let received = Rc::new(RefCell::new(None));
        let result = Rc::clone(&received);
        let (thinking, tls) = (self.random.chance(0.2), self.tls);
        world.spawn(async move {
            if let Ok(client) = open(client, tls).await {
                *result.borrow_mut() = read_as_client(&client, request.into_bytes(), thinking).await.ok();
            }
        });
        assert!(world.run(self.turns()), "the download never ends");
        let received = received.borrow_mut().take();
        let expected = &self.content[wanted.start as usize..wanted.end as usize];
        let seen = match received {
            Some((status, body, length)) if status == 200 || status == 206 => {
                assert_eq!(status, if range.is_some() { 206 } else { 200 });
                assert_eq!(length, expected.len());
                assert!(expected.starts_with(&body), "other bytes were sent than stored");
                assert!(!was_broken, "a broken replica was served");
                match body.len() == expected.len() {
                    true => return Seen::Whole,
                    false => Some(wanted.start + body.len() as u64),
                }
            }
            Some((500, ..)) => None,
            other => {
                assert!(
                    !self.orderly(),
                    "in an orderly world a read ended with {:?}",
                    other.map(|(status, ..)| status)
                );
                return Seen::Broken;
            }
        };
        if self.orderly() {
            assert!(is_broken(store), "an answer fell short, and the replica is not broken");
            assert!(was_broken || self.rot.touches(&wanted), "an answer fell short without any cause");
            let explained = seen.is_none_or(|end| self.rot.explains(end));
            assert!(explained, "an answer to {wanted:?} ended at {seen:?}; {:?}", self.rot);
        }
        if is_broken(store) { Seen::Rotten } else { Seen::Broken }
    }
}

fn is_broken(store: &Store) -> bool {
    store.stat(&ReplicaId::new(REPLICA).unwrap()).unwrap().attributes.state == ReplicaState::Broken
}

fn adler32(bytes: &[u8]) -> u32 {
    adler32::RollingAdler32::from_buffer(bytes).hash()
}

fn replica_file(disk: &SimDisk) -> PathBuf {
    let name = Path::new(REPLICA);
    disk.files()
        .into_iter()
        .find(|path| path.file_name() == Some(name.as_os_str()))
        .expect("the replica has a file")
}
