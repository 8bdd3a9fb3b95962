//! What becomes of an upload's replica: its door keeps it, or gives it up, or says nothing in time.

use penstock_door_proto::v1;
use tonic::Status;
use tracing::warn;
use v1::acknowledge_request::Disposition;

use super::refusals::store_status;
use super::replicas::{self, blocking};
use super::service::PoolService;
use crate::control::registry::entry::Entry;
use crate::transfer::Verdict;

/// The status that the client of a discarded upload gets unless the door says otherwise.
const DISCARDED_STATUS: u16 = 500;

impl PoolService {
    /// Marks the replicas of uploads whose claim time has run out; called several times a second.
    pub async fn note_orphans(&self) {
        let shared = &self.shared;
        for entry in shared.registry.take_new_orphans() {
            let _deciding = shared.fates.lock().await;
            let id = entry.replica().clone();
            if shared.registry.find(entry.id()).is_none() {
                continue; // claimed at the last moment
            }
            warn!(transfer = %entry.id(), replica = %id, path = entry.asked().transfer_path,
                "no door has claimed this upload in time: it is kept as an orphan, see ListReplicas");
            let marked = blocking(&shared.store, move |store| replicas::orphan(store, &id)).await;
            let marked = marked.map_err(|e| e.to_string()).and_then(|m| m.map_err(|e| e.to_string()));
            match marked {
                Ok(()) => shared.registry.orphaned(&entry),
                Err(error) => {
                    warn!(transfer = %entry.id(), replica = %entry.replica(), error, "an orphan cannot be marked");
                }
            }
        }
    }

    /// What becomes of an upload's replica is settled before the transfer is forgotten. The caller holds `fates`.
    pub(super) async fn settle_upload(
        &self,
        entry: &Entry,
        wish: &v1::AcknowledgeRequest,
    ) -> Result<(), Status> {
        let id = entry.replica().clone();
        match wish.disposition() {
            Disposition::Unspecified | Disposition::Keep => {
                // The first word counts: only an upload that was given up needs to be taken back. Of one from an earlier
                // life, the replica may say so, and what is kept of the transfer not yet.
                let given_up = !entry.decide(Verdict::Keep) && entry.verdict() == Some(Verdict::Timeout);
                if given_up || entry.transfer().is_none() {
                    blocking(&self.shared.store, move |store| replicas::adopt(store, &id))
                        .await?
                        .map_err(|error| store_status(&error))?;
                }
            }
            Disposition::Discard => {
                if entry.verdict() == Some(Verdict::Keep) {
                    return Err(Status::failed_precondition(format!(
                        "transfer {} was acknowledged with KEEP before; delete the replica instead",
                        entry.id()
                    )));
                }
                blocking(&self.shared.store, move |store| replicas::remove(store, &id))
                    .await?
                    .map_err(|error| store_status(&error))?;
                let status =
                    u16::try_from(wish.http_status).ok().filter(|status| (400..600).contains(status));
                let reason = wish.reason.clone();
                entry.decide(Verdict::Discard { status: status.unwrap_or(DISCARDED_STATUS), reason });
            }
        }
        Ok(())
    }
}
