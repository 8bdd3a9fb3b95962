//! Short Python programs, where something else than our own code is to look at, or to make, what is on the disk.

use std::ffi::OsStr;
use std::process::Command;

use serde_json::Value;

/// Runs a program with arguments; returns its stdout. Panics when it fails.
#[must_use]
pub fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let output = Command::new("python3")
        // Without the user's own site packages: quicker, and the same everywhere.
        .args(["-I", "-S", "-c", program])
        .args(arguments)
        .output()
        .expect("python3 is installed (Debian: apt-get install python3)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same for a program that prints JSON.
#[must_use]
pub fn json(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Value {
    let text = run(program, arguments);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in the program's JSON:\n{text}"))
}
