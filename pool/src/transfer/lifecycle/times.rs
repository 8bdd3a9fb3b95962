//! Where a transfer's time went: in the queue, without its client, and what limited it while it ran.

use std::time::Duration;

use super::Transfer;
use super::inner::Inner;
use crate::transfer::clock::Moment;
use crate::transfer::link::Limit;
use crate::transfer::record::{LimitShares, Summary};
use crate::transfer::state::State;

impl Transfer {
    /// What holds it back, up to now.
    #[must_use]
    pub fn limits(&self) -> LimitShares {
        self.limits_of(&self.lock())
    }

    /// How long it waited for its turn, or has waited so far.
    #[must_use]
    pub fn queue_time(&self) -> Duration {
        let inner = self.lock();
        let waited_us = match inner.state {
            State::Queued => self.now().monotonic_us.saturating_sub(self.submitted_at.monotonic_us),
            State::Ready { .. }
            | State::Running { .. }
            | State::Finishing { .. }
            | State::Done(_)
            | State::Failed(_)
            | State::Cancelled(_) => inner.queued_us,
        };
        Duration::from_micros(waited_us)
    }

    pub(super) fn summary(&self, inner: &Inner) -> Summary {
        Summary {
            bytes_moved: self.progress.bytes_moved(),
            transfer_time: self.progress.transfer_time(),
            mean_read_bandwidth: self.progress.mean_read_bandwidth(),
            mean_write_bandwidth: self.progress.mean_write_bandwidth(),
            connections: self.progress.connections(),
            limits: LimitShares { now: None, ..self.limits_of(inner) },
        }
    }

    /// Waiting in the queue counts as queue, waiting for the client as source, the rest as the connections say.
    fn limits_of(&self, inner: &Inner) -> LimitShares {
        let now = self.now();
        let until_now = |since: Moment| now.monotonic_us.saturating_sub(since.monotonic_us);
        let (on_connections, mut times_us) = self.progress.limited(now);
        let limit_now = match &inner.state {
            State::Queued => {
                times_us[Limit::Queue as usize] += until_now(self.submitted_at);
                Some(Limit::Queue)
            }
            State::Ready { ready_at } => {
                times_us[Limit::Source as usize] += until_now(*ready_at);
                Some(Limit::Source)
            }
            State::Running { .. } => on_connections.or(Some(Limit::Source)),
            State::Finishing { .. } => on_connections.or(Some(Limit::Disk)),
            State::Done(_) | State::Failed(_) | State::Cancelled(_) => None,
        };
        times_us[Limit::Queue as usize] += inner.queued_us;
        times_us[Limit::Source as usize] += inner.absent_us;
        LimitShares::of(limit_now, times_us)
    }
}
