//! What is there after a crash, held against what the clients were told.
//!
//! Three views must agree: the clients' record, the door's namespace, and the pool's replicas (as it lists them, as
//! they lie on its disk, and as it counts their space).

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use penstock_door_proto::v1 as proto;

use super::client::check;
use super::http::Door;
use super::record::{Slot, Source, State, directory};
use crate::patience::within;
use crate::pool_client::PoolClient;
use crate::site::Site;

/// Within this time after a start, nothing is owed any more: what was replaced, deleted or
/// left without a name by the crash has gone.
const SETTLING_TIME: Duration = Duration::from_secs(10);
/// `st_blocks` counts in these, whatever the file system's blocks are.
const STAT_BLOCK_BYTES: u64 = 512;

/// What an audit found.
#[derive(Debug, Default, Clone)]
pub struct Audit {
    /// Files that have a name.
    pub names: u64,
    /// Unanswered changes that turned out to have been made.
    pub made: u64,
    /// What must not be, one line each.
    pub findings: Vec<String>,
}

/// Compares everything, and writes into the record what became of the changes that were not answered.
pub fn audit(site: &Site, pool_root: &Path, clients: &mut [Vec<Slot>], source: &Source) -> Audit {
    let mut audit = Audit::default();
    let door = Door { address: site.door_address(), token: site.token.clone() };
    let named = audit.files(&door, clients, source);
    audit.names = named.len() as u64;
    audit.listings(site, clients);
    let settled = within(SETTLING_TIME, || {
        let replicas = compare_replicas(site, pool_root, &named);
        replicas.findings.is_empty().then_some(replicas)
    });
    // At the end of patience, what is wrong now counts.
    let replicas = settled.unwrap_or_else(|| compare_replicas(site, pool_root, &named));
    audit.findings.extend(replicas.findings);
    audit
}

impl Audit {
    /// Downloads every path; returns the replicas that names point to.
    fn files(&mut self, door: &Door, clients: &mut [Vec<Slot>], source: &Source) -> BTreeSet<String> {
        let mut named = BTreeSet::new();
        for slot in clients.iter_mut().flatten() {
            let answer = match door.get(&slot.path) {
                Ok(answer) => answer,
                Err(error) => {
                    self.findings.push(format!("wrong: {} cannot be read: {error}", slot.path));
                    continue;
                }
            };
            let before = check(&answer, &slot.state, source);
            let after = slot.unanswered.as_ref().map(|state| check(&answer, state, source));
            match (before, after) {
                // Empty over empty, say: which of the two replicas it is, its bytes do not tell.
                (Ok(()), Some(Ok(()))) => {
                    let state = slot.unanswered.clone();
                    slot.settle_as_before();
                    slot.state = state.unwrap_or(State::Absent);
                }
                (_, Some(Ok(()))) => {
                    slot.settle_as_changed();
                    self.made += 1;
                }
                (Ok(()), _) => slot.settle_as_before(),
                (Err(what), None) => self.findings.push(format!("{what}: {}", slot.path)),
                (Err(what), Some(Err(other))) => {
                    self.findings
                        .push(format!("{} is neither as before ({what}) nor as after ({other})", slot.path));
                }
            }
            if answer.status == 200 {
                // The entity tag of a file is the id of its replica.
                let etag = answer.header("ETag").unwrap_or_default().trim_matches('"').to_owned();
                if !named.insert(etag.clone()) {
                    self.findings.push(format!("wrong: {} shares its replica {etag:?}", slot.path));
                }
            }
        }
        named
    }

    /// The door lists the files of the record, and nothing else.
    fn listings(&mut self, site: &Site, clients: &[Vec<Slot>]) {
        let mut top = BTreeSet::from(["/".to_owned()]);
        for (client, slots) in clients.iter().enumerate() {
            let directory = directory(client);
            let files = slots.iter().filter(|slot| slot.state != State::Absent);
            let mut expected: BTreeSet<_> = files.map(|slot| slot.path.clone()).collect();
            let Some(listed) = self.names_in(site, &directory) else {
                // Made with its first file; until then there is none.
                if !expected.is_empty() {
                    self.findings.push(format!("lost: the directory {directory}"));
                }
                continue;
            };
            expected.insert(directory.clone());
            top.insert(directory);
            self.same_names(&expected, &listed);
        }
        let listed = self.names_in(site, "/").unwrap_or_default();
        self.same_names(&top, &listed);
    }

