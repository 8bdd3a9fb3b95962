//! The audit: one record for each decision that refused, for each change of the namespace, and for what becomes of
//! credentials that this door gives or is lent.
//!
//! * [`record`]: what is told, and its form. [`limit`]: how much refusals may write, so that nobody can fill the disk.
//!
//! Changes are made by those who may, each at the price of the change itself, and are all recorded; refusals can be had
//! for nothing by anybody, so they are limited, for each client and in all. What was left out is counted in the next one.
#![forbid(unsafe_code)]

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use penstock_service::records::{Naming, RecordTarget, Records, RecordsError};

pub mod limit;
pub mod record;

pub use record::{DelegationStep, Event, Happening, Who};

use limit::Limit;

const NAMING: Naming =
    Naming { identifier: "penstock-door", what: "audit", lost_metric: "penstock_door_audit_lost_total" };

/// Writes the audit, where one is configured.
#[derive(Debug)]
pub struct Audit {
    records: Option<Records<Event>>,
    door: String,
    limit: Mutex<Limit>,
}

impl Audit {
    /// Opens the target, and starts the thread that writes to it.
    pub fn start(target: Option<&RecordTarget>, door: &str) -> Result<Self, RecordsError> {
        let start = |target| Records::start(target, NAMING, |event: Event| event.record());
        let records = target.map(start).transpose()?;
        Ok(Self { records, door: door.to_owned(), limit: Mutex::default() })
    }

    /// Something has happened. Never blocks.
    pub fn tell(&self, who: Who, happening: Happening) {
        let Some(records) = &self.records else { return };
        let left_out = match &happening {
            Happening::Refused { .. } => {
                // Numbers are whole after whatever happened.
                let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
                match limit.admit(who.client, Instant::now()) {
                    Some(left_out) => left_out,
                    None => return,
                }
            }
            Happening::Changed { .. }
            | Happening::Issued { .. }
            | Happening::Delegation { .. }
            | Happening::Named { .. } => 0,
        };
        records.write(Event { at: Timestamp::now(), door: self.door.clone(), who, happening, left_out });
    }

    /// Opens the file again, after logrotate has given it another name.
    pub fn reopen(&self) {
        if let Some(records) = &self.records {
            records.reopen();
        }
    }

    /// Records that could not be written.
    pub fn lost(&self) -> u64 {
        self.records.as_ref().map_or(0, Records::lost)
    }

    /// Writes what waits, and ends. Blocks, but not for long.
    pub fn end(&self) {
        if let Some(records) = &self.records {
            records.end();
        }
    }
}
