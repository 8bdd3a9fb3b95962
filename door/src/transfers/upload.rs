//! Uploads: a row in the namespace, the transfer, and at its end the name.

use std::sync::Arc;
use std::time::Duration;

use penstock_door_proto::v1 as proto;
use penstock_service::trace::context;
use tokio::sync::oneshot;

use super::error::TransferError;
use super::follow::{Outcome, Verdict};
use super::replica_id::replica_id;
use super::request::{Ready, UploadRequest};
use super::start::Started;
use super::{Attended, Transfers};
use crate::audit::{Happening, Who};
use crate::auth::keys::random_id;
use crate::checksum::Checksum;
use crate::namespace::NamespaceError;
use crate::namespace::upload::{Commit, CommitRules, FinishedUpload, Refused};
use crate::pools::Pool;

/// Pauses between attempts to commit a finished upload when the namespace fails (its disk is full, say). After the
/// last one it is left to the next settlement; the pool keeps the file.
const COMMIT_PAUSES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// What became of a finished upload.
#[derive(Debug)]
pub(super) enum Naming {
    /// The name points to it.
    Named(FinishedUpload),
    /// It gets none, and the pool deletes it.
    Refused(Refused),
    /// The namespace has never heard of it; the pool keeps it.
    Unknown,
    /// The namespace failed; the pool keeps it until it is settled.
    Failed,
}

impl Transfers {
    /// Finds a pool for an upload and waits until it is ready for the client. The upload is attended to its end
    /// whatever becomes of the caller after that; before that, dropping this future withdraws it.
    pub async fn upload(self: &Arc<Self>, request: &UploadRequest) -> Result<Ready, TransferError> {
        let mut last = None;
        for pool in self.pools.for_upload(request.size_bytes)? {
            match self.upload_to(pool, request).await {
                Err(error) if error.try_elsewhere() => {
                    tracing::warn!(%error, "trying another pool");
                    last = Some(error);
                }
                result => return result,
            }
        }
        // `for_upload` gives at least one pool, so there was a last error.
        Err(last.unwrap_or(TransferError::Stopping))
    }

    async fn upload_to(
        self: &Arc<Self>,
        pool: Arc<Pool>,
        request: &UploadRequest,
    ) -> Result<Ready, TransferError> {
        let transfer = random_id().map_err(TransferError::Random)?;
        let replica = replica_id().map_err(TransferError::Random)?;
        let pending = request.pending(transfer, replica, pool.name());
        let permit = self.permit()?;
        // Attended before it is written, so that no settlement takes it for one that was left behind.
        let attended = self.attend(&pending.transfer, permit).ok_or(TransferError::Stopping)?;
        self.namespace.begin_upload(&pending).await?;
        let message = request.to_proto(&pending, &self.door);
        let (ready, waiting) = oneshot::channel();
        let transfers = Arc::clone(self);
        self.tasks.spawn(context::carried(async move {
            match transfers.start(&pool, message, &attended, ready).await {
                Started::Yes(events) => {
                    let outcome = transfers.follow(&pool, &attended.id, Some(events), None, |_| ()).await;
                    transfers.end_upload(&pool, &attended, &pending.replica, outcome, false).await;
                }
                Started::No { settled: true } => transfers.forget_upload(&attended.id).await,
                // The next settlement finds out what the pool has of it.
                Started::No { settled: false } => {}
            }
        }));
        waiting.await.unwrap_or(Err(TransferError::Stopping))
    }

