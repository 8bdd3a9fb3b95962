//! The pool's state, for doors that choose a pool, for people, and for health checks.

use std::sync::Arc;
use std::time::SystemTime;

use penstock_door_proto::v1;

use super::data_port::DataPort;
use super::metrics::Metrics;
use super::registry::Registry;
use crate::checksum::Algorithm;
use crate::store::Store;

/// What this release can do beyond GET and PUT.
fn features() -> Vec<String> {
    let mut features = vec!["verify-replica".to_owned(), "verified-reads".to_owned()];
    features.extend(["pull", "push"].map(str::to_owned));
    features.extend(Algorithm::ALL.iter().map(|algorithm| format!("checksum:{algorithm}")));
    features
}

/// What the pool is called, and when it began.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its name in the site.
    pub pool_name: String,
    /// Changes at every start.
    pub instance_id: String,
    /// When this instance started.
    pub started_at: SystemTime,
}

/// Gathers the pool's state.
#[derive(Debug)]
pub struct StatusSource {
    identity: Identity,
    registry: Arc<Registry>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    data_port: Arc<dyn DataPort>,
}

impl StatusSource {
    /// A source over the parts of a pool.
    #[must_use]
    pub fn new(
        identity: Identity,
        registry: Arc<Registry>,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
        data_port: Arc<dyn DataPort>,
    ) -> Self {
        Self { identity, registry, store, metrics, data_port }
    }

    /// The state now. Asks the file system for its free space, so it blocks.
    #[must_use]
    pub fn now(&self) -> v1::PoolStatus {
        let mut problems = self.store.scan_report().problem_texts.clone();
        let mut health = v1::pool_status::Health::Ok;
        if self.registry.draining() {
            health = v1::pool_status::Health::Draining;
        }
        let space = match self.store.space() {
            Ok(space) => {
                self.metrics.set_space(&space);
                Some(v1::Space {
                    total: space.total,
                    used: space.used,
                    reserved: space.reserved,
                    available: space.available,
                })
            }
            Err(error) => {
                health = v1::pool_status::Health::Failed;
                problems.push(error.to_string());
                None
            }
        };
        let queues = self.registry.queues();
        self.metrics.set_queues(&queues);
        let (in_rate, out_rate) = self.metrics.rates();
        let load = self.data_port.load();
        let counts = self.store.counts();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        v1::PoolStatus {
            pool_name: self.identity.pool_name.clone(),
            instance_id: self.identity.instance_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(self.identity.started_at.into()),
            health: health.into(),
            problems,
            space,
            load: Some(v1::Load {
                running: number(queues.iter().map(|queue| queue.running).sum()),
                waiting: number(queues.iter().map(|queue| queue.waiting).sum()),
                bytes_in_per_second: in_rate,
                bytes_out_per_second: out_rate,
                buffers_used: load.buffers_used,
                busiest_shard: load.busiest_shard,
            }),
            queues: queues
                .iter()
                .map(|queue| v1::Queue {
                    name: queue.name.clone(),
                    running: number(queue.running),
                    limit: number(queue.max_running),
                    waiting: number(queue.waiting),
                })
                .collect(),
            data_urls: vec![self.registry.data_url().to_owned()],
            features: features(),
            replicas: counts.all,
            broken_replicas: counts.broken,
            orphaned_replicas: counts.orphaned,
            unacknowledged: number(self.registry.unacknowledged()),
            suspect_replicas: 0,
            scrub: None,
        }
    }
}
