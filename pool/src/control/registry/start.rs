//! Taking transfers: those that doors ask for, and those of the daemon's earlier lives.

use std::sync::Arc;

use penstock_door_proto::v1;

use super::Registry;
use super::entry::{Bell, Entry};
use super::errors::StartError;
use super::kept::Kept;
use super::table::{Place, Row};
use crate::transfer::{Capability, Transfer, TransferId, TransferRequest};

impl Registry {
    /// The transfer of a request that was made before, if it is the same request.
    pub fn known(&self, asked: &v1::TransferRequest) -> Result<Option<Arc<Entry>>, StartError> {
        let Ok(id) = TransferId::new(asked.transfer_id.as_str()) else { return Ok(None) };
        match self.lock().rows.get(&id) {
            Some(row) if row.entry.is_asked_by(asked) => Ok(Some(Arc::clone(&row.entry))),
            Some(_) => Err(StartError::OtherRequest { id }),
            None => Ok(None),
        }
    }

    /// Starts a transfer, or finds the same one again.
    pub fn start(&self, asked: v1::TransferRequest) -> Result<Arc<Entry>, StartError> {
        let request = TransferRequest::try_from(asked.clone())?;
        let capability = Capability::random()?;
        self.doors.saw(&request.door);
        let (id, queue) = (request.id.clone(), request.queue.clone());

        let mut table = self.lock();
        if let Some(row) = table.rows.get(&id) {
            return match row.entry.is_asked_by(&asked) {
                true => Ok(Arc::clone(&row.entry)),
                false => Err(StartError::OtherRequest { id }),
            };
        }
        if self.draining() {
            return Err(StartError::Draining);
        }
        if request.kind.stores()
            && let Some(by) = table.uploads.get(&request.replica)
        {
            return Err(StartError::UploadRuns { replica: request.replica, by: by.clone() });
        }
        let max_transfers = self.limits().max_transfers;
        if table.rows.len() >= max_transfers && !table.forget_oldest() {
            return Err(StartError::TooMany { limit: max_transfers });
        }
        let turn = table.queues.enqueue(&queue, request.priority, id.clone())?;
        if request.kind.stores() {
            table.uploads.insert(request.replica.clone(), id.clone());
        }
        let bell = Arc::new(Bell::new(id.clone(), self.me.clone()));
        let wish = request.marking;
        let transfer = Transfer::new(request, capability, Arc::clone(&self.clock), bell.clone());
        if let Some(mark) = self.marking.get().and_then(|marking| marking.mark(wish)) {
            transfer.mark_with(mark);
        }
        let number = table.arrivals;
        table.arrivals += 1;
        let entry = Arc::new(Entry::live(Arc::new(transfer), asked, number, bell));
        table.by_capability.insert(capability, id.clone());
        table.rows.insert(id, Row::new(Arc::clone(&entry), Place::Waiting(turn), false));
        table.keep(&entry);
        let admitted = table.admit_all(&queue);
        drop(table);
        self.admit(admitted);
        Ok(entry)
    }

    /// Takes back what earlier lives of the daemon left. Before the first transfer. Gives the entries, oldest first.
    pub(super) fn restore(&self, mut kept: Vec<Kept>) -> Vec<Arc<Entry>> {
        kept.sort_by_cached_key(|kept| (kept.submitted_at(), kept.id().clone()));
        let mut table = self.lock();
        let mut restored = Vec::with_capacity(kept.len());
        for kept in kept {
            let id = kept.id().clone();
            let number = table.arrivals;
            table.arrivals += 1;
            let bell = Arc::new(Bell::new(id.clone(), self.me.clone()));
            let entry = Arc::new(Entry::kept(kept, number, bell));
            if !entry.has_stored() {
                table.forgettable.insert(number, id.clone());
            }
            table.rows.insert(id, Row::new(Arc::clone(&entry), Place::None, true));
            restored.push(entry);
        }
        restored
    }
}
