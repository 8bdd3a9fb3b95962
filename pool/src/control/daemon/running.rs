//! A pool while it runs: how it is, what can be changed, its drain and its stop.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::reconfigure::Change;
use super::settings::{descriptors_needed, registry_settings, scrub_settings};
use super::tick::TICK;
use super::{descriptors, reload};
use crate::config::Config;
use crate::control::data_port::DataPort;
use crate::control::grpc::listen::{GrpcAddress, Serving};
use crate::control::liveness::Beat;
use crate::control::metrics::Metrics;
use crate::control::registry::Registry;
use crate::control::registry::results::Results;
use crate::control::status::StatusSource;
use crate::marking::Marking;
use crate::scrub::Scrub;
use crate::store::Store;

/// At the end: how long streams to doors may take to close, after the transfers have ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A running pool. Dropping it without [`stop`](Self::stop) leaves its tasks to the runtime's end.
#[derive(Debug)]
pub struct RunningPool {
    pub(super) config: Mutex<Config>,
    pub(super) registry: Arc<Registry>,
    pub(super) store: Arc<Store>,
    pub(super) status: Arc<StatusSource>,
    /// Struck by the task that does what time demands.
    pub(super) beat: Arc<Beat>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: watch::Sender<u64>,
    pub(super) data_port: Arc<dyn DataPort>,
    pub(super) data_addr: SocketAddr,
    pub(super) admin_addr: SocketAddr,
    pub(super) serving: Serving,
    pub(super) admin: JoinHandle<()>,
    pub(super) ticking: JoinHandle<()>,
    pub(super) keeping: JoinHandle<()>,
    pub(super) results: Arc<Results>,
    pub(super) scrub: Arc<Scrub>,
    pub(super) reloading: JoinHandle<()>,
    pub(super) marking: Arc<Marking>,
}

impl RunningPool {
    /// Where clients come to.
    #[must_use]
    pub fn data_addr(&self) -> SocketAddr {
        self.data_addr
    }

    /// Where people and Prometheus come to.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Where doors come to.
    #[must_use]
    pub fn grpc_addr(&self) -> &GrpcAddress {
        self.serving.address()
    }

    /// Its metrics, for a door in the same process that has no port for its own.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What it runs with.
    #[must_use]
    pub fn config(&self) -> Config {
        // Replaced as a whole.
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it is, in one line: what runs, how fast, and what is not well.
    #[must_use]
    pub fn status_line(&self) -> String {
        self.status.line()
    }

    /// What has not turned for so long: a shard, the task that does what time demands, or the doors' endpoint. Does not
    /// block.
    #[must_use]
    pub fn stuck(&self, limit: Duration) -> Option<String> {
        if let Some(number) = self.data_port.silent_shard(limit) {
            return Some(format!("shard {number} has not turned for {} s", limit.as_secs()));
        }
        if self.beat.silent_for(limit) {
            return Some(format!("no deadline was looked at for {} s", limit.as_secs()));
        }
        self.serving.has_ended().then(|| "the gRPC endpoint has ended".to_owned())
    }

    /// Runs with another configuration as far as that is possible without a start, and says what has to wait for one.
    pub fn reconfigure(&self, new: &Config) {
        let Change { running, at_next_start } = Change::between(&self.config(), new);
        self.registry.set_limits(&registry_settings(&running));
        self.data_port.limit_connections(running.limits.connections);
        self.store.limit_space(running.capacity, running.reserve_bytes);
        self.scrub.set_settings(scrub_settings(&running));
        descriptors::raise(descriptors_needed(&running));
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = running;
        info!("the configuration was read again");
        if !at_next_start.is_empty() {
            warn!(keys = at_next_start.join(", "), "these new settings count from the next start on");
        }
    }

    /// Where clients come to that speak TLS.
    #[must_use]
    pub fn secure_data_addr(&self) -> Option<SocketAddr> {
        self.data_port.secure_address()
    }

    /// Reads certificate and key again, and names of experiments and activities, changed or not, and opens the file of
    /// records again.
    pub async fn reload(&self) {
        if let Some(records) = self.registry.chronicle().records() {
            records.reopen();
        }
        reload::all(&self.data_port, &self.marking, self.serving.tls(), true).await;
    }

    /// Takes no new transfers and waits until those that run have ended, at most `deadline`. Gives the number that
    /// still run then. May be dropped to give up waiting.
    pub async fn drain(&self, deadline: Duration) -> usize {
        self.registry.drain();
        self.health.send_modify(|version| *version = version.wrapping_add(1));
        let ends_at = Instant::now() + deadline;
        loop {
            let remaining = self.registry.remaining();
            if remaining == 0 || Instant::now() >= ends_at {
                return remaining;
            }
            tokio::time::sleep_until(ends_at.min(Instant::now() + TICK)).await;
        }
    }

    /// Ends everything at once; what still runs fails with a text that says so. Doors hear of it.
    pub async fn stop(self) {
        let name = self.config().name;
        self.registry.stop();
        self.registry.abort_all("the pool is stopping");
        let data_port = Arc::clone(&self.data_port);
        let scrub = Arc::clone(&self.scrub);
        let marking = Arc::clone(&self.marking);
        // A thread that died on the way out has ended as well.
        let _ = tokio::task::spawn_blocking(move || {
            scrub.end();
            data_port.stop();
            // Flows that have ended with it are told of.
            marking.flush(LAST_WORDS);
        })
        .await;
        self.serving.stop(LAST_WORDS).await;
        self.keeping.abort();
        // What doors have not heard they hear from the next life.
        let _ = tokio::task::spawn_blocking(move || {
            self.results.flush();
            if let Some(records) = self.registry.chronicle().records() {
                records.end();
            }
        })
        .await;
        self.admin.abort();
        self.ticking.abort();
        self.reloading.abort();
        info!(pool = name, "pool stopped");
    }
}
