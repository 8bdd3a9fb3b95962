//! Records: one line of JSON for each transfer that has ended. For accounting, and for "what happened last night".
//!
//! Transfers never wait for them and never fail with them: those that end put themselves into a bounded line, and a
//! thread of its own writes. What cannot be written, or does not fit into the line, is counted and told of once.

mod target;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use tracing::{error, info};

use self::target::{Record, Target};
use super::entry::Entry;
use super::transfer_json;
use crate::config::RecordTarget;

/// Version of the schema in docs/records.md: changes when a field goes or means something else, not when one is added.
pub const SCHEMA_VERSION: u32 = 1;
/// Ended transfers that wait to be written. With a target that has stopped, further ones are lost.
const WAITING_LIMIT: usize = 4096;
/// Records that are written at once.
const BATCH_LIMIT: usize = 256;
/// At the end: how long writing what waits may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why records cannot be written at all.
#[derive(Debug, Error)]
pub enum RecordsError {
    /// The target cannot be opened.
    #[error("records: cannot open {target}: {error}")]
    Open {
        /// A file, or the journal.
        target: RecordTarget,
        /// What the system said.
        error: io::Error,
    },
    /// No thread.
    #[error("records: cannot start a thread: {0}")]
    Thread(io::Error),
}

/// Writes records until it is ended.
#[derive(Debug)]
pub struct Records {
    /// `None` once it was ended.
    jobs: Mutex<Option<SyncSender<Job>>>,
    /// Closed by the thread's end.
    finished: Mutex<Receiver<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    written: AtomicU64,
    lost: AtomicU64,
    /// The line is full, and that was told.
    overflowing: AtomicBool,
    /// The file is to be opened again.
    reopen: AtomicBool,
}

#[derive(Debug)]
enum Job {
    Ended(Arc<Entry>),
    /// Looks at [`Shared::reopen`].
    Wake,
}

impl Records {
    /// Opens the target and starts the thread. `pool` is the pool's name, which every record holds.
    pub fn start(target: &RecordTarget, pool: &str) -> Result<Records, RecordsError> {
        let open = Target::open(target);
        let open = open.map_err(|error| RecordsError::Open { target: target.clone(), error })?;
        let (jobs, waiting) = sync_channel(WAITING_LIMIT);
        let (finishing, finished) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let mut writer = Writer {
            target: open,
            name: target.to_string(),
            pool: pool.to_owned(),
            shared: Arc::clone(&shared),
            failing: false,
        };
        thread::Builder::new()
            .name("penstock-records".into())
            .spawn(move || {
                writer.run(&waiting);
                drop(finishing);
            })
            .map_err(RecordsError::Thread)?;
        Ok(Records { jobs: Mutex::new(Some(jobs)), finished: Mutex::new(finished), shared })
    }

    /// A transfer has ended. Never blocks.
    pub(super) fn write(&self, entry: &Arc<Entry>) {
        if self.hand_over(Job::Ended(Arc::clone(entry))) {
            return;
        }
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        if !self.shared.overflowing.swap(true, Ordering::AcqRel) {
            error!(
                waiting = WAITING_LIMIT,
                "records are lost: more transfers end than can be written; penstock_records_lost_total counts them"
            );
        }
    }

    /// Opens the file again, after logrotate has given it another name.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        // With a full line, the thread comes by anyway.
        self.hand_over(Job::Wake);
    }

    /// Records written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.shared.written.load(Ordering::Relaxed)
    }

    /// Records that could not be written.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Writes what waits, and ends. Blocks, but not for long.
    pub fn end(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(finished.recv_timeout(LAST_WORDS), Err(RecvTimeoutError::Timeout)) {
            error!("the last records are lost: their target does not take them");
        }
    }

    fn hand_over(&self, job: Job) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
        }
    }
}

/// The thread's own.
struct Writer {
    target: Target,
    name: String,
    pool: String,
    shared: Arc<Shared>,
    /// The last write failed, and that was told.
    failing: bool,
}

impl Writer {
    fn run(&mut self, waiting: &Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH_LIMIT);
        while let Ok(job) = waiting.recv() {
            batch.extend(self.record(job));
            while batch.len() < BATCH_LIMIT
                && let Ok(job) = waiting.try_recv()
            {
                batch.extend(self.record(job));
            }
            if self.shared.reopen.swap(false, Ordering::AcqRel) {
                self.reopen();
            }
            if batch.len() < BATCH_LIMIT {
                self.shared.overflowing.store(false, Ordering::Release);
            }
            self.write(&batch);
            batch.clear();
        }
    }

    fn record(&self, job: Job) -> Option<Record> {
        let Job::Ended(entry) = job else { return None };
        let mut object = transfer_json::transfer(&entry.info());
        object.insert("record_version".into(), SCHEMA_VERSION.into());
        object.insert("pool".into(), self.pool.as_str().into());
        Some(Record {
            transfer: entry.id().to_string(),
            outcome: entry.state().as_str(),
            json: Value::from(object).to_string(),
        })
    }

    fn reopen(&mut self) {
        match self.target.reopen() {
            Ok(()) => info!(target_name = self.name, "the file of records was opened again"),
            Err(error) => self.fails(&error),
        }
    }

    fn write(&mut self, batch: &[Record]) {
        if batch.is_empty() {
            return;
        }
        let (written, result) = self.target.write(batch);
        self.shared.written.fetch_add(written as u64, Ordering::Relaxed);
        self.shared.lost.fetch_add((batch.len() - written) as u64, Ordering::Relaxed);
        match result {
            Ok(()) if self.failing => {
                self.failing = false;
                let lost = self.shared.lost.load(Ordering::Relaxed);
                info!(target_name = self.name, lost, "records are written again");
            }
            Ok(()) => {}
            Err(error) => self.fails(&error),
        }
    }

    /// One line for each time that it begins.
    fn fails(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            error!(
                target_name = self.name,
                %error,
                "records cannot be written and are lost until they can; transfers go on, and \
                 penstock_records_lost_total counts the lost"
            );
        }
    }
}
