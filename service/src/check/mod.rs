//! Whether a daemon can run here with its configuration: what was found of one thing after the other, and what to do.
//!
//! * [`files`]: certificates, keys. [`names`]: DNS. [`ports`]: who listens already. [`ipv6`], [`descriptors`], [`clock`].
//!
//! The daemons' own commands `check` put these together with what only they know. Nothing is bound or changed by it.

pub mod clock;
pub mod descriptors;
pub mod files;
pub mod ipv6;
pub mod names;
pub mod ports;

use std::process::ExitCode;

use serde_json::json;

use crate::settings::{Configuration, Sources};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good.
    Ok,
    /// The daemon runs, but worse than it could, or not for long.
    Warning,
    /// The daemon does not run, or does not do what the configuration says.
    Failed,
}

impl Level {
    /// As it stands in the table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Failed => "FAILED",
        }
    }
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The thing.
    pub what: &'static str,
    /// How it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do; empty where all is well.
    pub remedy: String,
}

impl Finding {
    /// All is well.
    pub fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, level: Level::Ok, found: found.into(), remedy: String::new() }
    }

    /// It could be better.
    pub fn warning(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, level: Level::Warning, found: found.into(), remedy: remedy.into() }
    }

    /// It does not work.
    pub fn failed(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, level: Level::Failed, found: found.into(), remedy: remedy.into() }
    }

    /// The same with another remedy, where it has one: for a daemon that has other keys, or none, for the thing.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        if !self.remedy.is_empty() {
            self.remedy = remedy.into();
        }
        self
    }
}

/// The command `check` of a daemon: its configuration, then what `look` finds, which gives the daemon's name, too. The exit
/// code tells whether anything does not work.
pub fn run<C: Configuration>(
    sources: &Sources,
    json: bool,
    look: impl FnOnce(&C) -> anyhow::Result<(String, Vec<Finding>)>,
) -> anyhow::Result<ExitCode> {
    const WHAT: &str = "configuration";
    let findings = match sources.load::<C>() {
        Err(error) => {
            vec![Finding::failed(WHAT, error.to_string(), "correct it; nothing else was looked at")]
        }
        Ok(effective) => {
            let (who, mut findings) = look(&effective.config)?;
            findings.insert(0, Finding::ok(WHAT, format!("{}: {who}", sources.file_name())));
            findings
        }
    };
    let text = if json { lines(&findings) } else { table(&findings) };
    crate::manual::print(text.as_bytes())?;
    Ok(if any_failed(&findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Whether anything does not work.
#[must_use]
pub fn any_failed(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.level == Level::Failed)
}

/// An object of JSON on a line for each, for programs.
#[must_use]
pub fn lines(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let Finding { what, level, found, remedy } = finding;
        let level = level.word().to_ascii_lowercase();
        let remedy = Some(remedy).filter(|remedy| !remedy.is_empty());
        format!("{}\n", json!({ "what": what, "level": level, "found": found, "remedy": remedy }))
    };
    findings.iter().map(line).collect()
}

/// A line for each, with what to do below it, for people.
#[must_use]
pub fn table(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { what, level, found, remedy } in findings {
        text.push_str(&format!("{:7}  {what:width$}  {}\n", level.word(), plain(found)));
        if !remedy.is_empty() {
            text.push_str(&format!("{:7}  {:width$}  → {}\n", "", "", plain(remedy)));
        }
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (good, warnings, failed) = (count(Level::Ok), count(Level::Warning), count(Level::Failed));
    text.push_str(&format!("\n{good} ok, {warnings} warnings, {failed} failed\n"));
    text
}

/// A size to a tenth of its unit, as people read it.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A text from elsewhere as it may go to a terminal: without what would drive it.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> [Finding; 2] {
        [Finding::ok("root", "/srv"), Finding::failed("clock", "it is\n1970", "set the clock")]
    }

    #[test]
    fn what_to_do_stands_below_what_is_not_well() {
        let text = table(&two());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok       root   /srv");
        assert_eq!(lines[1], "FAILED   clock  it is\u{fffd}1970");
        assert_eq!(lines[2], "                → set the clock");
        assert_eq!(lines[4], "1 ok, 0 warnings, 1 failed");
        assert!(any_failed(&two()) && !any_failed(&two()[..1]));
    }

    #[test]
    fn another_remedy_is_for_what_needs_one() {
        let [good, bad] = two().map(|finding| finding.with_remedy("ask"));
        assert_eq!((good.remedy.as_str(), bad.remedy.as_str()), ("", "ask"));
    }

    #[test]
    fn sizes_have_one_decimal() {
        for (number, shown) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (u64::MAX, "16384.0 PiB")] {
            assert_eq!(bytes(number), shown);
        }
    }

    #[test]
    fn programs_get_an_object_a_line() {
        let text = lines(&two());
        let objects: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects[0], json!({ "what": "root", "level": "ok", "found": "/srv", "remedy": null }));
        assert_eq!(objects[1]["level"], "failed");
    }
}
