//! What follows a transfer's change: its place is free, the next one runs, its outcome is counted, kept, and forgotten
//! once its door has said Acknowledge.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::Registry;
use super::entry::{Entry, Subject};
use super::errors::NotEnded;
use super::table::Place;
use super::traces;
use crate::marking::Direction;
use crate::transfer::{Failure, State, Transfer, TransferId, Verdict};

impl Registry {
    /// A transfer may have changed: frees its place, admits who is next, counts its outcome, each once.
    pub(in crate::control) fn settle(&self, id: &TransferId) {
        let mut table = self.lock();
        let Some(row) = table.rows.get_mut(id) else { return };
        // Only a live one has a bell that rings.
        let Subject::Live(transfer) = row.entry.subject() else { return };
        let transfer = Arc::clone(transfer);
        let state = transfer.state();
        if !state.has_ended() {
            return;
        }
        let place = row.place;
        // A failed transfer holds its place until the shards have let go of it; a finished one has nothing left to
        // do but wait for its door.
        let free = matches!(state, State::Done(_)) || transfer.open_claims() == 0;
        if row.ended && (!free || place == Place::None) {
            return;
        }
        if free {
            row.place = Place::None;
        }
        let first_time = !std::mem::replace(&mut row.ended, true);
        let (acknowledged, number, entry) = (row.acknowledged, row.entry.number, Arc::clone(&row.entry));
        let request = transfer.request();
        let mut admitted = Vec::new();
        if free {
            match place {
                Place::Waiting(turn) => table.queues.leave(&request.queue, turn),
                Place::Running => table.queues.release(&request.queue),
                Place::None => {}
            }
            admitted = table.admit_all(&request.queue);
        }
        if first_time {
            if request.kind.stores() {
                table.uploads.remove(&request.replica);
            }
            if !entry.has_stored() {
                table.forgettable.insert(number, id.clone());
            }
            table.keep(&entry);
        }
        if acknowledged && free {
            table.forget(id);
        }
        drop(table);
        self.to_keep.notify_one();
        if first_time {
            self.count_bytes(&entry);
            self.metrics.ended(&transfer);
            self.chronicle().ended(&entry);
            log_end(&transfer, &state);
            if let Some(tracer) = self.tracer.get() {
                traces::ended(tracer, entry.trace.get().copied(), &transfer, &state);
            }
        }
        self.admit(admitted);
    }

    /// Admits transfers that were taken out of a queue, and starts those that need no client. One that was cancelled
    /// meanwhile has settled itself.
    pub(super) fn admit(&self, transfers: Vec<Arc<Transfer>>) {
        for transfer in transfers {
            if transfer.admit().is_err() || !transfer.request().kind.runs_by_itself() {
                continue;
            }
            match self.data_port() {
                Some(data_port) => data_port.launch(&transfer),
                None => {
                    transfer.abort(Failure::shutdown("the pool's data port does not run"));
                }
            }
        }
    }

    /// Forgets an ended transfer. `false` when it is not known. What becomes of an upload's replica was decided
    /// before, by [`Entry::decide`].
    pub fn acknowledge(&self, id: &TransferId) -> Result<bool, NotEnded> {
        // A door may hear of an end before the one who brought it about comes to tell the registry.
        self.settle(id);
        let mut table = self.lock();
        let Some(row) = table.rows.get_mut(id) else { return Ok(false) };
        let state = row.entry.state();
        if !row.ended {
            return Err(NotEnded { id: id.clone(), state });
        }
        row.acknowledged = true;
        if row.place == Place::None {
            table.forget(id);
        }
        Ok(true)
    }

    /// Uploads whose claim time has run out since this was last asked: their replicas are orphans now.
    #[must_use]
    pub fn take_new_orphans(&self) -> Vec<Arc<Entry>> {
        let mut table = self.lock();
        let new = table
            .rows
            .values_mut()
            .filter(|row| !row.orphan_noted && row.entry.verdict() == Some(Verdict::Timeout));
        new.map(|row| {
            row.orphan_noted = true;
            Arc::clone(&row.entry)
        })
        .collect()
    }

