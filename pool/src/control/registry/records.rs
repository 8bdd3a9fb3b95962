//! Records: one line of JSON for each transfer that has ended. For accounting, and for "what happened last night".

use std::sync::Arc;

use penstock_service::records::{self, Naming, Record};
use serde_json::Value;

pub use penstock_service::records::RecordsError;

use super::entry::Entry;
use crate::config::RecordTarget;
use crate::control::messages::transfer_json;

/// Version of the schema in docs/records.md: changes when a field goes or means something else, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;

const NAMING: Naming =
    Naming { identifier: "penstock-pool", what: "records", lost_metric: "penstock_records_lost_total" };

/// Writes records until it is ended.
#[derive(Debug)]
pub struct Records(records::Records<Arc<Entry>>);

impl Records {
    /// Opens the target and starts the thread. `pool` is the pool's name, which every record holds.
    pub fn start(target: &RecordTarget, pool: &str) -> Result<Records, RecordsError> {
        let pool = pool.to_owned();
        records::Records::start(target, NAMING, move |entry: Arc<Entry>| record(&entry, &pool)).map(Records)
    }

    /// A transfer has ended. Never blocks.
    pub(in crate::control) fn write(&self, entry: &Arc<Entry>) {
        self.0.write(Arc::clone(entry));
    }

    /// Opens the file again, after logrotate has given it another name.
    pub fn reopen(&self) {
        self.0.reopen();
    }

    /// Records written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.0.written()
    }

    /// Records that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.0.lost()
    }

    /// Writes what waits, and ends. Blocks, but not for long.
    pub fn end(&self) {
        self.0.end();
    }
}

fn record(entry: &Entry, pool: &str) -> Record {
    let mut object = transfer_json::transfer(&entry.info());
    object.insert("record_version".into(), SCHEMA_VERSION.into());
    object.insert("pool".into(), pool.into());
    Record {
        json: Value::from(object).to_string(),
        fields: vec![
            ("PENSTOCK_TRANSFER", entry.id().to_string()),
            ("PENSTOCK_OUTCOME", entry.state().as_str().to_owned()),
        ],
    }
}
