//! How far the scrub is: small, kept in the store, so that a restart goes on where it was.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

/// The version that this release writes and reads.
const VERSION: u32 = 1;

/// What is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// On request; goes on when asked to.
    pub stopped: bool,
    /// Completed ones since the pool was made.
    pub passes: u64,
    /// The one that runs, or ran last.
    pub pass: Option<Pass>,
}

/// One pass over all replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pass {
    pub started_unix_us: u64,
    pub finished_unix_us: Option<u64>,
    pub stage: Stage,
    /// The last replica of this stage that is done with.
    pub after: Option<String>,
    /// Asked for, for this pass; `None`: as configured.
    pub rate: Option<NonZeroU64>,
    /// Replicas that were come by, whatever became of them.
    pub visited: u64,
    /// Read to their end.
    pub verified: u64,
    pub bytes: u64,
    /// Left out, since transfers used them.
    pub skipped: u64,
    pub broken: u64,
}

/// What is walked over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Replicas without checksums of their blocks: reads of them cannot be verified until they have some.
    WithoutBlocks,
    /// All that were there when the pass began and that it has not verified yet.
    All,
    /// Once more those that transfers used when it was their turn.
    Deferred,
}

impl Default for Record {
    fn default() -> Self {
        Self { version: VERSION, stopped: false, passes: 0, pass: None }
    }
}

impl Pass {
    pub(super) fn new(started_unix_us: u64, rate: Option<NonZeroU64>) -> Self {
        Self {
            started_unix_us,
            finished_unix_us: None,
            stage: Stage::WithoutBlocks,
            after: None,
            rate,
            visited: 0,
            verified: 0,
            bytes: 0,
            skipped: 0,
            broken: 0,
        }
    }
}

impl Record {
    /// Reads what was kept. What cannot be read, or is of another release, is said in the error.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match record.version {
            VERSION => Ok(record),
            other => Err(format!("it has version {other}, this release knows version {VERSION}")),
        }
    }

    /// As it is kept.
    pub(super) fn encode(&self) -> Vec<u8> {
        // Plain numbers and text: nothing in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The pass that has begun and not ended.
    pub(super) fn running(&mut self) -> Option<&mut Pass> {
        self.pass.as_mut().filter(|pass| pass.finished_unix_us.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_as_it_was_kept() {
        let pass = Pass {
            stage: Stage::Deferred,
            after: Some("abc".into()),
            verified: 7,
            ..Pass::new(1_767_225_600_000_000, NonZeroU64::new(5))
        };
        let record = Record { stopped: true, passes: 3, pass: Some(pass), ..Record::default() };
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn what_another_release_kept_is_not_guessed_at() {
        let later = Record { version: 2, ..Record::default() };
        assert_eq!(
            Record::decode(&later.encode()).unwrap_err(),
            "it has version 2, this release knows version 1"
        );
        assert!(Record::decode(b"nonsense").is_err());
    }
}
