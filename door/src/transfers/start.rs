//! Asking a pool for a transfer, until it is ready for the client.

use std::sync::Arc;

use penstock_door_proto::v1 as proto;
use penstock_service::trace::context;
use proto::transfer_event::Event;
use tokio::sync::oneshot;
use tonic::Streaming;

use super::error::TransferError;
use super::request::Ready;
use super::{Attended, Transfers};
use crate::namespace::upload::Refused;
use crate::pools::Pool;

/// The rest of a transfer's events, once it is ready.
pub(super) type Events = Streaming<proto::TransferEvent>;

/// Where the result of a start goes. When the client has gone, nobody waits at the other end.
pub(super) type ReadySender = oneshot::Sender<Result<Ready, TransferError>>;

impl Transfers {
    /// Asks for a transfer and waits until it is ready. `None` when nobody waits for it any more, or it did not
    /// start: then `ready` has been told, and nothing of the transfer is left at the pool as far as it can be reached.
    pub(super) async fn start(
        self: &Arc<Self>,
        pool: &Pool,
        request: proto::TransferRequest,
        attended: &Attended,
        mut ready: ReadySender,
    ) -> Started {
        let id = attended.id.as_str();
        let result = tokio::select! {
            result = tokio::time::timeout(self.start_timeout, until_ready(pool, request)) => result
                .unwrap_or_else(|_| Err(TransferError::NotReady {
                    pool: pool.name().to_owned(),
                    after: self.start_timeout,
                })),
            () = ready.closed() => {
                self.withdraw(pool, id, "the client has gone").await;
                return Started::No { settled: true };
            }
            () = self.stop.cancelled() => Err(TransferError::Stopping),
        };
        match result {
            Ok((url, events)) => {
                let told =
                    ready.send(Ok(Ready { url, transfer: id.to_owned(), pool: pool.name().to_owned() }));
                if told.is_err() {
                    self.withdraw(pool, id, "the client has gone").await;
                    return Started::No { settled: true };
                }
                Started::Yes(Box::new(events))
            }
            Err(error) => {
                let settled =
                    !error.is_uncertain() || self.withdraw(pool, id, "the door has given it up").await;
                // If the client has gone too, nobody needs to hear it.
                let _ = ready.send(Err(error));
                Started::No { settled }
            }
        }
    }

    /// Cancels a transfer and lets the pool forget it. `false` when the pool cannot be reached.
    pub(super) async fn withdraw(&self, pool: &Pool, id: &str, reason: &str) -> bool {
        let request = proto::CancelRequest { transfer_id: id.to_owned(), reason: reason.to_owned() };
        let cancelled = super::follow::call(pool.client().cancel(request)).await;
        let gone = match cancelled {
            Ok(_) => true,
            Err(status) => status.code() == tonic::Code::NotFound,
        };
        // Should all bytes have arrived in spite of everything, then nobody is there who could name them.
        let verdict = super::follow::Verdict::Discard(Refused { status: 503, reason: reason.to_owned() });
        gone && self.acknowledge(pool, id, verdict).await
    }

    /// Cancels a transfer that was ready, since its client cannot or will not use it.
    pub async fn cancel(&self, ready: &Ready, reason: &str) {
        if let Some(pool) = self.pools.iter().find(|pool| pool.name() == ready.pool) {
            let request =
                proto::CancelRequest { transfer_id: ready.transfer.clone(), reason: reason.to_owned() };
            // When the pool cannot be reached it gives the client up by itself.
            let _ = super::follow::call(pool.client().cancel(request)).await;
        }
    }
}

/// How a start ended.
pub(super) enum Started {
    /// The client may come; this is what follows.
    Yes(Box<Events>),
    /// It did not. `settled`: the pool has nothing of it any more.
    No {
        /// Whether the door may forget it.
        settled: bool,
    },
}

/// A message with the place in a trace that the request it comes from has.
pub(super) fn in_trace<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if let Some(value) = context::current().and_then(|place| place.to_string().parse().ok()) {
        request.metadata_mut().insert(context::HEADER, value);
    }
    request
}

async fn until_ready(
    pool: &Pool,
    request: proto::TransferRequest,
) -> Result<(String, Events), TransferError> {
    let refused = |status: tonic::Status| TransferError::refused(pool.name(), &status);
    let request = proto::StartTransferRequest { transfer: Some(request), ..Default::default() };
    let mut events = pool.client().start_transfer(in_trace(request)).await.map_err(refused)?.into_inner();
    loop {
        let Some(event) = events.message().await.map_err(refused)? else {
            return Err(refused(tonic::Status::unavailable("it ended the stream of events")));
        };
        match event.event {
            Some(Event::Ready(ready)) => return Ok((ready.url, events)),
            Some(Event::Failed(failed)) if failed.code() == proto::FailureCode::ReplicaBroken => {
                return Err(TransferError::Broken { pool: pool.name().to_owned(), text: failed.text });
            }
            Some(Event::Failed(failed)) => {
                return Err(TransferError::Failed { pool: pool.name().to_owned(), failed: Box::new(failed) });
            }
            Some(Event::Cancelled(cancelled)) => {
                return Err(TransferError::Cancelled {
                    pool: pool.name().to_owned(),
                    reason: cancelled.reason,
                });
            }
            // Nobody knows the URL yet, so nothing can have moved.
            Some(Event::Finished(_)) => {
                return Err(refused(tonic::Status::internal("it finished a transfer that was not ready")));
            }
            Some(Event::Queued(_) | Event::Started(_) | Event::Progress(_)) | None => {}
        }
    }
}
