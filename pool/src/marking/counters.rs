//! What marking counts, and how Prometheus sees it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Marking;
use super::registry::Names;

/// Most pairs of experiment and activity that are counted apart; further ones, and those that the registry does not
/// know, are "other": whoever sends tags must not fill Prometheus.
const MOST_SERIES: usize = 512;
const OTHER: &str = "other";

/// What became of the label of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Labelled {
    /// Its packets carry it.
    Yes,
    /// It goes over IPv4.
    NotIpv6,
    /// Its experiment has no label: 512 or more.
    NoSuchLabel,
    /// The policy says so.
    Policy,
    /// The kernel does not do it here.
    Unsupported,
    /// There was no free port of those whose connections carry labels.
    NoPort,
    /// It came to the port of another experiment or activity.
    OtherPort,
}

impl Labelled {
    const ALL: [Labelled; 7] = [
        Labelled::Yes,
        Labelled::NotIpv6,
        Labelled::NoSuchLabel,
        Labelled::Policy,
        Labelled::Unsupported,
        Labelled::NoPort,
        Labelled::OtherPort,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Labelled::Yes => "yes",
            Labelled::NotIpv6 => "no: ipv4",
            Labelled::NoSuchLabel => "no: experiment above 511",
            Labelled::Policy => "no: policy",
            Labelled::Unsupported => "no: kernel",
            Labelled::NoPort => "no: no port",
            Labelled::OtherPort => "no: other port",
        }
    }
}

/// What became of a firefly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It went out.
    Yes,
    /// The system refused it.
    Failed,
    /// Too many waited.
    Dropped,
}

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To this pool.
    In,
    /// From it.
    Out,
}

impl Direction {
    fn as_str(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Counters {
    flows: [AtomicU64; Labelled::ALL.len()],
    fireflies: [AtomicU64; 3],
    bytes: Mutex<BTreeMap<(String, String), [u64; 2]>>,
}

impl Counters {
    /// A flow of a tagged transfer has begun.
    pub(super) fn flow(&self, labelled: Labelled) {
        self.flows[labelled as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Flows by what became of their labels.
    #[must_use]
    pub fn flows(&self, labelled: Labelled) -> u64 {
        self.flows[labelled as usize].load(Ordering::Relaxed)
    }

    pub(super) fn firefly(&self, sent: Sent) {
        self.fireflies[sent as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn fireflies(&self, sent: Sent) -> u64 {
        self.fireflies[sent as usize].load(Ordering::Relaxed)
    }

    /// Bytes of a tagged transfer have moved.
    pub(super) fn moved(&self, names: &Names, direction: Direction, bytes: u64) {
        let mut series = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let own = (names.experiment.clone(), names.activity.clone());
        let apart = names.known && (series.contains_key(&own) || series.len() < MOST_SERIES);
        let key = if apart { own } else { (OTHER.to_owned(), OTHER.to_owned()) };
        let count = &mut series.entry(key).or_default()[direction as usize];
        *count = count.saturating_add(bytes);
    }
}

/// Shows the counters of a pool's marking.
#[derive(Debug)]
pub struct MarkingCollector(pub Arc<Marking>);

impl Collector for MarkingCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let counters = self.0.counters();
        let mut metric = encoder.encode_descriptor(
            "marked_bytes",
            "Bytes of transfers that have a SciTag, by the names of its experiment and activity",
            None,
            MetricType::Counter,
        )?;
        for ((experiment, activity), counts) in
            &*counters.bytes.lock().unwrap_or_else(PoisonError::into_inner)
        {
            for direction in [Direction::In, Direction::Out] {
                let labels = [
                    ("experiment", experiment.as_str()),
                    ("activity", activity.as_str()),
                    ("direction", direction.as_str()),
                ];
                ConstCounter::new(counts[direction as usize]).encode(metric.encode_family(&labels)?)?;
            }
        }
        let mut metric = encoder.encode_descriptor(
            "marked_flows",
            "TCP connections of transfers that have a SciTag, by whether their packets carry its flow label, and why not",
            None,
            MetricType::Counter,
        )?;
        for labelled in Labelled::ALL {
            let count = ConstCounter::new(counters.flows(labelled));
            count.encode(metric.encode_family(&[("label", labelled.as_str())])?)?;
        }
        let mut metric = encoder.encode_descriptor(
            "fireflies",
            "Datagrams that tell of flows: sent; failed (the system refused them); dropped (too many waited)",
            None,
            MetricType::Counter,
        )?;
        for (sent, name) in [(Sent::Yes, "sent"), (Sent::Failed, "failed"), (Sent::Dropped, "dropped")] {
            let count = ConstCounter::new(counters.fireflies(sent));
            count.encode(metric.encode_family(&[("outcome", name)])?)?;
        }
        let abilities = self.0.abilities();
        let mut metric = encoder.encode_descriptor(
            "marking_works",
            "Whether this kernel labels connections that the pool makes, and those that it accepts (1), as tried at the start",
            None,
            MetricType::Gauge,
        )?;
        for (name, works) in [("made", &abilities.made), ("accepted", &abilities.accepted)] {
            let works = ConstGauge::new(i64::from(works.is_ok()));
            works.encode(metric.encode_family(&[("connections", name)])?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(experiment: &str, known: bool) -> Names {
        Names { experiment: experiment.to_owned(), activity: "default".to_owned(), known }
    }

    #[test]
    fn bytes_are_counted_by_name_and_what_is_not_known_together() {
        let counters = Counters::default();
        counters.moved(&names("atlas", true), Direction::In, 5);
        counters.moved(&names("atlas", true), Direction::Out, 7);
        counters.moved(&names("700", false), Direction::In, 1);
        counters.moved(&names("701", false), Direction::In, 1);
        let series = counters.bytes.lock().unwrap();
        assert_eq!(series[&("atlas".to_owned(), "default".to_owned())], [5, 7]);
        assert_eq!(series[&(OTHER.to_owned(), OTHER.to_owned())], [2, 0]);
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let counters = Counters::default();
        for number in 0..MOST_SERIES + 10 {
            counters.moved(&names(&format!("e{number}"), true), Direction::In, 1);
        }
        let series = counters.bytes.lock().unwrap();
        assert_eq!(series.len(), MOST_SERIES + 1);
        assert_eq!(series[&(OTHER.to_owned(), OTHER.to_owned())], [10, 0]);
    }

    #[test]
    fn the_numbers_of_the_variants_are_their_places() {
        for (place, labelled) in Labelled::ALL.into_iter().enumerate() {
            assert_eq!(labelled as usize, place);
        }
    }
}
