//! What the server tells of itself: counters, of which a client takes the difference over a run.

use std::io::Read as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
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
