//! Kinds of values in a configuration: names, sizes, periods, URLs. Each refuses what has no meaning.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use url::Url;

/// The name of a door or pool: 1 to 64 of `A-Z a-z 0-9 _ . -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteName(Cow<'static, str>);

impl SiteName {
    /// What a door is called that has no other name.
    pub const DOOR: SiteName = SiteName(Cow::Borrowed("door"));

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SiteName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(Cow::Owned(text.to_owned())))
        } else {
            Err(format!("\"{text}\" is no name: use 1 to 64 letters, digits, \"_\", \".\" and \"-\""))
        }
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A size in bytes: a number, or a text such as `"16 KiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let factor = match text[digits..].trim() {
            "" | "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1u64 << 30),
            _ => None,
        };
        let number = text[..digits].parse::<u64>().ok();
        number
            .zip(factor)
            .and_then(|(number, factor)| number.checked_mul(factor))
            .filter(|bytes| *bytes > 0)
            .map(Self)
            .ok_or_else(|| {
                format!("\"{text}\" is no size: write it as \"16 KiB\" or as a number of bytes above 0")
            })
    }
}

/// A length of time: a text such as `"30s"`, `"500ms"`, `"5m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|duration| Duration::try_from(duration).ok())
            .filter(|duration| !duration.is_zero())
            .map(Self)
            .ok_or_else(|| {
                format!("\"{text}\" is no length of time: write it as \"30s\", \"500ms\" or \"5m\"")
            })
    }
}

/// The URL by which others reach the door: scheme, host and port, no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The URL without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host in it, in lower case.
    pub fn host(&self) -> Option<String> {
        Url::parse(&self.0).ok()?.host_str().map(str::to_ascii_lowercase)
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        };
        match Url::parse(text) {
            Ok(url) if plain(&url) => Ok(Self(url.as_str().trim_end_matches('/').to_owned())),
            _ => Err(format!(
                "\"{text}\" is no door's URL: write it as \"https://door.example.org:2880\", without a path"
            )),
        }
    }
}

/// Reads a value from a text, or from a whole number where the type takes one.
struct TextVisitor<T> {
    expecting: &'static str,
    from_number: Option<fn(u64) -> T>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match (self.from_number, u64::try_from(number)) {
            (Some(from_number), Ok(number)) if number > 0 => Ok(from_number(number)),
            _ => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }
}

macro_rules! deserialize_text {
    ($type:ty, $expecting:literal, $from_number:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = TextVisitor { expecting: $expecting, from_number: $from_number };
                deserializer.deserialize_any(visitor)
            }
        }
    };
}

deserialize_text!(SiteName, "a name in quotes", None);
deserialize_text!(ByteSize, "a size such as \"16 KiB\"", Some(ByteSize));
deserialize_text!(Period, "a length of time such as \"30s\"", None);
deserialize_text!(PublicUrl, "a URL in quotes", None);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_periods_are_read_with_their_units() {
        for (text, bytes) in
            [("1", 1), ("16 KiB", 16384), ("16KiB", 16384), ("2 MiB", 2 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "KiB", "0", "1 kB", "-1", "99999999999 GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for (text, millis) in [("30s", 30_000), ("500ms", 500), ("5m", 300_000), ("1h 30m", 5_400_000)] {
            assert_eq!(text.parse(), Ok(Period(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "30", "0s", "-1s", "soon"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_door_url_has_a_scheme_and_a_host_and_no_more() {
        for text in ["http://door:2880", "http://door:2880/", "https://[::1]:2880"] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().as_str(), text.trim_end_matches('/'));
        }
        for text in ["door:2880", "ftp://door", "http://door/path", "http://u:p@door", "http://door?x", ""] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
