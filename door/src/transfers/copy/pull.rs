//! A pull: an upload whose bytes the pool fetches itself. Row, transfer and name are those of an upload.

use std::sync::Arc;

use penstock_door_proto::v1 as proto;

use super::super::error::TransferError;
use super::super::follow::{Outcome, Verdict};
use super::super::replica_id::replica_id;
use super::super::upload::Naming;
use super::super::{Attended, Transfers};
use super::error::CopyError;
use super::request::PullRequest;
use super::{CLIENT_HAS_GONE, Errand};
use crate::auth::keys::random_id;
use crate::checksum::Checksum;
use crate::namespace::upload::Refused;
use crate::pools::Pool;

impl Transfers {
    /// Pulls a file, and gives it its name.
    pub(super) async fn run_pull(
        self: &Arc<Self>,
        request: &PullRequest,
        errand: &Errand,
    ) -> Result<Vec<Checksum>, CopyError> {
        let mut last = None;
        for pool in self.pools.for_upload(None)? {
            match self.pull_to(&pool, request, errand).await {
                Err(error) if error.try_elsewhere() && !errand.client_gone.is_cancelled() => {
                    tracing::warn!(pool = pool.name(), %error, "trying another pool");
                    errand.prepares(format!("pool {} could not take the file, trying another", pool.name()));
                    last = Some(error);
                }
                result => return result,
            }
        }
        // `for_upload` gives at least one pool, so there was a last error.
        Err(last.unwrap_or(CopyError::Stopping))
    }

    async fn pull_to(
        self: &Arc<Self>,
        pool: &Pool,
        request: &PullRequest,
        errand: &Errand,
    ) -> Result<Vec<Checksum>, CopyError> {
        let transfer = random_id().map_err(TransferError::Random)?;
        let replica = replica_id().map_err(TransferError::Random)?;
        let pending = request.upload.pending(transfer, replica, pool.name());
        // Attended before it is written, so that no settlement takes it for one that was left behind.
        let attended = self.attend(&pending.transfer, self.permit()?).ok_or(CopyError::Stopping)?;
        self.namespace.begin_upload(&pending).await?;
        let message = request.to_proto(&pending, &self.door);
        tracing::info!(
            pool = pool.name(),
            transfer = attended.id,
            source = request.source.origin,
            streams = request.streams,
            "pull begins"
        );
        let events = match self.start_copy(pool, message, errand).await {
            Ok(events) => events,
            Err(error) => {
                let settled = !error.is_uncertain()
                    || self.withdraw(pool, &attended.id, "the door has given it up").await;
                if settled {
                    self.forget_upload(&attended.id).await;
                }
                return Err(error.into());
            }
        };
        let outcome =
            self.follow_copy(pool, &attended, events, errand, request.source.renewal.as_deref()).await;
        self.end_pull(pool, &attended, &pending.replica, outcome, errand).await
    }

    /// Settles a transfer that makes a replica here and has ended.
    pub(super) async fn end_pull(
        &self,
        pool: &Pool,
        attended: &Attended,
        replica: &str,
        outcome: Outcome,
        errand: &Errand,
    ) -> Result<Vec<Checksum>, CopyError> {
        match outcome {
            // It came to its end before the cancellation did. The client was not told, and must find nothing.
            Outcome::Finished(_) if errand.client_gone.is_cancelled() => {
                self.discard_pull(pool, attended, CLIENT_HAS_GONE).await;
                Err(CopyError::ClientGone)
            }
            Outcome::Finished(finished) => self.name_pull(pool, attended, replica, &finished).await,
            Outcome::Failed(failed) => {
                self.forget_upload(&attended.id).await;
                self.acknowledge(pool, &attended.id, Verdict::Keep).await;
                Err(CopyError::Failed(failed))
            }
            Outcome::Cancelled(cancelled) => {
                self.forget_upload(&attended.id).await;
                self.acknowledge(pool, &attended.id, Verdict::Keep).await;
                Err(if errand.client_gone.is_cancelled() {
                    CopyError::ClientGone
                } else {
                    CopyError::Cancelled(cancelled.reason)
                })
            }
            Outcome::Forgotten => {
                self.abandon_upload(&attended.id).await;
                Err(CopyError::Forgotten(pool.name().to_owned()))
            }
            Outcome::Stopping if errand.client_gone.is_cancelled() => Err(CopyError::ClientGone),
            Outcome::Stopping => Err(CopyError::Stopping),
        }
    }

    async fn name_pull(
        &self,
        pool: &Pool,
        attended: &Attended,
        replica: &str,
        finished: &proto::Finished,
    ) -> Result<Vec<Checksum>, CopyError> {
        match self.name_upload(pool, &attended.id, replica, finished, false).await {
            Naming::Named(upload) => Ok(upload.checksums),
            Naming::Refused(refused) => Err(CopyError::Refused(refused)),
            Naming::Unknown => Err(CopyError::Unnamed),
            Naming::Failed => {
                // The client is told that it failed, so that it must not appear later.
                self.discard_pull(pool, attended, "the namespace failed").await;
                Err(CopyError::Unnamed)
            }
        }
    }

    async fn discard_pull(&self, pool: &Pool, attended: &Attended, reason: &str) {
        let verdict = Verdict::Discard(Refused { status: 503, reason: reason.to_owned() });
        if self.acknowledge(pool, &attended.id, verdict).await {
            self.forget_upload(&attended.id).await;
        }
    }
}
