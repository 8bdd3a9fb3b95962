//! What the parts of a pool are told of its configuration.

use crate::config::{self, Config};
use crate::control::registry::RegistrySettings;
use crate::scrub::ScrubSettings;
use crate::transfer::Timeouts;

pub(super) fn scrub_settings(config: &Config) -> ScrubSettings {
    ScrubSettings { rate_bytes_per_second: config.scrub.rate_bytes_per_second, period: config.scrub.period }
}

/// A connection has one descriptor, a transfer its file's, a port with a label one on each shard.
pub(super) fn descriptors_needed(config: &Config) -> u64 {
    let config::Limits { connections, transfers } = config.limits;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = if config.shards == 0 { processors } else { config.shards };
    let listeners = config.marking.ports.count().saturating_mul(shards);
    (connections as u64).saturating_add(transfers as u64).saturating_add(listeners as u64)
}

pub(super) fn registry_settings(config: &Config) -> RegistrySettings {
    RegistrySettings {
        queues: config.queues.clone(),
        max_transfers: config.limits.transfers,
        timeouts: Timeouts {
            client: config.timeouts.client,
            linger: config.timeouts.linger,
            claim: config.timeouts.claim,
        },
        doors: config.doors.clone().into_iter().collect(),
    }
}
