//! Third-party copies: a pool and a remote server move the bytes, a client waits and is told how it goes.
//!
//! * [`request`]: what is to be copied. [`status`]: how it stands. [`error`]: why it failed.
//! * [`renewal`]: later tokens for copies that outlive theirs.
//! * [`local`]: a copy that stays at its pool. [`pull`], [`push`]: the two directions. This file: starting one, following it, and calling it off.
//!
//! A copy belongs to the client that waits for it: when the client goes, the copy is cancelled. The pool, too, gives
//! it up when the door's stream breaks, so that a door that dies leaves no copy running.

use std::future::{self, Future};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use penstock_door_proto::v1 as proto;
use penstock_service::trace::context;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::error::TransferError;
use super::follow::{Outcome, call};
use super::start::{Events, in_trace};
use super::{Attended, Transfers};
use crate::checksum::Checksum;
use crate::metrics::{CopyOutcome, Direction};
use crate::pools::Pool;

pub mod error;
pub mod local;
pub mod pull;
pub mod push;
pub mod renewal;
pub mod request;
pub mod status;

pub use error::CopyError;
pub use local::LocalCopyRequest;
pub use renewal::Renewal;
pub use request::{PullRequest, PushRequest, RemoteEnd};
pub use status::{CopyStatus, Figures};

/// How long a cancelled copy has to end: the pool may have to delete a part at the remote server.
const CANCEL_PATIENCE: Duration = Duration::from_secs(60);
/// How often a pool tells of progress: at least so often that a marker is not old, at most as the contract allows.
const LONGEST_PROGRESS_PERIOD: Duration = Duration::from_secs(1);
const SHORTEST_PROGRESS_PERIOD: Duration = Duration::from_millis(100);
/// Told to the pool and its log when nobody waits for a copy any more.
pub(super) const CLIENT_HAS_GONE: &str = "the client has gone";

/// A copy that runs for somebody.
#[derive(Debug)]
pub struct RunningCopy {
    /// How it stands; the last change tells its end.
    pub status: watch::Receiver<CopyStatus>,
    /// Cancels the copy when it goes; without effect on one that has ended.
    pub client: DropGuard,
}

/// The task's side of a running copy.
pub(super) struct Errand {
    status: watch::Sender<CopyStatus>,
    /// Nobody waits any more.
    client_gone: CancellationToken,
}

impl Errand {
    fn prepares(&self, description: impl Into<String>) {
        self.status.send_modify(|status| status.prepares(description.into()));
    }

    fn hears(&self, event: &proto::transfer_event::Event) {
        self.status.send_modify(|status| status.hear(event));
    }
}

/// What is counted of an end.
fn outcome_of(result: &Result<Vec<Checksum>, CopyError>) -> CopyOutcome {
    match result {
        Ok(_) => CopyOutcome::Done,
        Err(CopyError::ClientGone | CopyError::Stopping) => CopyOutcome::Cancelled,
        Err(_) => CopyOutcome::Failed,
    }
}

impl Transfers {
    /// Begins a pull. Never waits: what becomes of it is told by its status.
    pub fn pull(self: &Arc<Self>, request: PullRequest) -> Result<RunningCopy, TransferError> {
        let (transfers, place) = (Arc::clone(self), self.place_for_copy()?);
        Ok(self.begin_copy(Some(Direction::Pull), place, |errand| async move {
            transfers.run_pull(&request, &errand).await
        }))
    }

    /// Begins a push, likewise.
    pub fn push(self: &Arc<Self>, request: PushRequest) -> Result<RunningCopy, TransferError> {
        let (transfers, place) = (Arc::clone(self), self.place_for_copy()?);
        Ok(self.begin_copy(Some(Direction::Push), place, |errand| async move {
            transfers.run_push(request, &errand).await
        }))
    }

