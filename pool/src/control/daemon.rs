//! Starts and stops a pool: everything that runs, wired together. Both binaries use it.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use penstock_door_proto::v1::pool_server::PoolServer;
use penstock_service::reminder::Reminder;
use penstock_service::trace::Tracer;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tonic_health::ServingStatus;
use tracing::info;

use super::admin::AdminPort;
use super::chronicle::Chronicle;
use super::data_port::{self, DataPort, DataPortError};
use super::descriptors;
use super::grpc_tls::{GrpcTls, Validity};
use super::history::History;
use super::listen::{self, GrpcAddress, ListenError, Serving};
use super::liveness::Beat;
use super::metrics::Metrics;
use super::reconfigure::Change;
use super::records::{Records, RecordsError};
use super::registry::{Registry, RegistrySettings};
use super::results::Results;
use super::service::{Parts, PoolService};
use super::status::{Identity, StatusSource};
use super::store_metrics;
use super::transfer_metrics;
use crate::config::{self, Config};
use crate::engine::disk::KernelDisk;
use crate::marking::{self, Marking, MarkingCollector, RegistryError};
use crate::scrub::{Scrub, ScrubSettings};
use crate::store::{OpenError, Store};
use crate::tls::ServerTls;
use crate::transfer::{Capability, Clock, Desk, SystemClock, Timeouts};

/// How often deadlines are looked at, and bytes counted.
const TICK: Duration = Duration::from_millis(250);
/// At the end: how long streams to doors may take to close, after the transfers have ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often the files of certificates are looked at.
const RELOAD_PERIOD: Duration = Duration::from_secs(30);

