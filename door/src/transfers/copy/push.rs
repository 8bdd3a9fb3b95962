//! A push: the pool sends a file to a remote server. It changes nothing in the namespace.

use std::sync::Arc;

use super::super::Transfers;
use super::super::error::TransferError;
use super::super::follow::{Outcome, Verdict};
use super::Errand;
use super::error::CopyError;
use super::request::PushRequest;
use crate::auth::keys::random_id;
use crate::checksum::Checksum;
use crate::namespace::{Kind, Lookup};

impl Transfers {
    /// Pushes a file.
    pub(super) async fn run_push(
        self: &Arc<Self>,
        mut request: PushRequest,
        errand: &Errand,
    ) -> Result<Vec<Checksum>, CopyError> {
        match self.push_once(&request, errand).await {
            Err(CopyError::Start(error)) if error.replica_is_gone() => {
                // Replaced or deleted between the look at the name and the pool's look at the disk: once more.
                match self.namespace.lookup(&request.download.path).await? {
                    Lookup::Found(entry) => match &entry.kind {
                        Kind::File(file) if file.replica != request.download.file.replica => {
                            request.download.file = file.clone();
                            request.download.entry = entry;
                            self.push_once(&request, errand).await
                        }
                        Kind::File(_) | Kind::Directory => Err(CopyError::Start(error)),
                    },
                    Lookup::Missing | Lookup::NoParent | Lookup::NotADirectory => Err(CopyError::NotFound),
                }
            }
            result => result,
        }
    }

    async fn push_once(
        self: &Arc<Self>,
        request: &PushRequest,
        errand: &Errand,
    ) -> Result<Vec<Checksum>, CopyError> {
        let pool = self.pools.for_download(&request.download.file.pool)?;
        let id = random_id().map_err(TransferError::Random)?;
        let attended = self.attend(&id, self.permit()?).ok_or(CopyError::Stopping)?;
        let message = request.to_proto(&id, &self.door);
        tracing::info!(
            pool = pool.name(),
            transfer = id,
            destination = request.destination.origin,
            "push begins"
        );
        let path = request.download.path.as_str();
        let events = match self.start_copy(&pool, message, errand).await {
            Ok(events) => events,
            Err(error) => {
                self.note_refusal(&pool, path, &error);
                if error.is_uncertain() {
                    self.withdraw(&pool, &id, "the door has given it up").await;
                }
                return Err(error.into());
            }
        };
        let outcome =
            self.follow_copy(&pool, &attended, events, errand, request.destination.renewal.as_deref()).await;
        if outcome.has_ended() {
            self.acknowledge(&pool, &id, Verdict::Keep).await;
        }
        let client_gone = errand.client_gone.is_cancelled();
        match outcome {
            Outcome::Finished(finished) => {
                let told = finished.checksums.iter().filter_map(Checksum::from_proto).collect::<Vec<_>>();
                Ok(if told.is_empty() { request.download.file.checksums.clone() } else { told })
            }
            Outcome::Failed(failed) => {
                self.note_failure(&pool, path, &failed);
                Err(CopyError::Failed(failed))
            }
            Outcome::Cancelled(_) | Outcome::Stopping if client_gone => Err(CopyError::ClientGone),
            Outcome::Cancelled(cancelled) => Err(CopyError::Cancelled(cancelled.reason)),
            Outcome::Forgotten => Err(CopyError::Forgotten(pool.name().to_owned())),
            Outcome::Stopping => Err(CopyError::Stopping),
        }
    }
}
