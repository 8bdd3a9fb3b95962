//! `check`: whether a pool can run here with this configuration. Nothing is bound, and nothing is left behind.
//!
//! * [`files`]: certificates, keys, the target of records.
//! * [`disk`]: the root: whose it is, attributes, direct I/O, space.
//! * [`network`]: names, ports, IPv6, TCP.
//! * [`machine`]: io_uring, limits, memory, clock.

mod disk;
mod files;
mod machine;
mod network;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::options::Options;
use super::reach::USUAL_CONFIG;
use super::show::{plain, print};

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Good.
    Ok,
    /// A pool runs, but worse than it could, or not for long.
    Warning,
    /// A pool does not run, or does not do what the configuration says.
    Failed,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Failed => "FAILED",
        }
    }
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    what: &'static str,
    level: Level,
    found: String,
    /// What to do; empty where all is well.
    remedy: String,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, level: Level::Ok, found: found.into(), remedy: String::new() }
    }

    fn warning(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, level: Level::Warning, found: found.into(), remedy: remedy.into() }
    }

    fn failed(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, level: Level::Failed, found: found.into(), remedy: remedy.into() }
    }
}

/// Looks at everything.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let usual = || Some(PathBuf::from(USUAL_CONFIG)).filter(|path| path.exists());
    let sources = options.sources(options.config.clone().or_else(usual));
    let findings = match sources.load() {
        Err(error) => {
            vec![Finding::failed(
                "configuration",
                error.to_string(),
                "correct it; nothing else was looked at",
            )]
        }
        Ok(effective) => {
            let config = &effective.config;
            let place = sources.file.map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
            let mut findings = vec![Finding::ok("configuration", format!("{place}: pool {}", config.name))];
            findings.extend(disk::look(config));
            findings.extend(files::look(config));
            findings.extend(network::look(config));
            findings.extend(machine::look(config));
            findings
        }
    };
    print(&if options.json { lines(&findings) } else { table(&findings) })?;
    let failed = findings.iter().any(|finding| finding.level == Level::Failed);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn lines(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let Finding { what, level, found, remedy } = finding;
        let level = level.word().to_ascii_lowercase();
        let remedy = Some(remedy).filter(|remedy| !remedy.is_empty());
        format!("{}\n", json!({ "what": what, "level": level, "found": found, "remedy": remedy }))
    };
    findings.iter().map(line).collect()
}

/// A line for each, with what to do below it.
fn table(findings: &[Finding]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_stands_below_what_is_not_well() {
        let findings = [Finding::ok("root", "/srv"), Finding::failed("clock", "it is 1970", "set the clock")];
        let text = table(&findings);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok       root   /srv");
        assert_eq!(lines[1], "FAILED   clock  it is 1970");
        assert_eq!(lines[2], "                → set the clock");
        assert_eq!(lines[4], "1 ok, 0 warnings, 1 failed");
    }
}
