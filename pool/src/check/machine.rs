//! io_uring, limits, memory and the clock.

use crate::config::{Config, DEFAULT_BUFFER_MEMORY_BYTES};
use crate::engine::ring::probe;
use penstock_service::check::{Finding, clock, descriptors};
use rustix::process::{Resource, getrlimit};

use penstock_service::check::bytes;

/// Beside connections and transfers: rings, listeners, the index, doors, logs.
const SPARE_DESCRIPTORS: u64 = 256;
/// Looks at them.
#[must_use]
pub fn look(config: &Config) -> Vec<Finding> {
    let mut findings = vec![ring(), open_files(config)];
    findings.extend(locked_memory(config));
    findings.extend(memory(config));
    findings.extend(huge_pages());
    findings.push(clock::look());
    findings
}

/// What the kernel's io_uring has of what a pool uses.
#[must_use]
pub fn ring() -> Finding {
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

/// How many open files a pool can need.
#[must_use]
pub fn needed_descriptors(config: &Config) -> u64 {
    (config.limits.connections as u64)
        .saturating_add(config.limits.transfers as u64)
        .saturating_add(SPARE_DESCRIPTORS)
}

fn open_files(config: &Config) -> Finding {
    descriptors::look(needed_descriptors(config), "limits.connections and limits.transfers")
}

/// What the buffers take.
#[must_use]
pub fn buffer_bytes(config: &Config) -> u64 {
    config.buffer_memory_bytes.unwrap_or(DEFAULT_BUFFER_MEMORY_BYTES)
}

/// Whether so much memory may be locked.
#[must_use]
pub fn locked_memory(config: &Config) -> Option<Finding> {
    let needed = buffer_bytes(config);
    let limit = getrlimit(Resource::Memlock).current?;
    let found = format!("{} may be locked; buffers take {}", bytes(limit), bytes(needed));
    Some(if limit < needed {
        let remedy = "LimitMEMLOCK=infinity in the unit, ulimit -l in a shell; without it, copies cost more";
        Finding::warning("locked memory", found, remedy)
    } else {
        Finding::ok("locked memory", found)
    })
}

/// Whether there is so much memory.
#[must_use]
pub fn memory(config: &Config) -> Option<Finding> {
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

/// Whether buffers can lie in huge pages.
#[must_use]
pub fn huge_pages() -> Option<Finding> {
    let text = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let remedy = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled: direct I/O is faster with them";
    Some(if text.contains("[never]") {
        Finding::warning("huge pages", "switched off", remedy)
    } else {
        Finding::ok("huge pages", "on")
    })
}

#[cfg(test)]
mod tests {
    use penstock_service::check::Level;

    use super::*;

    #[test]
    fn limits_that_cannot_be_had_are_told() {
        let mut config = Config::new("p", "/srv");
        config.limits.connections = 1_000_000_000;
        if getrlimit(Resource::Nofile).maximum.is_some() {
            assert_eq!(open_files(&config).level, Level::Warning);
        }
        config.buffer_memory_bytes = Some(1 << 60);
        assert_eq!(memory(&config).map(|finding| finding.level), Some(Level::Warning));
    }

    #[test]
    fn a_machine_that_runs_the_tests_has_io_uring() {
        assert_ne!(ring().level, Level::Failed, "{:?}", ring());
    }
}
