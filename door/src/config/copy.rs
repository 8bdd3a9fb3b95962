//! The keys of third-party copies.

use std::time::Duration;

use serde::Deserialize;

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
    /// Ports that a URL may name. Default: an empty list, which allows all.
    pub ports: Vec<u16>,
}

impl Default for CopyRules {
    fn default() -> Self {
        Self {
            transfers: 1000,
            marker_period: Period(Duration::from_secs(5)),
            reader_timeout: Period(Duration::from_secs(60)),
            allow_loopback: false,
            allow_private: true,
            ports: Vec::new(),
        }
    }
}
