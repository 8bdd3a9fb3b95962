//! One running daemon: its output as it comes, signals, and its end. Killed when dropped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::patience::within;

/// Lines of the log that are shown with a story that failed.
const LAST_LINES: usize = 20;

/// A daemon's process.
pub struct Daemon {
    name: String,
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// What came through a pipe so far, and the thread that reads it.
struct Output {
    text: Arc<Mutex<String>>,
    gathering: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts it.
    #[must_use]
    pub fn spawn(name: &str, command: &mut Command) -> Daemon {
        Self::spawn_with_stdin(name, command, Stdio::null())
    }

    /// Starts it with a descriptor of the story's as its standard input.
    #[must_use]
    pub fn spawn_with_stdin(name: &str, command: &mut Command, stdin: Stdio) -> Daemon {
        let mut child = command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stdout = gather(child.stdout.take().expect("stdout is piped"));
        let stderr = gather(child.stderr.take().expect("stderr is piped"));
        Daemon { name: name.to_owned(), child, stdout, stderr }
    }

    /// The first line of its stdout that begins so, once it is there. Panics when it ends before.
    #[must_use]
    pub fn line(&mut self, beginning: &str) -> String {
        let found = within(Duration::from_secs(60), || {
            let ended = self.has_ended().is_some();
            let line = self.stdout().lines().find(|line| line.starts_with(beginning)).map(str::to_owned);
            match line {
                Some(line) => Some(Ok(line)),
                None => ended.then_some(Err(())),
            }
        });
        match found {
            Some(Ok(line)) => line,
            Some(Err(())) => panic!("{} ended before it said {beginning:?}:\n{}", self.name, self.stderr()),
            None => panic!("{} never said {beginning:?}:\n{}", self.name, self.stderr()),
        }
    }

    /// What it has written to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What it has written to stderr so far: its log.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Its exit status, when it ends within that time.
    pub fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        within(limit, || self.has_ended())
    }

    /// Its exit status, when it has ended.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("a child can be waited for")?;
        // Its last words may still be in the pipes.
        self.stdout.finish();
        self.stderr.finish();
        Some(status)
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let limit = Duration::from_secs(30);
        self.ended_within(limit)
            .unwrap_or_else(|| panic!("{} has not ended within {limit:?}:\n{}", self.name, self.stderr()))
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        self.has_ended().is_none()
    }

    fn pid(&self) -> Pid {
        let number = i32::try_from(self.child.id()).expect("process ids are small");
        Pid::from_raw(number).expect("a child's id is not 0")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.stderr();
            let lines: Vec<_> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
            eprintln!("--- what {} said at last ---\n{}{end}\n---", self.name, self.stdout());
        }
    }
}

/// Collects lines in the background; a daemon must never wait for a test to read.
fn gather(stream: impl Read + Send + 'static) -> Output {
    let text = Arc::new(Mutex::new(String::new()));
    let gathered = Arc::clone(&text);
    let gathering = thread::spawn(move || {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            gathered.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    Output { text, gathering: Some(gathering) }
}

impl Output {
    fn text(&self) -> String {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn finish(&mut self) {
        if let Some(gathering) = self.gathering.take() {
            gathering.join().expect("reading lines does not panic");
        }
    }
}
