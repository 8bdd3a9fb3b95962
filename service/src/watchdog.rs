//! The watchdog: how often the service manager wants to hear that the daemon is alive (`WatchdogSec=`).

use std::time::Duration;

/// How often it is told within its limit, so that one word may be late.
const WORDS_PER_LIMIT: u32 = 4;
/// Longest pause between two words, however patient the service manager is.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Loops tell of themselves once a second; what was silent for less than this may only have been busy.
const LEAST_STUCK: Duration = Duration::from_secs(3);

/// What the service manager asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watchdog {
    limit: Duration,
}

impl Watchdog {
    /// As the environment says (sd_watchdog_enabled(3)): `WATCHDOG_USEC`, unless `WATCHDOG_PID` names another process.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let variable = |name| std::env::var(name).ok();
        Self::of(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
            std::process::id(),
        )
    }

    fn of(limit_us: Option<&str>, process: Option<&str>, me: u32) -> Option<Self> {
        let limit = Duration::from_micros(limit_us?.parse().ok().filter(|us| *us > 0)?);
        let mine = process.is_none_or(|process| process.parse() == Ok(me));
        mine.then_some(Self { limit })
    }

    #[cfg(test)]
    pub(crate) fn for_tests(limit: Duration) -> Self {
        Self { limit }
    }

    /// From one word to the next.
    #[must_use]
    pub fn pause(self) -> Duration {
        (self.limit / WORDS_PER_LIMIT).min(LONGEST_PAUSE)
    }

    /// What has not moved for so long is stuck: early enough that the log says so before the service manager ends it.
    #[must_use]
    pub fn stuck_after(self) -> Duration {
        (self.limit / 2).max(LEAST_STUCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_on_when_a_limit_is_given_and_meant_for_this_process() {
        let cases = [
            ((None, None), None),
            ((Some("60000000"), None), Some(60)),
            ((Some("60000000"), Some("7")), Some(60)),
            ((Some("60000000"), Some("8")), None),
            ((Some("60000000"), Some("seven")), None),
            ((Some("0"), None), None),
            ((Some("soon"), None), None),
        ];
        for ((limit, process), seconds) in cases {
            let expected = seconds.map(|seconds| Watchdog { limit: Duration::from_secs(seconds) });
            assert_eq!(Watchdog::of(limit, process, 7), expected, "{limit:?} {process:?}");
        }
    }

    #[test]
    fn the_word_comes_often_enough_and_what_is_stuck_is_found_before_the_end() {
        for seconds in [1, 4, 8, 60, 3600] {
            let limit = Duration::from_secs(seconds);
            let watchdog = Watchdog { limit };
            assert!(watchdog.pause() * 2 <= limit && watchdog.pause() <= LONGEST_PAUSE, "{seconds}");
            assert!(watchdog.stuck_after() + watchdog.pause() < limit || seconds < 8, "{seconds}");
            assert!(watchdog.stuck_after() >= LEAST_STUCK, "{seconds}");
        }
    }
}
