//! Starts the shards with the data port on them, and tells how busy they are.
//!
//! The only place where control touches the engine. Everything that moves bytes is behind [`DataPort`].

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use thiserror::Error;
use tracing::{info, warn};

use super::engine_metrics::{self, EngineCollector, Gauges, watch};
use super::metrics::Metrics;
use super::read_metrics::ReadingCollector;
use super::remote_metrics::RemoteCollector;
use crate::checksum::DigestPool;
use crate::config::Config;
use crate::engine::arena::SLOT_BYTES;
use crate::engine::blocking::Blocking;
use crate::engine::net::listener::{self, Listener};
use crate::engine::net::zero_copy::Tally;
use crate::engine::shard::{Shard, StartError};
use crate::http1;
use crate::marking::flow::tell_of_ongoing;
use crate::marking::ports::Opening;
use crate::marking::{Mark, PortBook};
use crate::remote::Remotes;
use crate::store::Store;
use crate::tls::certificate::CertificateError;
use crate::tls::client::ClientFiles;
use crate::tls::{ClientTls, ServerTls};
use crate::transfer::port::{Counters, Port, Settings, accept, accept_labelled};
use crate::transfer::source::Reading;
use crate::transfer::third_party::ThirdParty;
use crate::transfer::{Desk, Failure, Transfer};

/// How long a port may still belong to a predecessor that was killed.
const KILLED_PREDECESSOR_TIME: Duration = Duration::from_secs(2);
/// Threads for file-system calls. They wait for the disk more than they work.
const BLOCKING_THREADS: usize = 32;
/// Least buffers of a shard: an upload needs several to overlap network and disk.
const LEAST_SLOTS_PER_SHARD: usize = 4;
/// Buffers of a shard unless configured, where the default for the whole pool would give it fewer.
const USUAL_SLOTS_PER_SHARD: usize = 8;
/// A port whose connections carry a flow label stays open for so long after the last URL with it has expired.
const LABELLED_PORT_SPARE: Duration = Duration::from_secs(5);

/// How busy the shards are.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EngineLoad {
    /// Share of the I/O buffers in use, 0 to 1.
    pub buffers_used: f64,
    /// Share of the time that the busiest shard worked, 0 to 1.
    pub busiest_shard: f64,
}

/// A running data port.
pub trait DataPort: Send + Sync + fmt::Debug {
    /// Where it answers.
    fn address(&self) -> SocketAddr;
    /// Where it answers with TLS, and with which certificate.
    fn secure_address(&self) -> Option<SocketAddr> {
        None
    }
    /// What it proves its identity with.
    fn tls(&self) -> Option<&Arc<ServerTls>> {
        None
    }
    /// Whom it believes as a client of remote servers.
    fn authorities(&self) -> Option<&Arc<ClientTls>> {
        None
    }
    /// How busy it is.
    fn load(&self) -> EngineLoad;
    /// The port, with TLS or without, whose connections carry the flow label of a mark: opened if there is none yet.
    /// `None` where there can be none.
    fn labelled_port(&self, _mark: &Mark, _secure: bool) -> Option<u16> {
        None
    }
    /// A shard whose loop has not turned for so long, though each looks at its clock once a second.
    fn silent_shard(&self, _limit: Duration) -> Option<usize> {
        None
    }
    /// So many connections at once from now on; those that are open stay.
    fn limit_connections(&self, _limit: usize) {}
    /// Starts a transfer that the pool makes by itself, whose turn has come.
    fn launch(&self, transfer: &Arc<Transfer>);
    /// Closes all connections and ends its threads. Blocks until they have ended.
    fn stop(&self);
}

