//! What is looked at on the disk before a transfer is taken.

use std::sync::Arc;

use penstock_door_proto::v1;
use tonic::Status;

use super::refusals::{coded, request_status, store_status};
use super::replicas::blocking;
use super::service::PoolService;
use crate::store::{ReadOnly, Replica, ReplicaId, ReplicaState, Store, StoreError};
use crate::transfer::{FailureCode, Kind, TransferRequest};

impl PoolService {
    /// Checks that need the disk, before a transfer is taken. Gives the replica that a GET, a push or a local copy will
    /// read.
    pub(super) async fn check_replica(
        &self,
        asked: &v1::TransferRequest,
    ) -> Result<Option<Arc<Replica>>, Status> {
        let request = TransferRequest::try_from(asked.clone()).map_err(request_status)?;
        let id = request.replica.clone();
        let known = {
            let id = id.clone();
            blocking(&self.shared.store, move |store| store.open(&id)).await?
        };
        match (&request.kind, known) {
            (kind @ (Kind::Get(_) | Kind::Push(_)), known) => {
                let rescue = matches!(kind, Kind::Get(get) if get.allow_broken);
                readable(&id, known, rescue).map(Some)
            }
            (Kind::Put(_) | Kind::Pull(_) | Kind::LocalCopy(_), Ok(_)) => {
                Err(store_status(&StoreError::Exists { replica: id }))
            }
            (Kind::Put(put), Err(StoreError::NotFound { .. })) => {
                self.check_room(&id, put.size, put.maximum_size.map(Into::into)).await.map(|()| None)
            }
            (Kind::Pull(pull), Err(StoreError::NotFound { .. })) => {
                self.check_room(&id, pull.size, pull.maximum_size.map(Into::into)).await.map(|()| None)
            }
            (Kind::LocalCopy(copy), Err(StoreError::NotFound { .. })) => {
                let (source, opening) = (copy.source.clone(), copy.source.clone());
                let known = blocking(&self.shared.store, move |store| store.open(&opening)).await?;
                let original = readable(&source, known, false)?;
                self.check_room(&id, Some(original.size()), None).await.map(|()| Some(original))
            }
            (Kind::Put(_) | Kind::Pull(_) | Kind::LocalCopy(_), Err(error)) => {
                // A disk that cannot say whether a name is free is as ill as one that does not take it.
                let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
                if let Some(cause) = cause {
                    self.shared.store.note_write_error(cause);
                }
                Err(store_status(&error))
            }
        }
    }

    /// What cannot fit is refused before its client is sent here.
    async fn check_room(&self, id: &ReplicaId, size: Option<u64>, limit: Option<u64>) -> Result<(), Status> {
        if let Some(ReadOnly { since, because }) = self.shared.store.health().read_only {
            return Err(store_status(&StoreError::ReadOnly { since, because }));
        }
        let limit = [limit, self.shared.max_file_size].into_iter().flatten().min();
        if let (Some(size), Some(limit)) = (size, limit)
            && size > limit
        {
            return Err(store_status(&StoreError::TooLarge { replica: id.clone(), size, limit }));
        }
        let space = blocking(&self.shared.store, Store::space).await?;
        let space = space
            .map_err(|error| coded(tonic::Code::Unavailable, FailureCode::DiskError, &error.to_string()))?;
        // One byte at least: a full pool takes no upload of unknown size either.
        let needed = size.unwrap_or(1);
        if needed > space.available {
            let text = format!("{needed} bytes are needed, {} are available in this pool", space.available);
            return Err(coded(tonic::Code::ResourceExhausted, FailureCode::NoSpace, &text));
        }
        Ok(())
    }
}

/// A replica that may be read; with `rescue` also a broken one.
fn readable(
    id: &ReplicaId,
    known: Result<Arc<Replica>, StoreError>,
    rescue: bool,
) -> Result<Arc<Replica>, Status> {
    let replica = known.map_err(|error| store_status(&error))?;
    match replica.state() {
        ReplicaState::Ready | ReplicaState::Orphaned => Ok(replica),
        ReplicaState::Broken if rescue => Ok(replica),
        ReplicaState::Broken => {
            let because = replica.attributes().broken_because.unwrap_or_default();
            let text = format!("replica {id} is broken: {because}");
            Err(coded(tonic::Code::FailedPrecondition, FailureCode::ReplicaBroken, &text))
        }
        ReplicaState::Uploading | ReplicaState::Removing => {
            Err(store_status(&StoreError::NotFound { replica: id.clone() }))
        }
    }
}
