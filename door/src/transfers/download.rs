//! Downloads: the transfer, attended only so that the pool can forget it at its end.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::Transfers;
use super::error::TransferError;
use super::follow::{Outcome, Verdict};
use super::request::{DownloadRequest, Ready};
use super::start::Started;
use crate::auth::keys::random_id;

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
        self.tasks.spawn(async move {
            if let Started::Yes(events) = transfers.start(&pool, message, &attended, ready).await {
                let outcome = transfers.follow(&pool, &attended.id, Some(events)).await;
                transfers.end_other(pool.as_ref(), &attended.id, outcome).await;
            }
        });
        waiting.await.unwrap_or(Err(TransferError::Stopping))
    }

    /// Settles a transfer that changes nothing in the namespace.
    pub(super) async fn end_other(&self, pool: &crate::pools::Pool, id: &str, outcome: Outcome) {
        match outcome {
            Outcome::Finished(finished) => {
                tracing::info!(
                    pool = pool.name(),
                    transfer = id,
                    bytes = finished.bytes_moved,
                    "download done"
                );
            }
            Outcome::Failed { text, bytes_moved } => {
                tracing::info!(pool = pool.name(), transfer = id, bytes_moved, "download failed: {text}");
            }
            Outcome::Forgotten | Outcome::Stopping => return,
        }
        self.acknowledge(pool, id, Verdict::Keep).await;
    }
}
