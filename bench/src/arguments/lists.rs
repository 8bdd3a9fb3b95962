//! Values that are given as lists (`--depth 1,4,16`), and lengths of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::{parse_byte_size, show_byte_size};

/// Most of anything that is counted: connections, jobs, operations in flight.
const MOST: u32 = 4096;
/// The longest time that can be asked for.
const LONGEST_SECONDS: f64 = 86_400.0;

/// How many: 1 to 4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(pub u32);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().parse() {
            Ok(count @ 1..=MOST) => Ok(Self(count)),
            _ => Err(format!("'{text}' is not a whole number from 1 to {MOST}")),
        }
    }
}

/// A number of bytes, at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parse_byte_size(text)? {
            0 => Err("the size must not be 0".to_owned()),
            bytes => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_byte_size(self.0))
    }
}

/// Reads a number of seconds (`2`, `0.5`).
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= LONGEST_SECONDS)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("'{text}' is not a number of seconds above 0 and up to {LONGEST_SECONDS}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_bounds() {
        assert_eq!("16".parse(), Ok(Count(16)));
        for text in ["0", "-1", "4097", "1.5", "many", ""] {
            let error = text.parse::<Count>().unwrap_err();
            assert!(error.starts_with(&format!("'{text}' is not a whole number")), "{error}");
        }
    }

    #[test]
    fn sizes_are_not_nothing() {
        assert_eq!("4KiB".parse(), Ok(Size(4096)));
        assert_eq!("0".parse::<Size>(), Err("the size must not be 0".to_owned()));
        assert_eq!(Size(1 << 20).to_string(), "1 MiB");
    }

    #[test]
    fn times_are_seconds_and_no_nonsense() {
        assert_eq!(parse_duration("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "NaN", "inf", "1h", "86401", ""] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.starts_with(&format!("'{text}' is not a number of seconds")), "{error}");
        }
    }
}
