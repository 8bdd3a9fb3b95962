//! What is done to which flow: the site's policy, its local subnets, and what holds for others.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::Deserialize;

/// How flows are marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Not at all.
    Off,
    /// By fireflies only.
    Firefly,
    /// By the IPv6 flow label only.
    FlowLabel,
    /// By both.
    #[default]
    Both,
}

impl Policy {
    /// Fireflies are sent.
    #[must_use]
    pub fn has_fireflies(self) -> bool {
        match self {
            Policy::Firefly | Policy::Both => true,
            Policy::Off | Policy::FlowLabel => false,
        }
    }

    /// Packets carry a label.
    #[must_use]
    pub fn has_labels(self) -> bool {
        match self {
            Policy::FlowLabel | Policy::Both => true,
            Policy::Off | Policy::Firefly => false,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Policy::Off => "off",
            Policy::Firefly => "firefly",
            Policy::FlowLabel => "flow-label",
            Policy::Both => "both",
        })
    }
}

/// Addresses with a common beginning: `192.0.2.0/24`, `2001:db8::/32`, or one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first: IpAddr,
    bits: u8,
}

impl Subnet {
    /// Whether an address is in it. IPv4 addresses mapped into IPv6 count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                (first.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                (first.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    /// Bits that are common to all of it.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Subnet, String> {
        let wrong = || format!("\"{text}\" is no subnet: write it as \"192.0.2.0/24\" or \"2001:db8::/32\"");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse::<u8>().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?,
            None => most,
        };
        Ok(Subnet { first, bits })
    }
}

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The policy for the peers of one subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Override {
    /// Which peers.
    pub subnet: Subnet,
    /// What holds for them.
    pub policy: Policy,
}

/// The whole policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// For every flow that nothing else holds for.
    pub policy: Policy,
    /// Subnets of the site: what stays within them is not marked.
    pub local: Vec<Subnet>,
    /// For the peers of subnets; the longest prefix counts.
    pub overrides: Vec<Override>,
}

impl Rules {
    /// What is done to a flow. `local` is only asked for when it matters.
    pub fn decide(&self, peer: IpAddr, local: impl FnOnce() -> Option<IpAddr>) -> Policy {
        let is_local = |address: IpAddr| self.local.iter().any(|subnet| subnet.contains(address));
        if is_local(peer) && local().is_some_and(is_local) {
            return Policy::Off;
        }
        let of_peer = self.overrides.iter().filter(|special| special.subnet.contains(peer));
        of_peer.max_by_key(|special| special.subnet.bits()).map_or(self.policy, |special| special.policy)
    }

    /// Whether some flow may get a label.
    #[must_use]
    pub fn may_label(&self) -> bool {
        self.any(Policy::has_labels)
    }

    /// Whether some flow may have fireflies.
    #[must_use]
    pub fn may_send(&self) -> bool {
        self.any(Policy::has_fireflies)
    }

    fn any(&self, has: impl Fn(Policy) -> bool) -> bool {
        has(self.policy) || self.overrides.iter().any(|special| has(special.policy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn a_subnet_holds_the_addresses_that_begin_as_it_does() {
        for (text, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("0.0.0.0/0", "203.0.113.1", "::1"),
            ("::/0", "2001:db8::1", "203.0.113.1"),
            ("192.0.2.0/24", "::ffff:192.0.2.1", "::ffff:192.0.3.1"),
        ] {
            assert!(subnet(text).contains(address(inside)), "{inside} in {text}");
            assert!(!subnet(text).contains(address(outside)), "{outside} not in {text}");
        }
        for text in ["", "192.0.2.0/33", "2001:db8::/129", "192.0.2/24", "::/-1", "x/8"] {
            assert!(text.parse::<Subnet>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_stays_within_the_site_is_not_marked() {
        let local = vec![subnet("192.0.2.0/24"), subnet("2001:db8:1::/48")];
        let rules = Rules { local, ..Rules::default() };
        for (here, peer, policy) in [
            ("192.0.2.1", "192.0.2.2", Policy::Off),
            ("2001:db8:1::1", "192.0.2.2", Policy::Off),
            ("192.0.2.1", "203.0.113.1", Policy::Both),
            ("203.0.113.2", "192.0.2.2", Policy::Both),
        ] {
            assert_eq!(rules.decide(address(peer), || Some(address(here))), policy, "{here} and {peer}");
        }
        assert_eq!(rules.decide(address("192.0.2.2"), || None), Policy::Both, "not known to be local");
    }

    #[test]
    fn of_the_subnets_of_a_peer_the_smallest_counts() {
        let special = |text, policy| Override { subnet: subnet(text), policy };
        let rules = Rules {
            policy: Policy::Off,
            overrides: vec![
                special("2001:db8:1:2::/64", Policy::FlowLabel),
                special("2001:db8::/32", Policy::Firefly),
                special("2001:db8:1::/48", Policy::Both),
            ],
            ..Rules::default()
        };
        for (peer, policy) in [
            ("2001:db8:1:2::3", Policy::FlowLabel),
            ("2001:db8:1:3::3", Policy::Both),
            ("2001:db8:2::3", Policy::Firefly),
            ("192.0.2.1", Policy::Off),
        ] {
            let never = || panic!("there are no local subnets");
            assert_eq!(rules.decide(address(peer), never), policy, "{peer}");
        }
        assert!(rules.may_label() && rules.may_send());
        assert!(!Rules { policy: Policy::Firefly, ..Rules::default() }.may_label());
        assert!(!Rules { policy: Policy::FlowLabel, ..Rules::default() }.may_send());
    }
}
