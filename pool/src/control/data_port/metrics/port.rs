//! What Prometheus sees of the data port: connections, requests, TLS.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::engine::net::zero_copy::Tally;
use crate::tls::ServerTls;
use crate::transfer::port::Counters;

/// The port's own counters, read when Prometheus asks. Not the port: it has the desk, which has the metrics.
pub(in crate::control::data_port) struct PortCollector {
    pub counters: Arc<Counters>,
    pub zero_copy: Vec<Arc<Tally>>,
    pub tls: Option<Arc<ServerTls>>,
}

impl fmt::Debug for PortCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortCollector").finish_non_exhaustive()
    }
}

impl Collector for PortCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let counters = &self.counters;
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
