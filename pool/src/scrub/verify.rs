//! Verifies one replica on request, at full speed.

use jiff::Timestamp;
use tracing::{error, info};

use super::buffer::Buffer;
use super::reading::{Judgement, Reading, Step};
use super::settle::{self, Settled};
use crate::checksum::{AlgorithmSet, Checksum};
use crate::store::{ReplicaId, Store, StoreError};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Everything agrees that is recorded.
    pub good: bool,
    /// Of the whole file, as computed.
    pub checksums: Vec<Checksum>,
    /// What is wrong, one line each.
    pub problems: Vec<String>,
}

/// Reads a replica from its file and compares all that is recorded of it. Checksums of `compute` that are not
/// recorded yet are kept, and those of its blocks. A good replica is no longer suspect, nor broken; a bad one becomes
/// broken. `progress` is told of the bytes read and of how many; its `false` ends the work with `None`. Blocks.
pub fn verify(
    store: &Store,
    id: &ReplicaId,
    compute: AlgorithmSet,
    mut progress: impl FnMut(u64, u64) -> bool,
) -> Result<Option<Verification>, StoreError> {
    let mut reading = Reading::open(store, id, compute)?;
    let mut buffer = Buffer::new();
    let judgement = loop {
        if !progress(reading.offset(), reading.size()) {
            return Ok(None);
        }
        match reading.step(&**store.disk(), &mut buffer) {
            Ok(Step::More { .. }) => {}
            Ok(Step::Ended { judgement, .. }) => break judgement,
            Err(error) => {
                settle::suspect(store, &reading, &error)?;
                return Err(error);
            }
        }
    };
    // The end is told as well, so that whoever looks sees all of it read.
    if !progress(reading.size(), reading.size()) {
        return Ok(None);
    }
    match settle::settle(store, &reading, &judgement, Timestamp::now())? {
        Settled::Good => info!(replica = %id, "verified"),
        Settled::Broken => error!(replica = %id, "found broken when it was verified"),
        Settled::Changed => return Err(StoreError::NotFound { replica: id.clone() }),
    }
    Ok(Some(match judgement {
        Judgement::Good { checksums, .. } => Verification { good: true, checksums, problems: Vec::new() },
        Judgement::Broken { checksums, problems } => Verification { good: false, checksums, problems },
    }))
}
