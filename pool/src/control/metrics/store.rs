//! What Prometheus sees of the replicas, their health and the scrub: read when it asks.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::Metrics;
use crate::scrub::{Scrub, ScrubState};
use crate::store::{ReplicaCounts, Store};

/// Adds them to the pool's metrics.
pub(in crate::control) fn register(metrics: &Metrics, store: Arc<Store>, scrub: Arc<Scrub>) {
    metrics.register(|registry| registry.register_collector(Box::new(StoreCollector { store, scrub })));
}

#[derive(Debug)]
struct StoreCollector {
    store: Arc<Store>,
    scrub: Arc<Scrub>,
}

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let ReplicaCounts { all, broken, orphaned, suspect, .. } = self.store.counts();
        let mut states = encoder.encode_descriptor(
            "replicas",
            "Replicas by state",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        let ready = all.saturating_sub(broken).saturating_sub(orphaned);
        for (state, count) in [("ready", ready), ("broken", broken), ("orphaned", orphaned)] {
            let labels = [("state", state)];
            ConstGauge::new(whole(count)).encode(states.encode_family(&labels)?)?;
        }
        let scrub = self.scrub.status();
        let gauges = [
            (
                "replicas_suspect",
                "Replicas that could not be read since they were last verified",
                whole(suspect),
            ),
            (
                "read_only",
                "1 when writes failed and the pool takes no uploads",
                i64::from(self.store.health().read_only.is_some()),
            ),
            ("scrub_running", "1 when the scrub reads", i64::from(scrub.state == ScrubState::Running)),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let done = ConstGauge::new(scrub.done);
        let help = "Share of the replicas that the scrub's pass has behind it";
        done.encode(encoder.encode_descriptor(
            "scrub_done",
            help,
            Some(&Unit::Other("ratio".into())),
            done.metric_type(),
        )?)?;
        let totals = self.scrub.totals();
        let bytes = ConstCounter::new(totals.bytes());
        let help = "Bytes that the scrub has read";
        bytes.encode(encoder.encode_descriptor(
            "scrub_read",
            help,
            Some(&Unit::Bytes),
            bytes.metric_type(),
        )?)?;
        let counters = [
            ("scrub_replicas", "Replicas that the scrub has read to their end", totals.replicas()),
            ("scrub_broken", "Replicas that the scrub has found broken", totals.broken()),
            ("scrub_unreadable", "Replicas that the disk did not give to the scrub", totals.unreadable()),
            ("scrub_passes", "Passes over all replicas since the pool was made", scrub.passes),
        ];
        for (name, help, count) in counters {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
