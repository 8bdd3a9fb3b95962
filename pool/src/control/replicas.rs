//! Replicas, as doors ask for them: listing, stat, removal, verification. Everything here blocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_door_proto::v1;

use crate::checksum::{Algorithm, AlgorithmSet, Checksum, MultiHasher};
use crate::store::{ReplicaId, ReplicaStat, ReplicaState, Store, StoreError};

/// Bytes read at once by a verification: large enough for the disk, small enough to be told of often.
const VERIFY_PIECE_BYTES: usize = 1 << 20;

/// A replica as the contract tells it.
#[must_use]
pub fn info(store: &Store, stat: &ReplicaStat) -> v1::ReplicaInfo {
    let attributes = &stat.attributes;
    let time = |at: jiff::Timestamp| prost_types::Timestamp::from(std::time::SystemTime::from(at));
    v1::ReplicaInfo {
        replica_id: stat.id.to_string(),
        state: state_number(attributes.state).into(),
        size: stat.size,
        allocated: stat.allocated,
        checksums: recorded(&attributes.checksums).into_iter().map(Into::into).collect(),
        created_at: Some(time(attributes.created_at)),
        verified_at: attributes.verified_at.map(time),
        transfer_id: attributes.transfer.clone(),
        path: attributes.path.clone(),
        storage_class: attributes.class.clone(),
        broken_because: attributes.broken_because.clone().unwrap_or_default(),
        readers: u32::try_from(store.readers(&stat.id)).unwrap_or(u32::MAX),
        suspect_because: String::new(),
        block_checksums: false,
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

/// The checksums of an attribute line. What a later release wrote is not understood and left out.
fn recorded(checksums: &BTreeMap<String, String>) -> Vec<Checksum> {
    let typed = |(name, hex): (&String, &String)| Checksum::from_hex(Algorithm::from_name(name)?, hex).ok();
    checksums.iter().filter_map(typed).collect()
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

/// Reads a replica from its file and compares its checksums; those of `compute` that are not recorded yet are kept.
/// `progress` is told of the bytes read and of how many; its `false` ends the work with `None`.
pub fn verify(
    store: &Store,
    id: &ReplicaId,
    compute: AlgorithmSet,
    mut progress: impl FnMut(u64, u64) -> bool,
) -> Result<Option<v1::VerifyResult>, StoreError> {
    let replica = store.open(id)?;
    let before: Vec<Checksum> = recorded(&replica.attributes().checksums);
    let algorithms = before.iter().map(Checksum::algorithm).collect::<AlgorithmSet>().union(compute);
    let mut hasher = MultiHasher::new(algorithms.iter());
    let mut piece = vec![0; VERIFY_PIECE_BYTES];
    let (mut offset, size) = (0, replica.size());
    loop {
        if !progress(offset, size) {
            return Ok(None);
        }
        let count = store
            .disk()
            .read_at(replica.file(), &mut piece, offset)
            .map_err(|source| StoreError::Io { step: "read the bytes", replica: id.clone(), source })?;
        if count == 0 {
            break;
        }
        hasher.update(&piece[..count]);
        offset += count as u64;
    }
    let computed = hasher.finish();
    let mut problems = Vec::new();
    if offset != size {
        problems.push(format!("the file has {offset} bytes, recorded are {size}"));
    }
    for expected in &before {
        let algorithm = expected.algorithm();
        match computed.iter().find(|actual| actual.algorithm() == algorithm) {
            Some(actual) if actual == expected => {}
            Some(actual) => problems.push(format!(
                "{algorithm} of the file is {}, recorded {}",
                actual.hex(),
                expected.hex()
            )),
            None => problems.push(format!("{algorithm} could not be computed")),
        }
    }
    if problems.is_empty() {
        let new = computed.iter().filter(|checksum| !before.contains(checksum));
        let new: BTreeMap<String, String> = new
            .map(|checksum| (checksum.algorithm().name().to_owned(), checksum.hex().to_string()))
            .collect();
        if !new.is_empty() {
            store.set_checksums(id, &new)?;
        }
    } else if replica.state().may_become(ReplicaState::Broken) {
        store.set_state(id, ReplicaState::Broken, Some(&problems.join("; ")))?;
    }
    let checksums = computed.into_iter().map(Into::into).collect();
    Ok(Some(v1::VerifyResult { good: problems.is_empty(), checksums, problems }))
}

/// The store, for blocking work on another thread.
pub(super) async fn blocking<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> T + Send + 'static,
) -> Result<T, tonic::Status> {
    let store = Arc::clone(store);
    tokio::task::spawn_blocking(move || work(&store))
        .await
        .map_err(|error| tonic::Status::internal(format!("work on the store ended early: {error}")))
}
