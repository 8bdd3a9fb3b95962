//! Third-party copies: the pool as the client of a remote server. Such a transfer is followed to its end at once, as no
//! client has to come.

use penstock_door_proto::v1 as proto;
use proto::FailureCode;
use proto::transfer_event::Event;
use proto::transfer_request::Kind;
use tonic::Status;

use super::Door;
use super::door::next;

/// What a finished copy tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Copied {
    /// Bytes that were moved.
    pub bytes: u64,
    /// What held it back.
    pub limits: Option<proto::Limits>,
}

/// Why there is no copy, in the pool's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refused {
    /// Of which kind.
    pub code: FailureCode,
    /// One line.
    pub text: String,
}

impl Door {
    /// Has the pool read a new replica from a remote server. Gives the replica's id, too; on an error there is none.
    pub async fn pull(&self, pull: proto::Pull, size_bytes: u64) -> Result<(String, Copied), Refused> {
        let replica = self.own(size_bytes);
        match self.copy(&replica, Kind::Pull(pull)).await {
            Ok(copied) => Ok((replica, copied)),
            Err(refused) => {
                // A copy that failed leaves nothing; should the pool be gone, the replica stays on the list.
                if refused.code != FailureCode::Unspecified {
                    self.disown(&replica);
                }
                Err(refused)
            }
        }
    }

    /// Has the pool write a replica to a remote server.
    pub async fn push(&self, replica: &str, push: proto::Push) -> Result<Copied, Refused> {
        self.copy(replica, Kind::Push(push)).await
    }

    async fn copy(&self, replica: &str, kind: Kind) -> Result<Copied, Refused> {
        let (id, transfer) = self.transfer(replica, kind);
        let request = proto::StartTransferRequest {
            transfer: Some(transfer),
            // A measurement that is killed leaves no copy running.
            cancel_on_disconnect: true,
            ..Default::default()
        };
        let told = |status: Status| Refused {
            code: FailureCode::Unspecified,
            text: super::door::words(&status).to_owned(),
        };
        let outcome = self.to_the_end(request).await.map_err(told)?;
        self.settle(&id).await.map_err(told)?;
        outcome
    }

    /// Starts a copy and waits for its end.
    async fn to_the_end(
        &self,
        request: proto::StartTransferRequest,
    ) -> Result<Result<Copied, Refused>, Status> {
        let mut events = self.client().start_transfer(request).await?.into_inner();
        loop {
            match next(&mut events).await? {
                Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_) => {}
                Event::Finished(finished) => {
                    return Ok(Ok(Copied { bytes: finished.bytes_moved, limits: finished.limits }));
                }
                Event::Failed(failed) => {
                    return Ok(Err(Refused { code: failed.code(), text: failed.text }));
                }
                Event::Cancelled(cancelled) => {
                    return Ok(Err(Refused { code: FailureCode::Internal, text: cancelled.reason }));
                }
            }
        }
    }
}
