//! How a store behaves with very many replicas: figures, not a test of right and wrong.
//!
//! ```text
//! REPLICAS=1000000 cargo test --release -p penstock-pool --lib a_million_replicas -- --ignored --nocapture
//! ```
//!
//! Syncs are left out while the replicas are made (the disk below says that they are done), so that the making takes
//! minutes and not hours; starts, listings and removals are those of a pool.

use std::time::Instant;

use super::*;
use crate::engine::disk::{Disk, File, FsSpace, KernelDisk, Metadata, ReadMode};

/// The kernel's file systems, believed to be durable.
struct Careless;

impl Disk for Careless {
    fn create_dir_all(&self, path: &Path) -> std::io::Result<()> {
        KernelDisk.create_dir_all(path)
    }
    fn create_unnamed(&self, dir: &Path) -> std::io::Result<File> {
        KernelDisk.create_unnamed(dir)
    }
    fn link(&self, file: &File, path: &Path) -> std::io::Result<()> {
        KernelDisk.link(file, path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        KernelDisk.rename(from, to)
    }
    fn open(&self, path: &Path, mode: ReadMode) -> std::io::Result<File> {
        KernelDisk.open(path, mode)
    }
    fn reopen(&self, file: &File, mode: ReadMode) -> std::io::Result<File> {
        KernelDisk.reopen(file, mode)
    }
    fn lock(&self, path: &Path) -> std::io::Result<File> {
        KernelDisk.lock(path)
    }
    fn set_direct(&self, file: &File, direct: bool) -> std::io::Result<bool> {
        KernelDisk.set_direct(file, direct)
    }
    fn allocate(&self, file: &File, offset: u64, length: u64) -> std::io::Result<()> {
        KernelDisk.allocate(file, offset, length)
    }
    fn truncate(&self, file: &File, size: u64) -> std::io::Result<()> {
        KernelDisk.truncate(file, size)
    }
    fn write_all_at(&self, file: &File, data: &[u8], offset: u64) -> std::io::Result<()> {
        KernelDisk.write_all_at(file, data, offset)
    }
    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        KernelDisk.read_at(file, buffer, offset)
    }
    fn set_attribute(&self, file: &File, name: &str, value: &[u8]) -> std::io::Result<()> {
        // The checksums for other systems would take a block of each file.
        if name == attributes::ATTRIBUTE_NAME { KernelDisk.set_attribute(file, name, value) } else { Ok(()) }
    }
    fn attribute(&self, file: &File, name: &str) -> std::io::Result<Option<Vec<u8>>> {
        KernelDisk.attribute(file, name)
    }
    fn sync_data(&self, _: &File) -> std::io::Result<()> {
        Ok(())
    }
    fn sync_all(&self, _: &File) -> std::io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self, _: &Path) -> std::io::Result<()> {
        Ok(())
    }
    fn sync_file_system(&self, path: &Path) -> std::io::Result<()> {
        KernelDisk.sync_file_system(path)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        KernelDisk.remove(path)
    }
    fn metadata(&self, file: &File) -> std::io::Result<Metadata> {
        KernelDisk.metadata(file)
    }
    fn stat(&self, path: &Path) -> std::io::Result<Metadata> {
        KernelDisk.stat(path)
    }
    fn list_dir(&self, path: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
        KernelDisk.list_dir(path)
    }
    fn space(&self, path: &Path) -> std::io::Result<FsSpace> {
        KernelDisk.space(path)
    }
    fn cached(
        &self,
        file: &File,
        offset: u64,
        length: u64,
    ) -> std::io::Result<Option<crate::engine::disk::Cached>> {
        KernelDisk.cached(file, offset, length)
    }
    fn drop_cached(&self, file: &File, offset: u64, length: u64) -> std::io::Result<()> {
        KernelDisk.drop_cached(file, offset, length)
    }
    fn has_unnamed_files(&self, dir: &Path) -> std::io::Result<bool> {
        KernelDisk.has_unnamed_files(dir)
    }
}

/// Memory of this process in MiB: resident now, and the most so far.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mib = |key: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    };
    format!("resident {} MiB, at most {} MiB", mib("VmRSS:"), mib("VmHWM:"))
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    println!("{what}: {:.3} s; {}", began.elapsed().as_secs_f64(), memory());
    result
}

#[test]
#[ignore = "takes minutes and a million files; prints figures"]
fn a_million_replicas() {
    let replicas: u64 = std::env::var("REPLICAS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let threads = 4;
    let dir = tempfile::Builder::new().prefix("penstock-million").tempdir_in(".").unwrap();
    let config = config(&dir.path().join("pool"));
    let open = || Store::open_root(Arc::new(KernelDisk), &config).unwrap();
    let name = |number: u64| id(&format!("{number:016X}"));
    {
        let store = Store::open_root(Arc::new(Careless), &config).unwrap();
        timed(&format!("make {replicas}"), || {
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let store = &store;
                    scope.spawn(move || {
                        for number in (thread..replicas).step_by(threads as usize) {
                            let (replica, transfer) = (name(number), format!("door1:{number}"));
                            let spec = UploadSpec { replica, transfer, ..spec("x", Some(0)) };
                            let replica = spec.replica.clone();
                            let transfer = spec.transfer.clone();
                            store.admit(spec).unwrap().store_small(b"", commit_of(b"")).unwrap();
                            store.results().put_soon(&transfer, Some(&replica), b"result".to_vec());
                            store.results().remove(&transfer);
                        }
                    });
                }
            });
        });
        timed("clean stop", || drop(store));
    }
    let store = timed("start after a clean stop", open);
    assert_eq!((store.counts().all, store.scan_report().scanned), (replicas, false));
    timed("list all, 1000 to a page", || {
        let (mut after, mut listed) = (None, 0);
        loop {
            let page = store.list(after.as_ref(), 1000).unwrap();
            listed += page.replicas.len() as u64;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(listed, replicas);
    });
    timed("one page of 1000 from the middle", || store.list(Some(&name(replicas / 2)), 1000).unwrap());
    timed("stat of 10000 here and there", || {
        for number in 0..10_000 {
            store.stat(&name(number * 7919 % replicas)).unwrap();
        }
    });
    timed("look for replicas without checksums of blocks", || {
        assert!(store.without_blocks(None, 1).ids.is_empty())
    });
    timed("delete 1000, one after the other", || {
        for number in 0..1000 {
            store.delete(&name(number * 991 % replicas)).unwrap();
        }
    });
    let left = store.counts().all;
    // As if killed: what is open stays open, and the lock goes with a copy of the index's file.
    store.inner.index.flush();
    let index = config.root.join("index/replicas.redb");
    println!("index: {} MiB", std::fs::metadata(&index).unwrap().len() >> 20);
    let copy = dir.path().join("killed.redb");
    std::fs::copy(&index, &copy).unwrap();
    timed("clean stop", || drop(store));
    std::fs::rename(&copy, &index).unwrap();
    let store = timed("start after a kill", open);
    assert_eq!((store.counts().all, store.scan_report().scanned), (left, false));
    drop(store);
    std::fs::remove_file(&index).unwrap();
    let store = timed("start without an index", open);
    assert_eq!((store.counts().all, store.scan_report().scanned), (left, true));
}
