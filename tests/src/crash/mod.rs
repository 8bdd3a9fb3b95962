//! Crashes without end: real clients at a real `penstock serve`, which is killed at a random instant, again and again
//! on the same data; after each kill everything is held against what the clients were told.

pub mod audit;
pub mod client;
pub mod http;
pub mod random;
pub mod record;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use self::audit::Audit;
use self::client::{Client, Scene, Tally};
use self::http::Door;
use self::random::Random;
use self::record::{Slot, Source};
use crate::site::{Plan, Site};

/// Clients work this long before the kill, and up to [`WORK_SPREAD_MS`] longer.
const WORK_MIN_MS: u64 = 200;
const WORK_SPREAD_MS: u64 = 1300;
/// One start in so many is killed, too, before it is complete.
const KILLED_STARTS: u64 = 4;
/// A start is killed within this time.
const KILLED_START_MS: u64 = 150;

/// The stream of chance of the campaign itself; each client of each cycle has another.
const CAMPAIGN_STREAM: u64 = 0;

/// A site that is crashed, and all that its clients know.
pub struct Campaign {
    seed: u64,
    data: PathBuf,
    source: Source,
    clients: Vec<Vec<Slot>>,
    random: Random,
    site: Site,
    cycles: u64,
}

/// One cycle: the work, the kill, what was there after it.
#[derive(Debug, Default, Clone)]
pub struct Cycle {
    /// Counted from 1.
    pub number: u64,
    /// How long the clients worked.
    pub work_time: Duration,
    /// Starts that were killed before they were complete.
    pub killed_starts: u64,
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
    pub fn start(data: &Path, seed: u64, clients: usize) -> Campaign {
        Campaign {
            seed,
            data: data.to_owned(),
            source: Source::new(seed),
            clients: (0..clients).map(Slot::of_client).collect(),
            random: Random::new(seed, CAMPAIGN_STREAM),
            site: Plan::new().data(data.to_owned()).start(),
            cycles: 0,
        }
    }

    /// One cycle.
    pub fn cycle(&mut self) -> Cycle {
        self.cycles += 1;
        let work_time = Duration::from_millis(WORK_MIN_MS + self.random.below(WORK_SPREAD_MS + 1));
        let tally = self.work_until_killed(work_time);
        let killed_starts = self.restart();
        let audit = self.audit();
        Cycle { number: self.cycles, work_time, killed_starts, tally, audit }
    }

    /// Holds what is there against the record.
    pub fn audit(&mut self) -> Audit {
        audit::audit(&self.site, &self.replicas(), &mut self.clients, &self.source)
    }

    /// The directory of the pool's replicas.
    #[must_use]
    pub fn replicas(&self) -> PathBuf {
        self.data.join("pool/data")
    }

    /// What the running daemon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.site.daemon.stderr()
    }

    fn work_until_killed(&mut self, work_time: Duration) -> Tally {
        let killed = AtomicBool::new(false);
        let door = Door { address: self.site.door_address(), token: self.site.token.clone() };
        let scene = Scene { door, source: &self.source, killed: &killed };
        let paths: Vec<_> = self.clients.iter().flatten().map(|slot| slot.path.clone()).collect();
        let (seed, cycle, count) = (self.seed, self.cycles, self.clients.len() as u64);
        let mut tally = Tally::default();
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
            self.site.daemon.signal(Signal::KILL);
            for client in working {
                tally.add(client.join().expect("a client writes down what is wrong and does not panic"));
            }
        });
        let status = self.site.daemon.ended();
        if ending_signal(status) != Some(Signal::KILL.as_raw()) {
            tally.findings.push(format!("wrong: the daemon ended before it was killed, with {status}"));
        }
        tally
    }

    /// Starts the daemon anew; returns how many starts were killed before.
    fn restart(&mut self) -> u64 {
        let mut killed = 0;
        while self.random.one_in(KILLED_STARTS) {
            let (_room, daemon) = Plan::new().data(self.data.clone()).spawn();
            thread::sleep(Duration::from_millis(self.random.below(KILLED_START_MS)));
            // Killed and waited for.
            drop(daemon);
            killed += 1;
        }
        self.site = Plan::new().data(self.data.clone()).start();
        killed
    }
}

fn ending_signal(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}
