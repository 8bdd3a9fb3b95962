//! Finds the replica that a GET reads.

use std::sync::Arc;

use crate::checksum::{Algorithm, Checksum};
use crate::store::{Attributes, Replica, ReplicaState, StoreError};
use crate::transfer::connection::Exchange;
use crate::transfer::request::Kind;
use crate::transfer::{Claim, Failure};

/// Takes the replica that this connection read last, or the one that the transfer holds, or opens it.
pub(super) async fn open(exchange: &mut Exchange<'_>, claim: &Claim) -> Result<Arc<Replica>, Failure> {
    let request = claim.transfer().request();
    let known = exchange
        .last_read
        .as_ref()
        .filter(|replica| *replica.id() == request.replica && !replica.is_deleted());
    let known = known.cloned().or_else(|| claim.transfer().held());
    let was_open = known.is_some();
    let replica = match known {
        Some(replica) => replica,
        None => {
            let (store, id) = (Arc::clone(&exchange.port.store), request.replica.clone());
            let core = exchange.input.connection().core();
            core.blocking(move || store.open(&id))
                .await
                .map_err(|error| Failure::internal(format!("the replica cannot be opened: {error}")))?
                .map_err(|error| failure_of(&error))?
        }
    };
    let rescue = matches!(&request.kind, Kind::Get(get) if get.allow_broken);
    match replica.state() {
        ReplicaState::Ready | ReplicaState::Orphaned => {}
        ReplicaState::Broken if rescue => {}
        // Whoever was sent to it reads it to its end.
        ReplicaState::Removing if was_open => {}
        ReplicaState::Removing => {
            return Err(Failure::not_found(format!("replica {} is being removed", replica.id())));
        }
        state => {
            return Err(Failure::replica_broken(format!(
                "replica {} is {state} and not served",
                replica.id()
            )));
        }
    }
    *exchange.last_read = Some(Arc::clone(&replica));
    Ok(replica)
}

fn failure_of(error: &StoreError) -> Failure {
    let text = error.to_string();
    let failure = match error {
        StoreError::NotFound { .. } => Failure::not_found(text),
        StoreError::Attributes { .. } | StoreError::WrongLength { .. } => Failure::replica_broken(text),
        error if error.is_disk_error() => Failure::disk(text),
        _ => Failure::internal(text),
    };
    failure.with_status(error.http_status())
}

/// A replica's checksums, as recorded.
pub(in crate::transfer) fn checksums_of(attributes: &Attributes) -> Vec<Checksum> {
    Algorithm::ALL
        .into_iter()
        .filter_map(|algorithm| {
            let hex = attributes.checksums.get(algorithm.name())?;
            Checksum::from_hex(algorithm, hex).ok()
        })
        .collect()
}
