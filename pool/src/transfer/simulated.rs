//! The transfer paths under the simulated ring, disk and network: thousands of runs, each from a seed.
//!
//! Every run uploads a file and reads parts of it back. In some of them operations come short, late, in another order
//! or not at all, the disk fails, connections break, clients vanish, doors cancel. Whatever happens: what was answered
//! with 201 is there, whole and right; what was not is not there; what a client received is right; and nothing is
//! left in use.
//!
//! `PENSTOCK_SIM_SEEDS=100000 cargo test --release -p penstock-pool simulated` runs a campaign;
//! `PENSTOCK_SIM_SEED=17` one seed alone.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use penstock_door_proto::v1;
use rustls::pki_types::ServerName;

use super::connection::{self, TRANSFER_KEY};
use super::port::{Counters, Port, Settings};
use super::source::{Reading, VerifyReads};
use super::*;
use crate::checksum::AlgorithmSet;
use crate::engine::file::IoMode;
use crate::engine::net::{Connection, Received};
use crate::engine::sim::disk::{Cache, SimDisk, SimDiskConfig};
use crate::engine::sim::random::Random;
use crate::engine::sim::ring::RingFaults;
use crate::engine::sim::world::World;
use crate::http1;
use crate::store::{ReplicaId, Store, StoreConfig, StoreError};
use crate::tls::client::ClientFiles;
use crate::tls::tests::Authority;
use crate::tls::{ClientTls, ServerTls, Wire};

/// Runs in a normal test; a campaign sets PENSTOCK_SIM_SEEDS.
const SEEDS: u64 = 2000;
const TURNS: usize = 3_000_000;
const PATH: &str = "/atlas/run7.root";
const REPLICA: &str = "replica-1";
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
    }
}

/// Handshakes cost more than all the rest of a run.
const TLS_SEEDS: u64 = SEEDS / 8;

#[test]
fn over_tls_it_is_no_different() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("PENSTOCK_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("PENSTOCK_SIM_SEEDS").unwrap_or(TLS_SEEDS),
    };
    let mut tally = Tally::default();
    for seed in seeds {
        match std::panic::catch_unwind(|| Run { tls: true, ..Run::new(seed) }.go()) {
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

/// The data port's certificate, and a client that believes it.
fn keys() -> &'static (ServerTls, ClientTls) {
    static KEYS: OnceLock<(ServerTls, ClientTls)> = OnceLock::new();
    KEYS.get_or_init(|| {
        let authority = Authority::new();
        let server = ServerTls::load(authority.issue("pool", &["pool.example.org"])).unwrap();
        let files = ClientFiles { authorities: authority.certificate(), identity: None };
        (server, ClientTls::load(files).unwrap())
    })
}

#[derive(Debug, Default)]
struct Tally {
    runs: u64,
    stored: u64,
    refused: u64,
    broken_uploads: u64,
    whole_reads: u64,
    broken_reads: u64,
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
    }
}

