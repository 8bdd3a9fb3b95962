//! The log: lines on standard error that never hold anybody up.
//!
//! A thread writes them. Whoever logs (a shard, too, which must never wait) hands a line over and goes on; when the target
//! is full, closed or slow, lines are lost and counted, and the log says how many once it can be written again. Under
//! systemd, whose journal stamps lines itself, they carry their priority instead of a time (sd-daemon(3)).

use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::os::linux::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

/// What decides over the level before the configuration does.
const VARIABLE: &str = "RUST_LOG";
/// Lines that wait for a slow target; beyond, they are lost.
const WAITING_LINES_MAX: usize = 8192;
/// At the end of the process: how long the last lines may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Between two looks whether a full queue has room for the last request.
const LOOK: Duration = Duration::from_millis(10);

/// What is logged: a level, or levels by module (`"info"`, `"info,penstock_pool::transfer=debug"`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LogFilter(String);

impl TryFrom<String> for LogFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match EnvFilter::try_new(&text) {
            Ok(_) if !text.trim().is_empty() => Ok(Self(text)),
            _ => Err(format!(
                "\"{text}\" is no log level: write error, warn, info, debug or trace, or \"info,MODULE=debug\""
            )),
        }
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The log of this process.
#[derive(Debug, Clone)]
pub struct Log {
    lines: Lines,
    level: reload::Handle<EnvFilter, Registry>,
    usual: &'static str,
    fixed: bool,
    journal: bool,
}

impl Log {
    /// Begins to log to standard error: what `RUST_LOG` says, else what the configuration does ([`Log::follow`]), else
    /// `usual`. Once in a process.
    #[must_use]
    pub fn to_stderr(usual: &'static str) -> Self {
        let said = EnvFilter::try_from_env(VARIABLE).ok();
        let fixed = said.is_some();
        let (filter, level) = reload::Layer::new(said.unwrap_or_else(|| EnvFilter::new(usual)));
        let journal = stderr_is_the_journal();
        let lines = Lines::start(io::stderr(), journal);
        // An error of the writer would be reported where it happened, by a macro that panics when that fails, too.
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone()).log_internal_errors(false);
        let layer = if journal {
            layer
                .with_ansi(false)
                .event_format(ForJournal(Format::default().without_time().with_level(false)))
                .boxed()
        } else {
            layer.with_ansi(io::stderr().is_terminal()).boxed()
        };
        tracing_subscriber::registry().with(filter).with(layer).init();
        Self { lines, level, usual, fixed, journal }
    }

    /// Logs what the configuration says from now on, or the usual when it says nothing. `RUST_LOG` goes first.
    pub fn follow(&self, filter: Option<&LogFilter>) {
        if self.fixed {
            return;
        }
        // `LogFilter` holds only what can be parsed.
        let filter = EnvFilter::new(filter.map_or(self.usual, |filter| &filter.0));
        if let Err(error) = self.level.reload(filter) {
            tracing::error!(%error, "the log level cannot be changed");
        }
    }

    /// Waits, for a bounded time, until what was logged so far is written.
    pub fn flush(&self) {
        self.lines.flush(LAST_WORDS);
    }

    /// What a line on standard error begins with that is an error and does not come from the log.
    #[must_use]
    pub fn error_prefix(&self) -> &'static str {
        if self.journal { priority(Level::ERROR) } else { "" }
    }
}

/// Whether what is written to standard error goes to the journal: the variable names the device and inode of the
/// stream (systemd.exec(5), `JOURNAL_STREAM`). Whoever has redirected it since gets lines for people.
fn stderr_is_the_journal() -> bool {
    let Some(named) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    std::fs::metadata("/proc/self/fd/2")
        .is_ok_and(|stream| named == format!("{}:{}", stream.st_dev(), stream.st_ino()))
}

/// How urgent a line is, as the journal reads it (sd-daemon(3)).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

/// Lines as the journal wants them.
struct ForJournal(Format<Full, ()>);

impl<S, N> FormatEvent<S, N> for ForJournal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

enum Job {
    Line(Vec<u8>),
    /// Answered when all lines before it are written.
    Flush(SyncSender<()>),
}

