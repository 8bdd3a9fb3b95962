//! The contract's messages as JSON, for programs. Names are those of the contract; sizes are numbers, times RFC 3339.

use penstock_door_proto::v1;
use penstock_pool::checksum::Checksum;
use serde_json::{Map, Value, json};

use super::show::timestamp;

fn time(at: Option<&prost_types::Timestamp>) -> Value {
    timestamp(at).map_or(Value::Null, |at| Value::String(at.to_string()))
}

/// An enum's value by its name in the contract, without the name of the enum.
fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
}

/// A state of a replica.
pub fn replica_state(state: v1::ReplicaState) -> String {
    word(state.as_str_name(), "REPLICA_STATE_")
}

/// A pool's health.
pub fn health(health: v1::pool_status::Health) -> String {
    word(health.as_str_name(), "HEALTH_")
}

/// What the scrub does.
pub fn scrub_state(state: v1::scrub_status::State) -> String {
    word(state.as_str_name(), "STATE_")
}

/// Checksums: hex by name.
pub fn checksums(checksums: &[v1::Checksum]) -> Map<String, Value> {
    let typed = checksums.iter().filter_map(|checksum| Checksum::try_from(checksum.clone()).ok());
    typed.map(|checksum| (checksum.algorithm().name().into(), checksum.hex().to_string().into())).collect()
}

/// How the scrub stands.
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
pub fn status(status: &v1::PoolStatus) -> Value {
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
    let queues = status.queues.iter().map(|queue| {
        json!({
            "name": queue.name,
            "running": queue.running,
            "limit": queue.limit,
            "waiting": queue.waiting,
        })
    });
    json!({
        "pool_name": status.pool_name,
        "instance_id": status.instance_id,
        "version": status.version,
        "started_at": time(status.started_at.as_ref()),
        "health": health(status.health()),
        "problems": status.problems,
        "space": space,
        "load": load,
        "queues": queues.collect::<Vec<_>>(),
        "data_urls": status.data_urls,
        "features": status.features,
        "replicas": status.replicas,
        "broken_replicas": status.broken_replicas,
        "suspect_replicas": status.suspect_replicas,
        "orphaned_replicas": status.orphaned_replicas,
        "unacknowledged": status.unacknowledged,
        "scrub": status.scrub.as_ref().map(scrub),
    })
}

/// A replica.
pub fn replica(info: &v1::ReplicaInfo) -> Value {
    let text = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    json!({
        "replica_id": info.replica_id,
        "state": replica_state(info.state()),
        "size": info.size,
        "allocated": info.allocated,
        "checksums": checksums(&info.checksums),
        "created_at": time(info.created_at.as_ref()),
        "verified_at": time(info.verified_at.as_ref()),
        "transfer_id": text(&info.transfer_id),
        "path": text(&info.path),
        "storage_class": text(&info.storage_class),
        "broken_because": text(&info.broken_because),
        "suspect_because": text(&info.suspect_because),
        "readers": info.readers,
        "block_checksums": info.block_checksums,
    })
}

/// What a verification found.
pub fn verification(id: &str, result: &v1::VerifyResult) -> Value {
    json!({
        "replica_id": id,
        "good": result.good,
        "checksums": checksums(&result.checksums),
        "problems": result.problems,
    })
}
