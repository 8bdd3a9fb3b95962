//! The same on the kernel's own ring, files and page cache.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use penstock_door_proto::v1;

use super::stories::{content, upload};
use super::*;
use crate::engine::blocking::Blocking;
use crate::engine::disk::KernelDisk;
use crate::engine::net::listener::{self, Listener};
use crate::engine::shard::Shard;
use crate::store::StoreConfig;
use crate::transfer::connection::TRANSFER_KEY;
use crate::transfer::port::accept;
use crate::transfer::simulated::site::{PATH, REPLICA, port};

/// A data port on a shard of its own, with one replica on a real disk.
struct Site {
    store: Arc<Store>,
    reading: Arc<Reading>,
    address: SocketAddr,
    target: String,
    _shard: Shard,
    root: tempfile::TempDir,
}

impl Site {
    fn new(io_mode: IoMode, verify: VerifyReads) -> Site {
        let root = tempfile::tempdir().unwrap();
        let config = StoreConfig {
            root: root.path().to_owned(),
            pool_name: "kernel".into(),
            capacity: None,
            reserve_bytes: 0,
            max_file_size: None,
            direct: io_mode == IoMode::Direct,
        };
        let store = Arc::new(Store::open_root(Arc::new(KernelDisk), &config).unwrap());
        upload(&store, &content(), true);
        let reading = Arc::new(Reading::new(Arc::clone(&store), io_mode, verify));
        let kind = v1::transfer_request::Kind::Get(v1::Get::default());
        let (port, transfer) = port(&store, &reading, io_mode, "get-1", kind);
        let listener = listener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener::address(&listener).unwrap();
        let shard = Shard::start(0, 4, Blocking::new(4)).unwrap();
        shard.submit(|core| accept(Rc::clone(&core), port, Listener::new(core, listener), None)).unwrap();
        let target = format!("{PATH}?{TRANSFER_KEY}={}", transfer.capability().expose());
        Site { store, reading, address, target, _shard: shard, root }
    }

    /// Status and body. Ranges, as a whole answer would end the transfer.
    fn get(&self, first: u64, last: u64) -> (u16, Vec<u8>) {
        let mut client = TcpStream::connect(self.address).unwrap();
        let target = &self.target;
        write!(
            client,
            "GET {target} HTTP/1.1\r\nHost: p\r\nRange: bytes={first}-{last}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer.split_off(end))
    }

    fn whole(&self) -> (u16, Vec<u8>) {
        self.get(0, content().len() as u64 - 1)
    }

    fn id(&self) -> ReplicaId {
        ReplicaId::new(REPLICA).unwrap()
    }

    fn path(&self) -> PathBuf {
        let mut found = vec![self.root.path().join("data")];
        while let Some(path) = found.pop() {
            if path.is_dir() {
                found.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if path.file_name().is_some_and(|name| name == REPLICA) {
                return path;
            }
        }
        panic!("the replica has no file");
    }

    fn count(&self, counter: impl Fn(&ReadCounters) -> &AtomicU64) -> u64 {
        counter(self.reading.counters()).load(Ordering::Relaxed)
    }
}

/// Kernels before 6.5, and some filters of system calls, do not tell what is in the page cache.
fn page_cache_is_visible(site: &Site) -> bool {
    let replica = site.store.open(&site.id()).unwrap();
    let visible = site.store.disk().cached(replica.file(), 0, 4096).unwrap().is_some();
    if !visible {
        println!("skipped: this kernel does not tell what is in the page cache");
    }
    visible
}

#[test]
fn on_a_real_disk_what_was_checked_goes_from_the_page_cache_until_somebody_writes_to_the_file() {
    let site = Site::new(IoMode::Buffered, VerifyReads::FromDisk);
    let (content, size) = (content(), content().len() as u64);
    if !page_cache_is_visible(&site) {
        return;
    }
    // Given a replica that was read twice
    assert!(site.whole() == (206, content.clone()));
    assert_eq!(site.count(|counters| &counters.verified_cached_bytes), size);
    assert!(site.whole() == (206, content.clone()));
    assert!(site.get(5, 9) == (206, content[5..10].to_vec()));
    let known = site.count(|counters| &counters.known_good_bytes);
    // (A page that the kernel evicted meanwhile was checked again.)
    assert!(known > size / 2, "only {known} bytes went unchecked from the page cache");
    // When somebody flips a bit in it and hides that as well as can be
    let file = std::fs::File::options().write(true).open(site.path()).unwrap();
    let modified_at = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(&[content[2_500_000] ^ 1], 2_500_000).unwrap();
    file.set_modified(modified_at).unwrap();
    // Then the next reader gets what is before the block
    let (status, body) = site.whole();
    assert_eq!((status, body.len()), (206, 2 << 20));
    assert!(content.starts_with(&body));
    let attributes = site.store.stat(&site.id()).unwrap().attributes;
    assert_eq!(attributes.state, ReplicaState::Broken);
}

#[test]
fn on_a_real_disk_what_was_evicted_is_checked_again_past_the_page_cache_and_through_it() {
    for io_mode in [IoMode::Direct, IoMode::Dontcache, IoMode::Buffered] {
        let site = Site::new(io_mode, VerifyReads::FromDisk);
        let (content, size) = (content(), content().len() as u64);
        let replica = site.store.open(&site.id()).unwrap();
        site.store.disk().sync_all(replica.file()).unwrap();
        for turn in 1..=3 {
            site.store.disk().drop_cached(replica.file(), 0, size).unwrap();
            assert!(site.whole() == (206, content.clone()), "{io_mode}");
            let verified =
                site.count(|c| &c.verified_cached_bytes) + site.count(|c| &c.verified_direct_bytes);
            // The page cache may keep a little of what it was told to drop.
            assert!(verified > turn * size / 2, "{io_mode}: {verified} bytes were checked in turn {turn}");
        }
        assert_eq!(site.count(|counters| &counters.bad_blocks), 0);
    }
}
