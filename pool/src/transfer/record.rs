//! How a transfer ended: what the data path reports, and what is kept until the door acknowledges.

use std::time::Duration;

use crate::checksum::Checksum;

use super::clock::Moment;
use super::failure::Failure;
use super::link::{Limit, LinkSnapshot};

/// What the data path reports when a claim went well.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// GET: a response was sent to its end.
    Sent {
        /// The whole replica in one response. Ranges, 304, 412 and 416 are not.
        whole: bool,
        /// The whole replica's size.
        size: u64,
        /// The replica's checksums, as recorded.
        checksums: Vec<Checksum>,
    },
    /// PUT: the replica is committed and durable.
    Stored {
        /// Its size.
        size: u64,
        /// Computed on the way.
        checksums: Vec<Checksum>,
    },
}

/// A transfer that did what it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// The whole replica's size.
    pub size: u64,
    /// The replica's checksums.
    pub checksums: Vec<Checksum>,
    /// When the client came.
    pub started_at: Moment,
    /// When all was done.
    pub finished_at: Moment,
    /// What was moved, and how.
    pub summary: Summary,
}

/// A transfer that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// Why.
    pub failure: Failure,
    /// When the client came; `None` if it never did.
    pub started_at: Option<Moment>,
    /// When it failed.
    pub failed_at: Moment,
    /// What was moved, and how.
    pub summary: Summary,
}

/// A transfer that was called off.
#[derive(Debug, Clone, PartialEq)]
pub struct Cancelled {
    /// Why, in one line.
    pub reason: String,
    /// When.
    pub cancelled_at: Moment,
    /// What was moved, and how.
    pub summary: Summary,
}

/// What a transfer had moved when it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Bytes written or handed over.
    pub bytes_moved: u64,
    /// From the client's coming to the last byte.
    pub transfer_time: Duration,
    /// Bytes per second read from the disk; 0: not read.
    pub mean_read_bandwidth: f64,
    /// Bytes per second written to the disk; 0: not written.
    pub mean_write_bandwidth: f64,
    /// The connections used, as far as remembered.
    pub connections: Vec<LinkSnapshot>,
    /// What held it back.
    pub limits: LimitShares,
}

/// What held a transfer back, as shares of its time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LimitShares {
    /// What does so now; `None` once it ended.
    pub now: Option<Limit>,
    /// By [`Limit`]'s number; the sum is 1, or 0 when no time has passed.
    pub shares: [f64; 5],
}

impl LimitShares {
    /// Shares of the given times.
    #[must_use]
    pub fn of(now: Option<Limit>, times_us: [u64; 5]) -> Self {
        let total: u64 = times_us.iter().sum();
        let share = |us: u64| if total == 0 { 0.0 } else { us as f64 / total as f64 };
        Self { now, shares: times_us.map(share) }
    }

    /// The share of one limit.
    #[must_use]
    pub fn share(&self, limit: Limit) -> f64 {
        self.shares[limit as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_the_time_add_up_to_one() {
        let limits = LimitShares::of(Some(Limit::Disk), [1, 0, 3, 0, 0]);
        assert_eq!(limits.share(Limit::Source), 0.25);
        assert_eq!(limits.share(Limit::Disk), 0.75);
        assert_eq!(limits.shares.iter().sum::<f64>(), 1.0);
    }

    #[test]
    fn without_time_there_are_no_shares() {
        assert_eq!(LimitShares::of(None, [0; 5]), LimitShares::default());
    }
}
