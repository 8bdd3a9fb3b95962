//! Crashes without end: real clients at real daemons, which are killed at random instants, again and again on the same
//! data; after each kill everything is held against what the clients were told.
//!
//! What clients do is a table of operations ([`operation::OPERATIONS`]): another kind is a function and a line there.

pub mod arrangement;
pub mod audit;
pub mod client;
pub mod http;
pub mod operation;
pub mod random;
pub mod record;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use self::arrangement::{Arrangement, Running, Victim};
use self::audit::Audit;
use self::client::{Client, Scene, Tally};
use self::random::Random;
use self::record::{Slot, Source};

/// Clients work this long before the kill, and up to [`WORK_SPREAD_MS`] longer.
const WORK_MIN_MS: u64 = 30;
const WORK_SPREAD_MS: u64 = 500;
/// One start in so many is killed, too, before it is complete.
const KILLED_STARTS: u64 = 4;
/// A start is killed within this time.
const KILLED_START_MS: u64 = 150;
/// After one kill in so many the index is deleted before the start, ...
const DELETED_INDEXES: u64 = 10;
/// ... and after one audit in so many everything is stopped in order, and held against the record once more.
const CLEAN_STOPS: u64 = 10;

/// The stream of chance of the campaign itself; each client of each cycle has another.
const CAMPAIGN_STREAM: u64 = 0;

/// A site that is crashed, and all that its clients know.
pub struct Campaign {
    seed: u64,
    source: Source,
    clients: Vec<Vec<Slot>>,
    random: Random,
    running: Running,
    cycles: u64,
}

/// One cycle: the work, the kill, what was there after it.
#[derive(Debug, Clone)]
pub struct Cycle {
    /// Counted from 1.
    pub number: u64,
    /// How long the clients worked.
    pub work_time: Duration,
    /// Who was killed.
    pub victim: Victim,
    /// Starts that were killed before they were complete.
    pub killed_starts: u64,
    /// The index was deleted before the start.
    pub index_deleted: bool,
    /// All was stopped in order afterwards, started again and audited again.
    pub clean_stop: bool,
    /// What the clients did.
    pub tally: Tally,
    /// What was there afterwards.
    pub audit: Audit,
}

impl Cycle {
    /// What must not be, one line each; empty when all is well.
    pub fn findings(&self) -> impl Iterator<Item = &str> {
        self.tally.findings.iter().chain(&self.audit.findings).map(String::as_str)
    }
}

impl Campaign {
    /// Starts a site with its data in this directory, which is not there yet.
    #[must_use]
    pub fn start(data: &Path, arrangement: Arrangement, seed: u64, clients: usize) -> Campaign {
        Campaign {
            seed,
            source: Source::new(seed),
            clients: (0..clients).map(Slot::of_client).collect(),
            random: Random::new(seed, CAMPAIGN_STREAM),
            running: Running::start(arrangement, data),
            cycles: 0,
        }
    }

    /// One cycle.
    pub fn cycle(&mut self) -> Cycle {
        self.cycles += 1;
        let work_time = Duration::from_millis(WORK_MIN_MS + self.random.below(WORK_SPREAD_MS + 1));
        let victim = self.running.choose(&mut self.random);
        let index_deleted = victim != Victim::Door && self.random.one_in(DELETED_INDEXES);
        let (tally, killed_starts) = self.work_until_killed(work_time, victim, index_deleted);
        let mut audit = self.audit();
        let clean_stop = self.random.one_in(CLEAN_STOPS);
        if clean_stop && audit.findings.is_empty() {
            self.running.stop();
            self.running.start_again(Victim::All);
            let again = self.audit();
            audit
                .findings
                .extend(again.findings.iter().map(|finding| format!("after a clean stop: {finding}")));
        }
        Cycle {
            number: self.cycles,
            work_time,
            victim,
            killed_starts,
            index_deleted,
            clean_stop,
            tally,
            audit,
        }
    }

    /// Holds what is there against the record.
    pub fn audit(&mut self) -> Audit {
        audit::audit(&self.running, &mut self.clients, &self.source)
    }

    /// The directory of the pool's replicas.
    #[must_use]
    pub fn replicas(&self) -> PathBuf {
        self.running.root().join("data")
    }

    /// What the running daemons have logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Returns what the clients did, and how many starts were killed.
    fn work_until_killed(&mut self, work_time: Duration, victim: Victim, delete_index: bool) -> (Tally, u64) {
        let killed = AtomicBool::new(false);
        let scene = Scene { door: self.running.door(), source: &self.source, killed: &killed };
        let paths: Vec<_> = self.clients.iter().flatten().map(|slot| slot.path.clone()).collect();
        let (seed, cycle, count) = (self.seed, self.cycles, self.clients.len() as u64);
        let (running, random) = (&mut self.running, &mut self.random);
        let mut tally = Tally::default();
        let mut killed_starts = 0;
        thread::scope(|scope| {
            let working: Vec<_> = (1..)
                .zip(&mut self.clients)
                .map(|(number, slots)| {
                    let random = Random::new(seed, cycle * count + number);
                    let client = Client { scene: &scene, slots, paths: &paths, random };
                    scope.spawn(move || client.work())
                })
                .collect();
            thread::sleep(work_time);
            killed.store(true, Ordering::SeqCst);
            tally.findings.extend(running.kill(victim));
            if delete_index {
                let _ = std::fs::remove_dir_all(running.root().join("index"));
            }
            // While clients wait: who lives on, may answer them yet.
            while random.one_in(KILLED_STARTS) {
                let after = Duration::from_millis(random.below(KILLED_START_MS));
                running.start_and_kill(victim, after);
                killed_starts += 1;
            }
            running.start_again(victim);
            for client in working {
                tally.add(client.join().expect("a client writes down what is wrong and does not panic"));
            }
        });
        (tally, killed_starts)
    }
}
