//! Dates of HTTP (RFC 9110 §5.6.7).

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LONG_DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A second as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`. Whoever answers often keeps one and
/// [refreshes](Self::refresh) it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HttpDate {
    unix_seconds: i64,
    text: [u8; 29],
}

impl HttpDate {
    /// The date of a second since 1970. What is before the year 0 or behind 9999 becomes the nearest that can be
    /// written.
    pub fn new(unix_seconds: i64) -> Self {
        let clamped = unix_seconds.clamp(FIRST_SECOND, LAST_SECOND);
        // Cannot fail in these bounds; the epoch is not noticed missing.
        let time = Timestamp::from_second(clamped).unwrap_or_default().to_zoned(TimeZone::UTC).datetime();
        let mut text = *b"Day, 00 Mon 0000 00:00:00 GMT";
        let (day, month) = (time.weekday().to_monday_zero_offset(), time.month() - 1);
        text[0..3].copy_from_slice(DAYS[usize::from(day.unsigned_abs()) % 7].as_bytes());
        text[8..11].copy_from_slice(MONTHS[usize::from(month.unsigned_abs()) % 12].as_bytes());
        let year = time.year().unsigned_abs();
        for (at, number) in [
            (5, time.day().unsigned_abs()),
            (12, (year / 100) as u8),
            (14, (year % 100) as u8),
            (17, time.hour().unsigned_abs()),
            (20, time.minute().unsigned_abs()),
            (23, time.second().unsigned_abs()),
        ] {
            text[at] = b'0' + number / 10;
            text[at + 1] = b'0' + number % 10;
        }
        Self { unix_seconds, text }
    }

    /// The date of a time; fractions of a second are dropped.
    pub fn of(time: SystemTime) -> Self {
        Self::new(seconds_since_1970(time))
    }

    /// Makes it the date of `now`; formats only if the second is another.
    pub fn refresh(&mut self, now: SystemTime) {
        let unix_seconds = seconds_since_1970(now);
        if unix_seconds != self.unix_seconds {
            *self = Self::new(unix_seconds);
        }
    }

    /// The second.
    pub fn unix_seconds(&self) -> i64 {
        self.unix_seconds
    }

    /// As bytes, which are ASCII.
    pub fn as_bytes(&self) -> &[u8; 29] {
        &self.text
    }
}

impl std::fmt::Display for HttpDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.text))
    }
}

impl std::fmt::Debug for HttpDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// 0000-01-01 and 9999-12-30, between which every second can be written.
const FIRST_SECOND: i64 = -62_167_219_200;
const LAST_SECOND: i64 = 253_402_207_199;

fn seconds_since_1970(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // Rounded down, away from 1970.
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            -seconds - i64::from(before.subsec_nanos() > 0)
        }
    }
}

/// Reads a date in any of the three forms that a recipient must take; `None` for everything else.
pub fn parse_date(text: &str) -> Option<i64> {
    // ASCII, so that fixed places are characters.
    if !text.is_ascii() {
        return None;
    }
    let (day, rest) = text.split_once([',', ' '])?;
    let (weekday, time) = if let Some(weekday) = DAYS.iter().position(|name| *name == day) {
        (weekday, if text.as_bytes()[3] == b',' { imf_fixdate(rest)? } else { asctime(rest)? })
    } else {
        (LONG_DAYS.iter().position(|name| *name == day)?, rfc850(rest)?)
    };
    let weekday = Weekday::from_monday_zero_offset(i8::try_from(weekday).ok()?).ok()?;
    let seconds = time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    (time.weekday() == weekday).then_some(seconds)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, behind the comma.
fn imf_fixdate(text: &str) -> Option<DateTime> {
    let mut words = text.strip_prefix(' ')?.split(' ');
    let (day, month, year) = (number(words.next()?, 2)?, month(words.next()?)?, number(words.next()?, 4)?);
    date_time(year, month, day, words.next()?)
        .filter(|_| words.next() == Some("GMT") && words.next().is_none())
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`, behind the comma. Two digits mean 1970 to 2069: no file is older than 1970.
fn rfc850(text: &str) -> Option<DateTime> {
    let mut words = text.strip_prefix(' ')?.split(' ');
    let mut date = words.next()?.split('-');
    let (day, month, year) = (number(date.next()?, 2)?, month(date.next()?)?, number(date.next()?, 2)?);
    let year = if year < 70 { 2000 + year } else { 1900 + year };
    let ended = date.next().is_none();
    date_time(year, month, day, words.next()?).filter(|_| ended && words.eq(["GMT"]))
}

