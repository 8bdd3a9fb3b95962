//! A pool's state as JSON: for the status page and for `penstock-pool status --json`. Names are those of the contract;
//! sizes are numbers, times RFC 3339.

use penstock_door_proto::v1;
use serde_json::{Map, Value, json};

use super::transfer_json::{time, word};

/// A pool's health in one word.
#[must_use]
pub fn health(health: v1::pool_status::Health) -> String {
    word(health.as_str_name(), "HEALTH_")
}

/// What the scrub does, in one word.
#[must_use]
pub fn scrub_state(state: v1::scrub_status::State) -> String {
    word(state.as_str_name(), "STATE_")
}

/// How the scrub stands.
#[must_use]
pub fn scrub(status: &v1::ScrubStatus) -> Value {
    json!({
        "state": scrub_state(status.state()),
        "pass_started_at": time(status.pass_started_at.as_ref()),
        "pass_finished_at": time(status.pass_finished_at.as_ref()),
        "replicas_verified": status.replicas_verified,
        "bytes_verified": status.bytes_verified,
        "replicas_skipped": status.replicas_skipped,
        "replicas_found_broken": status.replicas_found_broken,
        "done": status.done,
        "rate_bytes_per_second": status.rate_bytes_per_second,
        "next_pass_at": time(status.next_pass_at.as_ref()),
        "passes": status.passes,
    })
}

/// How the pool is.
#[must_use]
pub fn status(status: &v1::PoolStatus) -> Map<String, Value> {
    let space = status.space.as_ref().map(|space| {
        json!({
            "total": space.total,
            "used": space.used,
            "reserved": space.reserved,
            "available": space.available,
        })
    });
    let load = status.load.as_ref().map(|load| {
        json!({
            "running": load.running,
            "waiting": load.waiting,
            "bytes_in_per_second": load.bytes_in_per_second,
            "bytes_out_per_second": load.bytes_out_per_second,
            "buffers_used": load.buffers_used,
            "busiest_shard": load.busiest_shard,
        })
    });
    let queue = |queue: &v1::Queue| {
        json!({
            "name": queue.name,
            "running": queue.running,
            "limit": queue.limit,
            "waiting": queue.waiting,
        })
    };
    let fields = [
        ("pool_name", status.pool_name.clone().into()),
        ("instance_id", status.instance_id.clone().into()),
        ("version", status.version.clone().into()),
        ("started_at", time(status.started_at.as_ref())),
        ("health", health(status.health()).into()),
        ("problems", status.problems.clone().into()),
        ("space", space.into()),
        ("load", load.into()),
        ("queues", status.queues.iter().map(queue).collect()),
        ("data_urls", status.data_urls.clone().into()),
        ("features", status.features.clone().into()),
        ("replicas", status.replicas.into()),
        ("broken_replicas", status.broken_replicas.into()),
        ("suspect_replicas", status.suspect_replicas.into()),
        ("orphaned_replicas", status.orphaned_replicas.into()),
        ("unacknowledged", status.unacknowledged.into()),
        ("scrub", status.scrub.as_ref().map(scrub).into()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
