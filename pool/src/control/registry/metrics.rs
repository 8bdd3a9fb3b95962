//! What Prometheus sees of the transfers that the pool has now, and of the records of those that it had.

use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Registry;
use super::chronicle::Chronicle;
use crate::control::metrics::Metrics;
use crate::control::metrics::transfers::KINDS;
use crate::transfer::state::StateName;

/// States of transfers, in the order of their lives.
const STATES: [StateName; 7] = [
    StateName::Queued,
    StateName::Ready,
    StateName::Running,
    StateName::Finishing,
    StateName::Done,
    StateName::Failed,
    StateName::Cancelled,
];
/// Adds what is read when Prometheus asks: transfers by state, and what became of records.
pub(in crate::control) fn register(metrics: &Metrics, registry: &Arc<Registry>, chronicle: &Arc<Chronicle>) {
    // The registry has the metrics; it must not be had by them.
    let collector = PresentCollector { registry: Arc::downgrade(registry), chronicle: Arc::clone(chronicle) };
    metrics.register(|families| families.register_collector(Box::new(collector)));
}

#[derive(Debug)]
struct PresentCollector {
    registry: Weak<Registry>,
    chronicle: Arc<Chronicle>,
}

impl Collector for PresentCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(registry) = self.registry.upgrade() else { return Ok(()) };
        let mut counts = [[0_i64; STATES.len()]; KINDS.len()];
        for entry in registry.list() {
            let kind = KINDS.iter().position(|kind| *kind == entry.kind());
            let state = STATES.iter().position(|state| *state == entry.state());
            if let (Some(kind), Some(state)) = (kind, state) {
                counts[kind][state] += 1;
            }
        }
        let help =
            "Transfers that the pool knows now, by kind and state; ended ones wait for their door's word";
        let mut family = encoder.encode_descriptor("transfers_present", help, None, MetricType::Gauge)?;
        for (kind, by_state) in KINDS.iter().zip(counts) {
            for (state, count) in STATES.iter().zip(by_state) {
                let labels = [("kind", kind.as_str()), ("state", state.as_str())];
                ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        let (written, lost) =
            self.chronicle.records().map_or((0, 0), |records| (records.written(), records.lost()));
        let totals = [
            ("records_written", "Records of ended transfers that were written", written),
            ("records_lost", "Records of ended transfers that could not be written", lost),
        ];
        for (name, help, count) in totals {
            let count = ConstCounter::new(count);
            let metric = encoder.encode_descriptor(name, help, None, count.metric_type())?;
            count.encode(metric)?;
        }
        Ok(())
    }
}
