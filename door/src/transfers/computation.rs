//! Checksums that are not stored: a pool computes them when somebody asks, and both pool and namespace remember them.
//!
//! A computation belongs to the door: who asked waits for it only so long, and whoever asks again finds it under way or
//! done. There are only so many at once, since each reads a whole file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use penstock_door_proto::v1 as proto;
use tokio::sync::{Notify, watch};
use tonic::Code;

use super::Transfers;
use super::error::TransferError;
use super::follow::call;
use crate::checksum::{Algorithm, Checksum};
use crate::namespace::FileEntry;
use crate::pools::Pool;

/// Computations at once.
const MAX_COMPUTATIONS: usize = 8;
/// A pool that tells nothing of a computation for so long does not go on with it.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// How often a pool is asked that is busy with others, and how long the door waits in between: ten minutes in all.
const MOST_ASKED: u32 = 1200;
const BUSY_PAUSE: Duration = Duration::from_millis(500);

/// What came of asking for a checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Computed {
    /// It is there.
    Done(Checksum),
    /// The pool is at it; ask again later.
    Pending,
    /// It cannot be had: the pool cannot be reached, say, or the file is damaged.
    Impossible,
}

/// What a computation is of.
type Key = (String, Algorithm);

/// How it stands: `None` while it runs.
type Outcome = Option<Result<Checksum, ()>>;

/// Those that run.
#[derive(Debug, Default)]
pub(super) struct Computations {
    running: Mutex<HashMap<Key, watch::Receiver<Outcome>>>,
    /// One has ended.
    freed: Notify,
}

impl Computations {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, watch::Receiver<Outcome>>> {
        // Whole entries are put in and taken out.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transfers {
    /// Has a file's checksum computed and waits for it, but not longer than `patience`.
    pub async fn compute(
        self: &Arc<Self>,
        file: &FileEntry,
        algorithm: Algorithm,
        patience: Duration,
    ) -> Computed {
        tokio::time::timeout(patience, self.computed(file, algorithm)).await.unwrap_or(Computed::Pending)
    }

    async fn computed(self: &Arc<Self>, file: &FileEntry, algorithm: Algorithm) -> Computed {
        let mut running = loop {
            // Before the look, so that a place that becomes free behind it is heard of.
            let freed = self.computations.freed.notified();
            match self.computation(file, algorithm) {
                Some(running) => break running,
                None => freed.await,
            }
        };
        match running.wait_for(Option::is_some).await {
            Ok(outcome) => match &*outcome {
                Some(Ok(checksum)) => Computed::Done(checksum.clone()),
                Some(Err(())) | None => Computed::Impossible,
            },
            // The door is stopping.
            Err(_) => Computed::Impossible,
        }
    }

    /// The computation that runs, or a new one; `None` where as many run as may.
    fn computation(
        self: &Arc<Self>,
        file: &FileEntry,
        algorithm: Algorithm,
    ) -> Option<watch::Receiver<Outcome>> {
        let key = (file.replica.clone(), algorithm);
        let mut all = self.computations.lock();
        if let Some(running) = all.get(&key) {
            return Some(running.clone());
        }
        if all.len() >= MAX_COMPUTATIONS {
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        all.insert(key.clone(), receiver.clone());
        drop(all);
        let (transfers, file) = (Arc::clone(self), file.clone());
        self.tasks.spawn(async move {
            let outcome = tokio::select! {
                outcome = transfers.run_computation(&file, algorithm) => outcome,
                () = transfers.stop.cancelled() => Err(()),
            };
            transfers.computations.lock().remove(&key);
            transfers.computations.freed.notify_waiters();
            // Nobody may wait any more.
            sender.send_replace(Some(outcome));
        });
        Some(receiver)
    }

    async fn run_computation(&self, file: &FileEntry, algorithm: Algorithm) -> Result<Checksum, ()> {
        let mut asked = 0;
        let computed = loop {
            let computed = match self.pools.for_download(&file.pool) {
                Ok(pool) => ask(&pool, &file.replica, algorithm).await,
                Err(error) => Err(error.into()),
            };
            asked += 1;
            match computed {
                // It verifies as many as it may, for this door or for others.
                Err(TransferError::Refused { code: Code::ResourceExhausted, .. }) if asked < MOST_ASKED => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                computed => break computed,
            }
        };
        match computed {
            Ok(checksums) => {
                if let Err(error) = self.namespace.add_checksums(&file.replica, &checksums).await {
                    tracing::warn!(replica = file.replica, %error, "a computed checksum is not remembered here");
                }
                tracing::info!(replica = file.replica, ?algorithm, "a checksum was computed on request");
                checksums.into_iter().find(|checksum| checksum.algorithm == algorithm).ok_or(())
            }
            Err(error) => {
                tracing::warn!(replica = file.replica, ?algorithm, %error, "a checksum cannot be computed");
                Err(())
            }
        }
    }
}

async fn ask(pool: &Pool, replica: &str, algorithm: Algorithm) -> Result<Vec<Checksum>, TransferError> {
    let refused = |status: tonic::Status| TransferError::refused(pool.name(), &status);
    let request = proto::VerifyReplicaRequest {
        replica_id: replica.to_owned(),
        compute: vec![algorithm.to_proto().into()],
    };
    let mut events = call(pool.client().verify_replica(request)).await.map_err(refused)?.into_inner();
    loop {
        let event = tokio::time::timeout(SILENCE_LIMIT, events.message()).await;
        let silent = |_| refused(tonic::Status::deadline_exceeded("it does not go on with the verification"));
        let Some(event) = event.map_err(silent)?.map_err(refused)? else {
            return Err(refused(tonic::Status::unavailable("it ended the verification without a result")));
        };
        match event.result {
            None => {}
            Some(result) if result.good => {
                return Ok(result.checksums.iter().filter_map(Checksum::from_proto).collect());
            }
            Some(result) => {
                let (pool, text) = (pool.name().to_owned(), result.problems.join("; "));
                return Err(TransferError::Broken { pool, text });
            }
        }
    }
}
