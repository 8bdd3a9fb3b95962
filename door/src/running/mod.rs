//! Starting a door, and stopping it.
//!
//! * `start`: [`Door`], the wiring; `sockets` and `files` are what it starts with.
//! * `reload`: another configuration for a door that runs.

mod errors;
mod files;
mod reload;
mod sockets;
mod start;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use self::files::Files;
use crate::audit::Audit;
use crate::config::Config;
use crate::http::current::Current;
use crate::http::server::Ending;
use crate::http::threads::ConnectionThreads;
use crate::metrics::Metrics;
use crate::namespace::Namespace;
use crate::transfers::Transfers;

pub use errors::{ReloadError, StartError};
pub use sockets::Sockets;
pub use start::Door;

/// How often a draining door looks whether its transfers have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// A door that serves.
#[derive(Debug)]
pub struct RunningDoor {
    plain_address: Option<SocketAddr>,
    tls_address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
    namespace: Namespace,
    transfers: Arc<Transfers>,
    metrics: Metrics,
    ending: Ending,
    current: Arc<Current>,
    files: Files,
    audit: Arc<Audit>,
    config: Mutex<Config>,
    /// One for each listener.
    accepting: Vec<JoinHandle<()>>,
    /// What connections have begun may still run on them.
    threads: ConnectionThreads,
}

impl RunningDoor {
    /// Where it listens: for plain HTTP if it does, else for https.
    pub fn address(&self) -> SocketAddr {
        // `Config::plain_listen` and `[tls]`: there is always one of them.
        let none = SocketAddr::from(([0, 0, 0, 0], 0));
        self.plain_address.or(self.tls_address).unwrap_or(none)
    }

    /// Where it listens for https, if it does.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// By which URLs it can be reached, by address.
    pub fn urls(&self) -> Vec<String> {
        let plain = self.plain_address.map(|address| format!("http://{address}"));
        plain.into_iter().chain(self.tls_address.map(|address| format!("https://{address}"))).collect()
    }

    /// Where its admin port listens, if it has one.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Its metrics, for a process that serves them itself.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Transfers that this door attends now.
    pub fn transfers(&self) -> usize {
        self.transfers.running()
    }

    /// How it is, in one line: what it attends, and which pools answer.
    pub fn status_line(&self) -> String {
        let pools: Vec<_> = self.transfers.pools().iter().collect();
        let silent: Vec<_> =
            pools.iter().filter(|pool| !pool.state().is_up()).map(|pool| pool.name()).collect();
        let mut line = format!(
            "{} transfers attended; {} of {} pools answer",
            self.transfers(),
            pools.len() - silent.len(),
            pools.len()
        );
        if let [first, others @ ..] = silent.as_slice() {
            line.push_str(&format!("; {first}"));
            if !others.is_empty() {
                line.push_str(&format!(" and {} more", others.len()));
            }
            line.push_str(" cannot be reached");
        }
        if self.ending.drain.is_cancelled() {
            line.push_str("; draining");
        }
        line
    }

    /// What does not turn although it should: nobody accepts connections, or those of a thread have waited for so long.
    pub fn stuck(&self, limit: Duration) -> Option<String> {
        let ended = self.accepting.iter().any(JoinHandle::is_finished);
        let unheard = ended && !self.ending.drain.is_cancelled();
        unheard.then(|| "nobody accepts connections".to_owned()).or_else(|| self.threads.stuck(limit))
    }

    /// How long a drain may take.
    pub fn drain_time(&self) -> Duration {
        self.config().timeouts.drain.0
    }

    fn config(&self) -> MutexGuard<'_, Config> {
        // Replaced as a whole.
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every pool answers. `false` when they do not within the time.
    pub async fn wait_for_pools(&self, within: Duration) -> bool {
        let all = async {
            for pool in self.transfers.pools().iter() {
                // The sender lives as long as the pool.
                let _ = pool.watch_state().wait_for(|state| state.is_up()).await;
            }
        };
        tokio::time::timeout(within, all).await.is_ok()
    }

    /// Takes no new connection or request, and waits until those that run, and the transfers they began, have ended.
    /// Returns how many transfers are left when the time is over; they are settled after the next start.
    pub async fn drain(&self, within: Duration) -> usize {
        self.ending.drain.cancel();
        self.ending.connections.close();
        let quiet = async {
            self.ending.connections.wait().await;
            while self.transfers.running() > 0 {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        // What is left is told by the number.
        let _ = tokio::time::timeout(within, quiet).await;
        self.transfers.running()
    }

    /// Ends at once: connections are closed, transfers left to the pools. Nothing is lost: see [`crate::transfers`].
    pub async fn stop(self) {
        self.ending.drain.cancel();
        self.ending.stop.cancel();
        self.ending.connections.close();
        self.ending.connections.wait().await;
        self.transfers.stop().await;
        self.namespace.close().await;
        let audit = Arc::clone(&self.audit);
        // It waits for a disk.
        let _ = tokio::task::spawn_blocking(move || audit.end()).await;
    }
}
