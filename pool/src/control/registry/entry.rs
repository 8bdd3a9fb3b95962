//! A transfer as the registry holds it: with the door's own words, and the bell that wakes its followers.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use penstock_door_proto::v1;
use penstock_service::trace::TraceContext;
use tokio::sync::watch;

use super::Registry;
use super::kept::Kept;
use crate::control::messages::wire;
use crate::store::ReplicaId;
use crate::transfer::request::KindName;
use crate::transfer::state::StateName;
use crate::transfer::{Moment, Observer, Timeouts, Transfer, TransferId, Verdict};

/// Doors that follow one transfer at once.
pub const MAX_FOLLOWERS: usize = 16;

/// A transfer in the registry.
#[derive(Debug)]
pub struct Entry {
    subject: Subject,
    /// As the door asked, to tell a repeated request from another, and for listings. Of one that another life of the
    /// daemon ended, without what is never kept (see [`wire::redacted`]).
    asked: v1::TransferRequest,
    /// In order of arrival.
    pub(super) number: u64,
    bell: Arc<Bell>,
    followers: AtomicUsize,
    /// Of the bytes moved, those that the totals have.
    counted_bytes: AtomicU64,
    /// Nobody will ask for it any more: what is kept of it on the disk goes.
    pub(super) forgotten: AtomicBool,
    /// The place in a trace that its door has named.
    pub(in crate::control) trace: OnceLock<TraceContext>,
    /// Its end is kept on the disk. See [`super::results`].
    pub(super) end_kept: AtomicBool,
}

/// What the registry has of a transfer.
#[derive(Debug)]
pub enum Subject {
    /// It runs, or ended in this life of the daemon.
    Live(Arc<Transfer>),
    /// It ended in an earlier one.
    Kept(Box<Kept>),
}

impl Entry {
    pub(super) fn live(
        transfer: Arc<Transfer>,
        asked: v1::TransferRequest,
        number: u64,
        bell: Arc<Bell>,
    ) -> Self {
        Self::new(Subject::Live(transfer), asked, number, bell)
    }

    pub(super) fn kept(kept: Kept, number: u64, bell: Arc<Bell>) -> Self {
        let asked = kept.request().clone();
        let entry = Self::new(Subject::Kept(Box::new(kept)), asked, number, bell);
        entry.end_kept.store(true, Ordering::Release);
        entry
    }

    fn new(subject: Subject, asked: v1::TransferRequest, number: u64, bell: Arc<Bell>) -> Self {
        Self {
            subject,
            asked,
            number,
            bell,
            followers: AtomicUsize::new(0),
            counted_bytes: AtomicU64::new(0),
            forgotten: AtomicBool::new(false),
            trace: OnceLock::new(),
            end_kept: AtomicBool::new(false),
        }
    }

    /// What there is of it.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The transfer, if it is of this life of the daemon: only such a one can be claimed, cancelled or counted.
    #[must_use]
    pub fn transfer(&self) -> Option<&Arc<Transfer>> {
        match &self.subject {
            Subject::Live(transfer) => Some(transfer),
            Subject::Kept(_) => None,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &TransferId {
        match &self.subject {
            Subject::Live(transfer) => &transfer.request().id,
            Subject::Kept(kept) => kept.id(),
        }
    }

    /// What kind of transfer it is.
    #[must_use]
    pub fn kind(&self) -> KindName {
        match &self.subject {
            Subject::Live(transfer) => transfer.request().kind.name(),
            Subject::Kept(kept) => kept.kind(),
        }
    }

    /// The replica it is about.
    #[must_use]
    pub fn replica(&self) -> &ReplicaId {
        match &self.subject {
            Subject::Live(transfer) => &transfer.request().replica,
            Subject::Kept(kept) => kept.replica(),
        }
    }

    /// Whose it is; may be empty.
    #[must_use]
    pub fn door_name(&self) -> &str {
        self.asked.door.as_ref().map_or("", |door| door.name.as_str())
    }

    /// As the door asked.
    #[must_use]
    pub fn asked(&self) -> &v1::TransferRequest {
        &self.asked
    }

    /// Whether a door asks for this very transfer again.
    #[must_use]
    pub fn is_asked_by(&self, request: &v1::TransferRequest) -> bool {
        match &self.subject {
            Subject::Live(_) => self.asked == *request,
            Subject::Kept(kept) => kept.is_asked_by(request),
        }
    }

    /// Its state now.
    #[must_use]
    pub fn state(&self) -> StateName {
        match &self.subject {
            Subject::Live(transfer) => transfer.state().name(),
            Subject::Kept(kept) => kept.state(),
        }
    }

    /// It has ended, and has brought a replica into the pool whose fate its door decides.
    #[must_use]
    pub fn has_stored(&self) -> bool {
        self.kind().stores() && self.state() == StateName::Done
    }

    /// What the door decided about the replica; `None` while it has not.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        match &self.subject {
            Subject::Live(transfer) => transfer.verdict(),
            Subject::Kept(kept) => kept.verdict(),
        }
    }

