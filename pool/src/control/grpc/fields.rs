//! Fields of requests as our types.

use std::time::Duration;

use tonic::Status;

use super::follow::SHORTEST_PERIOD;
use super::refusals::request_status;
use crate::store::ReplicaId;
use crate::transfer::TransferId;

pub(super) fn transfer_id(text: &str) -> Result<TransferId, Status> {
    TransferId::new(text).map_err(request_status)
}

pub(super) fn replica_id(text: &str) -> Result<ReplicaId, Status> {
    ReplicaId::new(text).map_err(|error| Status::invalid_argument(format!("replica_id: {error}")))
}

pub(super) fn period(field: &str, asked: prost_types::Duration) -> Result<Duration, Status> {
    let period = Duration::try_from(asked)
        .map_err(|_| Status::invalid_argument(format!("{field}: must not be negative")))?;
    Ok(period.max(SHORTEST_PERIOD))
}