    /// The replica of an upload that no door has claimed is marked as an orphan, durably: should room be needed, its
    /// transfer may be forgotten. Its door can still find the replica.
    pub(in crate::control) fn orphaned(&self, entry: &Arc<Entry>) {
        let mut table = self.lock();
        if table.rows.contains_key(entry.id()) {
            table.forgettable.insert(entry.number, entry.id().clone());
            table.keep(entry);
        }
        drop(table);
        self.to_keep.notify_one();
    }

    /// What the disk does not know yet.
    pub(super) fn take_unkept(&self) -> Vec<Arc<Entry>> {
        std::mem::take(&mut self.lock().unkept).into_values().collect()
    }

    /// Completes when there may be something that the disk does not know.
    pub(in crate::control) async fn something_to_keep(&self) {
        self.to_keep.notified().await;
    }

    /// Counts the bytes that have moved since they were last counted.
    pub(super) fn count_bytes(&self, entry: &Entry) {
        let bytes = entry.take_uncounted_bytes();
        self.metrics.moved(entry.kind(), bytes);
        if let Some(mark) = entry.transfer().and_then(|transfer| transfer.mark()) {
            let direction = if entry.kind().stores() { Direction::In } else { Direction::Out };
            mark.moved(direction, bytes);
        }
    }
}

fn log_end(transfer: &Transfer, state: &State) {
    let request = transfer.request();
    let progress = transfer.progress();
    info!(
        transfer = %request.id,
        kind = %request.kind.name(),
        outcome = %state.name(),
        why = state.why(),
        replica = %request.replica,
        path = request.path,
        bytes = progress.bytes_moved(),
        seconds = Duration::as_secs_f64(&progress.transfer_time()),
        client = request.client.address,
        subject = request.client.subject,
        door = request.door.name,
        experiment = transfer.mark().map(|mark| mark.names().experiment.as_str()),
        activity = transfer.mark().map(|mark| mark.names().activity.as_str()),
        "transfer ended"
    );
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Weak;

    use penstock_door_proto::v1;
    use v1::transfer_request::Kind;

    use super::*;
    use crate::control::metrics::Metrics;
    use crate::control::queue::QueueLimits;
    use crate::control::registry::RegistrySettings;
    use crate::transfer::{SystemClock, Timeouts};

    /// A registry that hears nothing of its transfers' changes: as if whoever makes them were interrupted before he tells.
    fn deaf() -> Registry {
        let hour = Duration::from_secs(3600);
        let settings = RegistrySettings {
            queues: vec![QueueLimits { name: "default".into(), max_running: 1, max_waiting: 1 }],
            max_transfers: 2,
            timeouts: Timeouts { client: hour, linger: hour, claim: hour },
            doors: HashMap::new(),
        };
        let registry = Registry::new(settings, Arc::new(SystemClock::new()), Arc::new(Metrics::new()));
        let mut registry = Arc::into_inner(registry).unwrap();
        registry.me = Weak::new();
        registry
    }

    fn put(id: &str) -> v1::TransferRequest {
        v1::TransferRequest {
            transfer_id: id.into(),
            replica_id: "r1".into(),
            transfer_path: "/p".into(),
            kind: Some(Kind::Put(v1::Put::default())),
            ..Default::default()
        }
    }

    #[test]
    fn a_door_that_hears_of_the_end_before_the_registry_may_acknowledge_it() {
        let registry = deaf();
        let entry = registry.start(put("t1")).unwrap();
        entry.cancel("enough");

        assert_eq!(registry.acknowledge(entry.id()), Ok(true));

        assert!(registry.find(entry.id()).is_none(), "it is forgotten");
        assert!(registry.start(put("t2")).is_ok(), "neither its replica nor its place is taken");
    }
}