    /// The door has decided about the replica. The first decision counts; `false` for a later one.
    pub fn decide(&self, verdict: Verdict) -> bool {
        match &self.subject {
            Subject::Live(transfer) => transfer.decide(verdict),
            Subject::Kept(kept) => kept.decide(verdict),
        }
    }

    /// As it stands in a listing, and on the disk: without anything secret.
    #[must_use]
    pub fn info(&self) -> v1::TransferInfo {
        match &self.subject {
            Subject::Live(transfer) => v1::TransferInfo {
                request: Some(wire::redacted(&self.asked)),
                progress: Some(wire::progress(transfer)),
                outcome: wire::outcome(transfer),
            },
            Subject::Kept(kept) => kept.info(),
        }
    }

    /// The last event of an ended transfer; `None` while it has not ended.
    #[must_use]
    pub fn outcome(&self) -> Option<v1::TransferEvent> {
        match &self.subject {
            Subject::Live(transfer) => wire::outcome(transfer),
            Subject::Kept(kept) => kept.info().outcome,
        }
    }

    /// Calls it off. `false` if it had ended before.
    pub fn cancel(&self, reason: &str) -> bool {
        self.transfer().is_some_and(|transfer| transfer.cancel(reason))
    }

    /// Does what time demands.
    pub(super) fn tick(&self, timeouts: &Timeouts, hurry: bool, now: Moment) {
        match &self.subject {
            Subject::Live(transfer) => transfer.tick(timeouts, hurry),
            Subject::Kept(kept) => kept.tick(timeouts, now),
        }
    }

    /// Requests that are open on it.
    #[must_use]
    pub fn open_claims(&self) -> usize {
        self.transfer().map_or(0, |transfer| transfer.open_claims())
    }

    /// A place among the followers; `None` when there are too many.
    #[must_use]
    pub fn follow(self: &Arc<Self>) -> Option<Following> {
        let one_more = |count: usize| (count < MAX_FOLLOWERS).then_some(count + 1);
        self.followers.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Following { entry: Arc::clone(self), changes: self.bell.version.subscribe() })
    }

    /// Bytes moved since this was last asked.
    pub(super) fn take_uncounted_bytes(&self) -> u64 {
        let moved = self.transfer().map_or(0, |transfer| transfer.progress().bytes_moved());
        moved.saturating_sub(self.counted_bytes.swap(moved, Ordering::AcqRel))
    }
}

/// One follower's place.
#[derive(Debug)]
pub struct Following {
    entry: Arc<Entry>,
    /// Changes with every change of the transfer.
    pub(in crate::control) changes: watch::Receiver<u64>,
}

impl Following {
    /// What is followed.
    #[must_use]
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.entry.followers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Rings when the transfer changed: wakes its followers, and lets the registry settle what follows from it.
#[derive(Debug)]
pub(super) struct Bell {
    id: TransferId,
    version: watch::Sender<u64>,
    registry: Weak<Registry>,
}

impl Bell {
    pub(super) fn new(id: TransferId, registry: Weak<Registry>) -> Self {
        Self { id, version: watch::Sender::new(0), registry }
    }
}

impl Observer for Bell {
    fn changed(&self) {
        // The registry first: whoever is woken finds its books settled.
        if let Some(registry) = self.registry.upgrade() {
            registry.settle(&self.id);
        }
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }
}
