//! The replicas of the names are there with their bytes and attributes, and no others; disk, index and accounts agree.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use penstock_door_proto::v1 as proto;

use super::{Audit, Named};
use crate::attributes;
use crate::crash::arrangement::Running;
use crate::crash::record::Source;
use crate::files;

/// `st_blocks` counts in these, whatever the file system's blocks are.
const STAT_BLOCK_BYTES: u64 = 512;

/// All of it. What a crash has left to be done may still be under way: then there are findings that go away.
pub fn compare(running: &Running, named: &Named, source: &Source) -> Audit {
    let mut audit = Audit::default();
    let (listed, looked_up) = ask(running);
    let mut tree = Tree::default();
    tree.walk(&running.root().join("data"), 0);
    let names: BTreeSet<_> = named.keys().cloned().collect();
    let on_disk: BTreeSet<_> = tree.replicas.keys().cloned().collect();
    let ids: BTreeSet<_> = listed.iter().map(|replica| replica.replica_id.clone()).collect();
    let mut differ = |what: &str, left: &BTreeSet<String>, right: &BTreeSet<String>| {
        audit.findings.extend(left.difference(right).map(|replica| format!("{what}: {replica}")));
    };
    differ("wrong: a file that the index does not list", &on_disk, &ids);
    differ("wrong: the index lists what has no file", &ids, &on_disk);
    differ("lost: the replica of a name", &names, &on_disk);
    audit.findings.extend(tree.strangers.iter().map(|path| format!("extra: the file {}", path.display())));
    audit.index(&listed, &looked_up, &tree, named);
    audit.accounts(running, &tree, &listed);
    if audit.findings.is_empty() {
        // Reads all files: only once nothing changes any more.
        audit.files_and_attributes(&tree, named, source);
    }
    audit
}

/// Every replica as the index lists it, and as it is looked up by its id, which asks the file.
fn ask(running: &Running) -> (Vec<proto::ReplicaInfo>, BTreeMap<String, proto::ReplicaInfo>) {
    running.pool().call(async |mut client| {
        let request = proto::ListReplicasRequest::default();
        let mut list = client.list_replicas(request).await.expect("the pool lists its replicas").into_inner();
        let mut listed = Vec::new();
        while let Some(replica) = list.message().await.expect("the list goes on to its end") {
            listed.push(replica);
        }
        let mut looked_up = BTreeMap::new();
        for replica in &listed {
            let request = proto::StatReplicaRequest { replica_id: replica.replica_id.clone() };
            // What is removed at this moment is not found.
            if let Ok(answer) = client.stat_replica(request).await {
                looked_up.insert(replica.replica_id.clone(), answer.into_inner());
            }
        }
        (listed, looked_up)
    })
}

impl Audit {
    fn index(
        &mut self,
        listed: &[proto::ReplicaInfo],
        looked_up: &BTreeMap<String, proto::ReplicaInfo>,
        tree: &Tree,
        named: &Named,
    ) {
        for pair in listed.windows(2) {
            if pair[0].replica_id >= pair[1].replica_id {
                self.findings.push(format!("wrong: the list is not in order at {}", pair[1].replica_id));
            }
        }
        for replica in listed {
            let id = &replica.replica_id;
            if replica.state() != proto::ReplicaState::Ready {
                self.findings.push(format!("wrong: replica {id} is {:?}", replica.state()));
            }
            if !replica.suspect_because.is_empty() {
                self.findings.push(format!("wrong: replica {id} is suspect: {}", replica.suspect_because));
            }
            if !named.contains_key(id) {
                self.findings.push(format!(
                    "extra: replica {id} of {}, {} bytes, which no name points to",
                    replica.path, replica.size
                ));
            }
            if let Some(truth) = looked_up.get(id)
                && (truth.size, truth.state, &truth.checksums, &truth.path, truth.allocated)
                    != (replica.size, replica.state, &replica.checksums, &replica.path, replica.allocated)
            {
                self.findings.push(format!("wrong: the index says {replica:?}, the file {truth:?}"));
            }
            if let Some(file) = tree.replicas.get(id)
                && file.allocated_bytes != replica.allocated
            {
                let (counted, taken) = (replica.allocated, file.allocated_bytes);
                self.findings
                    .push(format!("wrong: {id} takes {taken} bytes, of which the index says {counted}"));
            }
            self.without_blocks += u64::from(!replica.block_checksums && replica.size > 0);
        }
    }

