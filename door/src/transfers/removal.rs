//! Having pools delete the replicas that no name points to any more.

use penstock_door_proto::v1 as proto;
use tonic::Code;

use super::Transfers;
use super::follow::call;
use crate::namespace::NamespaceError;
use crate::pools::Pool;

/// Replicas that are confirmed in one transaction.
const BATCH: u32 = 100;

impl Transfers {
    /// Has a pool delete what it owes, until nothing is left or it fails.
    pub(super) async fn remove_owed(&self, pool: &Pool) -> Result<(), NamespaceError> {
        loop {
            let owed = self.namespace.owed_removals(pool.name(), BATCH).await?;
            if owed.is_empty() {
                return Ok(());
            }
            let mut done = Vec::with_capacity(owed.len());
            let mut failed = false;
            for replica in owed {
                let request = proto::DeleteReplicaRequest { replica_id: replica.clone(), missing_ok: true };
                match call(pool.client().delete_replica(request)).await {
                    Ok(_) => done.push(replica),
                    Err(status) if status.code() == Code::NotFound => done.push(replica),
                    Err(status) => {
                        failed = true;
                        tracing::warn!(
                            pool = pool.name(),
                            replica,
                            error = status.message(),
                            "cannot delete a replica; it is tried again later"
                        );
                        if matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) {
                            break;
                        }
                        self.namespace.removal_failed(&replica).await?;
                    }
                }
            }
            self.namespace.removals_done(&done).await?;
            if failed {
                return Ok(());
            }
        }
    }
}
