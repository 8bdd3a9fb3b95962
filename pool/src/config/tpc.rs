//! `[tpc]`: what may be said about the remote servers of third-party copies.

use std::path::PathBuf;

use penstock_service::settings::Wrong;
use serde::Deserialize;
use serde::de::Error as _;

use super::file::wrong;
use super::units::{ByteSize, Period};
use crate::remote::{Ports, Settings};
use crate::tls::server::ServerFiles;

/// Most connections to one host that can be configured: beyond it, ports run out.
const MOST_CONNECTIONS: usize = 32_768;
/// Most streams of one transfer (X-Number-Of-Streams has the same bound).
const MOST_STREAMS: usize = 100;
/// Most retries of one transfer.
const MOST_RETRIES: u32 = 100;

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct TpcKeys {
    /// For a connection to be made, over all addresses of a name. Default: 60 s.
    connect_timeout: Option<Period>,
    /// From a request to its answer. Default: 120 s.
    first_byte_timeout: Option<Period>,
    /// Without a byte moved. Default: 60 s.
    idle_timeout: Option<Period>,
    /// Bytes per second that a copy must reach; 0: none. Default: 10 KiB.
    minimum_rate: Option<ByteSize>,
    /// Over so long a time. Default: 120 s.
    rate_window: Option<Period>,
    /// For a whole copy, from its turn in the queue. Default: 1 d.
    deadline: Option<Period>,
    /// For a destination to tell size and checksum of what it got, and 1 s more for every 10 MiB. Default: 60 s.
    verification_timeout: Option<Period>,
    /// How often one copy goes on behind a broken connection. Default: 3.
    retries: Option<u32>,
    /// Streams of one pull; a door that asks for more gets so many. Default: 16.
    max_streams: Option<usize>,
    /// Connections to one host and port; more copies wait. Default: 256.
    connections_per_host: Option<usize>,
    /// A connection waits so long for another copy; 0: not at all. Default: 15 s.
    keep_alive: Option<Period>,
    /// Certificates of authorities that `https` servers are believed by: a PEM file, or a directory with `*.pem`,
    /// `<hash>.0` and revocation lists `<hash>.r0`. Default: `/etc/grid-security/certificates`, or the system's bundle.
    ca: Option<PathBuf>,
    /// PEM file of the certificate chain that the pool shows to servers that ask for one. Default: none.
    cert: Option<PathBuf>,
    /// PEM file of its private key.
    key: Option<PathBuf>,
    /// Connect to loopback addresses. Default: false.
    allow_loopback: Option<bool>,
    /// Connect to link-local addresses. Default: false.
    allow_link_local: Option<bool>,
    /// Connect to addresses of private networks. Default: true.
    allow_private: Option<bool>,
    /// Ports to connect to: numbers, and ranges like `"1024-65535"`. Default: 80, 443, and those from 1024 on.
    ports: Option<Vec<PortRange>>,
}

/// A port, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PortRange(u16, u16);

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u16),
            Text(String),
        }
        let expected = "a port is a number from 1 to 65535, or a range like \"1024-65535\"";
        let range = match Written::deserialize(deserializer).map_err(|_| D::Error::custom(expected))? {
            Written::Number(port) => Some((port, port)),
            Written::Text(text) => {
                let (first, last) = text.split_once('-').unwrap_or((&text, &text));
                let number = |text: &str| text.trim().parse::<u16>().ok();
                number(first).zip(number(last))
            }
        };
        match range {
            Some((first, last)) if first > 0 && first <= last => Ok(Self(first, last)),
            _ => Err(D::Error::custom(expected)),
        }
    }
}

impl TpcKeys {
    pub(super) fn validate(self) -> Result<Settings, Wrong> {
        let mut settings = Settings::default();
        let times = [
            ("tpc.connect_timeout", self.connect_timeout, &mut settings.connect_timeout),
            ("tpc.first_byte_timeout", self.first_byte_timeout, &mut settings.first_byte_timeout),
            ("tpc.idle_timeout", self.idle_timeout, &mut settings.idle_timeout),
            ("tpc.rate_window", self.rate_window, &mut settings.rate_window),
            ("tpc.deadline", self.deadline, &mut settings.deadline),
            ("tpc.verification_timeout", self.verification_timeout, &mut settings.verification_timeout),
        ];
        for (key, set, value) in times {
            *value = set.map_or(*value, |period| period.0);
            if value.is_zero() {
                return wrong(key, "must not be 0: nothing would ever succeed");
            }
        }
        let counts = [
            ("tpc.max_streams", self.max_streams, MOST_STREAMS, &mut settings.max_streams),
            (
                "tpc.connections_per_host",
                self.connections_per_host,
                MOST_CONNECTIONS,
                &mut settings.connections_per_host,
            ),
        ];
        for (key, set, most, value) in counts {
            *value = set.unwrap_or(*value);
            if !(1..=most).contains(value) {
                return wrong(key, format!("must be from 1 to {most}"));
            }
        }
        settings.keep_alive = self.keep_alive.map_or(settings.keep_alive, |period| period.0);
        settings.minimum_rate_bytes_per_second =
            self.minimum_rate.map_or(settings.minimum_rate_bytes_per_second, |rate| rate.0);
        settings.retries = self.retries.unwrap_or(settings.retries);
        if settings.retries > MOST_RETRIES {
            return wrong("tpc.retries", format!("must be at most {MOST_RETRIES}"));
        }
        settings.authorities = self.ca;
        settings.identity = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some(ServerFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => return wrong("tpc.key", "is missing: tpc.cert needs it"),
            (None, Some(_)) => return wrong("tpc.cert", "is missing: tpc.key is for it"),
        };
        let rules = &mut settings.rules;
        rules.loopback = self.allow_loopback.unwrap_or(rules.loopback);
        rules.link_local = self.allow_link_local.unwrap_or(rules.link_local);
        rules.private = self.allow_private.unwrap_or(rules.private);
        if let Some(ranges) = self.ports {
            let ranges: Vec<_> = ranges.into_iter().map(|PortRange(first, last)| (first, last)).collect();
            match Ports::new(ranges) {
                Some(ports) => rules.ports = ports,
                None => return wrong("tpc.ports", "a range must not be empty, nor hold 0"),
            }
        }
        Ok(settings)
    }
}
