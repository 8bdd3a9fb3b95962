//! The contract's messages as JSON, for programs. Names are those of the contract; sizes are numbers, times RFC 3339.

use penstock_door_proto::v1;
pub use penstock_pool::control::messages::status_json::{health, scrub, scrub_state, status};
pub use penstock_pool::control::messages::transfer_json::{checksums_by_name as checksums, transfer};
use penstock_pool::control::messages::transfer_json::{time, word};
use serde_json::{Value, json};

/// A state of a replica.
pub fn replica_state(state: v1::ReplicaState) -> String {
    word(state.as_str_name(), "REPLICA_STATE_")
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
