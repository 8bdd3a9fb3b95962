//! The same by fio: its command line, and its figures.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value as Json;

use super::case::{Case, Direction, Mode};
use crate::measure::figures::{CPU, THROUGHPUT};
use crate::measure::{MIB, Sample};
use crate::target::Target;
use crate::terminal::{Interrupt, Interrupted};

/// How often it is looked whether fio has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What fio is told.
#[derive(Debug)]
pub struct Command {
    direction: Direction,
    arguments: Vec<String>,
}

impl Command {
    /// The same as a case.
    pub fn new(case: &Case, size_bytes: u64) -> Self {
        let (name, rw) = match case.direction {
            Direction::Write => ("penstock-write", "write"),
            Direction::Read => ("penstock-read", "read"),
        };
        let mut arguments = vec![
            format!("--name={name}"),
            format!("--rw={rw}"),
            "--ioengine=io_uring".to_owned(),
            "--fixedbufs=1".to_owned(),
            format!("--bs={}", case.block_bytes),
            format!("--iodepth={}", case.depth),
            format!("--size={size_bytes}"),
            format!("--numjobs={}", case.jobs),
            "--group_reporting".to_owned(),
            "--fallocate=posix".to_owned(),
            "--refill_buffers=0".to_owned(),
            "--unlink=1".to_owned(),
        ];
        match case.mode {
            Mode::Direct => arguments.push("--direct=1".to_owned()),
            Mode::Dontcache => arguments.push("--uncached=1".to_owned()),
            Mode::Buffered => arguments.push("--invalidate=1".to_owned()),
            Mode::Cached => arguments.extend(["--invalidate=0".to_owned(), "--pre_read=1".to_owned()]),
        }
        if case.direction == Direction::Write {
            arguments.push("--end_fsync=1".to_owned());
        }
        Self { direction: case.direction, arguments }
    }

    /// As it would be typed.
    pub fn shown(&self, directory: &Path) -> String {
        let directory = directory.display().to_string();
        // What a shell would take apart is quoted.
        let plain = directory.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
        let directory = if plain { directory } else { format!("'{}'", directory.replace('\'', r"'\''")) };
        format!("fio --directory={directory} {}", self.arguments.join(" "))
    }

    /// One run of fio.
    pub fn measure(&self, target: &Target, interrupt: &Interrupt) -> anyhow::Result<Sample> {
        let directory = target.named().context("cannot make a directory for fio's files")?;
        let child = Process::new("fio")
            .arg(format!("--directory={}", directory.path().display()))
            .args(&self.arguments)
            .arg("--output-format=json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run fio (is it installed?)")?;
        let output = until_end(child, interrupt)?;
        let json: Json = serde_json::from_str(&output).context("fio's output is not as expected")?;
        sample(&json, self.direction).context("fio's output lacks the figures")
    }
}

/// Waits for its end, and sees to it that it does end.
fn until_end(child: Child, interrupt: &Interrupt) -> anyhow::Result<String> {
    let mut running = Running(child);
    let (Some(mut stdout), Some(mut stderr)) = (running.0.stdout.take(), running.0.stderr.take()) else {
        anyhow::bail!("fio's output cannot be read")
    };
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let status = loop {
        if interrupt.came() {
            return Err(Interrupted.into());
        }
        if let Some(status) = running.0.try_wait().context("cannot wait for fio")? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    if !status.success() {
        let mut said = String::new();
        // Its status is the reason to tell, whatever it said.
        let _ = stderr.read_to_string(&mut said);
        anyhow::bail!("fio ended with {status}: {}", said.lines().next().unwrap_or("it said nothing"));
    }
    let text = reading.join().map_err(|_| anyhow::anyhow!("fio's output cannot be read"))?;
    text.context("fio's output cannot be read")
}

/// Ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// fio's figures: bytes per second, and the share of the run time that its threads were on a processor.
fn sample(json: &Json, direction: Direction) -> Option<Sample> {
    let job = json.get("jobs")?.get(0)?;
    let side = job.get(match direction {
        Direction::Write => "write",
        Direction::Read => "read",
    })?;
    let bytes = side.get("io_bytes")?.as_f64()?;
    let run_time_seconds = job.get("job_runtime")?.as_f64()? / 1e3;
    let elapsed_seconds = side.get("runtime")?.as_f64()? / 1e3;
    let share = (job.get("usr_cpu")?.as_f64()? + job.get("sys_cpu")?.as_f64()?) / 100.0;
    if bytes <= 0.0 || elapsed_seconds <= 0.0 {
        return None;
    }
    let mib = bytes / MIB;
    let figures =
        vec![(&THROUGHPUT, mib / elapsed_seconds), (&CPU, share * run_time_seconds / (mib / 1024.0))];
    Some(Sample { figures, ..Default::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_can_be_typed() {
        let command = Command::new(&Case::usual(Direction::Write), 1 << 30);
        let shown = command.shown(Path::new("/data/it's mine"));
        assert!(
            shown.starts_with(r"fio --directory='/data/it'\''s mine' --name=penstock-write --rw=write "),
            "{shown}"
        );
        for part in ["--bs=1048576", "--iodepth=6", "--size=1073741824", "--direct=1", "--end_fsync=1"] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(
            Command::new(&Case::usual(Direction::Read), 1)
                .shown(Path::new("/data"))
                .contains("--directory=/data ")
        );
    }

    #[test]
    fn its_figures_are_read() {
        let json = serde_json::json!({"jobs": [{
            "job_runtime": 2000, "usr_cpu": 5.0, "sys_cpu": 20.0,
            "write": {"io_bytes": 4u64 << 30, "runtime": 2000},
        }]});
        let figures = sample(&json, Direction::Write).unwrap().figures;
        assert_eq!(figures[0], (&THROUGHPUT, 2048.0));
        assert_eq!(figures[1], (&CPU, 0.125));
        assert!(sample(&json, Direction::Read).is_none());
    }
}
