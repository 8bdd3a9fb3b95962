//! A transfer that ended in an earlier life of the daemon: nothing of it is left but what its door has to be told.
//!
//! It was kept on the disk (see [`super::results`]) as the contract's own message, and is told as that.

use std::sync::{Mutex, MutexGuard, PoisonError};

use penstock_door_proto::v1;
use v1::transfer_event::Event;
use v1::transfer_request::Kind;

use crate::control::messages::transfer_json::kind_name;
use crate::control::messages::wire;
use crate::scrub::reading::recorded;
use crate::store::{ReplicaId, ReplicaStat, Store, StoreError};
use crate::transfer::request::KindName;
use crate::transfer::state::StateName;
use crate::transfer::{Failure, Moment, Timeouts, TransferId, Verdict};

/// What is left of an ended transfer.
#[derive(Debug)]
pub struct Kept {
    id: TransferId,
    replica: ReplicaId,
    kind: KindName,
    request: v1::TransferRequest,
    info: v1::TransferInfo,
    state: StateName,
    /// Since when its door can come for it: the start of this life.
    since: Moment,
    verdict: Mutex<Option<Verdict>>,
    /// It got its outcome here: nobody has heard of its end.
    cut_short: bool,
}

impl Kept {
    /// From what was kept. A transfer that was cut short by the end of the daemon gets its outcome here: it has
    /// succeeded if its replica is there, as that is made durable before anything is told of it. `None` when there is
    /// nothing to tell: its replica has gone since, so its door has decided about it. Asks the store, so it blocks.
    pub fn revive(mut info: v1::TransferInfo, store: &Store, now: Moment) -> Result<Option<Self>, String> {
        let request = info.request.clone().ok_or("it has no request")?;
        let id = TransferId::new(request.transfer_id.as_str()).map_err(|error| error.to_string())?;
        let kind = kind_name(request.kind.as_ref().ok_or("it has no kind")?);
        let replica = ReplicaId::new(&request.replica_id).map_err(|error| error.to_string())?;
        let cut_short = info.outcome.is_none();
        if cut_short {
            let stored = match kind.stores() {
                true => found(store, &replica)?.filter(|stat| stat.attributes.transfer == id.as_str()),
                false => None,
            };
            end(&mut info, &id, stored.as_ref(), now);
        }
        let state = match info.outcome.as_ref().and_then(|outcome| outcome.event.as_ref()) {
            Some(Event::Finished(_)) => StateName::Done,
            Some(Event::Failed(_)) => StateName::Failed,
            Some(Event::Cancelled(_)) => StateName::Cancelled,
            Some(Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_)) | None => {
                return Err("its last event is not an end".into());
            }
        };
        if state == StateName::Done && kind.stores() && found(store, &replica)?.is_none() {
            return Ok(None);
        }
        let orphaned = matches!(
            info.outcome.as_ref().and_then(|outcome| outcome.event.as_ref()),
            Some(Event::Finished(finished)) if finished.orphaned
        );
        let verdict = Mutex::new(orphaned.then_some(Verdict::Timeout));
        Ok(Some(Self { id, replica, kind, request, info, state, since: now, verdict, cut_short }))
    }

    /// An upload of which nothing is known but the replica: its request was not kept in time.
    pub fn unclaimed(transfer: &str, stat: &ReplicaStat) -> v1::TransferInfo {
        let attributes = &stat.attributes;
        v1::TransferInfo {
            request: Some(v1::TransferRequest {
                transfer_id: transfer.to_owned(),
                replica_id: stat.id.to_string(),
                transfer_path: attributes.path.clone(),
                billing_path: attributes.path.clone(),
                storage_class: attributes.class.clone(),
                kind: Some(Kind::Put(v1::Put { size: Some(stat.size), ..Default::default() })),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &TransferId {
        &self.id
    }

    /// The replica that it was about.
    #[must_use]
    pub fn replica(&self) -> &ReplicaId {
        &self.replica
    }

    /// When its door asked for it, in seconds and nanoseconds since 1970; 0 where that is not known.
    #[must_use]
    pub fn submitted_at(&self) -> (i64, i32) {
        let at = self.info.progress.as_ref().and_then(|progress| progress.submitted_at);
        at.map_or((0, 0), |at| (at.seconds, at.nanos))
    }

    /// What kind of transfer it was.
    #[must_use]
    pub fn kind(&self) -> KindName {
        self.kind
    }

    /// The request, without anything secret.
    #[must_use]
    pub fn request(&self) -> &v1::TransferRequest {
        &self.request
    }

    /// How it ended.
    #[must_use]
    pub fn state(&self) -> StateName {
        self.state
    }

    /// Whether the end of the daemon has cut it short, so that its end was never told.
    #[must_use]
    pub fn was_cut_short(&self) -> bool {
        self.cut_short
    }

    /// Whether a door asks for this very transfer again: secrets, which are not kept, may differ.
    #[must_use]
    pub fn is_asked_by(&self, request: &v1::TransferRequest) -> bool {
        self.request == wire::redacted(request)
    }

    /// What the door decided about the replica.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        self.lock().clone()
    }

    /// The door has decided about the replica. The first decision counts.
    pub fn decide(&self, verdict: Verdict) -> bool {
        let mut decided = self.lock();
        let first = decided.is_none();
        if first {
            *decided = Some(verdict);
        }
        first
    }

    /// What there is to tell.
    #[must_use]
    pub fn info(&self) -> v1::TransferInfo {
        let mut info = self.info.clone();
        if let Some(Event::Finished(finished)) =
            info.outcome.as_mut().and_then(|outcome| outcome.event.as_mut())
        {
            finished.orphaned = self.verdict() == Some(Verdict::Timeout);
        }
        info
    }

    /// Its door has had its time.
    pub fn tick(&self, timeouts: &Timeouts, now: Moment) {
        let claimable = self.state == StateName::Done && self.kind.stores();
        if claimable && now.since(self.since) >= timeouts.claim {
            self.decide(Verdict::Timeout);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Verdict>> {
        // Assigned whole.
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The replica, if it is there. One whose file or attributes are damaged is not there as what it was.
fn found(store: &Store, id: &ReplicaId) -> Result<Option<ReplicaStat>, String> {
    match store.stat(id) {
        Ok(stat) => Ok(Some(stat)),
        Err(StoreError::NotFound { .. } | StoreError::Attributes { .. } | StoreError::WrongLength { .. }) => {
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Gives a transfer that was cut short its outcome.
fn end(info: &mut v1::TransferInfo, id: &TransferId, stored: Option<&ReplicaStat>, now: Moment) {
    let progress = info.progress.get_or_insert_default();
    let (state, event) = match stored {
        Some(stat) => {
            let checksums = recorded(&stat.attributes.checksums);
            let created_at = wire::stored_at(stat.attributes.created_at);
            let finished = v1::Finished {
                size: stat.size,
                checksums: checksums.into_iter().map(Into::into).collect(),
                bytes_moved: stat.size,
                started_at: progress.started_at,
                finished_at: Some(created_at),
                marked_as: progress.marked_as.clone(),
                ..Default::default()
            };
            progress.bytes_moved = stat.size;
            (v1::TransferState::Done, Event::Finished(finished))
        }
        None => {
            let failure =
                Failure::shutdown("the pool ended in the middle of this transfer, and has started again");
            let failed = v1::Failed {
                code: failure.code.into(),
                text: failure.text().to_owned(),
                side: failure.side.into(),
                bytes_moved: progress.bytes_moved,
                started_at: progress.started_at,
                failed_at: wire::timestamp(now),
                http_status: failure.http_status.into(),
                retryable: failure.retryable,
                marked_as: progress.marked_as.clone(),
                ..Default::default()
            };
            (v1::TransferState::Failed, Event::Failed(failed))
        }
    };
    progress.state = state.into();
    progress.description = match state {
        v1::TransferState::Done => "done".to_owned(),
        _ => "failed".to_owned(),
    };
    info.outcome = Some(v1::TransferEvent {
        transfer_id: id.as_str().to_owned(),
        at: wire::timestamp(now),
        event: Some(event),
    });
}