/// Why the data port did not start.
#[derive(Debug, Error)]
pub enum DataPortError {
    /// The address cannot be had.
    #[error("{key}: cannot bind {address}: {error}")]
    Bind {
        /// The configuration key.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("data.cert and data.key: {0}")]
    Tls(#[from] CertificateError),
    /// The certificates of authorities, or the pool's own as a client, cannot be used.
    #[error("tpc.ca, tpc.cert and tpc.key: {0}")]
    Authorities(CertificateError),
    /// Too little memory for so many shards.
    #[error(
        "buffer_memory gives each of {shards} shards {slots} buffers of 1 MiB; at least {LEAST_SLOTS_PER_SHARD} are \
         needed: raise buffer_memory or lower shards"
    )]
    TooFewBuffers {
        /// Shards.
        shards: usize,
        /// Buffers of each.
        slots: usize,
    },
    /// A shard could never read or write.
    #[error(
        "disk_depth lets {depth} operations go to the disk at once, which {shards} shards cannot share out: make it at \
         least {shards}, or lower shards"
    )]
    TooShallow {
        /// Operations at once.
        depth: usize,
        /// Shards.
        shards: usize,
    },
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] StartError),
    /// No threads.
    #[error("cannot start the data port's threads: {0}")]
    Threads(io::Error),
}

/// Binds the data port, starts the shards and lets them accept.
pub fn start(
    desk: Arc<dyn Desk>,
    store: Arc<Store>,
    config: &Config,
    metrics: &Metrics,
) -> Result<Arc<dyn DataPort>, DataPortError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = if config.shards == 0 { processors } else { config.shards };
    let slots = match config.buffer_memory_bytes {
        Some(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX) / SLOT_BYTES / shards,
        None => (DEFAULT_SLOTS / shards).max(USUAL_SLOTS_PER_SHARD),
    };
    if slots < LEAST_SLOTS_PER_SHARD {
        return Err(DataPortError::TooFewBuffers { shards, slots });
    }
    if let Some(depth) = config.disk_depth.filter(|depth| depth.get() < shards) {
        return Err(DataPortError::TooShallow { depth: depth.get(), shards });
    }
    let (address, listeners) = bind("data.listen", config.data_listen, shards)?;
    let mut secure = None;
    if let Some(keys) = &config.data_tls {
        let tls = Arc::new(ServerTls::load(keys.files.clone())?);
        let (address, listeners) = bind("data.tls_listen", keys.listen, shards)?;
        secure = Some((address, listeners, tls));
    }

    let digests = Arc::new(DigestPool::new(shards.min(processors)).map_err(DataPortError::Threads)?);
    let reading = Reading::new(Arc::clone(&store), config.io_mode, config.verify_reads);
    let port = Arc::new(Port {
        desk,
        store,
        digests: Some(Arc::clone(&digests)),
        settings: Settings {
            head_limits: http1::Limits::default(),
            head_time: config.timeouts.head,
            idle_limit: config.timeouts.idle,
            keep_alive_limit: config.timeouts.keep_alive,
            connections_limit: Arc::new(AtomicUsize::new(config.limits.connections)),
            io_mode: config.io_mode,
            algorithms: config.checksums,
        },
        reading: Arc::new(reading),
        counters: Counters::default(),
    });
    let blocking = Blocking::new(BLOCKING_THREADS);
    let started = (0..shards).map(|number| Shard::start(number, slots, Arc::clone(&blocking)));
    let started = started.collect::<Result<Vec<_>, _>>()?;
    log_facts(&started, slots);
    for (number, shard) in started.iter().enumerate() {
        // The shard's first task, so that no operation comes before it.
        let depth = config.disk_depth.and_then(|depth| share_of(depth, shards, number));
        shard
            .submit(move |core| async move { core.limit_disk_depth(depth) })
            .map_err(DataPortError::Threads)?;
    }
    let gauges: Vec<Arc<Gauges>> = (0..shards).map(|_| Arc::default()).collect();
    let listen = |listeners: Vec<OwnedFd>, tls: Option<&Arc<ServerTls>>| {
        started.iter().zip(listeners).try_for_each(|(shard, descriptor)| {
            let (port, tls) = (Arc::clone(&port), tls.cloned());
            shard.submit(|core| accept(Rc::clone(&core), port, Listener::new(core, descriptor), tls))
        })
    };
    listen(listeners, None).map_err(DataPortError::Threads)?;
    let mut keys = None;
    if let Some((address, listeners, tls)) = secure {
        listen(listeners, Some(&tls)).map_err(DataPortError::Threads)?;
        keys = Some((address, tls));
    }
    for (shard, gauges) in started.iter().zip(&gauges) {
        let gauges = Arc::clone(gauges);
        shard.submit(|core| watch(core, gauges)).map_err(DataPortError::Threads)?;
    }
    let zero_copy = started.iter().map(|shard| Arc::clone(&shard.facts().zero_copy)).collect();
    metrics.register(|registry| {
        let engine = EngineCollector { gauges: gauges.clone(), blocking, digests };
        registry.register_collector(Box::new(engine));
        let tls = keys.as_ref().map(|(_, tls)| Arc::clone(tls));
        registry.register_collector(Box::new(ReadingCollector::of(&port.reading)));
        registry.register_collector(Box::new(PortCollector { port: Arc::clone(&port), zero_copy, tls }))
    });
    let authorities = trust(&config.tpc)?;
    let remotes = Remotes::new(config.tpc.clone(), authorities.clone());
    metrics.register(|registry| registry.register_collector(Box::new(RemoteCollector::of(&remotes))));
    for shard in &started {
        shard.submit(tell_of_ongoing).map_err(DataPortError::Threads)?;
    }
    let third_party = Arc::new(ThirdParty { port, remotes });
    let idle_limit = config.timeouts.client.max(config.timeouts.linger) + LABELLED_PORT_SPARE;
    let next_shard = AtomicUsize::new(0);
    Ok(Arc::new(Shards {
        address,
        secure: keys,
        gauges,
        running: Mutex::new(started),
        third_party,
        authorities,
        next_shard,
        labelled: PortBook::new(config.marking.ports, idle_limit),
    }))
}

