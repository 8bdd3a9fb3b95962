//! What the server tells of itself: counters, of which a client takes the difference over a run.

use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use penstock_pool::engine::net::zero_copy::Tally;
use serde::{Deserialize, Serialize};

use super::greeting::{Greeting, Kind};

/// How long the answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// It is no longer than that.
const MOST_BYTES: u64 = 4096;

/// The server's counters since its start.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Facts {
    /// Its version.
    pub version: String,
    /// Processors it may use.
    pub processors: usize,
    /// Threads that move bytes.
    pub shards: usize,
    /// Processor time of the whole process.
    pub cpu_nanoseconds: u64,
    /// Segments that were sent again.
    pub retransmits: u64,
    /// Streams that were sent to their end,
    pub streams_sent: u64,
    /// and the sum of their round-trip times then.
    pub round_trip_microseconds: u64,
    /// What became of sending without a copy.
    pub zero_copy: Verdicts,
}

/// Connections on which sending without a copy was tried, by what became of it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Verdicts {
    /// Nothing was copied.
    pub working: u64,
    /// The kernel copied after all.
    pub copied: u64,
    /// The receiver paused, so that it was given up.
    pub slow: u64,
}

impl Verdicts {
    /// Those of several shards together.
    pub fn of<'a>(tallies: impl IntoIterator<Item = &'a Tally>) -> Self {
        let mut sum = Self::default();
        for tally in tallies {
            for (verdict, count) in tally.read() {
                match verdict {
                    "working" => sum.working += count,
                    "copied" => sum.copied += count,
                    _ => sum.slow += count,
                }
            }
        }
        sum
    }

    /// What has come since.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            working: self.working.saturating_sub(earlier.working),
            copied: self.copied.saturating_sub(earlier.copied),
            slow: self.slow.saturating_sub(earlier.slow),
        }
    }

    /// In words; `None` when nothing is known yet, as after a very short run.
    pub fn shown(self) -> Option<String> {
        let parts = [
            (self.working, "without a copy"),
            (self.copied, "copied by the kernel after all"),
            (self.slow, "given up, as the receiver was slow"),
        ];
        let told = parts.iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = told.map(|(count, what)| format!("{count} {what}")).collect();
        (!told.is_empty()).then(|| format!("connections: {}", told.join(", ")))
    }
}

impl Facts {
    /// Those of a server, now.
    pub fn ask(address: SocketAddr) -> anyhow::Result<Facts> {
        let mut stream = super::open(address, 0, Greeting { kind: Kind::Facts, length: Duration::ZERO })?;
        let mut ask = || -> std::io::Result<Vec<u8>> {
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            let mut answer = Vec::new();
            (&mut stream).take(MOST_BYTES).read_to_end(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().with_context(|| format!("the server at {address} does not answer"))?;
        serde_json::from_slice(&answer).with_context(|| {
            format!(
                "what answers at {address} is no `penstock-bench net serve` of this version, or it is full"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_told_where_there_are_any() {
        let before = Verdicts { working: 1, copied: 2, slow: 0 };
        let after = Verdicts { working: 1, copied: 4, slow: 1 };
        assert_eq!(
            after.since(before).shown().as_deref(),
            Some("connections: 2 copied by the kernel after all, 1 given up, as the receiver was slow")
        );
        assert_eq!(before.since(before).shown(), None);
        assert_eq!(Verdicts::of([&Tally::default(), &Tally::default()]), Verdicts::default());
    }
}
