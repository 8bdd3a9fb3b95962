//! What the store is told after a replica was read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tracing::warn;

use super::reading::{Judgement, Reading};
use crate::store::{ReplicaState, Store, StoreError};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// Found good.
    Good,
    /// Found broken, and marked so.
    Broken,
    /// It is not what was read any more: deleted meanwhile, or its file was changed.
    Changed,
}

/// Records a judgement. Blocks.
pub(super) fn settle(
    store: &Store,
    reading: &Reading,
    judgement: &Judgement,
    now: Timestamp,
) -> Result<Settled, StoreError> {
    let id = reading.id();
    let replica = match store.open(id) {
        Ok(replica) if replica.identity() == reading.identity() => replica,
        Ok(_) | Err(StoreError::NotFound { .. }) => return Ok(Settled::Changed),
        Err(error) => return Err(error),
    };
    match judgement {
        Judgement::Good { compared, checksums, blocks, blocks_are_news, misread } => {
            let known = replica.attributes().checksums;
            let name = |checksum: &crate::checksum::Checksum| checksum.algorithm().name().to_owned();
            let news: BTreeMap<String, String> = checksums
                .iter()
                .map(|checksum| (name(checksum), checksum.hex().to_string()))
                .filter(|(name, _)| !known.contains_key(name))
                .collect();
            if !news.is_empty() {
                store.set_checksums(id, &news)?;
            }
            if *blocks_are_news && !checksums.is_empty() {
                if replica.blocks().is_some() {
                    warn!(replica = %id, "the checksums of its blocks are made anew: they were not those of the \
                        file, whose own agree");
                }
                store.set_blocks(id, blocks.clone())?;
            }
            if *compared {
                if replica.state() == ReplicaState::Broken {
                    store.set_state(id, ReplicaState::Ready, None)?;
                }
                store.set_verified(id, now)?;
            }
            if let Some(misread) = misread {
                let text = format!("read wrong once, and right when read again: {misread}");
                warn!(replica = %id, problem = text, "suspect: look at the disk, its cable and the memory");
                store.mark_suspect(id, &text)?;
            }
            Ok(Settled::Good)
        }
        Judgement::Broken { problems, .. } => {
            store.mark_broken(id, &problems.join("; "))?;
            Ok(Settled::Broken)
        }
    }
}

/// Marks a replica whose bytes the disk does not give.
pub(super) fn suspect(store: &Store, reading: &Reading, error: &StoreError) -> Result<(), StoreError> {
    let cause = match error {
        StoreError::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    let text = format!("cannot be read from byte {} on: {cause}", reading.offset());
    store.mark_suspect(reading.id(), &text).map(drop)
}