/// Whom the pool believes as a client. Without any authority it can still copy by http.
fn trust(settings: &crate::remote::Settings) -> Result<Option<Arc<ClientTls>>, DataPortError> {
    let Some(authorities) = settings.authorities() else {
        warn!("no certificates of authorities are found (tpc.ca): third-party copies by https will fail");
        return Ok(None);
    };
    match ClientTls::load(ClientFiles { authorities, identity: settings.identity.clone() }) {
        Ok(tls) => Ok(Some(Arc::new(tls))),
        Err(error) if settings.authorities.is_some() || settings.identity.is_some() => {
            Err(DataPortError::Authorities(error))
        }
        // Nobody has asked for the system's.
        Err(error) => {
            warn!(%error, "the system's certificates of authorities cannot be used: third-party copies by https will fail");
            Ok(None)
        }
    }
}

/// Binds a port that nobody else has, and lets it go again. The kernel closes the sockets of a killed process's rings a
/// moment after the process is gone, so a pool that is started again at once has to wait for its own port.
fn bind_alone(address: SocketAddr) -> io::Result<()> {
    let give_up_at = Instant::now() + KILLED_PREDECESSOR_TIME;
    loop {
        match std::net::TcpListener::bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < give_up_at => {
                std::thread::sleep(Duration::from_millis(20));
            }
            bound => return bound.map(drop),
        }
    }
}

/// Binds a listener for each shard.
fn bind(
    key: &'static str,
    address: SocketAddr,
    shards: usize,
) -> Result<(SocketAddr, Vec<OwnedFd>), DataPortError> {
    let failed = |error| DataPortError::Bind { key, address, error };
    // The shards share their port (SO_REUSEPORT), and the kernel would let another process of this user share it too,
    // unnoticed: so ask for it alone first.
    bind_alone(address).map_err(failed)?;
    // The first listener settles the port when any free one was asked for; the others share it.
    let first = listener::bind(address).map_err(failed)?;
    let bound = listener::address(&first).map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..shards {
        listeners.push(listener::bind(bound).map_err(failed)?);
    }
    Ok((bound, listeners))
}

/// What one of several shards has of the operations that may be at the disk at once: nothing is agreed on between
/// threads for each of them.
fn share_of(depth: NonZeroUsize, shards: usize, number: usize) -> Option<NonZeroUsize> {
    let (each, over) = (depth.get() / shards.max(1), depth.get() % shards.max(1));
    NonZeroUsize::new(each + usize::from(number < over))
}

/// Buffers of all shards unless configured: [`crate::config::DEFAULT_BUFFER_MEMORY_BYTES`] in slots.
const DEFAULT_SLOTS: usize = crate::config::DEFAULT_BUFFER_MEMORY_BYTES as usize / SLOT_BYTES;

