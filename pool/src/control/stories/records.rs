//! Records whose target gives trouble, and what transfers notice of it: nothing.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::put;
use crate::config::RecordTarget;
use crate::control::metrics::Metrics;
use crate::control::queue::QueueLimits;
use crate::control::registry::entry::Entry;
use crate::control::registry::records::Records;
use crate::control::registry::{Registry, RegistrySettings};
use crate::transfer::{SystemClock, Timeouts};

/// A transfer that was called off.
fn ended() -> Arc<Entry> {
    let minute = Duration::from_secs(60);
    let settings = RegistrySettings {
        queues: vec![QueueLimits { name: "default".into(), max_running: 1, max_waiting: 0 }],
        max_transfers: 1,
        timeouts: Timeouts { client: minute, linger: minute, claim: minute },
        doors: Default::default(),
    };
    let registry = Registry::new(settings, Arc::new(SystemClock::new()), Arc::new(Metrics::new()));
    let entry = registry.start(put("t1", "r1")).unwrap();
    assert!(entry.cancel("enough"));
    entry
}

/// A pipe that nobody empties. Whoever holds the file keeps it open.
fn stuck_pipe(path: &Path) -> File {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    OpenOptions::new().read(true).write(true).open(path).unwrap()
}

#[test]
fn a_target_that_hangs_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    let pipe = stuck_pipe(&path);
    let records = Records::start(&RecordTarget::File(path), "pool1").unwrap();
    let entry = ended();
    let began = Instant::now();

    for _ in 0..20_000 {
        records.write(&entry);
    }

    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(records.lost() > 0, "what does not fit into the line is counted");
    records.end();
    assert!(began.elapsed() < Duration::from_secs(10), "the end is not held up for ever either");
    drop(pipe);
}

#[test]
fn what_waits_at_the_end_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("records");
    let records = Records::start(&RecordTarget::File(path.clone()), "pool1").unwrap();
    let entry = ended();

    for _ in 0..1000 {
        records.write(&entry);
    }
    records.end();

    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!((text.lines().count(), records.written(), records.lost()), (1000, 1000, 0));
    let record: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((record["state"].as_str(), record["why"].as_str()), (Some("cancelled"), Some("enough")));
    assert_eq!(record["pool"], "pool1");
}

#[test]
fn a_target_that_cannot_be_opened_is_told_before_anything_runs() {
    let target = RecordTarget::File("/nonexistent/records".into());
    let error = Records::start(&target, "pool1").unwrap_err().to_string();
    assert!(error.starts_with("records: cannot open /nonexistent/records: "), "{error}");
}