    fn begin_copy<Work, Running>(
        self: &Arc<Self>,
        direction: Option<Direction>,
        place: OwnedSemaphorePermit,
        work: Work,
    ) -> RunningCopy
    where
        Work: FnOnce(Arc<Errand>) -> Running + Send + 'static,
        Running: Future<Output = Result<Vec<Checksum>, CopyError>> + Send + 'static,
    {
        let running = self.metrics.copy_runs(direction);
        let (sender, status) = watch::channel(CopyStatus::new(direction, Timestamp::now()));
        let client_gone = CancellationToken::new();
        let client = client_gone.clone().drop_guard();
        let errand = Arc::new(Errand { status: sender, client_gone });
        let transfers = Arc::clone(self);
        let task = async move {
            let result = work(Arc::clone(&errand)).await;
            transfers.close_copy(direction, &errand, result);
            drop((place, running));
        };
        self.tasks.spawn(context::carried(task.instrument(tracing::Span::current())));
        RunningCopy { status, client }
    }

    fn close_copy(
        &self,
        direction: Option<Direction>,
        errand: &Errand,
        result: Result<Vec<Checksum>, CopyError>,
    ) {
        let outcome = outcome_of(&result);
        self.metrics.copy_ended(direction, outcome);
        let bytes_moved = errand.status.borrow().figures.as_ref().map_or(0, |figures| figures.bytes_moved);
        let (direction, outcome) = (Direction::label(direction), outcome.as_str());
        match &result {
            Ok(_) => tracing::info!(direction, outcome, bytes_moved, "copy ended"),
            Err(error) => tracing::info!(direction, outcome, bytes_moved, "copy ended: {error}"),
        }
        errand.status.send_modify(|status| status.end = Some(result.map_err(|error| error.to_string())));
    }

    /// Asks a pool for a copy.
    async fn start_copy(
        &self,
        pool: &Pool,
        message: proto::TransferRequest,
        errand: &Errand,
    ) -> Result<Box<Events>, TransferError> {
        let request = proto::StartTransferRequest {
            transfer: Some(message),
            progress_period: self.progress_period().try_into().ok(),
            cancel_on_disconnect: true,
        };
        let mut client = pool.client();
        let started = tokio::select! {
            started = tokio::time::timeout(self.start_timeout, client.start_transfer(in_trace(request))) => started,
            () = errand.client_gone.cancelled() => return Err(TransferError::ClientGone),
            () = self.stop.cancelled() => return Err(TransferError::Stopping),
        };
        match started {
            Ok(Ok(response)) => Ok(Box::new(response.into_inner())),
            Ok(Err(status)) => Err(TransferError::refused(pool.name(), &status)),
            Err(_) => {
                Err(TransferError::NotReady { pool: pool.name().to_owned(), after: self.start_timeout })
            }
        }
    }

    /// Follows a copy to its end, and renews its token meanwhile. When its client goes, the pool is asked to cancel it, and it is followed on to the
    /// end that it has then.
    async fn follow_copy(
        &self,
        pool: &Pool,
        attended: &Attended,
        events: Box<Events>,
        errand: &Errand,
        renewal: Option<&Renewal>,
    ) -> Outcome {
        let id = attended.id.as_str();
        let following =
            self.follow(pool, id, Some(events), Some(self.progress_period()), |event| errand.hears(event));
        tokio::pin!(following);
        let renewing = async {
            match renewal {
                Some(renewal) => renewal.keep(pool, id).await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            outcome = &mut following => return outcome,
            () = errand.client_gone.cancelled() => {}
            never = renewing => match never {},
        }
        let request = proto::CancelRequest { transfer_id: id.to_owned(), reason: CLIENT_HAS_GONE.to_owned() };
        if let Err(status) = call(pool.client().cancel(request)).await {
            // The stream of events ends with this function, which the pool takes for the same wish.
            tracing::warn!(
                pool = pool.name(),
                transfer = id,
                error = status.message(),
                "cannot cancel a copy"
            );
        }
        tokio::time::timeout(CANCEL_PATIENCE, following).await.unwrap_or(Outcome::Stopping)
    }

    fn progress_period(&self) -> Duration {
        (self.marker_period / 2).clamp(SHORTEST_PROGRESS_PERIOD, LONGEST_PROGRESS_PERIOD)
    }

    /// How often a client is told how its copy stands.
    pub fn marker_period(&self) -> Duration {
        self.marker_period
    }
}
