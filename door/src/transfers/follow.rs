//! Following a transfer to its end, through broken connections; and telling the pool that it is settled.

use std::future::Future;
use std::time::Duration;

use penstock_door_proto::v1 as proto;
use proto::acknowledge_request::Disposition;
use proto::transfer_event::Event;
use tonic::{Code, Response, Status};

use super::Transfers;
use super::start::Events;
use crate::namespace::upload::Refused;
use crate::pools::Pool;

/// How long a pool has to answer a call that moves nothing.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Pauses before following again, doubled from the first to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After so many attempts an acknowledgement is left to the next settlement.
const ACKNOWLEDGE_ATTEMPTS: u32 = 4;

/// How a transfer ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All bytes moved.
    Finished(proto::Finished),
    /// It failed.
    Failed(Box<proto::Failed>),
    /// It was cancelled.
    Cancelled(proto::Cancelled),
    /// The pool does not know it.
    Forgotten,
    /// The door stops; the transfer may go on.
    Stopping,
}

/// What becomes of an ended transfer.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// Fine.
    Keep,
    /// The uploaded replica has no place; the client is told why.
    Discard(Refused),
}

impl Outcome {
    /// The outcome in an event; `None` if the transfer goes on.
    pub(super) fn of(event: Option<Event>) -> Option<Self> {
        match event? {
            Event::Finished(finished) => Some(Outcome::Finished(finished)),
            Event::Failed(failed) => Some(Outcome::Failed(Box::new(failed))),
            Event::Cancelled(cancelled) => Some(Outcome::Cancelled(cancelled)),
            Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_) => None,
        }
    }

    /// Whether the pool has told an end, which it keeps until that is acknowledged.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Outcome::Finished(_) | Outcome::Failed(_) | Outcome::Cancelled(_) => true,
            Outcome::Forgotten | Outcome::Stopping => false,
        }
    }
}

impl Transfers {
    /// Follows a transfer to its end, attaching again whenever the connection breaks. Everything that the pool tells
    /// is shown to `watcher`; progress is told only where a period is given.
    pub(super) async fn follow(
        &self,
        pool: &Pool,
        id: &str,
        events: Option<Box<Events>>,
        progress_period: Option<Duration>,
        watcher: impl FnMut(&Event) + Send,
    ) -> Outcome {
        tokio::select! {
            outcome = until_end(pool, id, events, progress_period, watcher) => outcome,
            () = self.stop.cancelled() => Outcome::Stopping,
        }
    }

    /// Settles an ended transfer at the pool. `false` when it could not be told.
    pub(super) async fn acknowledge(&self, pool: &Pool, id: &str, verdict: Verdict) -> bool {
        let (disposition, reason, http_status) = match verdict {
            Verdict::Keep => (Disposition::Keep, String::new(), 0),
            Verdict::Discard(refused) => (Disposition::Discard, refused.reason, u32::from(refused.status)),
        };
        let request = proto::AcknowledgeRequest {
            transfer_id: id.to_owned(),
            disposition: disposition.into(),
            reason,
            http_status,
        };
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=ACKNOWLEDGE_ATTEMPTS {
            match call(pool.client().acknowledge(request.clone())).await {
                Ok(_) => return true,
                Err(status) if status.code() == Code::NotFound => return true,
                Err(status) if attempt == ACKNOWLEDGE_ATTEMPTS => {
                    tracing::warn!(
                        pool = pool.name(),
                        transfer = id,
                        error = status.message(),
                        "cannot acknowledge a transfer; it is settled when the pool is back"
                    );
                }
                Err(_) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => pause *= 2,
                        () = self.stop.cancelled() => return false,
                    }
                }
            }
        }
        false
    }
}

async fn until_end(
    pool: &Pool,
    id: &str,
    mut events: Option<Box<Events>>,
    progress_period: Option<Duration>,
    mut watcher: impl FnMut(&Event) + Send,
) -> Outcome {
    // Only a period longer than some hundred billion years is no period of the contract.
    let progress_period = progress_period.and_then(|period| period.try_into().ok());
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(events) = &mut events {
            // An error or the end of the stream before a final event: the connection broke, the transfer may not have.
            while let Ok(Some(event)) = events.message().await {
                pause = FIRST_PAUSE;
                if let Some(event) = &event.event {
                    watcher(event);
                }
                if let Some(outcome) = Outcome::of(event.event) {
                    return outcome;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let request = proto::WatchRequest { transfer_id: id.to_owned(), progress_period };
        events = match call(pool.client().watch(request)).await {
            Ok(response) => Some(Box::new(response.into_inner())),
            Err(status) if status.code() == Code::NotFound => return Outcome::Forgotten,
            Err(_) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                None
            }
        };
    }
}

/// A call with the time limit of those that move nothing.
pub(super) async fn call<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<Response<T>, Status> {
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("the pool does not answer")))
}
