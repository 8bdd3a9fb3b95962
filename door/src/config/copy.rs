//! The keys of third-party copies. What a URL may name has the same keys, and defaults, as at the pool.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::value::Period;

/// How third-party copies are made, and with whom.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CopyRules {
    /// Copies at once; more get 429. Default 1000.
    pub transfers: u32,
    /// Between two performance markers. Default 5 s.
    pub marker_period: Period,
    /// A client that takes no markers for so long has gone: its copy is cancelled. Default 60 s.
    pub reader_timeout: Period,
    /// A URL may name this machine itself. Default false.
    pub allow_loopback: bool,
    /// A URL may name an address of a private network. Default true.
    pub allow_private: bool,
    /// A URL may name a link-local address. Default false.
    pub allow_link_local: bool,
    /// Ports that a URL may name. Default: 80, 443, and those from 1024 on.
    pub ports: Vec<PortRange>,
}

/// A port, or several: `443` or `"1024-65535"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from `first` to `last`. `None` when these are none, or hold 0.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first > 0 && first <= last { Some(Self { first, last }) } else { None }
    }

    /// Whether a port is in it.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u16),
            Text(String),
        }
        let range = match Written::deserialize(deserializer) {
            Ok(Written::Number(port)) => Self::new(port, port),
            Ok(Written::Text(text)) => {
                let (first, last) = text.split_once('-').unwrap_or((&text, &text));
                let number = |text: &str| text.trim().parse().ok();
                number(first).zip(number(last)).and_then(|(first, last)| Self::new(first, last))
            }
            Err(_) => None,
        };
        range.ok_or_else(|| {
            serde::de::Error::custom("a port is a number from 1 to 65535, or a range like \"1024-65535\"")
        })
    }
}

impl Default for CopyRules {
    fn default() -> Self {
        Self {
            transfers: 1000,
            marker_period: Period(Duration::from_secs(5)),
            reader_timeout: Period(Duration::from_secs(60)),
            allow_loopback: false,
            allow_private: true,
            allow_link_local: false,
            ports: [(80, 80), (443, 443), (1024, u16::MAX)]
                .into_iter()
                .filter_map(|(first, last)| PortRange::new(first, last))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(list: &str) -> Result<Vec<PortRange>, toml::de::Error> {
        toml::from_str::<CopyRules>(&format!("ports = {list}")).map(|rules| rules.ports)
    }

    #[test]
    fn ports_are_numbers_and_ranges() {
        let range = |first, last| PortRange::new(first, last).unwrap();
        assert_eq!(
            ports("[80, \"443\", \"1024-65535\"]").unwrap(),
            [range(80, 80), range(443, 443), range(1024, 65535)]
        );
        assert!(range(80, 90).contains(80) && range(80, 90).contains(90) && !range(80, 90).contains(91));
        for wrong in ["[0]", "[70000]", "[-1]", "[\"90-80\"]", "[\"all\"]", "[true]", "80"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }
}
