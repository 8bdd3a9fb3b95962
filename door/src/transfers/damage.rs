//! Damaged files: what pools know to be broken is listed by its present name, and reads that met it are counted.
//!
//! A pool tells how many replicas are broken with its state. When the number changes, the door asks which.

use std::collections::BTreeMap;
use std::sync::{MutexGuard, PoisonError};

use penstock_door_proto::v1 as proto;
use proto::{FailureCode, ReplicaState};

use super::Transfers;
use super::error::TransferError;
use super::follow::call;
use crate::namespace::NsPath;
use crate::pools::Pool;

/// Broken replicas of a pool that are remembered; more are only counted by the pool.
const MAX_REMEMBERED: u64 = 1000;

/// The damaged files of a pool, by replica.
pub type BrokenFiles = BTreeMap<String, BrokenFile>;

/// A damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenFile {
    /// Its name; `None` when no name points to the replica any more.
    pub path: Option<NsPath>,
    /// What the pool found, in one line.
    pub why: String,
}

impl Transfers {
    /// What pools know to be damaged now, by pool and replica.
    pub fn broken_files(&self) -> BTreeMap<String, BrokenFiles> {
        self.lock_broken().clone()
    }

    /// Asks a pool which replicas are broken, after their number has changed. `false` when it did not answer.
    pub(super) async fn look_for_broken(&self, pool: &Pool, count: u64) -> bool {
        match self.list_broken(pool).await {
            Ok(now) => {
                let before =
                    self.lock_broken().insert(pool.name().to_owned(), now.clone()).unwrap_or_default();
                for (replica, file) in now.iter().filter(|(replica, _)| !before.contains_key(*replica)) {
                    tracing::error!(
                        pool = pool.name(),
                        replica,
                        path = file.path.as_ref().map(NsPath::as_str).unwrap_or("(no name)"),
                        "a file is damaged and not served any more: {}",
                        file.why
                    );
                }
                let named = now.values().filter(|file| file.path.is_some()).count();
                self.metrics.set_broken_files(pool.name(), named);
                if count > MAX_REMEMBERED {
                    tracing::error!(
                        pool = pool.name(),
                        count,
                        "only {MAX_REMEMBERED} damaged files are listed"
                    );
                }
                true
            }
            Err(error) => {
                tracing::warn!(pool = pool.name(), %error, "cannot tell which files are damaged; asking again");
                false
            }
        }
    }

    async fn list_broken(&self, pool: &Pool) -> Result<BrokenFiles, TransferError> {
        let refused = |status: tonic::Status| TransferError::refused(pool.name(), &status);
        let request = proto::ListReplicasRequest {
            limit: MAX_REMEMBERED,
            states: vec![ReplicaState::Broken.into()],
            ..Default::default()
        };
        let mut list = call(pool.client().list_replicas(request)).await.map_err(refused)?.into_inner();
        let mut broken = BrokenFiles::new();
        while let Some(replica) = list.message().await.map_err(refused)? {
            // An older pool may not know the limit or the states.
            if replica.state() != ReplicaState::Broken || broken.len() as u64 >= MAX_REMEMBERED {
                continue;
            }
            let path = self.namespace.path_of_replica(&replica.replica_id).await?;
            broken.insert(replica.replica_id, BrokenFile { path, why: replica.broken_because });
        }
        Ok(broken)
    }

    /// Notes that a read did not start because the replica is damaged.
    pub(super) fn note_refusal(&self, pool: &Pool, path: &str, error: &TransferError) {
        if let TransferError::Broken { text, .. } = error {
            self.note_broken(pool, path, text);
        }
    }

    /// Notes that a read ended because the replica is damaged.
    pub(super) fn note_failure(&self, pool: &Pool, path: &str, failed: &proto::Failed) {
        if failed.code() == FailureCode::ReplicaBroken {
            self.note_broken(pool, path, &failed.text);
        }
    }

    fn note_broken(&self, pool: &Pool, path: &str, text: &str) {
        self.metrics.broken_read(pool.name());
        tracing::error!(pool = pool.name(), path, "a read met a damaged file: {text}");
    }

    fn lock_broken(&self) -> MutexGuard<'_, BTreeMap<String, BrokenFiles>> {
        // Whole lists are put in and taken out.
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