/// The way to the thread that writes.
#[derive(Debug, Clone)]
struct Lines {
    jobs: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

impl Lines {
    fn start(target: impl Write + Send + 'static, journal: bool) -> Self {
        let (jobs, waiting) = sync_channel(WAITING_LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let theirs = Arc::clone(&lost);
        let thread = std::thread::Builder::new().name("penstock-log".to_owned());
        if let Err(error) = thread.spawn(move || write_lines(&waiting, target, &theirs, journal)) {
            // Then every line is lost, as its queue is closed; better than no daemon.
            let _ = writeln!(io::stderr(), "there will be no log: its thread cannot start: {error}");
        }
        Self { jobs, lost }
    }

    fn flush(&self, limit: Duration) {
        let give_up_at = Instant::now() + limit;
        let (done, waiting) = sync_channel(1);
        let mut job = Job::Flush(done);
        loop {
            match self.jobs.try_send(job) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < give_up_at => job = back,
                Err(_) => return,
            }
            std::thread::sleep(LOOK);
        }
        // A target that hangs keeps the last lines.
        let _ = waiting.recv_timeout(give_up_at.saturating_duration_since(Instant::now()));
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, bytes: Vec::new() }
    }
}

/// One line on its way.
struct Line<'a> {
    lines: &'a Lines,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.lines.jobs.try_send(Job::Line(std::mem::take(&mut self.bytes))).is_err() {
            self.lines.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(jobs: &Receiver<Job>, mut target: impl Write, lost: &AtomicU64, journal: bool) {
    let prefix = if journal { priority(Level::WARN) } else { "WARN " };
    for job in jobs {
        let line = match job {
            Job::Line(line) => line,
            Job::Flush(done) => {
                // Whoever asked may have given up.
                let _ = done.send(());
                continue;
            }
        };
        let missing = lost.swap(0, Ordering::Relaxed);
        let told = match missing {
            0 => Ok(()),
            _ => writeln!(
                target,
                "{prefix}lines of the log are lost here, as it could not be written: {missing}"
            ),
        };
        if told.and_then(|()| target.write_all(&line)).is_err() {
            lost.fetch_add(missing + 1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// A target that can be full.
    #[derive(Clone, Default)]
    struct Target(Arc<Mutex<(Vec<u8>, bool)>>);

    impl Write for Target {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.lock().unwrap();
            if state.1 {
                return Err(io::Error::from_raw_os_error(28)); // ENOSPC
            }
            state.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Target {
        fn set_full(&self, full: bool) {
            self.0.lock().unwrap().1 = full;
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().0.clone()).unwrap()
        }
    }

    fn log(lines: &Lines, text: &str) {
        lines.make_writer().write_all(text.as_bytes()).unwrap();
        lines.flush(Duration::from_secs(5));
    }

    #[test]
    fn what_a_full_target_did_not_take_is_counted_and_told_once_it_takes_lines_again() {
        let target = Target::default();
        let lines = Lines::start(target.clone(), false);
        log(&lines, "one\n");
        target.set_full(true);
        log(&lines, "two\n");
        log(&lines, "three\n");
        target.set_full(false);
        log(&lines, "four\n");
        log(&lines, "five\n");

        let told = "WARN lines of the log are lost here, as it could not be written: 2\n";
        assert_eq!(target.text(), format!("one\n{told}four\nfive\n"));
    }

    #[test]
    fn a_target_that_hangs_holds_nobody_up() {
        let (reader, writer) = io::pipe().unwrap();
        let lines = Lines::start(writer, true);
        let begun = Instant::now();
        // The pipe takes some, the queue takes some, and then they are lost: nobody ever waits for the reader.
        while lines.lost.load(Ordering::Relaxed) == 0 {
            lines.make_writer().write_all(&[b'x'; 100]).unwrap();
            assert!(begun.elapsed() < Duration::from_secs(10), "no line was lost");
        }
        lines.flush(Duration::from_millis(50));
        assert!(begun.elapsed() < Duration::from_secs(20), "the end waits for a bounded time only");
        drop(reader);
    }

    #[test]
    fn a_filter_is_a_level_or_levels_by_module_and_nothing_else() {
        for good in ["info", "DEBUG", "info,rustls=error", "penstock_pool::transfer=trace"] {
            assert!(LogFilter::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["", "  ", "info,=", "penstock_pool=loud"] {
            let error = LogFilter::try_from(bad.to_owned()).unwrap_err();
            assert!(error.contains("is no log level: write error, warn, info"), "{error}");
        }
    }
}
