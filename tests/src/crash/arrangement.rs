//! What is crashed: door and pool in one process, or a process each, of which one or both die.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::http::Door;
use super::random::Random;
use crate::binaries::binary;
use crate::daemon::Daemon;
use crate::metrics::Metrics;
use crate::pair::Pair;
use crate::pool_client::PoolClient;
use crate::site::{Plan, Site};

/// How door and pool run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// `penstock serve`.
    Together,
    /// `penstock-door` and `penstock-pool`.
    Apart,
}

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// Both, at the same instant.
    All,
    /// The pool; the door lives.
    Pool,
    /// The door; the pool lives.
    Door,
}

/// A running site.
pub enum Running {
    /// One process.
    Together {
        /// It.
        site: Box<Site>,
        /// Its data.
        data: PathBuf,
    },
    /// Two.
    Apart {
        /// They.
        pair: Box<Pair>,
    },
}

impl Running {
    /// Starts a site with its data in this directory, which is not there yet.
    #[must_use]
    pub fn start(arrangement: Arrangement, data: &Path) -> Running {
        match arrangement {
            Arrangement::Together => {
                let site = Box::new(Plan::new().data(data.to_owned()).start());
                Running::Together { site, data: data.to_owned() }
            }
            Arrangement::Apart => {
                // A clean stop waits for downloads that may go on.
                let more = "timeouts.linger = \"1 s\"\ntpc.allow_loopback = true\n";
                let pair = Pair::start_in(data, &data.join("pool"), more);
                Running::Apart { pair: Box::new(pair) }
            }
        }
    }

    /// The pool's root.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        match self {
            Running::Together { data, .. } => data.join("pool"),
            Running::Apart { pair } => pair.pool.root(),
        }
    }

    /// Where the door is, and its token.
    #[must_use]
    pub fn door(&self) -> Door {
        match self {
            Running::Together { site, .. } => {
                Door { address: site.door_address(), token: site.token.clone() }
            }
            Running::Apart { pair } => Door { address: pair.door_address(), token: pair.token.clone() },
        }
    }

    /// Where the door listens.
    #[must_use]
    pub fn door_address(&self) -> SocketAddr {
        self.door().address
    }

    /// A door's connection to the pool.
    #[must_use]
    pub fn pool(&self) -> PoolClient {
        match self {
            Running::Together { site, .. } => site.pool_client(),
            Running::Apart { pair } => pair.pool.client(),
        }
    }

    /// The pool's numbers.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        match self {
            Running::Together { site, .. } => site.metrics(),
            Running::Apart { pair } => pair.pool.metrics(),
        }
    }

    /// What the daemons have logged since they were started.
    #[must_use]
    pub fn log(&self) -> String {
        match self {
            Running::Together { site, .. } => site.daemon.stderr(),
            Running::Apart { pair } => {
                format!("-- pool\n{}-- door\n{}", pair.pool.daemon.stderr(), pair.door.stderr())
            }
        }
    }

    /// Who dies next.
    pub fn choose(&self, random: &mut Random) -> Victim {
        match self {
            Running::Together { .. } => Victim::All,
            Running::Apart { .. } => match random.below(4) {
                0 | 1 => Victim::Pool,
                2 => Victim::Door,
                _ => Victim::All,
            },
        }
    }

    /// Kills; returns who had ended before, and how.
    #[must_use]
    pub fn kill(&mut self, victim: Victim) -> Vec<String> {
        let mut victims: Vec<(&str, &mut Daemon)> = match self {
            Running::Together { site, .. } => vec![("penstock", &mut site.daemon)],
            Running::Apart { pair } => {
                let pair = &mut **pair;
                match victim {
                    Victim::All => vec![("pool", &mut pair.pool.daemon), ("door", &mut pair.door)],
                    Victim::Pool => vec![("pool", &mut pair.pool.daemon)],
                    Victim::Door => vec![("door", &mut pair.door)],
                }
            }
        };
        // First all the signals, then all the waiting.
        victims.iter().for_each(|(_, daemon)| daemon.signal(Signal::KILL));
        let ends = victims.iter_mut().map(|(name, daemon)| (*name, daemon.ended()));
        ends.filter(|(_, status)| ending_signal(*status) != Some(Signal::KILL.as_raw()))
            .map(|(name, status)| format!("wrong: {name} ended before it was killed, with {status}"))
            .collect()
    }

    /// Starts who was killed, and kills the start itself so many milliseconds after it has begun.
    pub fn start_and_kill(&mut self, victim: Victim, after: Duration) {
        let daemon = match self {
            Running::Together { data, .. } => Plan::new().data(data.clone()).spawn().1,
            Running::Apart { pair } => {
                let (program, config) = match victim {
                    Victim::All | Victim::Pool => ("penstock-pool", pair.pool.config.clone()),
                    Victim::Door => ("penstock-door", pair.directory().join("door.toml")),
                };
                let mut command = std::process::Command::new(binary(program));
                Daemon::spawn(program, command.arg("--config").arg(config))
            }
        };
        thread::sleep(after);
        // Killed and waited for.
        drop(daemon);
    }

    /// Starts who was killed or stopped; returns when door and pool have found each other.
    pub fn start_again(&mut self, victim: Victim) {
        match self {
            Running::Together { site, data } => **site = Plan::new().data(data.clone()).start(),
            Running::Apart { pair } => {
                if victim != Victim::Door {
                    pair.pool.start_again();
                }
                if victim != Victim::Pool {
                    pair.start_door_again();
                }
                pair.wait_until_joined();
            }
        }
    }

    /// Stops everything by SIGTERM.
    pub fn stop(&mut self) {
        match self {
            Running::Together { site, .. } => site.stop(),
            Running::Apart { pair } => {
                pair.door.terminate();
                let status = pair.door.ended();
                assert!(status.success(), "penstock-door ended with {status}:\n{}", pair.door.stderr());
                pair.pool.stop();
            }
        }
    }
}

fn ending_signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}
