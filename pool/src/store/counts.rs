//! How many replicas there are, by what they are good for.

use std::sync::atomic::{AtomicU64, Ordering};

use super::attributes::Attributes;
use super::state::ReplicaState;

/// How many replicas there are, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaCounts {
    /// All of them.
    pub all: u64,
    /// Of these, broken ones.
    pub broken: u64,
    /// Of these, orphaned ones.
    pub orphaned: u64,
    /// Of these, ones that should be looked at soon.
    pub suspect: u64,
}

impl ReplicaCounts {
    /// What one replica counts.
    pub(super) fn of(attributes: &Attributes) -> Self {
        let mut counts =
            Self { all: 1, suspect: attributes.suspect_because.is_some().into(), ..Self::default() };
        match attributes.state {
            ReplicaState::Broken => counts.broken = 1,
            ReplicaState::Orphaned => counts.orphaned = 1,
            ReplicaState::Uploading | ReplicaState::Ready | ReplicaState::Removing => {}
        }
        counts
    }

    /// With `other` taken in so many times, or out. Never below none, should somebody have changed files behind our
    /// back.
    pub(super) fn plus(self, other: Self, times: i64) -> Self {
        let plus =
            |count: u64, other: u64| count.saturating_add_signed(other.cast_signed().saturating_mul(times));
        Self {
            all: plus(self.all, other.all),
            broken: plus(self.broken, other.broken),
            orphaned: plus(self.orphaned, other.orphaned),
            suspect: plus(self.suspect, other.suspect),
        }
    }
}

/// The same, counted as replicas come and go.
#[derive(Debug, Default)]
pub(super) struct Counts {
    all: AtomicU64,
    broken: AtomicU64,
    orphaned: AtomicU64,
    suspect: AtomicU64,
}

impl Counts {
    pub fn new(counts: ReplicaCounts) -> Self {
        let ReplicaCounts { all, broken, orphaned, suspect } = counts;
        Self { all: all.into(), broken: broken.into(), orphaned: orphaned.into(), suspect: suspect.into() }
    }

    pub fn add(&self, attributes: &Attributes) {
        self.change(attributes, 1);
    }

    pub fn remove(&self, attributes: &Attributes) {
        self.change(attributes, -1);
    }

    fn change(&self, attributes: &Attributes, times: i64) {
        let of_one = ReplicaCounts::of(attributes);
        let change = |count: &AtomicU64, by: u64| {
            if by != 0 {
                let sum = |count: u64| Some(count.saturating_add_signed(times));
                // It always succeeds: there always is a sum.
                let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
            }
        };
        change(&self.all, of_one.all);
        change(&self.broken, of_one.broken);
        change(&self.orphaned, of_one.orphaned);
        change(&self.suspect, of_one.suspect);
    }

    pub fn read(&self) -> ReplicaCounts {
        ReplicaCounts {
            all: self.all.load(Ordering::Relaxed),
            broken: self.broken.load(Ordering::Relaxed),
            orphaned: self.orphaned.load(Ordering::Relaxed),
            suspect: self.suspect.load(Ordering::Relaxed),
        }
    }
}