/// Why a pool did not start. The text says what to do.
#[derive(Debug, Error)]
pub enum PoolError {
    /// The replicas' directory.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The doors' endpoint.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The data port.
    #[error(transparent)]
    DataPort(#[from] DataPortError),
    /// The admin port.
    #[error("admin.listen: cannot bind {address}: {error}")]
    Admin {
        /// Address and port.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The names of experiments and activities.
    #[error("marking.registry: {0}")]
    Names(#[from] RegistryError),
    /// The kernel gives no random bytes.
    #[error("no random bytes for this instance's id: {0}")]
    Random(#[from] getrandom::Error),
    /// The records of ended transfers.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// No thread.
    #[error("cannot start the scrub's thread: {0}")]
    Threads(io::Error),
    /// A thread ended early.
    #[error("the pool's start was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
    /// The gRPC services cannot be put together.
    #[error("the gRPC reflection service cannot be built: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Starts the data port; tests put another in the place of the shards.
pub type StartDataPort = Box<
    dyn FnOnce(Arc<dyn Desk>, Arc<Store>, &Config, &Metrics) -> Result<Arc<dyn DataPort>, DataPortError>
        + Send,
>;

/// A pool that is not running.
#[derive(Debug)]
pub struct Pool;

impl Pool {
    /// Starts a pool. When this returns, all its ports answer.
    pub async fn start(config: Config) -> Result<RunningPool, PoolError> {
        Self::start_with(config, Box::new(data_port::start)).await
    }

    /// Checks all that can be checked without making or binding anything.
    pub fn check(config: &Config) -> Result<(), PoolError> {
        listen::check(&config.grpc)?;
        if let Some(path) = &config.marking.registry {
            let _ = marking::Registry::load(path)?;
        }
        if let Some(tls) = &config.data_tls {
            ServerTls::load(tls.files.clone()).map_err(DataPortError::from)?;
        }
        Ok(())
    }

    /// Starts a pool with another data port.
    pub async fn start_with(
        config: Config,
        start_data_port: StartDataPort,
    ) -> Result<RunningPool, PoolError> {
        Self::check(&config)?;
        let store = {
            let config = config.store();
            tokio::task::spawn_blocking(move || Store::open_root(Arc::new(KernelDisk), &config)).await??
        };
        let store = Arc::new(store);
        for problem in &store.scan_report().problem_texts {
            tracing::warn!(problem, "found in the pool's directory");
        }
        descriptors::raise(descriptors_needed(&config));
        let metrics = Arc::new(Metrics::new());
        let marking = {
            let settings = config.marking.clone();
            tokio::task::spawn_blocking(move || Marking::start(settings)).await??
        };
        metrics.register(|registry| {
            registry.register_collector(Box::new(MarkingCollector(Arc::clone(&marking))));
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let registry = Registry::new(registry_settings(&config), Arc::clone(&clock), Arc::clone(&metrics));
        registry.set_marking(&marking);
        let records = match &config.records {
            Some(target) => Some(Records::start(target, &config.name)?),
            None => None,
        };
        let chronicle = Arc::new(Chronicle::new(records));
        registry.set_chronicle(Arc::clone(&chronicle));
        transfer_metrics::register(&metrics, &registry, &chronicle);
        let results = Arc::new(Results::new(Arc::clone(&registry), Arc::clone(&store)));
        {
            let results = Arc::clone(&results);
            tokio::task::spawn_blocking(move || results.restore()).await?;
        }

        // All ports are bound before any is served, so that a pool that cannot start disturbs nobody.
        let grpc = listen::bind(&config.grpc).await?;
        let admin_error = |error| PoolError::Admin { address: config.admin_listen, error };
        let admin_listener = AdminPort::bind(config.admin_listen).await.map_err(admin_error)?;
        let admin_addr = admin_listener.local_addr().map_err(admin_error)?;
        let data_port =
            start_data_port(Arc::clone(&registry) as Arc<dyn Desk>, Arc::clone(&store), &config, &metrics)?;
        registry.set_data_port(&data_port);
        registry.set_tracer(Tracer::start("penstock-pool", &config.name, &config.tracing));
        let data_addr = data_port.address();
        let authority = config.data_advertise.clone().unwrap_or_else(|| data_addr.to_string());
        registry.redirects().set_plain(format!("http://{authority}"));
        if let Some(address) = data_port.secure_address() {
            let advertise = config.data_tls.as_ref().and_then(|tls| tls.advertise.clone());
            registry
                .redirects()
                .set_secure(format!("https://{}", advertise.unwrap_or_else(|| address.to_string())));
        }
        if let Some(tls) = data_port.tls() {
            tell(tls);
        }

        let scrub =
            Scrub::new(Arc::clone(&store), scrub_settings(&config), clock).map_err(PoolError::Threads)?;
        let scrub = Arc::new(scrub);
        store_metrics::register(&metrics, Arc::clone(&store), Arc::clone(&scrub));
        let identity = Identity {
            pool_name: config.name.clone(),
            instance_id: Capability::random()?.expose(),
            started_at: SystemTime::now(),
        };
        let status = Arc::new(StatusSource::new(
            identity,
            Arc::clone(&registry),
            Arc::clone(&store),
            Arc::clone(&metrics),
            Arc::clone(&data_port),
            Arc::clone(&scrub),
        ));
        let (health, health_changes) = watch::channel(0);
        let service = PoolService::new(Parts {
            registry: Arc::clone(&registry),
            store: Arc::clone(&store),
            status: Arc::clone(&status),
            results: Arc::clone(&results),
            scrub: Arc::clone(&scrub),
            max_file_size: config.max_file_size,
            health: health.clone(),
        });
        let serving = serve(grpc, service.clone(), Arc::clone(&registry), health_changes)?;
        let history = Arc::new(History::default());
        let beat = Arc::new(Beat::default());
        let ticking = tokio::spawn(tick(
            Arc::clone(&registry),
            service,
            Arc::clone(&status),
            health.clone(),
            Arc::clone(&beat),
            (Arc::clone(&history), Arc::clone(&metrics)),
        ));
        let keeping = tokio::spawn(keep(Arc::clone(&registry), Arc::clone(&results)));
        let admin = AdminPort::new(Arc::clone(&registry), Arc::clone(&status), Arc::clone(&metrics), history);
        let admin = Arc::new(admin).serve(admin_listener);
        let reloading = tokio::spawn(reload_now_and_then(
            Arc::clone(&data_port),
            serving.tls().cloned(),
            Arc::clone(&marking),
        ));
        info!(pool = config.name, root = %config.root.display(), data = %data_addr, admin = %admin_addr,
            grpc = %serving.address(), replicas = store.counts().all, "pool started");
        Ok(RunningPool {
            config: Mutex::new(config),
            registry,
            store,
            status,
            beat,
            metrics,
            health,
            data_port,
            data_addr,
            admin_addr,
            serving,
            admin,
            ticking,
            keeping,
            results,
            scrub,
            reloading,
            marking,
        })
    }
}

/// A running pool. Dropping it without [`stop`](Self::stop) leaves its tasks to the runtime's end.
#[derive(Debug)]
pub struct RunningPool {
    config: Mutex<Config>,
    registry: Arc<Registry>,
    store: Arc<Store>,
    status: Arc<StatusSource>,
    /// Struck by the task that does what time demands.
    beat: Arc<Beat>,
    metrics: Arc<Metrics>,
    health: watch::Sender<u64>,
    data_port: Arc<dyn DataPort>,
    data_addr: SocketAddr,
    admin_addr: SocketAddr,
    serving: Serving,
    admin: JoinHandle<()>,
    ticking: JoinHandle<()>,
    keeping: JoinHandle<()>,
    results: Arc<Results>,
    scrub: Arc<Scrub>,
    reloading: JoinHandle<()>,
    marking: Arc<Marking>,
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
            tracing::warn!(
                keys = at_next_start.join(", "),
                "these new settings count from the next start on"
            );
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
        reload(&self.data_port, true).await;
        reload_names(&self.marking, true).await;
        if let Some(tls) = self.serving.tls() {
            reload_for_doors(tls, true).await;
        }
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

fn scrub_settings(config: &Config) -> ScrubSettings {
    ScrubSettings { rate_bytes_per_second: config.scrub.rate_bytes_per_second, period: config.scrub.period }
}

/// A connection has one descriptor, a transfer its file's, a port with a label one on each shard.
fn descriptors_needed(config: &Config) -> u64 {
    let config::Limits { connections, transfers } = config.limits;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = if config.shards == 0 { processors } else { config.shards };
    let listeners = config.marking.ports.count().saturating_mul(shards);
    (connections as u64).saturating_add(transfers as u64).saturating_add(listeners as u64)
}

fn registry_settings(config: &Config) -> RegistrySettings {
    RegistrySettings {
        queues: config.queues.clone(),
        max_transfers: config.limits.transfers,
        timeouts: Timeouts {
            client: config.timeouts.client,
            linger: config.timeouts.linger,
            claim: config.timeouts.claim,
        },
        doors: config.doors.clone().into_iter().collect(),
    }
}

/// The contract's service with the standard health and reflection services beside it.
fn serve(
    grpc: listen::Bound,
    service: PoolService,
    registry: Arc<Registry>,
    mut health_changes: watch::Receiver<u64>,
) -> Result<Serving, PoolError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(penstock_door_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let serving = grpc.serve(move |server| {
        server.add_service(PoolServer::new(service)).add_service(health).add_service(reflection)
    });
    tokio::spawn(async move {
        loop {
            // A read-only pool serves: its replicas can be read. Doors see in PoolStatus that it takes no uploads.
            let word = if registry.draining() { ServingStatus::NotServing } else { ServingStatus::Serving };
            reporter.set_service_status("", word).await;
            reporter.set_service_status("penstock.pool.v1.Pool", word).await;
            if health_changes.changed().await.is_err() {
                return;
            }
        }
    });
    Ok(serving)
}

/// Lets the disk know what became of transfers, for as long as the pool runs.
async fn keep(registry: Arc<Registry>, results: Arc<Results>) {
    loop {
        registry.something_to_keep().await;
        // Only the end of the runtime interrupts it.
        let _ = results.flush_soon().await;
    }
}

/// Looks for new certificates, for as long as the pool runs.
async fn reload_now_and_then(
    data_port: Arc<dyn DataPort>,
    for_doors: Option<Arc<GrpcTls>>,
    marking: Arc<Marking>,
) {
    let mut told = Validity::Good;
    // What holds at the start was said when the certificate was read.
    let mut reminder = Reminder::said(Instant::now().into_std());
    loop {
        let worry = data_port.tls().and_then(|tls| tls.worry(SystemTime::now()));
        if let Some(problem) = worry
            && reminder.is_due(Instant::now().into_std())
        {
            tracing::warn!(problem, "the data port's certificate");
        }
        if let Some(tls) = &for_doors {
            // Once for each state, as there may be nobody who looks at the log every day.
            let validity = tls.validity(SystemTime::now());
            if validity != told {
                tls.warn_of(validity);
                told = validity;
            }
        }
        tokio::time::sleep(RELOAD_PERIOD).await;
        reload(&data_port, false).await;
        reload_names(&marking, false).await;
        if let Some(tls) = &for_doors {
            reload_for_doors(tls, false).await;
        }
    }
}

/// Names of experiments and activities.
async fn reload_names(marking: &Arc<Marking>, force: bool) {
    let reading = Arc::clone(marking);
    match tokio::task::spawn_blocking(move || reading.reload(force)).await {
        Ok(Ok(true)) => info!("the names of experiments and activities were read"),
        Ok(Ok(false)) | Err(_) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "marking.registry: the new names are not used, the old ones stay");
        }
    }
}

/// The certificate that doors see, and the authority that they are believed by.
async fn reload_for_doors(tls: &Arc<GrpcTls>, force: bool) {
    let reading = Arc::clone(tls);
    match tokio::task::spawn_blocking(move || reading.reload(force)).await {
        Ok(Ok(true)) => info!("the certificate for doors was read"),
        Ok(Ok(false)) | Err(_) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the new certificate for doors is not used, the old one stays");
        }
    }
}

async fn reload(data_port: &Arc<dyn DataPort>, force: bool) {
    reload_authorities(data_port, force).await;
    let Some(tls) = data_port.tls().cloned() else { return };
    let reading = Arc::clone(&tls);
    match tokio::task::spawn_blocking(move || reading.reload(force)).await {
        Ok(Ok(true)) => tell(&tls),
        Ok(Ok(false)) | Err(_) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the data port's new certificate is not used, the old one stays")
        }
    }
}

/// Authorities and revocation lists that remote servers are believed by.
async fn reload_authorities(data_port: &Arc<dyn DataPort>, force: bool) {
    let Some(tls) = data_port.authorities().cloned() else { return };
    let reading = Arc::clone(&tls);
    match tokio::task::spawn_blocking(move || reading.reload(force)).await {
        Ok(Ok(true)) => {
            let trust = tls.trust();
            info!(
                authorities = trust.authorities,
                revocation_lists = trust.revocation_lists,
                passed_over = trust.passed_over.len(),
                "the certificates of authorities were read"
            );
        }
        Ok(Ok(false)) | Err(_) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the new certificates of authorities are not used, the old ones stay");
        }
    }
}

/// Says which certificate is in use, and what there is to worry about.
fn tell(tls: &ServerTls) {
    let days = tls.ends_at().and_then(|ends_at| ends_at.duration_since(SystemTime::now()).ok());
    info!(days_left = days.map(|left| left.as_secs() / 86_400), "the data port's certificate was read");
    if let Some(problem) = tls.worry(SystemTime::now()) {
        tracing::warn!(problem, "the data port's certificate");
    }
}

/// Does what time demands, for as long as the pool runs, and rings when the pool's health has changed.
async fn tick(
    registry: Arc<Registry>,
    service: PoolService,
    status: Arc<StatusSource>,
    health: watch::Sender<u64>,
    beat: Arc<Beat>,
    (history, metrics): (Arc<History>, Arc<Metrics>),
) {
    let mut told = status.signs();
    let mut noting: Option<JoinHandle<()>> = None;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        registry.tick();
        let (in_bytes, out_bytes) = metrics.totals();
        history.note(std::time::Instant::now(), in_bytes, out_bytes);
        beat.strike();
        // It writes to the disk, which may hang; deadlines are looked at all the same.
        if noting.as_ref().is_none_or(JoinHandle::is_finished) {
            let service = service.clone();
            noting = Some(tokio::spawn(async move { service.note_orphans().await }));
        }
        let signs = status.signs();
        if signs.differ_from(&told) {
            told = signs;
            health.send_modify(|version| *version = version.wrapping_add(1));
        }
    }
}
