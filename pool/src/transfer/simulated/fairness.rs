//! Downloads of one shard beside each other: whether all advance, with few buffers and with a disk that takes little at
//! once. No clock is simulated that could tell rates; what is told is how far the others are when the first has ended.
//!
//! `cargo test -p penstock-pool --lib fairness -- --nocapture` prints the table of docs/performance.md.

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;
use penstock_door_proto::v1;

use super::TEN_MINUTES;
use super::site::{PATH, REPLICA, port, serve};
use crate::engine::file::IoMode;
use crate::engine::net::{Connection, Received};
use crate::engine::sim::disk::{Cache, SimDisk, SimDiskConfig};
use crate::engine::sim::ring::RingFaults;
use crate::engine::sim::world::World;
use crate::store::{Commit, ReplicaId, Store, StoreConfig, UploadSpec};
use crate::transfer::connection::TRANSFER_KEY;
use crate::transfer::source::{Reading, VerifyReads};

const SIZE_BYTES: usize = 24 << 20;
/// What each client's side takes before it is read.
const SOCKET_BYTES: usize = 256 << 10;
const TURNS: usize = 10_000_000;
const SEEDS: u64 = 8;
/// Nobody is further behind the first than that.
const LEAST_SHARE: f64 = 0.5;

/// Downloads beside each other.
#[derive(Debug, Clone, Copy)]
struct Scene {
    clients: usize,
    slots: usize,
    depth: usize,
}

/// A store with one replica on a disk of which nothing is in the page cache.
fn store() -> (Arc<Store>, SimDisk) {
    let disk = SimDisk::new(SimDiskConfig { cache: Cache::Cold, ..SimDiskConfig::default() });
    let config = StoreConfig {
        root: PathBuf::from("/pool"),
        pool_name: "sim".into(),
        capacity: None,
        reserve_bytes: 0,
        max_file_size: None,
        direct: true,
    };
    let store = Arc::new(Store::open_root(Arc::new(disk.clone()), &config).unwrap());
    let size = SIZE_BYTES as u64;
    let spec = UploadSpec {
        replica: ReplicaId::new(REPLICA).unwrap(),
        transfer: "put-1".into(),
        path: PATH.into(),
        class: String::new(),
        size: Some(size),
        maximum_size: None,
    };
    let commit =
        Commit { size, checksums: Default::default(), blocks: Vec::new(), created_at: Timestamp::UNIX_EPOCH };
    store.begin_upload(spec).unwrap().commit_small(&vec![7; SIZE_BYTES], commit).unwrap();
    (store, disk)
}

/// Reads to the end, and counts.
async fn read(connection: Connection, head: String, count: Rc<Cell<usize>>) {
    connection.send_all(head.into_bytes(), false, TEN_MINUTES).await.0.unwrap();
    loop {
        let buffer = vec![0; SOCKET_BYTES];
        match connection.receive_within(buffer, 0..SOCKET_BYTES, false, TEN_MINUTES).await.0.unwrap() {
            Received::Bytes(bytes) => count.set(count.get() + bytes),
            Received::End => return,
            Received::Paused(_) => panic!("the pool sends nothing for ten minutes"),
        }
    }
}

/// How far the last one is, of the whole, when the first has ended.
fn least_share(scene: Scene, seed: u64) -> f64 {
    let (store, disk) = store();
    let faults = RingFaults { short: 200, delay: 300, ..RingFaults::default() };
    let mut world = World::new(seed, faults, disk, scene.slots).unwrap();
    world.core().limit_disk_depth(NonZeroUsize::new(scene.depth));
    let reading = Arc::new(Reading::new(Arc::clone(&store), IoMode::Direct, VerifyReads::Never));
    let counts: Vec<Rc<Cell<usize>>> = (0..scene.clients).map(|_| Rc::default()).collect();
    let at_first_end = Rc::new(RefCell::new(None));
    for (number, count) in counts.iter().enumerate() {
        let kind = v1::transfer_request::Kind::Get(v1::Get::default());
        let (port, transfer) = port(&store, &reading, IoMode::Direct, &format!("get-{number}"), kind);
        let (server, client) = world.connect(SOCKET_BYTES);
        world.spawn(serve(port, server, false));
        let key = transfer.capability().expose();
        let head =
            format!("GET {PATH}?{TRANSFER_KEY}={key} HTTP/1.1\r\nHost: pool\r\nConnection: close\r\n\r\n");
        let (count, all, snapshot) = (Rc::clone(count), counts.clone(), Rc::clone(&at_first_end));
        world.spawn(async move {
            read(client, head, count).await;
            let counted = || all.iter().map(|count| count.get()).collect::<Vec<_>>();
            snapshot.borrow_mut().get_or_insert_with(counted);
        });
    }
    assert!(world.run(TURNS), "{scene:?}, seed {seed}: it never ends");
    assert_eq!((world.panicked(), world.core().arena().used()), (0, 0), "{scene:?}, seed {seed}");
    assert!(counts.iter().all(|count| count.get() > SIZE_BYTES), "{scene:?}, seed {seed}: all of it came");
    let snapshot = at_first_end.borrow_mut().take().expect("somebody was first");
    let least = snapshot.into_iter().min().unwrap_or(0);
    least as f64 / SIZE_BYTES as f64
}

#[test]
fn downloads_of_a_shard_advance_alike_with_few_buffers_and_a_shallow_disk() {
    eprintln!(
        "clients  buffers  disk depth  the last one has, when the first has all (worst of {SEEDS} seeds)"
    );
    for clients in [2, 8] {
        for (slots, depth) in [(16, 0), (16, 8), (16, 2), (16, 1), (4, 0), (4, 1)] {
            let scene = Scene { clients, slots, depth };
            let worst = (0..SEEDS).map(|seed| least_share(scene, seed)).fold(f64::INFINITY, f64::min);
            let shown = if depth == 0 { "none".to_owned() } else { depth.to_string() };
            eprintln!("{clients:7}  {slots:7}  {shown:>10}  {:.0} %", worst * 100.0);
            assert!(worst >= LEAST_SHARE, "{scene:?}: {worst}");
        }
    }
}
