//! What Prometheus sees of the door. Names and units by its conventions; labels only of bounded sets.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::audit::Audit;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CopyLabels {
    direction: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabels {
    pool: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    outcome: &'static str,
}

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// With all its parts.
    Full,
    /// The client came with a ticket.
    Resumed,
    /// Not at all.
    Failed,
    /// Not in time.
    Late,
}

impl Handshake {
    const ALL: [Handshake; 4] = [Handshake::Full, Handshake::Resumed, Handshake::Failed, Handshake::Late];

    const fn labels(self) -> HandshakeLabels {
        HandshakeLabels {
            outcome: match self {
                Handshake::Full => "full",
                Handshake::Resumed => "resumed",
                Handshake::Failed => "failed",
                Handshake::Late => "late",
            },
        }
    }
}

/// Where the bytes of a third-party copy go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the remote server to a pool.
    Pull,
    /// From a pool to the remote server.
    Push,
}

impl Direction {
    /// As it stands in labels and logs; `None`: the copy stays at its pool.
    pub const fn label(direction: Option<Self>) -> &'static str {
        match direction {
            None => "local",
            Some(Direction::Pull) => "pull",
            Some(Direction::Push) => "push",
        }
    }
}

/// How a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyOutcome {
    /// The client was told success.
    Done,
    /// It failed.
    Failed,
    /// The client went away, or the door stopped.
    Cancelled,
}

impl CopyOutcome {
    /// As it stands in labels and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            CopyOutcome::Done => "done",
            CopyOutcome::Failed => "failed",
            CopyOutcome::Cancelled => "cancelled",
        }
    }
}

/// The door's metrics. Cheap to clone; all clones count together.
#[derive(Clone, Default)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    copies: Family<CopyLabels, Counter>,
    copies_running: Family<DirectionLabels, Gauge>,
    broken_files: Family<PoolLabels, Gauge>,
    broken_reads: Family<PoolLabels, Counter>,
    handshakes: Family<HandshakeLabels, Counter>,
    /// There once the door has read its configuration.
    audit: OnceLock<Arc<Audit>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// All families, at zero.
    pub fn new() -> Self {
        let metrics = Self::default();
        // A rate needs the zero before the first event (Prometheus, "Avoid missing metrics").
        for direction in [None, Some(Direction::Pull), Some(Direction::Push)] {
            for outcome in [CopyOutcome::Done, CopyOutcome::Failed, CopyOutcome::Cancelled] {
                drop(metrics.inner.copies.get_or_create(&CopyLabels {
                    direction: Direction::label(direction),
                    outcome: outcome.as_str(),
                }));
            }
            drop(
                metrics
                    .inner
                    .copies_running
                    .get_or_create(&DirectionLabels { direction: Direction::label(direction) }),
            );
        }
        for outcome in Handshake::ALL {
            drop(metrics.inner.handshakes.get_or_create(&outcome.labels()));
        }
        metrics
    }

    /// Puts the families into a registry whose prefix is `penstock`: the door's own, or that of a pool in the same
    /// process.
    pub fn register(&self, registry: &mut Registry) {
        let Inner { copies, copies_running, broken_files, broken_reads, handshakes, audit: _ } = &*self.inner;
        registry.register_collector(Box::new(AuditCollector(self.clone())));
        registry.register(
            "door_copies",
            "Copies that ended, by direction (local: within one pool) and outcome",
            copies.clone(),
        );
        registry.register("door_copies_running", "Copies that wait or run now", copies_running.clone());
        registry.register(
            "door_broken_files",
            "Names whose replica the pool knows to be damaged",
            broken_files.clone(),
        );
        registry.register(
            "door_broken_reads",
            "Downloads and pushes that ended because the replica is damaged",
            broken_reads.clone(),
        );
        registry.register(
            "door_tls_handshakes",
            "TLS handshakes with clients, by how they ended",
            handshakes.clone(),
        );
    }

    /// Everything in the text format of OpenMetrics 1.0.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("penstock");
        self.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }

    /// Counts a copy as running until the guard goes.
    pub fn copy_runs(&self, direction: Option<Direction>) -> RunningGuard {
        let gauge = self
            .inner
            .copies_running
            .get_or_create_owned(&DirectionLabels { direction: Direction::label(direction) });
        gauge.inc();
        RunningGuard(gauge)
    }

    /// Counts an ended copy.
    pub fn copy_ended(&self, direction: Option<Direction>, outcome: CopyOutcome) {
        let labels = CopyLabels { direction: Direction::label(direction), outcome: outcome.as_str() };
        self.inner.copies.get_or_create(&labels).inc();
    }

    /// From now on lost records of the audit are told.
    pub fn know_audit(&self, audit: Arc<Audit>) {
        // A door has one.
        let _ = self.inner.audit.set(audit);
    }

    /// Counts a TLS handshake.
    pub fn handshake(&self, outcome: Handshake) {
        self.inner.handshakes.get_or_create(&outcome.labels()).inc();
    }

    /// The families of a pool that the door gives work to, at zero.
    pub fn know_pool(&self, pool: &str) {
        let labels = PoolLabels { pool: pool.to_owned() };
        drop(self.inner.broken_files.get_or_create(&labels));
        drop(self.inner.broken_reads.get_or_create(&labels));
    }

    /// How many names point to damaged replicas of a pool now.
    pub fn set_broken_files(&self, pool: &str, count: usize) {
        let labels = PoolLabels { pool: pool.to_owned() };
        self.inner.broken_files.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts a read that met a damaged replica.
    pub fn broken_read(&self, pool: &str) {
        self.inner.broken_reads.get_or_create(&PoolLabels { pool: pool.to_owned() }).inc();
    }
}

/// What the audit counts itself.
#[derive(Debug)]
struct AuditCollector(Metrics);

impl Collector for AuditCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let lost = self.0.inner.audit.get().map_or(0, |audit| audit.lost());
        let help = "Records of the audit that could not be written";
        let metric = encoder.encode_descriptor("door_audit_lost", help, None, MetricType::Counter)?;
        ConstCounter::new(lost).encode(metric)
    }
}

/// A copy that runs.
#[derive(Debug)]
pub struct RunningGuard(Gauge);

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pools_numbers_are_there_before_the_first_damage() {
        let metrics = Metrics::new();
        metrics.know_pool("pool01");
        let text = metrics.encode().unwrap();
        for line in [
            "penstock_door_broken_files{pool=\"pool01\"} 0",
            "penstock_door_broken_reads_total{pool=\"pool01\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn copies_are_counted_by_direction_and_outcome_and_while_they_run() {
        let metrics = Metrics::new();
        let line = |wanted: &str| metrics.encode().unwrap().lines().any(|line| line == wanted);
        assert!(line("penstock_door_copies_total{direction=\"push\",outcome=\"failed\"} 0"));
        let running = metrics.copy_runs(Some(Direction::Pull));
        assert!(line("penstock_door_copies_running{direction=\"pull\"} 1"));
        metrics.copy_ended(Some(Direction::Pull), CopyOutcome::Done);
        metrics.copy_ended(None, CopyOutcome::Failed);
        drop(running);
        assert!(line("penstock_door_copies_running{direction=\"pull\"} 0"));
        assert!(line("penstock_door_copies_total{direction=\"pull\",outcome=\"done\"} 1"));
        assert!(line("penstock_door_copies_total{direction=\"local\",outcome=\"failed\"} 1"));
        assert!(line("penstock_door_copies_total{direction=\"pull\",outcome=\"failed\"} 0"));
    }
}
