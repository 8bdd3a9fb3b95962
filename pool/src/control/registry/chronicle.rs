//! What is remembered of transfers that have ended, for people: the last failures, and the records.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::entry::Entry;
use super::records::Records;
use crate::transfer::state::StateName;

/// Failures that are remembered.
pub const FAILURES_KEPT: usize = 50;

/// Hears of every transfer's end.
#[derive(Debug, Default)]
pub struct Chronicle {
    records: Option<Records>,
    /// The latest last.
    failures: Mutex<VecDeque<Arc<Entry>>>,
}

impl Chronicle {
    /// One that has records written, if they are wanted.
    #[must_use]
    pub fn new(records: Option<Records>) -> Self {
        Self { records, failures: Mutex::default() }
    }

    /// A transfer has ended. Never blocks.
    pub(super) fn ended(&self, entry: &Arc<Entry>) {
        if let Some(records) = &self.records {
            records.write(entry);
        }
        if entry.state() == StateName::Failed {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            if failures.len() >= FAILURES_KEPT {
                failures.pop_front();
            }
            failures.push_back(Arc::clone(entry));
        }
    }

    /// The last failures of this life of the daemon, the latest first.
    #[must_use]
    pub fn failures(&self) -> Vec<Arc<Entry>> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.iter().rev().cloned().collect()
    }

    /// The writer of records, if there is one.
    #[must_use]
    pub fn records(&self) -> Option<&Records> {
        self.records.as_ref()
    }
}
