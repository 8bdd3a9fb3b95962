//! Sizes and lengths of time as people write them: `4096`, `"10 GiB"`, `30`, `"2 min"`.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A size in bytes: an integer, or a number with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A length of time: an integer of seconds, or a number with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

const SIZE_UNITS: [(&str, u64); 11] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1000_u64.pow(2)),
    ("GB", 1000_u64.pow(3)),
    ("TB", 1000_u64.pow(4)),
    ("PB", 1000_u64.pow(5)),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

/// In milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Longest configurable time: beyond a year is a slip of the pen.
const MAX_PERIOD: Duration = Duration::from_secs(366 * 86_400);

const SIZE_EXPECTED: &str =
    "a size: an integer of bytes, or text like \"10 GiB\" (B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB)";
const TIME_EXPECTED: &str =
    "a length of time: an integer of seconds, or text like \"30 s\" (ms, s, min, h, d), at most a year";

/// A whole number and one of `units`.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let unit = text.get(digits..)?.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*factor)
}

impl ByteSize {
    /// Reads `"10 GiB"`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse(text, &SIZE_UNITS).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(*factor);
        match SIZE_UNITS[6..].iter().rev().find(fits) {
            Some((name, factor)) => write!(f, "{} {name}", self.0 / factor),
            None => write!(f, "{} B", self.0),
        }
    }
}

impl Period {
    /// Reads `"2 min"`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse(text, &TIME_UNITS).map(Duration::from_millis).filter(|time| *time <= MAX_PERIOD).map(Self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;
        impl Visitor<'_> for SizeVisitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(SIZE_EXPECTED)
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<ByteSize, E> {
                u64::try_from(value).map(ByteSize).map_err(|_| E::custom("a size must not be negative"))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(value))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
                ByteSize::parse(text).ok_or_else(|| E::custom(format!("\"{text}\" is not {SIZE_EXPECTED}")))
            }
        }
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PeriodVisitor;
        impl Visitor<'_> for PeriodVisitor {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(TIME_EXPECTED)
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Period, E> {
                let time =
                    u64::try_from(value).ok().map(Duration::from_secs).filter(|time| *time <= MAX_PERIOD);
                time.map(Period).ok_or_else(|| E::custom(format!("{value} is not {TIME_EXPECTED}")))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
                Period::parse(text).ok_or_else(|| E::custom(format!("\"{text}\" is not {TIME_EXPECTED}")))
            }
        }
        deserializer.deserialize_any(PeriodVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let cases = [
            ("0 B", Some(0)),
            ("10 GiB", Some(10 << 30)),
            ("10GiB", Some(10 << 30)),
            (" 5 kB ", Some(5000)),
            ("17179869184 GiB", None), // more than 64 bits
            ("10", None),
            ("10 gib", None),
            ("-1 GiB", None),
            ("1.5 GiB", None),
            ("GiB", None),
            ("", None),
            ("é", None),
        ];
        for (text, bytes) in cases {
            assert_eq!(ByteSize::parse(text), bytes.map(ByteSize), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_units() {
        let cases = [
            ("250 ms", Some(Duration::from_millis(250))),
            ("30 s", Some(Duration::from_secs(30))),
            ("2min", Some(Duration::from_secs(120))),
            ("1 h", Some(Duration::from_secs(3600))),
            ("367 d", None),
            ("30 seconds", None),
        ];
        for (text, time) in cases {
            assert_eq!(Period::parse(text), time.map(Period), "{text}");
        }
    }

    #[test]
    fn a_size_is_shown_in_the_largest_unit_that_fits() {
        let shown = [0, 1000, 1024, 3 << 20, 10 << 40].map(|bytes| ByteSize(bytes).to_string());
        assert_eq!(shown, ["0 B", "1000 B", "1 KiB", "3 MiB", "10 TiB"]);
    }
}
