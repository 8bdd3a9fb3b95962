//! Settling what a pool still has of this door's transfers, after either of them was away.
//!
//! The pool tells all transfers that it has for this door. Those that no task attends are taken up: the ended ones
//! are named or refused and acknowledged, the running ones are followed again. What the door remembers and the pool
//! does not know has never begun, has ended in nothing, or was lost with the pool's memory: it is forgotten, and the
//! removal of a replica that it may have left is owed.

use std::collections::HashSet;
use std::sync::Arc;

use penstock_door_proto::v1 as proto;
use proto::transfer_request::Kind;
use tonic::Status;

use super::follow::{Outcome, call};
use super::{Attended, Transfers};
use crate::namespace::NamespaceError;
use crate::pools::Pool;

/// Why a settlement was not complete; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettleError {
    #[error("the pool does not list its transfers: {}", .0.message())]
    Pool(Box<Status>),
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
}

impl From<Status> for SettleError {
    fn from(status: Status) -> Self {
        SettleError::Pool(Box::new(status))
    }
}

impl Transfers {
    /// One settlement with a pool.
    pub(super) async fn settle(self: &Arc<Self>, pool: &Arc<Pool>) -> Result<(), SettleError> {
        // In this order: what begins meanwhile is attended, or in the pool's list, or not among the pending ones.
        let pending = self.namespace.pending_uploads(pool.name()).await?;
        let attended: HashSet<String> = self.lock_attended().clone();
        let request = proto::ListRequest { door_name: self.door.name.clone(), unacknowledged_only: false };
        let mut list = call(pool.client().list(request)).await?.into_inner();
        let mut at_pool = HashSet::new();
        while let Some(info) = list.message().await? {
            let Some(request) = info.request else { continue };
            at_pool.insert(request.transfer_id.clone());
            if attended.contains(&request.transfer_id) {
                continue;
            }
            // At the limit the rest waits for the next settlement.
            let Ok(permit) = self.permit() else { return Ok(()) };
            let Some(attended) = self.attend(&request.transfer_id, permit) else { continue };
            match Outcome::of(info.outcome.and_then(|outcome| outcome.event)) {
                Some(outcome) => self.end(pool, &attended, &request, outcome).await,
                None => self.follow_again(Arc::clone(pool), attended, request),
            }
        }
        for upload in pending {
            if !at_pool.contains(&upload.transfer) && !attended.contains(&upload.transfer) {
                tracing::info!(
                    pool = pool.name(),
                    transfer = upload.transfer,
                    replica = upload.replica,
                    "forgotten: the pool does not know it any more; what it may have left is removed"
                );
                self.namespace.abandon_upload(&upload.transfer).await?;
            }
        }
        Ok(())
    }

    fn follow_again(self: &Arc<Self>, pool: Arc<Pool>, attended: Attended, request: proto::TransferRequest) {
        let transfers = Arc::clone(self);
        self.tasks.spawn(async move {
            let outcome = transfers.follow(&pool, &attended.id, None, None, |_| ()).await;
            transfers.end(&pool, &attended, &request, outcome).await;
        });
    }

    async fn end(
        &self,
        pool: &Pool,
        attended: &Attended,
        request: &proto::TransferRequest,
        outcome: Outcome,
    ) {
        match request.kind {
            Some(Kind::Put(_) | Kind::Pull(_) | Kind::LocalCopy(_)) => {
                self.end_upload(pool, attended, &request.replica_id, outcome, true).await;
            }
            _ => self.end_other(pool, &attended.id, &request.billing_path, outcome).await,
        }
    }
}
