//! The list of replicas, page by page, to a door that may read slowly.

use std::collections::BTreeSet;

use penstock_door_proto::v1;
use tokio::sync::mpsc;
use tonic::Status;

use super::replicas;
use crate::store::{ReplicaId, ReplicaState, Store, StoreError};

/// Replicas that are read from the store at once for a listing.
const REPLICAS_PER_PAGE: usize = 256;

/// Sends replicas page by page. The channel closing is no error: nobody listens any more.
pub(super) fn send_replicas(
    store: &Store,
    mut after: Option<ReplicaId>,
    states: &[v1::ReplicaState],
    mut left: u64,
    sender: &mpsc::Sender<Result<v1::ReplicaInfo, Status>>,
) -> Result<(), StoreError> {
    loop {
        let page = store.list(after.as_ref(), REPLICAS_PER_PAGE)?;
        let without_blocks = match page.replicas.last() {
            Some(last) => replicas::without_blocks(store, after.as_ref(), &last.id),
            None => BTreeSet::new(),
        };
        for stat in &page.replicas {
            let state = replicas::state_number(stat.attributes.state);
            if !states.is_empty() && !states.contains(&state) {
                continue;
            }
            let whole = stat.attributes.state != ReplicaState::Uploading;
            let info = replicas::info(store, stat, whole && !without_blocks.contains(&stat.id));
            if left == 0 || sender.blocking_send(Ok(info)).is_err() {
                return Ok(());
            }
            left -= 1;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}