    fn accounts(&mut self, running: &Running, tree: &Tree, listed: &[proto::ReplicaInfo]) {
        let metrics = running.metrics();
        let space = |part: &str| metrics.sum_where("penstock_space_bytes", &format!("part=\"{part}\""));
        let (used, reserved) = (space("used"), space("reserved"));
        if used != tree.allocated_bytes as f64 {
            self.findings.push(format!("wrong: used space is {used}, of du {}", tree.allocated_bytes));
        }
        if reserved != 0.0 {
            self.findings.push(format!("wrong: {reserved} bytes are reserved, and nobody uploads"));
        }
        let status = running.pool().status();
        if status.replicas != listed.len() as u64 {
            self.findings.push(format!(
                "wrong: {} replicas are counted, {} listed",
                status.replicas,
                listed.len()
            ));
        }
        if (status.broken_replicas, status.orphaned_replicas, status.suspect_replicas) != (0, 0, 0) {
            self.findings.push(format!(
                "wrong: {} broken, {} orphaned, {} suspect replicas are counted",
                status.broken_replicas, status.orphaned_replicas, status.suspect_replicas
            ));
        }
        if status.health() != proto::pool_status::Health::Ok {
            self.findings.push(format!("wrong: the pool is {:?}: {:?}", status.health(), status.problems));
        }
    }

    /// The bytes on the disk are the client's, and all attributes tell their checksum: ours, and those for others.
    fn files_and_attributes(&mut self, tree: &Tree, named: &Named, source: &Source) {
        let paths: Vec<_> = tree.replicas.values().map(|file| file.path.clone()).collect();
        for found in attributes::read(&paths) {
            let id = found.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(content) = named.get(&id) else { continue };
            let bytes = source.bytes(content);
            let adler32 = files::adler32_hex(bytes);
            if found.size != bytes.len() as u64 || found.adler32 != adler32 {
                self.findings.push(format!("wrong: the bytes of {} on the disk", found.path.display()));
            }
            let own = found.own.as_deref().unwrap_or_default();
            for word in [format!("size={}", bytes.len()), format!("adler32={adler32}")] {
                if !own.split(' ').any(|other| other == word) {
                    self.findings.push(format!("wrong: the attribute of {id} has no {word}: {own:?}"));
                }
            }
            self.findings
                .extend(found.problems().into_iter().map(|problem| format!("wrong: {id}: {problem}")));
        }
    }
}

/// What lies below a pool's `data`.
#[derive(Default)]
struct Tree {
    /// Files at `data/ab/cd/`, by name.
    replicas: BTreeMap<String, File>,
    /// Files elsewhere, and temporary ones.
    strangers: Vec<PathBuf>,
    /// On the disk, directories included.
    allocated_bytes: u64,
}

struct File {
    path: PathBuf,
    allocated_bytes: u64,
}

impl Tree {
    fn walk(&mut self, directory: &Path, depth: u32) {
        self.allocated_bytes += allocated_bytes(directory);
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                self.walk(&path, depth + 1);
                continue;
            }
            let allocated_bytes = allocated_bytes(&path);
            self.allocated_bytes += allocated_bytes;
            if depth == 2 && !name.starts_with('.') {
                self.replicas.insert(name, File { path, allocated_bytes });
            } else {
                self.strangers.push(path);
            }
        }
    }
}

/// 0 for what is removed at this moment.
fn allocated_bytes(path: &Path) -> u64 {
    std::fs::symlink_metadata(path).map_or(0, |metadata| metadata.blocks() * STAT_BLOCK_BYTES)
}