    fn same_names(&mut self, expected: &BTreeSet<String>, listed: &BTreeSet<String>) {
        let lost = expected.difference(listed).map(|name| format!("lost from the listing: {name}"));
        let extra = listed.difference(expected).map(|name| format!("extra in the listing: {name}"));
        self.findings.extend(lost.chain(extra));
    }

    /// What PROPFIND tells of a directory; `None` where there is none.
    fn names_in(&mut self, site: &Site, directory: &str) -> Option<BTreeSet<String>> {
        let answer = site.curl(directory).method("PROPFIND").header("Depth", "1").run();
        match answer.status {
            207 => Some(hrefs(&answer.text())),
            404 => None,
            status => {
                self.findings.push(format!("wrong: PROPFIND {directory} is answered with {status}"));
                None
            }
        }
    }
}

fn hrefs(multistatus: &str) -> BTreeSet<String> {
    let rest = multistatus.split(":href>").skip(1).step_by(2);
    rest.map(|rest| rest.split('<').next().unwrap_or_default().to_owned()).collect()
}

/// The replicas of the names are there, and no others; disk, list and accounts agree.
fn compare_replicas(site: &Site, pool_root: &Path, named: &BTreeSet<String>) -> Audit {
    let mut audit = Audit::default();
    let listed = list_replicas(&site.data().join("grpc.sock"));
    let mut tree = Tree::default();
    tree.walk(pool_root, 0);
    let on_disk: BTreeSet<_> = tree.replicas.into_iter().collect();
    let ids: BTreeSet<_> = listed.iter().map(|replica| replica.replica_id.clone()).collect();
    let mut differ = |what: &str, left: &BTreeSet<String>, right: &BTreeSet<String>| {
        audit.findings.extend(left.difference(right).map(|replica| format!("{what}: {replica}")));
    };
    differ("wrong: a file that the pool does not list", &on_disk, &ids);
    differ("wrong: the pool lists what has no file", &ids, &on_disk);
    differ("lost: the replica of a name", named, &on_disk);
    audit.findings.extend(tree.strangers.iter().map(|path| format!("extra: the file {}", path.display())));

    for replica in &listed {
        if replica.state() != proto::ReplicaState::Ready {
            audit.findings.push(format!("wrong: replica {} is {:?}", replica.replica_id, replica.state()));
        }
        if !named.contains(&replica.replica_id) {
            audit.findings.push(format!(
                "extra: replica {} of {}, {} bytes, which no name points to",
                replica.replica_id, replica.path, replica.size
            ));
        }
    }

    let (used, reserved) = (site.space("used"), site.space("reserved"));
    if used != tree.allocated_bytes as f64 {
        audit.findings.push(format!("wrong: used space is {used}, of du {}", tree.allocated_bytes));
    }
    if reserved != 0.0 {
        audit.findings.push(format!("wrong: {reserved} bytes are reserved, and nobody uploads"));
    }
    audit
}

/// What lies below a pool's `data`.
#[derive(Default)]
struct Tree {
    /// Names of files at `data/ab/cd/`.
    replicas: Vec<String>,
    /// Files elsewhere, and temporary ones.
    strangers: Vec<PathBuf>,
    /// On the disk, directories included.
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
            self.allocated_bytes += allocated_bytes(&path);
            if depth == 2 && !name.starts_with('.') {
                self.replicas.push(name);
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

fn list_replicas(socket: &Path) -> Vec<proto::ReplicaInfo> {
    PoolClient::connect(socket).call(async |mut client| {
        let request = proto::ListReplicasRequest::default();
        let mut list = client.list_replicas(request).await.expect("the pool lists its replicas").into_inner();
        let mut replicas = Vec::new();
        while let Some(replica) = list.message().await.expect("the list goes on to its end") {
            replicas.push(replica);
        }
        replicas
    })
}