/// `Sun Nov  6 08:49:37 1994`, behind the day's name.
fn asctime(text: &str) -> Option<DateTime> {
    let (month_name, rest) = text.split_at_checked(3)?;
    let (day, rest) = rest.strip_prefix(' ')?.split_at_checked(2)?;
    let day = day.strip_prefix(' ').map_or_else(|| number(day, 2), |digit| number(digit, 1))?;
    let (time, year) = rest.strip_prefix(' ')?.split_once(' ')?;
    date_time(number(year, 4)?, month(month_name)?, day, time)
}

fn date_time(year: i16, month: i8, day: i16, time: &str) -> Option<DateTime> {
    let mut parts = time.split(':');
    let (hour, minute, second) =
        (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    if parts.next().is_some() {
        return None;
    }
    let small = |number: i16| i8::try_from(number).ok();
    // Clocks of computers have no leap seconds: it is counted as the second before it.
    let second = if second == 60 { 59 } else { second };
    DateTime::new(year, month, small(day)?, small(hour)?, small(minute)?, small(second)?, 0).ok()
}

fn month(name: &str) -> Option<i8> {
    i8::try_from(MONTHS.iter().position(|month| *month == name)? + 1).ok()
}

fn number(text: &str, digits: usize) -> Option<i16> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_three_forms_are_one_second() {
        let forms =
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
        for form in forms {
            assert_eq!(parse_date(form), Some(784_111_777), "{form}");
        }
        assert_eq!(HttpDate::new(784_111_777).to_string(), forms[0]);
        assert_eq!(parse_date("Fri, 13 Feb 2009 23:31:30 GMT"), Some(1_234_567_890));
        assert_eq!(parse_date("Sat, 31 Dec 2016 23:59:60 GMT"), Some(1_483_228_799), "a leap second");
        assert_eq!(parse_date("Wednesday, 01-Jan-20 00:00:00 GMT"), Some(1_577_836_800));
    }

    #[test]
    fn what_is_no_date_is_none() {
        let cases = [
            "",
            "Sun",
            "Sun,",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Thu, 30 Feb 1995 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sün, 06 Nov 1994 08:49:37 GMT",
        ];
        for text in cases {
            assert_eq!(parse_date(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_ends_of_time_can_be_written() {
        assert_eq!(HttpDate::new(0).to_string(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(HttpDate::new(i64::MIN).to_string(), "Sat, 01 Jan 0000 00:00:00 GMT");
        assert_eq!(HttpDate::new(i64::MAX).to_string(), "Thu, 30 Dec 9999 21:59:59 GMT");
        assert_eq!(HttpDate::of(UNIX_EPOCH - Duration::from_millis(1)).unix_seconds(), -1);
    }

    #[test]
    fn refreshing_follows_the_clock() {
        let start = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let mut date = HttpDate::of(start);
        date.refresh(start + Duration::from_millis(999));
        assert_eq!(date.as_bytes(), b"Sun, 06 Nov 1994 08:49:37 GMT");
        date.refresh(start + Duration::from_secs(1));
        assert_eq!(date.as_bytes(), b"Sun, 06 Nov 1994 08:49:38 GMT");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in FIRST_SECOND..=LAST_SECOND) {
            prop_assert_eq!(parse_date(&HttpDate::new(seconds).to_string()), Some(seconds));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}", rest in "[a-zA-Z0-9 :,-]{0,30}") {
            let _ = parse_date(&text);
            let _ = parse_date(&format!("Sun, {rest}"));
            let _ = parse_date(&format!("Sun {rest}"));
            let _ = parse_date(&format!("Sunday, {rest}"));
        }
    }
}
