//! `[marking]`: what may be said about packet marking.

use std::path::PathBuf;

use penstock_service::settings::Wrong;
use serde::Deserialize;
use serde::de::Error as _;

use super::file::wrong;
use super::units::Period;
use crate::marking::policy::{Override, Policy, Subnet};
use crate::marking::settings::{Collector, Ports, Settings};
use crate::marking::tag::Tag;

/// Most collectors: each gets every firefly.
const MOST_COLLECTORS: usize = 16;
/// Most subnets, local ones and those with a policy of their own.
const MOST_SUBNETS: usize = 1024;

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkingKeys {
    /// `"off"`; `"firefly"`: datagrams that tell of flows; `"flow-label"`: the IPv6 flow label of the packets; `"both"`.
    /// Only transfers with a SciTag are marked. Default: `"both"`.
    policy: Option<Policy>,
    /// Ports for clients whose packets are to carry flow labels, a range like `"24000-24063"` or a number: each pair of
    /// experiment and activity takes one (two with TLS) while it is in use. Clients must be able to reach them.
    /// Default: 0, so that packets to clients carry none.
    ports: Option<PortsKey>,
    /// Where fireflies are collected: `"host"`, `"host:port"`. Default: none.
    #[serde(default)]
    collectors: Vec<CollectorKey>,
    /// Fireflies also go to the other end of the flow, port 10514. Default: true.
    to_peers: Option<bool>,
    /// Between two fireflies of a flow that goes on. Default: 60 s.
    period: Option<Period>,
    /// Subnets of the site: flows with both ends in them are not marked. Default: none.
    #[serde(default)]
    local: Vec<Subnet>,
    /// A JSON file with names of experiments and activities, read again when it changes. Default: the built-in names.
    registry: Option<PathBuf>,
    /// The SciTag of transfers whose door says nothing: 65 to 65535. Default: none.
    default_tag: Option<u32>,
    /// Other policies for the peers of some subnets.
    #[serde(default, rename = "override")]
    overrides: Vec<OverrideKeys>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideKeys {
    /// Which peers; of several subnets the smallest counts.
    subnet: Subnet,
    /// The policy for them.
    policy: Policy,
}

/// A range, or a number.
#[derive(Debug, Clone, Copy)]
struct PortsKey(Ports);

impl<'de> Deserialize<'de> for PortsKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u16),
            Text(String),
        }
        let text = match Written::deserialize(deserializer) {
            Ok(Written::Number(number)) => number.to_string(),
            Ok(Written::Text(text)) => text,
            Err(_) => String::new(),
        };
        text.parse().map(PortsKey).map_err(D::Error::custom)
    }
}

#[derive(Debug, Clone)]
struct CollectorKey(Collector);

impl<'de> Deserialize<'de> for CollectorKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(CollectorKey).map_err(D::Error::custom)
    }
}

/// `[marking]` as it stands in another program's file, checked as it is in the pool's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkingTable(pub Settings);

impl<'de> Deserialize<'de> for MarkingTable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settings = MarkingKeys::deserialize(deserializer)?.validate();
        settings.map(MarkingTable).map_err(D::Error::custom)
    }
}

impl MarkingKeys {
    pub(super) fn validate(self) -> Result<Settings, Wrong> {
        let mut settings = Settings::default();
        settings.rules.policy = self.policy.unwrap_or_default();
        settings.ports = self.ports.map_or(Ports::None, |ports| ports.0);
        settings.to_peers = self.to_peers.unwrap_or(settings.to_peers);
        settings.period = self.period.map_or(settings.period, |period| period.0);
        if settings.period.is_zero() {
            return wrong("marking.period", "must not be 0: it is the time between two fireflies of a flow");
        }
        if self.collectors.len() > MOST_COLLECTORS {
            return wrong("marking.collectors", format!("at most {MOST_COLLECTORS} are taken"));
        }
        settings.collectors = self.collectors.into_iter().map(|collector| collector.0).collect();
        if self.local.len() > MOST_SUBNETS {
            return wrong("marking.local", format!("at most {MOST_SUBNETS} subnets are taken"));
        }
        settings.rules.local = self.local;
        if self.overrides.len() > MOST_SUBNETS {
            return wrong("marking.override", format!("at most {MOST_SUBNETS} subnets are taken"));
        }
        let special = |keys: OverrideKeys| Override { subnet: keys.subnet, policy: keys.policy };
        settings.rules.overrides = self.overrides.into_iter().map(special).collect();
        settings.registry = self.registry;
        settings.default_tag = match self.default_tag.map(Tag::try_from) {
            None => None,
            Some(Ok(tag)) => Some(tag),
            Some(Err(error)) => return wrong("marking.default_tag", error.to_string()),
        };
        Ok(settings)
    }
}
