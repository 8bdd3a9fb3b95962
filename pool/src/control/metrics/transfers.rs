//! What Prometheus sees of transfers that have ended: how they went.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::control::messages::transfer_json::word;
use crate::transfer::request::KindName;
use crate::transfer::state::StateName;
use crate::transfer::{FailureCode, State, Transfer};

/// Kinds of transfers that a pool makes.
pub(in crate::control) const KINDS: [KindName; 5] =
    [KindName::Get, KindName::Put, KindName::Pull, KindName::Push, KindName::LocalCopy];
/// How transfers end.
const OUTCOMES: [StateName; 3] = [StateName::Done, StateName::Failed, StateName::Cancelled];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    code: String,
}

type ByKind = Family<KindLabels, Histogram, fn() -> Histogram>;

/// Families over ended transfers.
pub(in crate::control) struct TransferMetrics {
    ended: Family<OutcomeLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    duration: Family<OutcomeLabels, Histogram, fn() -> Histogram>,
    size: ByKind,
    rate: ByKind,
    first_byte: ByKind,
    queue: ByKind,
    retries: Counter,
}

/// 1 ms to 4.6 hours.
fn times() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 13))
}

/// 1 KiB to 16 TiB.
fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1024.0, 8.0, 13))
}

/// 16 KiB/s to 16 GiB/s.
fn rates() -> Histogram {
    Histogram::new(exponential_buckets(16.0 * 1024.0, 4.0, 11))
}

impl TransferMetrics {
    /// All families, at zero.
    pub fn new(families: &mut Registry) -> Self {
        let metrics = Self {
            ended: Family::default(),
            failures: Family::default(),
            duration: Family::new_with_constructor(times as fn() -> Histogram),
            size: Family::new_with_constructor(sizes as fn() -> Histogram),
            rate: Family::new_with_constructor(rates as fn() -> Histogram),
            first_byte: Family::new_with_constructor(times as fn() -> Histogram),
            queue: Family::new_with_constructor(times as fn() -> Histogram),
            retries: Counter::default(),
        };
        families.register("transfers", "Transfers that ended, by kind and outcome", metrics.ended.clone());
        families.register(
            "transfer_failures",
            "Transfers that failed, by what failed",
            metrics.failures.clone(),
        );
        families.register_with_unit(
            "transfer_duration",
            "From the client's coming to the last byte, by kind and outcome",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        let by_kind = [
            ("transfer_size", "Bytes moved by transfers that were done, by kind", Unit::Bytes, &metrics.size),
            (
                "transfer_rate",
                "Mean rate of transfers that were done and moved bytes, by kind",
                Unit::Other("bytes_per_second".into()),
                &metrics.rate,
            ),
            (
                "transfer_first_byte",
                "From the client's coming, or a remote server's answer, to the first byte that moved, by kind",
                Unit::Seconds,
                &metrics.first_byte,
            ),
            (
                "transfer_queue_wait",
                "From the door's request to the transfer's turn, by kind",
                Unit::Seconds,
                &metrics.queue,
            ),
        ];
        for (name, help, unit, family) in by_kind {
            families.register_with_unit(name, help, unit, family.clone());
        }
        families.register(
            "transfer_retries",
            "Third-party copies' streams that broke and went on over another connection",
            metrics.retries.clone(),
        );
        metrics.begin();
        metrics
    }

    /// A rate needs the zero before the first event (Prometheus, "Avoid missing metrics").
    fn begin(&self) {
        for kind in KINDS.map(KindName::as_str) {
            for outcome in OUTCOMES.map(StateName::as_str) {
                drop(self.ended.get_or_create(&OutcomeLabels { kind, outcome }));
                drop(self.duration.get_or_create(&OutcomeLabels { kind, outcome }));
            }
            for family in [&self.size, &self.rate, &self.first_byte, &self.queue] {
                drop(family.get_or_create(&KindLabels { kind }));
            }
        }
        for code in (1..).map_while(|number| FailureCode::try_from(number).ok()) {
            drop(self.failures.get_or_create(&FailureLabels { code: code_word(code) }));
        }
    }

    /// Counts an ended transfer.
    pub fn ended(&self, transfer: &Transfer) {
        let state = transfer.state();
        let progress = transfer.progress();
        let kind = transfer.request().kind.name().as_str();
        let labels = OutcomeLabels { kind, outcome: state.name().as_str() };
        let of_kind = KindLabels { kind };
        let seconds = progress.transfer_time().as_secs_f64();
        self.ended.get_or_create(&labels).inc();
        self.duration.get_or_create(&labels).observe(seconds);
        self.queue.get_or_create(&of_kind).observe(transfer.queue_time().as_secs_f64());
        self.retries.inc_by(progress.retries().into());
        if let Some(time) = progress.first_byte_time() {
            self.first_byte.get_or_create(&of_kind).observe(time.as_secs_f64());
        }
        match &state {
            State::Done(_) => {
                let bytes = progress.bytes_moved() as f64;
                self.size.get_or_create(&of_kind).observe(bytes);
                if seconds > 0.0 {
                    self.rate.get_or_create(&of_kind).observe(bytes / seconds);
                }
            }
            State::Failed(failed) => {
                let code = code_word(failed.failure.code);
                self.failures.get_or_create(&FailureLabels { code }).inc();
            }
            State::Cancelled(_)
            | State::Queued
            | State::Ready { .. }
            | State::Running { .. }
            | State::Finishing { .. } => {}
        }
    }
}

fn code_word(code: FailureCode) -> String {
    word(code.as_str_name(), "FAILURE_CODE_")
}