    /// Settles an upload that has ended. `late`: the door was away when it did.
    pub(super) async fn end_upload(
        &self,
        pool: &Pool,
        attended: &Attended,
        replica: &str,
        outcome: Outcome,
        late: bool,
    ) {
        let id = attended.id.as_str();
        match outcome {
            Outcome::Finished(finished) => {
                self.name_upload(pool, id, replica, &finished, late).await;
            }
            Outcome::Failed(failed) => {
                let (bytes_moved, text) = (failed.bytes_moved, failed.text);
                tracing::info!(pool = pool.name(), transfer = id, bytes_moved, "upload failed: {text}");
                self.forget_upload(id).await;
                self.acknowledge(pool, id, Verdict::Keep).await;
            }
            Outcome::Cancelled(cancelled) => {
                let (bytes_moved, reason) = (cancelled.bytes_moved, cancelled.reason);
                tracing::info!(pool = pool.name(), transfer = id, bytes_moved, "upload cancelled: {reason}");
                self.forget_upload(id).await;
                self.acknowledge(pool, id, Verdict::Keep).await;
            }
            Outcome::Forgotten => {
                tracing::warn!(
                    pool = pool.name(),
                    transfer = id,
                    "the pool does not know this upload any more"
                );
                self.abandon_upload(id).await;
            }
            Outcome::Stopping => {}
        }
    }

    /// Gives a finished upload its name, and tells the pool. Then the pool, too, tells its client.
    pub(super) async fn name_upload(
        &self,
        pool: &Pool,
        id: &str,
        replica: &str,
        finished: &proto::Finished,
        late: bool,
    ) -> Naming {
        let upload = FinishedUpload {
            size: finished.size,
            checksums: finished.checksums.iter().filter_map(Checksum::from_proto).collect(),
        };
        let rules = CommitRules { create_parents: self.create_parents, late };
        match self.commit_patiently(id, replica, &upload, rules).await {
            Ok(named @ (Commit::Named(_) | Commit::NamedBefore)) => {
                tracing::info!(
                    pool = pool.name(),
                    transfer = id,
                    replica,
                    size = upload.size,
                    "upload named"
                );
                let (transfer, name, size) = (id.to_owned(), pool.name().to_owned(), upload.size);
                let path = match named {
                    Commit::Named(path) => Some(path.as_str().to_owned()),
                    _ => None,
                };
                self.audit.tell(Who::door(), Happening::Named { transfer, path, pool: name, size });
                self.acknowledge(pool, id, Verdict::Keep).await;
                // It may have replaced another.
                self.replica_owed();
                Naming::Named(upload)
            }
            Ok(Commit::Refused(refused)) => {
                tracing::info!(pool = pool.name(), transfer = id, "upload refused: {}", refused.reason);
                if self.acknowledge(pool, id, Verdict::Discard(refused.clone())).await {
                    self.forget_upload(id).await;
                }
                Naming::Refused(refused)
            }
            Ok(Commit::Unknown) => {
                tracing::warn!(
                    pool = pool.name(),
                    transfer = id,
                    replica,
                    "the pool holds an upload that this door does not know; it stays there, without a name"
                );
                Naming::Unknown
            }
            Err(error) => {
                tracing::error!(
                    pool = pool.name(),
                    transfer = id,
                    %error,
                    "cannot name an upload; the pool keeps it and it is tried again"
                );
                Naming::Failed
            }
        }
    }

    async fn commit_patiently(
        &self,
        id: &str,
        replica: &str,
        upload: &FinishedUpload,
        rules: CommitRules,
    ) -> Result<Commit, NamespaceError> {
        for pause in COMMIT_PAUSES {
            match self.namespace.commit_upload(id, replica, upload, rules).await {
                Err(NamespaceError::Query(error)) => {
                    tracing::warn!(transfer = id, %error, "cannot name an upload now");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.stop.cancelled() => return Err(error.into()),
                    }
                }
                result => return result,
            }
        }
        self.namespace.commit_upload(id, replica, upload, rules).await
    }

    /// Forgets an upload that the pool does not know any more; what it may have left there is removed.
    pub(super) async fn abandon_upload(&self, id: &str) {
        match self.namespace.abandon_upload(id).await {
            Ok(()) => self.replica_owed(),
            Err(error) => {
                tracing::error!(transfer = id, %error, "cannot forget an upload; it is settled again later");
            }
        }
    }

    pub(super) async fn forget_upload(&self, id: &str) {
        if let Err(error) = self.namespace.forget_upload(id).await {
            tracing::error!(transfer = id, %error, "cannot forget an upload; it is settled again later");
        }
    }
}
