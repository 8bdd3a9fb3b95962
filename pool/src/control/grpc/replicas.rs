//! Replicas, as doors ask for them: listing, stat, removal, verification. Everything here blocks.

use std::collections::BTreeSet;
use std::sync::Arc;

use penstock_door_proto::v1;

use crate::checksum::AlgorithmSet;
use crate::control::messages::wire::stored_at;
use crate::scrub::reading::recorded;
use crate::scrub::{self, Verification};
use crate::store::{ReplicaId, ReplicaStat, ReplicaState, Store, StoreError};

/// Ids that are taken from the index at once.
const IDS_PER_PAGE: usize = 256;

/// A replica as the contract tells it.
#[must_use]
pub fn info(store: &Store, stat: &ReplicaStat, block_checksums: bool) -> v1::ReplicaInfo {
    let attributes = &stat.attributes;
    v1::ReplicaInfo {
        replica_id: stat.id.to_string(),
        state: state_number(attributes.state).into(),
        size: stat.size,
        allocated: stat.allocated,
        checksums: recorded(&attributes.checksums).into_iter().map(Into::into).collect(),
        created_at: Some(stored_at(attributes.created_at)),
        verified_at: attributes.verified_at.map(stored_at),
        transfer_id: attributes.transfer.clone(),
        path: attributes.path.clone(),
        storage_class: attributes.class.clone(),
        broken_because: attributes.broken_because.clone().unwrap_or_default(),
        readers: u32::try_from(store.readers(&stat.id)).unwrap_or(u32::MAX),
        suspect_because: attributes.suspect_because.clone().unwrap_or_default(),
        block_checksums,
    }
}

/// One replica as the contract tells it.
pub fn stat(store: &Store, id: &ReplicaId) -> Result<v1::ReplicaInfo, StoreError> {
    let (stat, blocks) = {
        let replica = store.open(id)?;
        (replica.stat(), replica.blocks().is_some())
    };
    Ok(info(store, &stat, blocks))
}

/// Of the replicas after `after` up to `last`, those whose blocks have no checksums.
pub fn without_blocks(store: &Store, after: Option<&ReplicaId>, last: &ReplicaId) -> BTreeSet<ReplicaId> {
    let mut without = BTreeSet::new();
    let mut after = after.cloned();
    loop {
        let page = store.without_blocks(after.as_ref(), IDS_PER_PAGE);
        without.extend(page.ids.into_iter().take_while(|id| id <= last));
        match page.next {
            Some(next) if next < *last => after = Some(next),
            Some(_) | None => return without,
        }
    }
}

/// A state's number in the contract.
#[must_use]
pub fn state_number(state: ReplicaState) -> v1::ReplicaState {
    match state {
        ReplicaState::Uploading => v1::ReplicaState::Uploading,
        ReplicaState::Ready => v1::ReplicaState::Ready,
        ReplicaState::Broken => v1::ReplicaState::Broken,
        ReplicaState::Orphaned => v1::ReplicaState::Orphaned,
        ReplicaState::Removing => v1::ReplicaState::Removing,
    }
}

/// Gives an orphan back to its door, which claims it after all. One that is no orphan stays as it is.
pub fn adopt(store: &Store, id: &ReplicaId) -> Result<(), StoreError> {
    match store.stat(id)?.attributes.state {
        ReplicaState::Orphaned => store.set_state(id, ReplicaState::Ready, None).map(drop),
        ReplicaState::Uploading | ReplicaState::Ready | ReplicaState::Broken | ReplicaState::Removing => {
            Ok(())
        }
    }
}

/// The same of many. Gives those that are not there.
pub fn adopt_all(store: &Store, ids: &[ReplicaId]) -> Result<Vec<String>, StoreError> {
    let mut missing = Vec::new();
    for id in ids {
        match adopt(store, id) {
            Ok(()) => {}
            Err(StoreError::NotFound { .. }) => missing.push(id.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// Makes an upload that no door claimed an orphan. One that is so, or has gone meanwhile, stays as it is.
pub fn orphan(store: &Store, id: &ReplicaId) -> Result<(), StoreError> {
    match store.set_state(id, ReplicaState::Orphaned, None) {
        Ok(_) | Err(StoreError::NotFound { .. } | StoreError::State { from: ReplicaState::Orphaned, .. }) => {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Removes a replica. Tells whether it was there.
pub fn remove(store: &Store, id: &ReplicaId) -> Result<bool, StoreError> {
    match store.delete(id) {
        Ok(()) => Ok(true),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a replica from its file and compares all that is recorded of it; see [`scrub::verify`].
pub fn verify(
    store: &Store,
    id: &ReplicaId,
    compute: AlgorithmSet,
    progress: impl FnMut(u64, u64) -> bool,
) -> Result<Option<v1::VerifyResult>, StoreError> {
    let verification = scrub::verify(store, id, compute, progress)?;
    Ok(verification.map(|Verification { good, checksums, problems }| v1::VerifyResult {
        good,
        checksums: checksums.into_iter().map(Into::into).collect(),
        problems,
    }))
}

/// The store, for blocking work on another thread.
pub(in crate::control) async fn blocking<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> T + Send + 'static,
) -> Result<T, tonic::Status> {
    let store = Arc::clone(store);
    tokio::task::spawn_blocking(move || work(&store))
        .await
        .map_err(|error| tonic::Status::internal(format!("work on the store ended early: {error}")))
}
