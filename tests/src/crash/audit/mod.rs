//! What is there after a crash, held against what the clients were told.
//!
//! Five views must agree: the clients' record, the door's namespace, the pool's replicas as its index lists them, as
//! each is looked up, and as they lie on its disk with their attributes; and the pool's accounts with `du`.

mod replicas;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::arrangement::Running;
use super::http::Door;
use super::record::{Content, Slot, Source, State, check, directory};
use crate::curl::Curl;
use crate::patience::within;

/// Within this time after a start, nothing is owed any more: results are told and heard, and what was replaced, deleted
/// or left without a name by the crash has gone.
const SETTLING_TIME: Duration = Duration::from_secs(15);

/// What an audit found.
#[derive(Debug, Default, Clone)]
pub struct Audit {
    /// Files that have a name.
    pub names: u64,
    /// Unanswered changes that turned out to have been made.
    pub made: u64,
    /// Replicas whose blocks have no checksums (yet): a crash came before they were in the index.
    pub without_blocks: u64,
    /// What must not be, one line each.
    pub findings: Vec<String>,
}

/// The replicas that names point to, by id, and what they should hold.
type Named = BTreeMap<String, Content>;

/// Compares everything, and writes into the record what became of the changes that were not answered.
pub fn audit(running: &Running, clients: &mut [Vec<Slot>], source: &Source) -> Audit {
    let mut audit = Audit::default();
    let door = running.door();
    audit.results_are_heard(running);
    let named = audit.files(&door, clients, source);
    audit.names = named.len() as u64;
    audit.listings(&door, clients);
    let settled = within(SETTLING_TIME, || {
        let replicas = replicas::compare(running, &named, source);
        replicas.findings.is_empty().then_some(replicas)
    });
    // At the end of patience, what is wrong now counts.
    let replicas = settled.unwrap_or_else(|| replicas::compare(running, &named, source));
    audit.without_blocks = replicas.without_blocks;
    audit.findings.extend(replicas.findings);
    audit
}

impl Audit {
    /// Waits until the door has settled every upload that ended while it could not hear: until then a name may appear.
    fn results_are_heard(&mut self, running: &Running) {
        let pool = running.pool();
        let left = || pool.status().unacknowledged;
        if within(SETTLING_TIME, || (left() == 0).then_some(())).is_none() {
            self.findings.push(format!("wrong: {} results are never acknowledged", left()));
        }
    }

    /// Downloads every path; returns the replicas that names point to.
    fn files(&mut self, door: &Door, clients: &mut [Vec<Slot>], source: &Source) -> Named {
        let mut named = Named::new();
        for slot in clients.iter_mut().flatten() {
            let answer = match door.get(&slot.path, None) {
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
            if let (200, State::File(content)) = (answer.status, &slot.state) {
                // The entity tag of a file is the id of its replica.
                let etag = answer.header("ETag").unwrap_or_default().trim_matches('"').to_owned();
                if named.insert(etag.clone(), content.clone()).is_some() {
                    self.findings.push(format!("wrong: {} shares its replica {etag:?}", slot.path));
                }
            }
        }
        named
    }

    /// The door lists the files of the record, and nothing else.
    fn listings(&mut self, door: &Door, clients: &[Vec<Slot>]) {
        let mut top = BTreeSet::from(["/".to_owned()]);
        for (client, slots) in clients.iter().enumerate() {
            let directory = directory(client);
            let files = slots.iter().filter(|slot| slot.state != State::Absent);
            let mut expected: BTreeSet<_> = files.map(|slot| slot.path.clone()).collect();
            let Some(listed) = self.names_in(door, &directory) else {
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
        let listed = self.names_in(door, "/").unwrap_or_default();
        self.same_names(&top, &listed);
    }

    fn same_names(&mut self, expected: &BTreeSet<String>, listed: &BTreeSet<String>) {
        let lost = expected.difference(listed).map(|name| format!("lost from the listing: {name}"));
        let extra = listed.difference(expected).map(|name| format!("extra in the listing: {name}"));
        self.findings.extend(lost.chain(extra));
    }

    /// What PROPFIND tells of a directory; `None` where there is none.
    fn names_in(&mut self, door: &Door, directory: &str) -> Option<BTreeSet<String>> {
        let answer = Curl::new(format!("http://{}{directory}", door.address))
            .token(Some(&door.token))
            .method("PROPFIND")
            .header("Depth", "1")
            .run();
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
