//! The last words of a program that could not start or cannot go on: one line on standard error.

use std::io::Write as _;
use std::process::ExitCode;

use crate::log::Log;

/// An error with its causes, but for those whose words it has already.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    let line = error.chain().skip(1).fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        if line.contains(&cause) { line } else { format!("{line}: {cause}") }
    });
    line.replace('\n', "; ")
}

/// Ends a program: what is still to be logged is, then the complaint, if there is one.
#[must_use]
pub fn end(program: &str, log: &Log, outcome: anyhow::Result<ExitCode>) -> ExitCode {
    log.flush();
    outcome.unwrap_or_else(|error| {
        // Where nobody can be told, the exit status tells.
        let _ = writeln!(std::io::stderr(), "{}{program}: {}", log.error_prefix(), one_line(&error));
        ExitCode::FAILURE
    })
}

/// Says on standard output that all ports answer. A standard output that is closed or full is no reason not to serve.
pub fn say_ready(line: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::warn!(%error, "the ready line cannot be written to the standard output");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once_and_in_one_line() {
        let error = anyhow::anyhow!("the disk\nis gone").context("cannot open x: the disk\nis gone");
        assert_eq!(one_line(&error), "cannot open x: the disk; is gone");
        let error = anyhow::anyhow!("no such file").context("cannot open x");
        assert_eq!(one_line(&error), "cannot open x: no such file");
    }
}
