//! Starts the shards with the data port on them.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::{info, warn};

use super::bind::bind;
use super::metrics::engine::{EngineCollector, Gauges, watch};
use super::metrics::port::PortCollector;
use super::metrics::reading::ReadingCollector;
use super::metrics::remotes::RemoteCollector;
use super::shards::Shards;
use super::{DataPort, DataPortError, LEAST_SLOTS_PER_SHARD};
use crate::checksum::DigestPool;
use crate::config::Config;
use crate::control::metrics::Metrics;
use crate::engine::arena::SLOT_BYTES;
use crate::engine::blocking::Blocking;
use crate::engine::net::listener::Listener;
use crate::engine::shard::Shard;
use crate::http1;
use crate::marking::PortBook;
use crate::marking::flow::tell_of_ongoing;
use crate::remote::Remotes;
use crate::store::Store;
use crate::tls::client::ClientFiles;
use crate::tls::{ClientTls, ServerTls};
use crate::transfer::Desk;
use crate::transfer::port::{Counters, Port, Settings, accept};
use crate::transfer::source::Reading;
use crate::transfer::third_party::ThirdParty;

/// Threads for file-system calls. They wait for the disk more than they work.
const BLOCKING_THREADS: usize = 32;
/// Buffers of a shard unless configured, where the default for the whole pool would give it fewer.
const USUAL_SLOTS_PER_SHARD: usize = 8;
/// A port whose connections carry a flow label stays open for so long after the last URL with it has expired.
const LABELLED_PORT_SPARE: Duration = Duration::from_secs(5);

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
        counters: Arc::new(Counters::default()),
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
        let counters = Arc::clone(&port.counters);
        registry.register_collector(Box::new(PortCollector { counters, zero_copy, tls }))
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

/// What one of several shards has of the operations that may be at the disk at once: nothing is agreed on between
/// threads for each of them.
pub(super) fn share_of(depth: NonZeroUsize, shards: usize, number: usize) -> Option<NonZeroUsize> {
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
