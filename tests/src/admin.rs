//! `penstock-pool SUBCOMMAND`, as an admin runs it.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::binaries::binary;

/// What a command ended with.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status.
    pub status: i32,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// Runs `penstock-pool WORDS… --socket SOCKET` against a running pool.
#[must_use]
pub fn at_socket(socket: &Path, words: &[&str]) -> Outcome {
    run(Command::new(binary("penstock-pool")).args(words).arg("--socket").arg(socket))
}

/// Runs `penstock-pool --config CONFIG WORDS…`.
#[must_use]
pub fn with_config(config: &Path, words: &[&str]) -> Outcome {
    run(Command::new(binary("penstock-pool")).arg("--config").arg(config).args(words))
}

/// Runs `penstock-door --config CONFIG --adopt POOL`.
#[must_use]
pub fn adopt(config: &Path, pool: &str) -> Outcome {
    run(Command::new(binary("penstock-door")).arg("--config").arg(config).args(["--adopt", pool]))
}

fn run(command: &mut Command) -> Outcome {
    let output = command.output().expect("penstock-pool runs");
    Outcome {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Outcome {
    /// Panics unless it ended well.
    #[must_use]
    pub fn expect_good(self) -> Outcome {
        assert!(
            self.status == 0,
            "penstock-pool ended with {}:\n{}{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// What `--json` gave.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error} in the JSON of penstock-pool:\n{}", self.stdout))
    }
}