/// One line on what the engine found; all shards find the same.
fn log_facts(shards: &[Shard], slots: usize) {
    let Some(shard) = shards.first() else { return };
    let facts = shard.facts();
    info!(shards = shards.len(), buffers_per_shard = slots, io_uring = %facts.abilities, "engine started");
    if let Some(reason) = &facts.unregistered {
        warn!(
            reason,
            "buffers are not registered, which costs speed: raise the memlock limit (LimitMEMLOCK=infinity)"
        );
    }
    if let Some(reason) = &facts.unpinned {
        warn!(reason, "shards are not pinned to processors");
    }
}

/// The shards, running.
struct Shards {
    address: SocketAddr,
    secure: Option<(SocketAddr, Arc<ServerTls>)>,
    gauges: Vec<Arc<Gauges>>,
    running: Mutex<Vec<Shard>>,
    third_party: Arc<ThirdParty>,
    authorities: Option<Arc<ClientTls>>,
    /// Third-party copies go to the shards in turn.
    next_shard: AtomicUsize,
    /// Ports whose connections carry flow labels.
    labelled: PortBook,
}

impl Shards {
    /// Binds a listener with the label for each shard, and lets them accept.
    fn open_labelled(&self, opening: &Opening<'_>, secure: bool) -> io::Result<u16> {
        let (at, tls) = match &self.secure {
            Some((address, tls)) if secure => (address.ip(), Some(tls)),
            _ => (self.address.ip(), None),
        };
        let address = SocketAddr::new(at, opening.port);
        // As for the data port itself: the kernel would let another pool of this user share it. Nobody shares a port
        // that the kernel chooses.
        if opening.port != 0 {
            drop(std::net::TcpListener::bind(address)?);
        }
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let label = opening.label.bits();
        let mut bound = address;
        for shard in running.iter() {
            let descriptor = listener::bind_labelled(bound, label)?;
            bound = listener::address(&descriptor)?;
            let (port, tls) = (Arc::clone(&self.third_party.port), tls.cloned());
            let (gate, listening) = (Arc::clone(opening.gate), opening.gate.listener());
            shard.submit(move |core| {
                let listener = Listener::labelled(Rc::clone(&core), descriptor, label);
                accept_labelled(core, port, listener, tls, gate, listening)
            })?;
        }
        match running.is_empty() {
            true => Err(io::Error::other("the pool is stopping")),
            false => Ok(bound.port()),
        }
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("address", &self.address).finish_non_exhaustive()
    }
}

impl DataPort for Shards {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn secure_address(&self) -> Option<SocketAddr> {
        self.secure.as_ref().map(|(address, _)| *address)
    }

    fn tls(&self) -> Option<&Arc<ServerTls>> {
        self.secure.as_ref().map(|(_, tls)| tls)
    }

    fn authorities(&self) -> Option<&Arc<ClientTls>> {
        self.authorities.as_ref()
    }

    fn load(&self) -> EngineLoad {
        engine_metrics::load(&self.gauges)
    }

    fn labelled_port(&self, mark: &Mark, secure: bool) -> Option<u16> {
        let at = if secure { self.secure_address()? } else { self.address };
        if !at.is_ipv6() {
            return None;
        }
        let open = |opening: Opening<'_>| self.open_labelled(&opening, secure);
        self.labelled.port_for(mark.tag(), secure, Instant::now(), open)
    }

    fn silent_shard(&self, limit: Duration) -> Option<usize> {
        self.gauges.iter().position(|gauges| gauges.turned.silent_for(limit))
    }

    fn limit_connections(&self, limit: usize) {
        self.third_party.port.settings.connections_limit.store(limit, Ordering::Relaxed);
    }

    fn launch(&self, transfer: &Arc<Transfer>) {
        // `None`: it has ended meanwhile.
        let Some(claim) = transfer.claim_for_pool() else { return };
        let third_party = Arc::clone(&self.third_party);
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.next_shard.fetch_add(1, Ordering::Relaxed) % running.len().max(1);
        let submitted = match running.get(number) {
            Some(shard) => shard.submit(move |core| third_party.run(core, claim)),
            None => Err(io::Error::other("the pool is stopping")),
        };
        drop(running);
        if let Err(error) = submitted {
            transfer.abort(Failure::shutdown(format!("the copy cannot begin: {error}")));
        }
    }