#[derive(Debug, Default)]
struct Outcomes {
    /// The status that the uploading client got.
    upload: Option<u16>,
    whole_reads: u64,
    broken_reads: u64,
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
            10..=17 => below(&mut random, 300_000),
            18 => (1 << 20) - 1 + below(&mut random, 3),
            _ => below(&mut random, 3 << 20),
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
        let cache = match random.below(3) {
            0 => Cache::Hot,
            1 => Cache::Cold,
            _ => Cache::Random,
        };
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
            verify: [VerifyReads::Always, VerifyReads::FromDisk, VerifyReads::FromDisk, VerifyReads::Never]
                [random.below(4) as usize],
            cache,
            seed,
            content,
            faults,
            random,
        }
    }

    fn orderly(&self) -> bool {
        self.faults.reset + self.faults.read_error + self.faults.write_error + self.faults.cancelled == 0
            && self.vanish_after.is_none()
            && self.cancel_after.is_none()
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
        let reading = Arc::new(Reading::new(Arc::clone(&store), self.io_mode, self.verify));
        let mut outcomes =
            Outcomes { upload: self.upload(&mut world, &store, &reading), ..Outcomes::default() };
        self.check_upload(outcomes.upload, &store, &disk);
        if outcomes.upload == Some(201) {
            for _ in 0..1 + self.random.below(3) {
                match self.read(&mut world, &store, &reading) {
                    true => outcomes.whole_reads += 1,
                    false => outcomes.broken_reads += 1,
                }
            }
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
        assert!(world.run(TURNS), "the upload never ends");
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

    /// True when the client got all that it asked for.
    fn read(&mut self, world: &mut World, store: &Arc<Store>, reading: &Arc<Reading>) -> bool {
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
        assert!(world.run(TURNS), "the download never ends");
        let received = received.borrow_mut().take();
        let expected = match range {
            Some((first, last)) => &self.content[first as usize..=last as usize],
            None => &self.content[..],
        };
        match received {
            Some((status, body, length)) if status == 200 || status == 206 => {
                assert_eq!(status, if range.is_some() { 206 } else { 200 });
                assert_eq!(length, expected.len());
                assert!(expected.starts_with(&body), "other bytes were sent than stored");
                if self.orderly() {
                    assert_eq!(body.len(), expected.len(), "in an orderly world");
                }
                body.len() == expected.len()
            }
            other => {
                assert!(
                    !self.orderly(),
                    "in an orderly world a read ended with {:?}",
                    other.map(|(s, ..)| s)
                );
                false
            }
        }
    }
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

async fn serve(port: Arc<Port>, connection: Connection, tls: bool) {
    if !tls {
        return connection::serve(&port, connection).await;
    }
    if let Ok(stream) = keys().0.accept(connection, TEN_MINUTES).await {
        connection::serve(&port, stream).await;
    }
}

/// The client's end.
async fn open(connection: Connection, tls: bool) -> io::Result<Wire> {
    if !tls {
        return Ok(connection.into());
    }
    let name = ServerName::try_from("pool.example.org").unwrap();
    let stream = keys().1.connect(connection, name, TEN_MINUTES).await;
    stream.map(Wire::from).map_err(io::Error::other)
}

#[derive(Debug)]
struct Ignore;

impl Observer for Ignore {
    fn changed(&self) {}
}

/// A desk with one transfer on it.
struct OneTransfer(Arc<Transfer>);

impl Desk for OneTransfer {
    fn claim(
        &self,
        capability: &Capability,
        method: ClaimMethod,
        path: &str,
        _door: Option<&str>,
        _peer: SocketAddr,
    ) -> Result<Claim, Refusal> {
        if capability != self.0.capability() {
            return Err(Refusal::Unknown { back_to: None });
        }
        self.0.claim(method, path)
    }

    fn door_url(&self, _door: &str) -> Option<String> {
        None
    }
}

fn port(
    store: &Arc<Store>,
    reading: &Arc<Reading>,
    io_mode: IoMode,
    id: &str,
    kind: v1::transfer_request::Kind,
) -> (Arc<Port>, Arc<Transfer>) {
    let request = v1::TransferRequest {
        transfer_id: id.into(),
        replica_id: REPLICA.into(),
        transfer_path: PATH.into(),
        kind: Some(kind),
        ..Default::default()
    };
    let request = TransferRequest::try_from(request).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let transfer = Arc::new(Transfer::new(request, Capability::random().unwrap(), clock, Arc::new(Ignore)));
    transfer.admit().unwrap();
    let port = Port {
        desk: Arc::new(OneTransfer(Arc::clone(&transfer))),
        store: Arc::clone(store),
        digests: None,
        settings: Settings {
            head_limits: http1::Limits::default(),
            head_time: TEN_MINUTES,
            idle_limit: TEN_MINUTES,
            keep_alive_limit: TEN_MINUTES,
            connections_limit: 10,
            io_mode,
            algorithms: AlgorithmSet::EMPTY,
        },
        reading: Arc::clone(reading),
        counters: Counters::default(),
    };
    (Arc::new(port), transfer)
}

/// Gives the final status, or `None` when the connection ended without one.
async fn upload_as_client(
    client: &Wire,
    head: Vec<u8>,
    body: Vec<u8>,
    expect: bool,
    vanish_after: Option<usize>,
) -> io::Result<Option<u16>> {
    client.send_all(head, false, TEN_MINUTES).await.0?;
    let mut answer = Vec::new();
    if expect {
        let status = read_head(client, &mut answer).await?.0;
        if status != 100 {
            return Ok(Some(status));
        }
        answer.clear();
    }
    let body = match vanish_after {
        Some(after) => body[..after.min(body.len())].to_vec(),
        None => body,
    };
    let sent = client.send_all(body, false, TEN_MINUTES).await.0;
    if vanish_after.is_some() {
        return Ok(None);
    }
    // A refusal may come while the body is still on its way.
    match (read_head(client, &mut answer).await, sent) {
        (Ok((status, _)), _) => {
            client.end(TEN_MINUTES).await;
            Ok(Some(status))
        }
        (Err(error), Ok(())) | (_, Err(error)) => Err(error),
    }
}

/// Gives the status, what came of the body, and how long it should have been.
async fn read_as_client(client: &Wire, head: Vec<u8>, thinking: bool) -> io::Result<(u16, Vec<u8>, usize)> {
    client.send_all(head, false, TEN_MINUTES).await.0?;
    let mut body = Vec::new();
    let (status, length) = read_head(client, &mut body).await?;
    let mut turn = 0;
    while body.len() < length {
        turn += 1;
        if thinking && turn % 3 == 0 {
            client.core().sleep(Duration::from_millis(60)).await;
        }
        match receive(client, 100_000).await {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => body.extend_from_slice(&bytes),
            Err(_) => break,
        }
    }
    Ok((status, body, length))
}

/// Reads up to the end of a head; what came behind it is left in `rest`. Gives status and Content-Length.
async fn read_head(client: &Wire, rest: &mut Vec<u8>) -> io::Result<(u16, usize)> {
    loop {
        if let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest.drain(..end + 4);
            let status = head[9..12].parse().map_err(io::Error::other)?;
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.parse().unwrap());
            return Ok((status, length));
        }
        let bytes = receive(client, 4096).await?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        rest.extend_from_slice(&bytes);
    }
}

async fn receive(client: &Wire, most: usize) -> io::Result<Vec<u8>> {
    let (received, mut buffer) = client.receive_within(vec![0; most], 0..most, false, TEN_MINUTES).await;
    let count = match received? {
        Received::Bytes(count) => count,
        Received::End => 0,
        Received::Paused(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    buffer.truncate(count);
    Ok(buffer)
}
