//! The program under test: run to its end, or started and interrupted; and what it has said.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Whatever is awaited takes less, even on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What a run has said.
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its stdout.
    pub out: String,
    /// Its stderr.
    pub err: String,
}

impl Said {
    /// It ended well; gives its stdout as JSON.
    pub fn json(&self) -> serde_json::Value {
        assert!(self.status.success(), "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}:\n{}", self.out))
    }

    /// It failed in order, and said why in one line.
    pub fn complaint(&self) -> &str {
        assert_eq!(self.status.code(), Some(1), "{}\n{}", self.out, self.err);
        assert_eq!(self.out, "", "nothing that looks like a result");
        assert!(self.err.starts_with("penstock-bench: "), "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        &self.err
    }
}

/// The program.
pub fn program() -> &'static str {
    env!("CARGO_BIN_EXE_penstock-bench")
}

/// Runs it with these arguments.
pub fn bench(arguments: &[&str]) -> Said {
    said(Command::new(program()).args(arguments))
}

/// Runs it in a world of its own: `prepare` is a shell's script, run as root of new name spaces, that ends with the
/// program's arguments in `"$@"`. `None` where that is not allowed.
pub fn bench_in_own_world(prepare: &str, arguments: &[&str]) -> Option<Said> {
    let world = |script: &str, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-ec", script, "sh"]).args(arguments);
        command
    };
    let able = world("mount -t tmpfs none /mnt", &[]).stderr(Stdio::null()).status();
    if !able.is_ok_and(|status| status.success()) {
        println!("skipped: mounting in a name space of one's own is not allowed here");
        return None;
    }
    let mut with_program = vec![program()];
    with_program.extend(arguments);
    Some(said(&mut world(&format!("{prepare}; exec \"$@\""), &with_program)))
}

/// Runs it as a user without privileges. `None` where there is no other user to become, or the program is out of that
/// user's reach.
pub fn bench_as_nobody(arguments: &[&str]) -> Option<Said> {
    let nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program()]);
        command
    };
    let able = nobody().arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !able.is_ok_and(|status| status.success()) {
        println!("skipped: the program cannot be run as another user here");
        return None;
    }
    Some(said(nobody().args(arguments)))
}

fn said(command: &mut Command) -> Said {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("what it says is UTF-8");
    Said { status: output.status, out: text(&output.stdout), err: text(&output.stderr) }
}

/// A run that is under way. Killed when dropped.
pub struct Running(Child);

/// Starts it with these arguments.
pub fn start(arguments: &[&str]) -> Running {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.spawn().expect("the program starts"))
}

impl Running {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// The first line that it says.
    pub fn first_line(&mut self) -> String {
        let stdout = self.0.stdout.as_mut().expect("stdout is piped");
        let mut line = String::new();
        let mut byte = [0];
        while stdout.read(&mut byte).expect("stdout can be read") == 1 && byte[0] != b'\n' {
            line.push(byte[0].into());
        }
        line
    }

    /// Ctrl-C, and what it says until its end.
    pub fn interrupted(mut self) -> Said {
        let pid = Pid::from_raw(self.0.id() as i32).expect("a child has an id");
        kill_process(pid, Signal::INT).expect("it runs still");
        let mut status = None;
        within(|| {
            status = self.0.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        let (mut out, mut err) = (String::new(), String::new());
        self.0.stdout.take().expect("stdout is piped").read_to_string(&mut out).expect("it is UTF-8");
        self.0.stderr.take().expect("stderr is piped").read_to_string(&mut err).expect("it is UTF-8");
        Said { status: status.expect("it has ended"), out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something holds.
pub fn within(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "it did not come about within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What is in a directory.
pub fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("the directory can be read");
    entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}
