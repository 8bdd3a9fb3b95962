//! Tells the store, and the log, of a replica that is damaged or may be.

use std::sync::Arc;

use super::Source;
use crate::store::{ReplicaState, StoreError};

/// The replica's bytes are not those that were stored: durable before this ends. Nothing happens if that is known
/// already.
pub(super) async fn mark_broken(source: &Source, because: String) {
    let (store, replica) = (Arc::clone(&source.reading.store), Arc::clone(&source.replica));
    let text = because.clone();
    let marking = move || {
        let known = replica.state() == ReplicaState::Broken;
        store.mark_broken(replica.id(), &text).map(|_| known)
    };
    let marked = source.core.blocking(marking).await;
    let replica = source.replica.id();
    match marked {
        Ok(Ok(false)) => tracing::error!(%replica, because, "the replica is broken and not served any more"),
        // Somebody else found it first, or it has been deleted.
        Ok(Ok(true) | Err(StoreError::NotFound { .. })) => {}
        Ok(Err(error)) => tracing::error!(%replica, because, %error, "a broken replica cannot be marked so"),
        Err(error) => tracing::error!(%replica, because, %error, "a broken replica cannot be marked so"),
    }
}

/// The replica may be damaged; it is served on, and looked at soon.
pub(super) async fn mark_suspect(source: &Source, because: String) {
    let (store, replica) = (Arc::clone(&source.reading.store), Arc::clone(&source.replica));
    let text = because.clone();
    let marking = move || store.mark_suspect(replica.id(), &text).map(drop);
    let marked = source.core.blocking(marking).await;
    let replica = source.replica.id();
    match marked {
        Ok(Ok(())) => tracing::warn!(%replica, because, "the replica is suspect"),
        Ok(Err(StoreError::NotFound { .. })) => {}
        Ok(Err(error)) => tracing::warn!(%replica, because, %error, "a suspect replica cannot be marked so"),
        Err(error) => tracing::warn!(%replica, because, %error, "a suspect replica cannot be marked so"),
    }
}
