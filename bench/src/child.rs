//! This program a second time, as the server of a measurement: its processor time is then its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context as _;

/// A running server. Ends when it is dropped, and when this process ends in whatever way: its stdin closes then.
pub struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program with these arguments.
    pub fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a second process of this program")?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let stdout = BufReader::new(stdout.context("its output cannot be read")?);
        Ok(Self { process, stdin, stdout })
    }

    /// The next line that it says, which must begin so, without its beginning.
    pub fn line(&mut self, beginning: &str) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("the server's output cannot be read")?;
        let said = line.trim_end().strip_prefix(beginning);
        said.map(str::to_owned).context("the server has ended; what it said is above")
    }

    /// Asks for something and gives the answer's line.
    pub fn ask(&mut self, question: &str, beginning: &str) -> anyhow::Result<String> {
        let stdin = self.stdin.as_mut().context("the server takes no questions")?;
        writeln!(stdin, "{question}").and_then(|()| stdin.flush()).context("the server has ended")?;
        self.line(beginning)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The end of its stdin ends it; killing it makes sure. Both fail only when it has ended.
        self.stdin.take();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until the process that started this one has ended, or wants it to.
pub fn wait_for_parent() {
    let mut ignored = [0; 64];
    while std::io::stdin().read(&mut ignored).is_ok_and(|count| count > 0) {}
}
