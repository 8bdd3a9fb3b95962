//! A copy from name to name: the pool makes a second replica of one that it holds. Row and name are those of an
//! upload.

use std::sync::Arc;

use jiff::Timestamp;
use penstock_door_proto::v1 as proto;
use proto::transfer_request::Kind;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use super::super::Transfers;
use super::super::error::TransferError;
use super::super::replica_id::replica_id;
use super::super::request::UploadRequest;
use super::error::CopyError;
use super::status::CopyStatus;
use super::{Errand, RunningCopy, outcome_of};
use crate::checksum::Checksum;
use crate::namespace::FileEntry;

/// A copy that is allowed.
#[derive(Debug, Clone)]
pub struct LocalCopyRequest {
    /// The transfer's id, as [`random_id`](crate::auth::keys::random_id) makes them.
    pub transfer: String,
    /// The name that it will have, as of an upload.
    pub upload: UploadRequest,
    /// What is copied.
    pub source: FileEntry,
}

impl Transfers {
    /// A place among the copies that may run at once; one is enough for all files of a request.
    pub fn place_for_copy(&self) -> Result<OwnedSemaphorePermit, TransferError> {
        Arc::clone(&self.copies).try_acquire_owned().map_err(|_| TransferError::TooManyCopies)
    }

    /// Begins a copy of which somebody wants to be told, as of a third-party copy.
    pub fn begin_copy_here(
        self: &Arc<Self>,
        request: LocalCopyRequest,
        place: OwnedSemaphorePermit,
    ) -> RunningCopy {
        let transfers = Arc::clone(self);
        self.begin_copy(None, place, |errand| async move { transfers.run_local(&request, &errand).await })
    }

    /// Copies a file, and gives it its name. Dropping this future calls the copy off.
    pub async fn copy_here(self: &Arc<Self>, request: LocalCopyRequest) -> Result<(), CopyError> {
        let client_gone = CancellationToken::new();
        let client = client_gone.clone().drop_guard();
        let running = self.metrics.copy_runs(None);
        let (status, _) = watch::channel(CopyStatus::new(None, Timestamp::now()));
        let errand = Errand { status, client_gone };
        let transfers = Arc::clone(self);
        let work = async move {
            let result = transfers.run_local(&request, &errand).await;
            transfers.metrics.copy_ended(None, outcome_of(&result));
            drop(running);
            result
        };
        // A task of its own, so that what has begun is settled whatever becomes of the request.
        let ended = self.see_through(work).await;
        drop(client);
        ended.map(drop)
    }

    async fn run_local(
        self: &Arc<Self>,
        request: &LocalCopyRequest,
        errand: &Errand,
    ) -> Result<Vec<Checksum>, CopyError> {
        let pool = self.pools.for_download(&request.source.pool)?;
        let replica = replica_id().map_err(TransferError::Random)?;
        let pending = request.upload.pending(request.transfer.clone(), replica, pool.name());
        // Attended before it is written, so that no settlement takes it for one that was left behind.
        let attended = self.attend(&pending.transfer, self.permit()?).ok_or(CopyError::Stopping)?;
        self.namespace.begin_upload(&pending).await?;
        let message = proto::TransferRequest {
            kind: Some(Kind::LocalCopy(proto::LocalCopy {
                source_replica_id: request.source.replica.clone(),
                wanted_checksums: request.upload.wanted_checksums(),
            })),
            ..request.upload.to_proto(&pending, &self.door)
        };
        let events = match self.start_copy(&pool, message, errand).await {
            Ok(events) => events,
            Err(error) => {
                let settled = !error.is_uncertain()
                    || self.withdraw(&pool, &attended.id, "the door has given it up").await;
                if settled {
                    self.forget_upload(&attended.id).await;
                }
                self.note_refusal(&pool, request.upload.path.as_str(), &error);
                return Err(error.into());
            }
        };
        let outcome = self.follow_copy(&pool, &attended, events, errand, None).await;
        self.end_pull(&pool, &attended, &pending.replica, outcome, errand).await
    }
}