    fn stop(&self) {
        let shards = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        // All are asked before any is waited for; dropping one waits for its thread.
        shards.iter().for_each(Shard::stop);
    }
}

/// The port's own counters, read when Prometheus asks.
struct PortCollector {
    port: Arc<Port>,
    zero_copy: Vec<Arc<Tally>>,
    tls: Option<Arc<ServerTls>>,
}

impl fmt::Debug for PortCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortCollector").finish_non_exhaustive()
    }
}

impl Collector for PortCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let counters = &self.port.counters;
        let open = ConstGauge::new(counters.connections.load(Ordering::Relaxed) as i64);
        let metric = encoder.encode_descriptor(
            "data_connections",
            "Connections of the data port that are open",
            None,
            open.metric_type(),
        )?;
        open.encode(metric)?;
        let totals = [
            (
                "data_connections_refused",
                "Connections closed at once, as too many were open",
                &counters.refused_connections,
            ),
            ("data_requests", "Requests to the data port whose head was understood", &counters.requests),
            (
                "data_requests_refused",
                "Requests to the data port whose head was malformed",
                &counters.bad_requests,
            ),
            (
                "data_tls_handshakes",
                "TLS connections of the data port that came about",
                &counters.tls_handshakes,
            ),
            (
                "data_tls_resumptions",
                "Those of them that a ticket of an earlier one shortened",
                &counters.tls_resumptions,
            ),
            ("data_tls_failures", "TLS handshakes of the data port that failed", &counters.tls_failures),
        ];
        for (name, help, count) in totals {
            let count = ConstCounter::new(count.load(Ordering::Relaxed) as u64);
            let metric = encoder.encode_descriptor(name, help, None, count.metric_type())?;
            count.encode(metric)?;
        }
        if let Some(ends_at) = self.tls.as_ref().and_then(|tls| tls.ends_at()) {
            let seconds = ends_at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
            let ends_at = ConstGauge::new(seconds.cast_signed());
            let metric = encoder.encode_descriptor(
                "data_tls_certificate_ends_at_seconds",
                "When the data port's certificate ends, in Unix time",
                None,
                ends_at.metric_type(),
            )?;
            ends_at.encode(metric)?;
        }
        let mut metric = encoder.encode_descriptor(
            "zero_copy_connections",
            "Connections on which sending without a copy was tried, by what came of it: working; copied (the network \
             card cannot, so it was given up); slow (the client paused, so it was given up)",
            None,
            MetricType::Counter,
        )?;
        let none = Tally::default().read().map(|(name, _)| (name, 0));
        let tallies = self.zero_copy.iter().map(|tally| tally.read());
        let sum = tallies.fold(none, |sum, tally| std::array::from_fn(|i| (sum[i].0, sum[i].1 + tally[i].1)));
        for (outcome, count) in sum {
            let count = ConstCounter::new(count);
            count.encode(metric.encode_family(&[("outcome", outcome)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::engine_metrics::GAUGE_PERIOD;
    use crate::control::registry::{Registry, RegistrySettings};
    use crate::engine::disk::KernelDisk;
    use crate::store::StoreConfig;
    use crate::transfer::{SystemClock, Timeouts};

    fn pool(dir: &std::path::Path) -> (Arc<Registry>, Arc<Store>, Arc<Metrics>) {
        let day = Duration::from_secs(86_400);
        let settings = RegistrySettings {
            queues: vec![],
            max_transfers: 1,
            timeouts: Timeouts { client: day, linger: day, claim: day },
            doors: Default::default(),
        };
        let metrics = Arc::new(Metrics::new());
        let registry = Registry::new(settings, Arc::new(SystemClock::new()), Arc::clone(&metrics));
        let config = StoreConfig {
            root: dir.to_owned(),
            pool_name: "p".into(),
            capacity: None,
            reserve_bytes: 0,
            max_file_size: None,
            direct: true,
        };
        (registry, Arc::new(Store::open_root(Arc::new(KernelDisk), &config).unwrap()), metrics)
    }

    #[test]
    fn a_port_that_another_pool_uses_is_refused_although_the_kernel_would_share_it() {
        let dir = tempfile::tempdir().unwrap();
        let (registry, store, metrics) = pool(dir.path());
        let other = listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut config = Config::new("p", dir.path());
        config.data_listen = listener::address(&other).unwrap();
        let error = start(registry, store, &config, &metrics).unwrap_err().to_string();
        assert!(error.starts_with(&format!("data.listen: cannot bind {}", config.data_listen)), "{error}");
    }

    #[test]
    fn a_shard_whose_loop_is_held_up_is_found() {
        let shard = Shard::start(0, 4, Blocking::new(1)).unwrap();
        let gauges = Arc::new(Gauges::default());
        let theirs = Arc::clone(&gauges);
        shard.submit(|core| watch(core, theirs)).unwrap();
        let limit = 2 * GAUGE_PERIOD;
        std::thread::sleep(limit + GAUGE_PERIOD);
        assert!(!gauges.turned.silent_for(limit), "it turns by itself");

        let (let_go, held) = std::sync::mpsc::channel::<()>();
        // As a call of the kernel would that does not come back.
        shard.submit(move |_| async move { held.recv().unwrap() }).unwrap();
        std::thread::sleep(limit + GAUGE_PERIOD);
        assert!(gauges.turned.silent_for(limit), "it is held up");

        let_go.send(()).unwrap();
        std::thread::sleep(GAUGE_PERIOD);
        assert!(!gauges.turned.silent_for(limit), "it turns again");
    }

    #[test]
    fn shards_that_would_starve_for_buffers_do_not_start() {
        let dir = tempfile::tempdir().unwrap();
        let (registry, store, metrics) = pool(dir.path());
        let mut config = Config::new("p", dir.path());
        config.shards = 4;
        config.buffer_memory_bytes = Some(8 << 20);
        let error = start(registry, store, &config, &metrics).unwrap_err();
        assert!(matches!(error, DataPortError::TooFewBuffers { shards: 4, slots: 2 }), "{error}");
    }

    #[test]
    fn the_depth_of_the_disk_is_shared_out_among_the_shards() {
        for (depth, shards, expected) in [(8, 2, &[4, 4][..]), (7, 3, &[3, 2, 2]), (3, 3, &[1, 1, 1])] {
            let depth = NonZeroUsize::new(depth).unwrap();
            let shares: Vec<usize> =
                (0..shards).map(|number| share_of(depth, shards, number).unwrap().get()).collect();
            assert_eq!(shares, expected);
        }
    }

    #[test]
    fn a_disk_that_is_too_shallow_for_the_shards_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let (registry, store, metrics) = pool(dir.path());
        let mut config = Config::new("p", dir.path());
        (config.shards, config.disk_depth) = (4, NonZeroUsize::new(3));
        let error = start(registry, store, &config, &metrics).unwrap_err().to_string();
        assert!(error.contains("4 shards cannot share out: make it at least 4, or lower"), "{error}");
    }

    #[test]
    fn a_started_port_answers_on_every_shard_tells_its_load_and_ends() {
        use std::io::{Read, Write};
        let dir = tempfile::tempdir().unwrap();
        let (registry, store, metrics) = pool(dir.path());
        let mut config = Config::new("p", dir.path());
        config.data_listen = "127.0.0.1:0".parse().unwrap();
        config.shards = 2;
        let port = start(registry, store, &config, &metrics).unwrap();
        // The kernel spreads connections over the shards' listeners.
        for _ in 0..16 {
            let mut client = std::net::TcpStream::connect(port.address()).unwrap();
            client.write_all(b"nonsense\r\n\r\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
        let load = port.load();
        assert!(
            (0.0..=1.0).contains(&load.buffers_used) && (0.0..=1.0).contains(&load.busiest_shard),
            "{load:?}"
        );
        assert!(metrics.encode().unwrap().contains("penstock_data_requests_refused_total 16"));
        port.stop();
        assert!(std::net::TcpStream::connect(port.address()).is_err());
    }
}
