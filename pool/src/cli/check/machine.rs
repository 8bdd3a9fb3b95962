//! io_uring, limits, memory and the clock.

use std::path::Path;
use std::time::{Duration, SystemTime};

use penstock_pool::config::{Config, DEFAULT_BUFFER_MEMORY_BYTES};
use penstock_pool::engine::ring::probe;
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::cli::show::bytes;

/// Beside connections and transfers: rings, listeners, the index, doors, logs.
const SPARE_DESCRIPTORS: u64 = 256;
/// No machine that runs this is older: 2026-01-01.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// What daemons that keep the clock right leave while they do.
const CLOCK_SIGNS: [&str; 5] = [
    "/run/systemd/timesync/synchronized",
    "/run/chrony",
    "/run/ntpd.pid",
    "/var/run/openntpd.sock",
    "/run/ntpd.sock",
];

/// Looks at them.
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = vec![ring(), descriptors(config)];
    findings.extend(locked_memory(config));
    findings.extend(memory(config));
    findings.extend(huge_pages());
    findings.push(clock(SystemTime::now(), CLOCK_SIGNS.iter().any(|sign| Path::new(sign).exists())));
    findings
}

fn ring() -> Finding {
    match probe::abilities() {
        Err(error) => {
            Finding::failed("io_uring", error.to_string(), "as it says; a pool does not run without")
        }
        Ok(abilities) if abilities.zero_copy_send && abilities.deferred_task_run => {
            Finding::ok("io_uring", abilities.to_string())
        }
        Ok(abilities) => Finding::warning(
            "io_uring",
            abilities.to_string(),
            "Linux 6.1 or newer has more of it, which costs less",
        ),
    }
}

fn descriptors(config: &Config) -> Finding {
    let needed = (config.limits.connections as u64)
        .saturating_add(config.limits.transfers as u64)
        .saturating_add(SPARE_DESCRIPTORS);
    match getrlimit(Resource::Nofile).maximum {
        Some(limit) if limit < needed => Finding::warning(
            "open files",
            format!("{limit} are allowed; limits.connections and limits.transfers can need {needed}"),
            "raise LimitNOFILE= of the unit (ulimit -Hn in a shell), or lower them",
        ),
        Some(limit) => Finding::ok("open files", format!("{limit} are allowed, {needed} can be needed")),
        None => Finding::ok("open files", "any number is allowed"),
    }
}

fn buffer_bytes(config: &Config) -> u64 {
    config.buffer_memory_bytes.unwrap_or(DEFAULT_BUFFER_MEMORY_BYTES)
}

fn locked_memory(config: &Config) -> Option<Finding> {
    let needed = buffer_bytes(config);
    let limit = getrlimit(Resource::Memlock).current?;
    let found = format!("{} may be locked; buffer_memory is {}", bytes(limit), bytes(needed));
    Some(if limit < needed {
        let remedy = "LimitMEMLOCK=infinity in the unit, ulimit -l in a shell; without it, copies cost more";
        Finding::warning("locked memory", found, remedy)
    } else {
        Finding::ok("locked memory", found)
    })
}

fn memory(config: &Config) -> Option<Finding> {
    let table = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = table.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024);
    let needed = buffer_bytes(config);
    let found = format!("{} available", bytes(available));
    Some(if needed > available / 2 {
        let remedy = format!("lower buffer_memory, which is {}", bytes(needed));
        Finding::warning("memory", found, remedy)
    } else {
        Finding::ok("memory", found)
    })
}

fn huge_pages() -> Option<Finding> {
    let text = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let remedy = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: direct I/O is faster with them";
    Some(if text.contains("[never]") {
        Finding::warning("huge pages", "switched off", remedy)
    } else {
        Finding::ok("huge pages", "on")
    })
}

fn clock(now: SystemTime, kept_right: bool) -> Finding {
    let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if since_1970 < EARLIEST {
        return Finding::failed(
            "clock",
            "it is before 2026, says the clock",
            "set the clock: certificates and tokens would be refused, and records be wrong",
        );
    }
    if kept_right {
        return Finding::ok("clock", "a daemon keeps it right");
    }
    Finding::warning(
        "clock",
        "no sign of a daemon that keeps it right",
        "chrony or systemd-timesyncd; certificates, tokens and records depend on it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Level;

    #[test]
    fn a_clock_is_wrong_or_unwatched_or_good() {
        let now = SystemTime::UNIX_EPOCH + EARLIEST + Duration::from_secs(1);
        assert_eq!(clock(SystemTime::UNIX_EPOCH, true).level, Level::Failed);
        assert_eq!(clock(now, false).level, Level::Warning);
        assert_eq!(clock(now, true).level, Level::Ok);
    }

    #[test]
    fn limits_that_cannot_be_had_are_told() {
        let mut config = Config::new("p", "/srv");
        config.limits.connections = 1_000_000_000;
        if getrlimit(Resource::Nofile).maximum.is_some() {
            assert_eq!(descriptors(&config).level, Level::Warning);
        }
        config.buffer_memory_bytes = Some(1 << 60);
        assert_eq!(memory(&config).map(|finding| finding.level), Some(Level::Warning));
    }

    #[test]
    fn a_machine_that_runs_the_tests_has_io_uring() {
        assert_ne!(ring().level, Level::Failed, "{:?}", ring());
    }
}
