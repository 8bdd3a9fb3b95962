//! What Prometheus sees of the remote servers of third-party copies.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::remote::Remotes;

/// The counters of all connections to remote servers, read when Prometheus asks.
pub(in crate::control::data_port) struct RemoteCollector(Arc<Remotes>);

impl RemoteCollector {
    /// Of these.
    pub fn of(remotes: &Arc<Remotes>) -> RemoteCollector {
        RemoteCollector(Arc::clone(remotes))
    }
}

impl fmt::Debug for RemoteCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteCollector").finish_non_exhaustive()
    }
}

impl Collector for RemoteCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let open = ConstGauge::new(self.0.open_connections() as i64);
        let metric = encoder.encode_descriptor(
            "remote_connections",
            "Connections to remote servers that are open or wait for another request",
            None,
            open.metric_type(),
        )?;
        open.encode(metric)?;
        let totals = [
            ("remote_connections_made", "Connections made to remote servers", self.0.connections_made()),
            (
                "remote_connections_reused",
                "Requests to remote servers over a connection of an earlier one",
                self.0.connections_reused(),
            ),
        ];
        for (name, help, count) in totals {
            let count = ConstCounter::new(count);
            let metric = encoder.encode_descriptor(name, help, None, count.metric_type())?;
            count.encode(metric)?;
        }
        Ok(())
    }
}
