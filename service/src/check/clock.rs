//! The clock: whether it can be right, and whether somebody keeps it so.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Finding;

/// No machine that runs this is older: 2026-01-01.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// What daemons that keep the clock right leave while they do.
const SIGNS: [&str; 5] = [
    "/run/systemd/timesync/synchronized",
    "/run/chrony",
    "/run/ntpd.pid",
    "/var/run/openntpd.sock",
    "/run/ntpd.sock",
];

/// Looks at it.
#[must_use]
pub fn look() -> Finding {
    judge(SystemTime::now(), SIGNS.iter().any(|sign| Path::new(sign).exists()))
}

fn judge(now: SystemTime, kept_right: bool) -> Finding {
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
    use super::super::Level;
    use super::*;

    #[test]
    fn a_clock_is_wrong_or_unwatched_or_good() {
        let now = SystemTime::UNIX_EPOCH + EARLIEST + Duration::from_secs(1);
        assert_eq!(judge(SystemTime::UNIX_EPOCH, true).level, Level::Failed);
        assert_eq!(judge(now, false).level, Level::Warning);
        assert_eq!(judge(now, true).level, Level::Ok);
    }
}
