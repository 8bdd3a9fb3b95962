//! The pool's state, for doors that choose a pool, for people, and for health checks.

use std::sync::Arc;
use std::time::SystemTime;

use penstock_door_proto::v1;

use super::data_port::DataPort;
use super::metrics::Metrics;
use super::queue::QueueStatus;
use super::registry::Registry;
use crate::checksum::Algorithm;
use crate::control::messages::wire;
use crate::scrub::Scrub;
use crate::store::{ReadOnly, ReplicaCounts, Store, StoreHealth};

/// What this release can do beyond GET and PUT.
fn features() -> Vec<String> {
    let mut features =
        ["verify-replica", "verified-reads", "scrub", "pull", "push", "local-copy", "marking", "renew-token"]
            .map(str::to_owned)
            .to_vec();
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
    scrub: Arc<Scrub>,
}

/// What the pool's health is made of, as far as it can be told at any time without asking the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signs {
    store: StoreHealth,
    counts: ReplicaCounts,
}

impl Signs {
    /// Whether those who follow the pool's health are to be told: how many replicas there are does not matter for it.
    pub(super) fn differ_from(&self, earlier: &Self) -> bool {
        let bad = |signs: &Self| (signs.counts.broken, signs.counts.suspect, signs.counts.orphaned);
        self.store != earlier.store || bad(self) != bad(earlier)
    }

    /// One line for each thing that is not well, the worst first.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(ReadOnly { since, because }) = &self.store.read_only {
            problems.push(format!(
                "writes fail ({because}): read-only since {since:.0}; repair the disk, then run penstock-pool recover"
            ));
        }
        if let Some(because) = &self.store.index_lost {
            problems.push(format!(
                "the index cannot be used ({because}): once the disk is well, start the pool again to make a new one"
            ));
        }
        let ReplicaCounts { broken, suspect, orphaned, .. } = self.counts;
        let counted = [
            (broken, "broken", "bytes are not those that were stored", "--state broken"),
            (suspect, "suspect", "reading failed; verify, and look at the disk", "--suspect"),
            (orphaned, "orphaned", "uploaded, and claimed by no door", "--state orphaned"),
        ];
        for (count, word, meaning, option) in counted {
            let subject = match count {
                0 => continue,
                1 => "1 replica is".to_owned(),
                _ => format!("{count} replicas are"),
            };
            problems.push(format!("{subject} {word}: {meaning} (penstock-pool replicas list {option})"));
        }
        problems
    }
}

/// Bytes as people say them.
fn rounded(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes.max(0.0);
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    if value < 9.95 && unit != UNITS[0] { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
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
        scrub: Arc<Scrub>,
    ) -> Self {
        Self { identity, registry, store, metrics, data_port, scrub }
    }

    /// What there is to be seen of the pool's health now. Does not block.
    pub(super) fn signs(&self) -> Signs {
        Signs { store: self.store.health(), counts: self.store.counts() }
    }

    /// The state in one line, for the service manager. Does not block.
    #[must_use]
    pub fn line(&self) -> String {
        let queues = self.registry.queues();
        let count = |number: fn(&QueueStatus) -> usize| queues.iter().map(number).sum::<usize>();
        let (in_rate, out_rate) = self.metrics.rates();
        let mut line = format!(
            "{} transfers run, {} wait; {}/s in, {}/s out",
            count(|queue| queue.running),
            count(|queue| queue.waiting),
            rounded(in_rate),
            rounded(out_rate),
        );
        if self.registry.draining() {
            line.push_str("; draining");
        }
        let mut problems = self.signs().problems();
        problems.extend(self.data_port.tls().and_then(|tls| tls.worry(SystemTime::now())));
        match problems.as_slice() {
            [] => line.push_str("; healthy"),
            [problem] => line.push_str(&format!("; {problem}")),
            [worst, others @ ..] => line.push_str(&format!("; {worst} (and {} more)", others.len())),
        }
        line
    }

    /// The state now. Asks the file system for its free space, so it blocks.
    #[must_use]
    pub fn now(&self) -> v1::PoolStatus {
        let signs = self.signs();
        let mut problems = signs.problems();
        problems.extend(self.store.scan_report().problem_texts.iter().cloned());
        let mut health = v1::pool_status::Health::Ok;
        if signs.store.read_only.is_some() {
            health = v1::pool_status::Health::ReadOnly;
        }
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
        let mut features = features();
        if let Some(tls) = self.data_port.tls() {
            features.push("tls".to_owned());
            problems.extend(tls.worry(SystemTime::now()));
        }
        let queues = self.registry.queues();
        self.metrics.set_queues(&queues);
        let (in_rate, out_rate) = self.metrics.rates();
        let load = self.data_port.load();
        let counts = signs.counts;
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
            data_urls: self.registry.redirects().all(),
            features,
            replicas: counts.all,
            broken_replicas: counts.broken,
            orphaned_replicas: counts.orphaned,
            unacknowledged: number(self.registry.unacknowledged()),
            suspect_replicas: counts.suspect,
            scrub: Some(wire::scrub(&self.scrub.status())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn rates_are_said_as_people_say_them() {
        let cases = [
            (0.0, "0 B"),
            (999.0, "999 B"),
            (999.9, "1.0 kB"),
            (1234.0, "1.2 kB"),
            (56_789.0, "57 kB"),
            (3.21e9, "3.2 GB"),
            (7e15, "7000 TB"),
        ];
        for (bytes, said) in cases {
            assert_eq!(rounded(bytes), said);
        }
    }
}
