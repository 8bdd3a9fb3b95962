//! Tells the store, and the log, of a replica that is damaged or may be.

use std::sync::Arc;

use super::Source;
use crate::store::{ReplicaState, StoreError};

/// The replica's bytes are not those that were stored: durable before this ends. Nothing happens if that is known
/// already.
pub(super) async fn mark_broken(source: &Source, because: String) {
    let (store, id) = (Arc::clone(&source.reading.store), source.replica.id().clone());
    let text = because.clone();
    let marked =
        source.core.blocking(move || store.set_state(&id, ReplicaState::Broken, Some(&text)).map(drop)).await;
    let replica = source.replica.id();
    match marked {
        Ok(Ok(())) => tracing::error!(%replica, because, "the replica is broken and not served any more"),
        // Somebody else found it first, or it is being deleted.
        Ok(Err(StoreError::State { .. } | StoreError::NotFound { .. })) => {}
        Ok(Err(error)) => tracing::error!(%replica, because, %error, "a broken replica cannot be marked so"),
        Err(error) => tracing::error!(%replica, because, %error, "a broken replica cannot be marked so"),
    }
}

/// The replica may be damaged; it is served on.
pub(super) async fn mark_suspect(source: &Source, because: String) {
    let replica = source.replica.id();
    tracing::warn!(%replica, because, "the replica is suspect");
}
