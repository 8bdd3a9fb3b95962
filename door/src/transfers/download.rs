//! Downloads: the transfer, attended only so that the pool can forget it at its end.

use std::sync::Arc;

use penstock_service::trace::context;
use tokio::sync::oneshot;

use super::Transfers;
use super::error::TransferError;
use super::follow::{Outcome, Verdict};
use super::request::{DownloadRequest, Ready};
use super::start::Started;
use crate::auth::keys::random_id;
use crate::pools::Pool;

impl Transfers {
    /// Asks the pool that holds a file, and waits until it is ready for the client. Dropping this future before that
    /// withdraws the transfer.
    pub async fn download(self: &Arc<Self>, request: &DownloadRequest) -> Result<Ready, TransferError> {
        let pool = self.pools.for_download(&request.file.pool)?;
        let id = random_id().map_err(TransferError::Random)?;
        let attended = self.attend(&id, self.permit()?).ok_or(TransferError::Stopping)?;
        let message = request.to_proto(&id, &self.door);
        let (ready, waiting) = oneshot::channel();
        let transfers = Arc::clone(self);
        let asked = Arc::clone(&pool);
        let path = request.path.to_string();
        self.tasks.spawn(context::carried(async move {
            if let Started::Yes(events) = transfers.start(&pool, message, &attended, ready).await {
                let outcome = transfers.follow(&pool, &attended.id, Some(events), None, |_| ()).await;
                transfers.end_other(pool.as_ref(), &attended.id, &path, outcome).await;
            }
        }));
        let result = waiting.await.unwrap_or(Err(TransferError::Stopping));
        if let Err(error) = &result {
            self.note_refusal(&asked, request.path.as_str(), error);
        }
        result
    }

    /// Settles a transfer that changes nothing in the namespace.
    pub(super) async fn end_other(&self, pool: &Pool, id: &str, path: &str, outcome: Outcome) {
        match outcome {
            Outcome::Finished(finished) => {
                tracing::info!(
                    pool = pool.name(),
                    transfer = id,
                    bytes = finished.bytes_moved,
                    "transfer done"
                );
            }
            Outcome::Failed(failed) => {
                self.note_failure(pool, path, &failed);
                tracing::info!(
                    pool = pool.name(),
                    transfer = id,
                    bytes = failed.bytes_moved,
                    "transfer failed: {}",
                    failed.text
                );
            }
            Outcome::Cancelled(cancelled) => tracing::info!(
                pool = pool.name(),
                transfer = id,
                bytes = cancelled.bytes_moved,
                "transfer cancelled: {}",
                cancelled.reason
            ),
            Outcome::Forgotten | Outcome::Stopping => return,
        }
        self.acknowledge(pool, id, Verdict::Keep).await;
    }
}
