//! What Prometheus sees of reading: how much was checked, and what was found.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use crate::transfer::source::Reading;

/// The counters of all readers, read when Prometheus asks.
#[derive(Debug)]
pub(in crate::control::data_port) struct ReadingCollector(Arc<Reading>);

impl ReadingCollector {
    /// Of these readers.
    pub fn of(reading: &Arc<Reading>) -> ReadingCollector {
        ReadingCollector(Arc::clone(reading))
    }
}

impl Collector for ReadingCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let counters = self.0.counters();
        let bytes = [
            (
                "pool_verified_direct",
                "Bytes read past the page cache that agreed with their block checksums",
                &counters.verified_direct_bytes,
            ),
            (
                "pool_verified_cached",
                "Bytes read through the page cache that agreed with their block checksums",
                &counters.verified_cached_bytes,
            ),
            (
                "pool_known_good",
                "Bytes sent from the page cache where they had been checked before",
                &counters.known_good_bytes,
            ),
            (
                "pool_unverified",
                "Bytes sent unchecked: their block checksums are not known, or verify_reads is off",
                &counters.unverified_bytes,
            ),
        ];
        let blocks = [
            ("pool_bad_blocks", "Blocks that came otherwise than they were stored", &counters.bad_blocks),
            ("pool_rescued_blocks", "Bad blocks that came right by another way", &counters.rescued_blocks),
            (
                "pool_sendfile_fallbacks",
                "Stretches of known good bytes that were copied all the same, as their connection encrypts",
                &counters.sendfile_fallbacks,
            ),
            (
                "pool_sendfile_waits",
                "Times that a socket was full while cached bytes were handed to it",
                &counters.sendfile_waits,
            ),
        ];
        let bytes = bytes.map(|(name, help, count)| (name, help, Some(&Unit::Bytes), count));
        let blocks = blocks.map(|(name, help, count)| (name, help, None, count));
        for (name, help, unit, count) in bytes.into_iter().chain(blocks) {
            let count = ConstCounter::new(count.load(Ordering::Relaxed));
            let metric = encoder.encode_descriptor(name, help, unit, count.metric_type())?;
            count.encode(metric)?;
        }
        Ok(())
    }
}
