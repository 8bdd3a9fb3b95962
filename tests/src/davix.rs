//! The real `davix-cp`: the client below gfal2 and FTS.

use std::process::Command;

/// What it ended with.
#[derive(Debug)]
pub struct Outcome {
    /// The exit status; 0 when it was content.
    pub status: i32,
    /// All that it wrote, errors included.
    pub said: String,
}

/// Who makes the connection to the other site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The destination fetches.
    Pull,
    /// The source sends.
    Push,
}

/// Copies from URL to URL, with these headers (`Name: value`) on the COPY.
#[must_use]
pub fn copy(mode: Mode, source: &str, destination: &str, headers: &[String]) -> Outcome {
    let mut command = Command::new("davix-cp");
    command.args(["--retry", "0", "--timeout", "60", "--conn-timeout", "10", "--copy-mode"]);
    command.arg(match mode {
        Mode::Pull => "pull",
        Mode::Push => "push",
    });
    for header in headers {
        command.arg("--header").arg(header);
    }
    let output = command
        .args([source, destination])
        // Its own configuration and a proxy of the machine are not to be part of the story.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .expect("davix-cp runs (Debian: apt-get install davix)");
    let said = [output.stdout, output.stderr].concat();
    Outcome { status: output.status.code().unwrap_or(-1), said: String::from_utf8_lossy(&said).into_owned() }
}
