//! The clients that users have, as Debian has them, at a site with its defaults: nobody has to give them an option for
//! this server.

mod browser;
mod cadaver;
mod davix;
mod litmus;
mod rclone;

use std::path::Path;
use std::process::Command;

/// What a client said and how it ended.
struct Said {
    ok: bool,
    text: String,
}

/// Runs a client in a directory, with a home of its own there. Panics when it is not installed.
fn run(directory: &Path, program: &str, arguments: &[&str]) -> Said {
    let output = Command::new("timeout")
        .args(["--kill-after=5", "600", program])
        .args(arguments)
        .current_dir(directory)
        .env("HOME", directory)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("http_proxy")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    assert_ne!(output.status.code(), Some(127), "{program} is not installed; .ci/run installs it");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Said { ok: output.status.success(), text }
}

/// Runs a client that has to succeed; gives what it said.
fn must(directory: &Path, program: &str, arguments: &[&str]) -> String {
    let said = run(directory, program, arguments);
    assert!(said.ok, "{program} {arguments:?}:\n{}", said.text);
    said.text
}
