//! Stories of the store, told on the simulated disk and, where it matters, on a real file system.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::engine::disk::Kind;
use crate::engine::sim::disk::{SimDisk, SimDiskConfig};

mod change;
mod crash;
mod health;
mod index_file;
mod interchange;
mod limits;
mod million;
mod mix;
mod rebuild;
mod results;
mod upload;

const ROOT: &str = "/pool";
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn id(text: &str) -> ReplicaId {
    ReplicaId::new(text).unwrap()
}

fn config(root: &Path) -> StoreConfig {
    StoreConfig {
        root: root.to_owned(),
        pool_name: "p1".to_owned(),
        capacity: None,
        reserve_bytes: 0,
        direct: true,
        max_file_size: None,
    }
}

fn sim(seed: u64) -> SimDisk {
    SimDisk::new(SimDiskConfig { seed, ..SimDiskConfig::default() })
}

fn open_on(disk: &SimDisk) -> Store {
    Store::open_root(Arc::new(disk.clone()), &config(Path::new(ROOT))).unwrap()
}

fn spec(replica: &str, size: Option<u64>) -> UploadSpec {
    UploadSpec {
        replica: id(replica),
        transfer: "door1:1".to_owned(),
        path: format!("/data/{replica}"),
        class: String::new(),
        size,
        maximum_size: None,
    }
}

/// What a client would have sent, and what is known of it.
fn bytes(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|position| (position as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

fn commit_of(data: &[u8]) -> Commit {
    let mut adler = simd_adler32::Adler32::new();
    adler.write(data);
    Commit {
        blocks: Vec::new(),
        size: data.len() as u64,
        checksums: BTreeMap::from([("adler32".to_owned(), format!("{:08x}", adler.finish()))]),
        created_at: "2026-01-31T08:30:00Z".parse::<Timestamp>().unwrap(),
    }
}

/// Writes as the ring does: direct where it can be, in whole blocks, the last one padded.
fn write_by_ring(disk: &SimDisk, upload: &mut Upload, data: &[u8], piece: usize) -> Result<(), StoreError> {
    for (number, chunk) in data.chunks(piece).enumerate() {
        let offset = number * piece;
        upload.ensure((offset + chunk.len()) as u64)?;
        let mut block = chunk.to_vec();
        block.resize(chunk.len().next_multiple_of(4096), 0);
        disk.ring_write(upload.file().raw(), &block, offset as u64).map_err(|source| StoreError::Io {
            step: "write the bytes",
            replica: upload.spec().replica.clone(),
            source,
        })?;
    }
    Ok(())
}

fn upload(disk: &SimDisk, store: &Store, replica: &str, data: &[u8]) -> Result<ReplicaStat, StoreError> {
    let mut upload = store.begin_upload(spec(replica, Some(data.len() as u64)))?;
    write_by_ring(disk, &mut upload, data, 64 * KIB)?;
    upload.commit(commit_of(data))
}

/// Reads a replica whole, as a client would.
fn read(store: &Store, replica: &Replica) -> Vec<u8> {
    let mut data = vec![0; replica.size() as usize];
    let mut done = 0;
    while done < data.len() {
        match store.disk().read_at(replica.file(), &mut data[done..], done as u64).unwrap() {
            0 => break,
            read => done += read,
        }
    }
    data.truncate(done);
    data
}

/// Bytes on the disk of everything below a directory, as `du` counts them.
fn disk_usage(disk: &dyn crate::engine::disk::Disk, path: &Path) -> u64 {
    let metadata = disk.stat(path).unwrap();
    let below = match metadata.kind {
        Kind::Directory => disk.list_dir(path).unwrap(),
        Kind::File | Kind::Other => Vec::new(),
    };
    metadata.allocated + below.iter().map(|name| disk_usage(disk, &path.join(name))).sum::<u64>()
}

/// Takes the index away, so that the next start looks at every file.
fn remove_index(disk: &dyn crate::engine::disk::Disk, root: &Path) {
    disk.remove(&root.join("index/replicas.redb")).unwrap();
}

/// Holds everything that the index says against a walk over all files, and the counts in memory against both.
fn assert_index_is_what_the_files_say(store: &Store) {
    struct Walk(Vec<ReplicaStat>);
    impl scan::Visitor for Walk {
        type Error = std::convert::Infallible;
        fn replica(&mut self, stat: ReplicaStat) -> Result<(), Self::Error> {
            self.0.push(stat);
            Ok(())
        }
        fn change(&mut self, _: index::Change) -> Result<(), Self::Error> {
            Ok(())
        }
    }
    let mut walk = Walk(Vec::new());
    let Ok(scanned) = scan::scan(&**store.disk(), &store.inner.layout, &mut walk) else { panic!("no data") };
    let Walk(mut found) = walk;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(store.list(None, usize::MAX).unwrap().replicas, found);
    assert_eq!(store.counts(), scanned.totals.counts);
    store.inner.index.flush();
    if let Some(content) = store.inner.index.content() {
        assert_eq!(content.totals, scanned.totals);
        let sorted = |mut directories: Vec<(directories::Directory, u64)>| {
            directories.sort_by_key(|(directory, _)| directory.number());
            directories
        };
        assert_eq!(sorted(content.directories), sorted(scanned.directories));
    }
}

fn used(store: &Store) -> u64 {
    store.space().unwrap().used
}
