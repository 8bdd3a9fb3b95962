//! What can be configured about packet marking (`[marking]` of the pool's configuration).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::policy::Rules;
use super::tag::Tag;

/// The port that fireflies go to unless a collector has another.
pub const FIREFLY_PORT: u16 = 10_514;
/// Most ports that can be configured: each has a listener on every shard.
pub const MOST_PORTS: u16 = 1024;

/// Ports whose connections carry flow labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ports {
    /// None: connections of clients carry no labels.
    #[default]
    None,
    /// Of this range, first and last included.
    Range(u16, u16),
    /// So many, of those that the kernel has free.
    Any(u16),
}

impl Ports {
    /// How many there are.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Ports::None => 0,
            Ports::Range(first, last) => usize::from(last - first) + 1,
            Ports::Any(count) => usize::from(count),
        }
    }

    /// Whether a port that is bound elsewhere is among them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        matches!(self, Ports::Range(first, last) if (first..=last).contains(&port))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ports::None => f.write_str("none"),
            Ports::Range(first, last) => write!(f, "{first}-{last}"),
            Ports::Any(count) => write!(f, "{count}, any that are free"),
        }
    }
}

impl FromStr for Ports {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Ports, &'static str> {
        let expected = "ports are a range like \"24000-24063\" of at most 1024, or a number of ports";
        let number = |text: &str| text.trim().parse::<u16>().ok();
        let ports = match text.split_once('-') {
            Some((first, last)) => {
                number(first).zip(number(last)).map(|(first, last)| Ports::Range(first, last))
            }
            None => number(text).map(|count| if count == 0 { Ports::None } else { Ports::Any(count) }),
        };
        match ports {
            Some(Ports::Range(first, last)) if first == 0 || first > last => Err(expected),
            Some(ports) if ports.count() <= usize::from(MOST_PORTS) => Ok(ports),
            Some(_) | None => Err(expected),
        }
    }
}

/// Where fireflies are collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// A name, or an address without brackets.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Collector, String> {
        let wrong = || {
            format!(
                "\"{text}\" is no collector: write \"host\", \"host:port\", an address or \"[IPv6]:port\""
            )
        };
        let bare = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, behind) = rest.split_once(']').filter(|(host, _)| bare(host)).ok_or_else(wrong)?;
                match behind.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if behind.is_empty() => (host, None),
                    None => return Err(wrong()),
                }
            }
            None if bare(text) => (text, None),
            None => match text.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        let colons_are_good = !host.contains(':') || bare(host);
        if host.is_empty() || !host.chars().all(plain) || !colons_are_good {
            return Err(wrong());
        }
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
            None => FIREFLY_PORT,
        };
        Ok(Collector { host: host.to_owned(), port })
    }
}

/// Everything about packet marking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What is done to which flow.
    pub rules: Rules,
    /// Ports whose connections carry flow labels.
    pub ports: Ports,
    /// Fireflies go to these,
    pub collectors: Vec<Collector>,
    /// and, with this, to the other end of the flow.
    pub to_peers: bool,
    /// Between two fireflies of a flow that goes on.
    pub period: Duration,
    /// Names of experiments and activities; `None`: the built-in ones.
    pub registry: Option<PathBuf>,
    /// The tag of transfers whose door says nothing.
    pub default_tag: Option<Tag>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            ports: Ports::None,
            collectors: Vec::new(),
            to_peers: true,
            period: Duration::from_secs(60),
            registry: None,
            default_tag: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_range_or_a_number() {
        for (text, ports) in [
            ("0", Ports::None),
            ("16", Ports::Any(16)),
            ("24000-24063", Ports::Range(24_000, 24_063)),
            ("24000 - 24000", Ports::Range(24_000, 24_000)),
        ] {
            assert_eq!(text.parse(), Ok(ports), "{text}");
        }
        for text in ["", "-", "-1", "0-9", "9-8", "1025", "1000-3000", "many", "70000-70001"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
        assert_eq!(Ports::Range(5, 8).count(), 4);
        assert!(Ports::Range(5, 8).contains(8) && !Ports::Range(5, 8).contains(9));
    }

    #[test]
    fn a_collector_is_a_host_with_or_without_a_port() {
        for (text, host, port, shown) in [
            ("collector.example.org", "collector.example.org", 10_514, "collector.example.org:10514"),
            ("collector:9", "collector", 9, "collector:9"),
            ("192.0.2.1:9", "192.0.2.1", 9, "192.0.2.1:9"),
            ("2001:db8::1", "2001:db8::1", 10_514, "[2001:db8::1]:10514"),
            ("[2001:db8::1]", "2001:db8::1", 10_514, "[2001:db8::1]:10514"),
            ("[2001:db8::1]:9", "2001:db8::1", 9, "[2001:db8::1]:9"),
        ] {
            let collector: Collector = text.parse().unwrap();
            assert_eq!((collector.host.as_str(), collector.port), (host, port), "{text}");
            assert_eq!(collector.to_string(), shown);
        }
        for text in
            ["", ":9", "host:", "host:0", "host:70000", "udp://host", "[::1", "[host]:1", "[::1]9", "a:b:1"]
        {
            assert!(text.parse::<Collector>().is_err(), "{text}");
        }
    }
}
