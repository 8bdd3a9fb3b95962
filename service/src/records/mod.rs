//! Records: one line of JSON for each thing that has happened, at the end of a file, in the journal or on standard error.
//! A pool's are of transfers, a door's of what it refused and changed.
//!
//! Nobody waits for them and nothing fails with them: they go into a bounded line, and a thread of its own writes. What
//! cannot be written, or does not fit into the line, is counted and told of once.

mod target;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tracing::{error, info};

use self::target::Target;

/// Things that wait to be written. With a target that has stopped, further ones are lost.
const WAITING_LIMIT: usize = 4096;
/// Records that are written at once.
const BATCH_LIMIT: usize = 256;
/// At the end: how long writing what waits may take.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordTarget {
    /// Lines at the end of a file.
    File(PathBuf),
    /// The journal, with fields to search by.
    Journal,
    /// Lines on the standard error.
    Stderr,
}

impl fmt::Display for RecordTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordTarget::File(path) => write!(f, "{}", path.display()),
            RecordTarget::Journal => f.write_str("the journal"),
            RecordTarget::Stderr => f.write_str("the standard error"),
        }
    }
}

impl FromStr for RecordTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "journal" => Ok(RecordTarget::Journal),
            "stderr" => Ok(RecordTarget::Stderr),
            path if path.starts_with('/') => Ok(RecordTarget::File(path.into())),
            _ => Err(format!("\"{text}\": write an absolute path, \"journal\" or \"stderr\"")),
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// One line of JSON, without its end.
    pub json: String,
    /// What the journal can be searched by: names in capitals, and their values.
    pub fields: Vec<(&'static str, String)>,
}

/// What a daemon's records are called.
#[derive(Debug, Clone, Copy)]
pub struct Naming {
    /// Who writes them, for the journal.
    pub identifier: &'static str,
    /// What they are, for the log: `records`, `the audit`.
    pub what: &'static str,
    /// The metric that counts the lost ones.
    pub lost_metric: &'static str,
}

/// Why records cannot be written at all.
#[derive(Debug, Error)]
pub enum RecordsError {
    /// The target cannot be opened.
    #[error("{what}: cannot open {target}: {error}")]
    Open {
        /// Which records.
        what: &'static str,
        /// A file, or the journal.
        target: RecordTarget,
        /// What the system said.
        error: io::Error,
    },
    /// No thread.
    #[error("{what}: cannot start a thread: {error}")]
    Thread {
        /// Which records.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// Writes records until it is ended.
#[derive(Debug)]
pub struct Records<T> {
    /// `None` once it was ended.
    jobs: Mutex<Option<SyncSender<Job<T>>>>,
    /// Closed by the thread's end.
    finished: Mutex<Receiver<()>>,
    shared: Arc<Shared>,
    naming: Naming,
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
enum Job<T> {
    Write(T),
    /// Looks at [`Shared::reopen`].
    Wake,
}

impl<T: Send + 'static> Records<T> {
    /// Opens the target and starts the thread, on which `record` makes records of what has happened.
    pub fn start(
        target: &RecordTarget,
        naming: Naming,
        record: impl FnMut(T) -> Record + Send + 'static,
    ) -> Result<Self, RecordsError> {
        let what = naming.what;
        let open = Target::open(target);
        let open = open.map_err(|error| RecordsError::Open { what, target: target.clone(), error })?;
        let (jobs, waiting) = sync_channel(WAITING_LIMIT);
        let (finishing, finished) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let mut writer = Writer {
            target: open,
            name: target.to_string(),
            naming,
            record,
            shared: Arc::clone(&shared),
            failing: false,
        };
        thread::Builder::new()
            .name("penstock-records".into())
            .spawn(move || {
                writer.run(&waiting);
                drop(finishing);
            })
            .map_err(|error| RecordsError::Thread { what, error })?;
        Ok(Records { jobs: Mutex::new(Some(jobs)), finished: Mutex::new(finished), shared, naming })
    }

    /// Something has happened. Never blocks.
    pub fn write(&self, what: T) {
        if self.hand_over(Job::Write(what)) {
            return;
        }
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        if !self.shared.overflowing.swap(true, Ordering::AcqRel) {
            let Naming { what, lost_metric, .. } = self.naming;
            error!(
                waiting = WAITING_LIMIT,
                "{what}: records are lost, as more happens than can be written; {lost_metric} counts them"
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
            let what = self.naming.what;
            error!("{what}: the last records are lost: their target does not take them");
        }
    }

    fn hand_over(&self, job: Job<T>) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
        }
    }
}

/// The thread's own.
struct Writer<F> {
    target: Target,
    name: String,
    naming: Naming,
    record: F,
    shared: Arc<Shared>,
    /// The last write failed, and that was told.
    failing: bool,
}

impl<F> Writer<F> {
    fn run<T>(&mut self, waiting: &Receiver<Job<T>>)
    where
        F: FnMut(T) -> Record,
    {
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

    fn record<T>(&mut self, job: Job<T>) -> Option<Record>
    where
        F: FnMut(T) -> Record,
    {
        match job {
            Job::Write(what) => Some((self.record)(what)),
            Job::Wake => None,
        }
    }

    fn reopen(&mut self) {
        match self.target.reopen() {
            Ok(()) => info!(target_name = self.name, "{}: the file was opened again", self.naming.what),
            Err(error) => self.fails(&error),
        }
    }

    fn write(&mut self, batch: &[Record]) {
        if batch.is_empty() {
            return;
        }
        let (written, result) = self.target.write(self.naming.identifier, batch);
        self.shared.written.fetch_add(written as u64, Ordering::Relaxed);
        self.shared.lost.fetch_add((batch.len() - written) as u64, Ordering::Relaxed);
        match result {
            Ok(()) if self.failing => {
                self.failing = false;
                let lost = self.shared.lost.load(Ordering::Relaxed);
                info!(target_name = self.name, lost, "{}: records are written again", self.naming.what);
            }
            Ok(()) => {}
            Err(error) => self.fails(&error),
        }
    }

    /// One line for each time that it begins.
    fn fails(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            let Naming { what, lost_metric, .. } = self.naming;
            error!(
                target_name = self.name,
                %error,
                "{what}: records cannot be written and are lost until they can; everything else goes on, and \
                 {lost_metric} counts the lost"
            );
        }
    }
}
