//! What Prometheus sees of the pool. Names and units by its conventions; labels only of bounded sets. Parts with numbers of their own add collectors, which are
//! asked when Prometheus asks.

pub(super) mod store;
pub(super) mod transfers;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use self::transfers::TransferMetrics;
use super::queue::QueueStatus;
use crate::store::SpaceStatus;
use crate::transfer::Transfer;
use crate::transfer::request::KindName;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    queue: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SpaceLabels {
    part: &'static str,
}

/// The pool's metrics. The engine and the store register theirs through [`Metrics::register`].
pub struct Metrics {
    registry: Mutex<Registry>,
    transfers: TransferMetrics,
    received: Family<KindLabels, Counter>,
    sent: Family<KindLabels, Counter>,
    running: Family<QueueLabels, Gauge>,
    waiting: Family<QueueLabels, Gauge>,
    space: Family<SpaceLabels, Gauge>,
    rates: Mutex<Rates>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All families, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("penstock");
        let transfers = TransferMetrics::new(&mut registry);
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "1, with the release of this pool", build);
        let started_at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let start_time = Gauge::<i64>::default();
        start_time.set(gauge(started_at.as_secs()));
        registry.register_with_unit(
            "start_time",
            "When this pool started, in Unix time",
            Unit::Seconds,
            start_time,
        );
        let received = Family::<KindLabels, Counter>::default();
        registry.register_with_unit("received", "Bytes written to replicas", Unit::Bytes, received.clone());
        let sent = Family::<KindLabels, Counter>::default();
        registry.register_with_unit("sent", "Bytes of replicas sent", Unit::Bytes, sent.clone());
        let running = Family::default();
        registry.register("transfers_running", "Transfers that are ready or run", running.clone());
        let waiting = Family::default();
        registry.register("transfers_waiting", "Transfers that wait for their turn", waiting.clone());
        let space = Family::default();
        registry.register_with_unit(
            "space",
            "The pool's space: total, used by replicas, reserved by uploads, available to a new one",
            Unit::Bytes,
            space.clone(),
        );
        // A rate needs the zero before the first event (Prometheus, "Avoid missing metrics").
        for (kind, inwards) in
            [(KindName::Put, true), (KindName::Pull, true), (KindName::Get, false), (KindName::Push, false)]
        {
            let family = if inwards { &received } else { &sent };
            drop(family.get_or_create(&KindLabels { kind: kind.as_str() }));
        }
        Self {
            registry: Mutex::new(registry),
            transfers,
            received,
            sent,
            running,
            waiting,
            space,
            rates: Mutex::new(Rates::default()),
        }
    }

    /// Lets another part of the pool register its own families, under the same prefix.
    pub fn register(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Everything in the text format of OpenMetrics 1.0.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }

    /// Counts an ended transfer.
    pub(super) fn ended(&self, transfer: &Transfer) {
        self.transfers.ended(transfer);
    }

    /// Counts bytes as they move.
    pub(super) fn moved(&self, kind: KindName, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let labels = KindLabels { kind: kind.as_str() };
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        match kind {
            KindName::Get | KindName::Push => {
                self.sent.get_or_create(&labels).inc_by(bytes);
                rates.out_bytes += bytes;
            }
            KindName::Put | KindName::Pull | KindName::PoolToPool | KindName::LocalCopy => {
                self.received.get_or_create(&labels).inc_by(bytes);
                rates.in_bytes += bytes;
            }
        }
    }

    /// Remembers the queues' numbers.
    pub(super) fn set_queues(&self, queues: &[QueueStatus]) {
        for queue in queues {
            let labels = QueueLabels { queue: queue.name.clone() };
            self.running.get_or_create(&labels).set(gauge(queue.running as u64));
            self.waiting.get_or_create(&labels).set(gauge(queue.waiting as u64));
        }
    }

    /// Remembers the pool's space.
    pub(super) fn set_space(&self, space: &SpaceStatus) {
        let parts = [
            ("total", space.total),
            ("used", space.used),
            ("reserved", space.reserved),
            ("available", space.available),
        ];
        for (part, bytes) in parts {
            self.space.get_or_create(&SpaceLabels { part }).set(gauge(bytes));
        }
    }

    /// Bytes in and out since the start.
    pub(super) fn totals(&self) -> (u64, u64) {
        let rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        (rates.in_bytes, rates.out_bytes)
    }

    /// Bytes per second in and out, over the time since the last call that was at least a second ago.
    pub(super) fn rates(&self) -> (f64, f64) {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).now(Instant::now())
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Rates over windows of at least [`Rates::WINDOW_SECONDS`].
#[derive(Debug, Default)]
struct Rates {
    in_bytes: u64,
    out_bytes: u64,
    window: Option<(Instant, u64, u64)>,
    last: (f64, f64),
}

impl Rates {
    const WINDOW_SECONDS: f64 = 1.0;

    fn now(&mut self, now: Instant) -> (f64, f64) {
        let (since, in_before, out_before) = *self.window.get_or_insert((now, self.in_bytes, self.out_bytes));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if seconds >= Self::WINDOW_SECONDS {
            self.last = (
                (self.in_bytes - in_before) as f64 / seconds,
                (self.out_bytes - out_before) as f64 / seconds,
            );
            self.window = Some((now, self.in_bytes, self.out_bytes));
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_text_names_every_family_with_its_unit() {
        let metrics = Metrics::new();
        metrics.moved(KindName::Put, 5);
        metrics.moved(KindName::Get, 7);
        metrics.set_space(&SpaceStatus { total: 10, used: 1, reserved: 2, available: 3 });
        metrics.set_queues(&[QueueStatus { name: "default".into(), running: 1, max_running: 9, waiting: 4 }]);
        let text = metrics.encode().unwrap();
        for line in [
            "penstock_received_bytes_total{kind=\"put\"} 5",
            "penstock_sent_bytes_total{kind=\"get\"} 7",
            "penstock_space_bytes{part=\"available\"} 3",
            "penstock_transfers_running{queue=\"default\"} 1",
            "penstock_transfers_waiting{queue=\"default\"} 4",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn counters_are_there_before_the_first_event() {
        let text = Metrics::new().encode().unwrap();
        for line in [
            "penstock_received_bytes_total{kind=\"put\"} 0",
            "penstock_sent_bytes_total{kind=\"get\"} 0",
            "penstock_transfers_total{kind=\"put\",outcome=\"failed\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn others_register_their_families_under_the_same_prefix() {
        let metrics = Metrics::new();
        metrics.register(|registry| registry.register("ring_depth", "x", Gauge::<i64>::default()));
        assert!(metrics.encode().unwrap().contains("penstock_ring_depth 0"));
    }

    #[test]
    fn rates_are_bytes_by_the_time_of_the_window() {
        let mut rates = Rates::default();
        let start = Instant::now();
        assert_eq!(rates.now(start), (0.0, 0.0));
        rates.in_bytes = 1000;
        rates.out_bytes = 500;
        assert_eq!(rates.now(start + Duration::from_millis(999)), (0.0, 0.0));
        assert_eq!(rates.now(start + Duration::from_secs(2)), (500.0, 250.0));
        assert_eq!(rates.now(start + Duration::from_secs(4)), (0.0, 0.0));
    }
}
