//! Which addresses and ports of remote servers the pool connects to.
//!
//! A user names a URL and the pool goes there: without rules, to services of its own machine and of its site that
//! trust whoever comes from inside (server-side request forgery). So the rules are applied to the address that is
//! about to be connected to, whatever name led there, at every redirect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// 127.0.0.0/8 and ::1.
    pub loopback: bool,
    /// 169.254.0.0/16 and fe80::/10: clouds keep their keys there.
    pub link_local: bool,
    /// Addresses of private networks: RFC 1918, RFC 6598, RFC 4193.
    pub private: bool,
    /// Ports.
    pub ports: Ports,
}

impl Default for Rules {
    fn default() -> Self {
        Self { loopback: false, link_local: false, private: true, ports: Ports::default() }
    }
}

/// Port numbers, as ranges whose ends belong to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(Vec<(u16, u16)>);

impl Default for Ports {
    /// HTTP, HTTPS, and everything that needs no privilege to listen on: mail, shells and the like are below.
    fn default() -> Self {
        Self(vec![(80, 80), (443, 443), (1024, u16::MAX)])
    }
}

impl Ports {
    /// Ranges with both ends; `None` when one is empty, or holds 0.
    #[must_use]
    pub fn new(ranges: Vec<(u16, u16)>) -> Option<Self> {
        ranges.iter().all(|(first, last)| *first > 0 && first <= last).then_some(Self(ranges))
    }

    fn contain(&self, port: u16) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&port))
    }
}

/// `80, 443, 1024-65535`.
impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |(first, last): &(u16, u16)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        f.write_str(&self.0.iter().map(range).collect::<Vec<_>>().join(", "))
    }
}

/// An address or port that the rules keep the pool from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The address.
    #[error("{address} is {kind}, which this pool does not connect to{key}", key = .key.map_or(String::new(), |key| format!(" ({key})")))]
    Address {
        /// Which.
        address: IpAddr,
        /// What it is.
        kind: &'static str,
        /// The configuration key that would allow it.
        key: Option<&'static str>,
    },
    /// The port.
    #[error("port {port} is not among those that this pool connects to: {ports} (tpc.ports)")]
    Port {
        /// Which.
        port: u16,
        /// The allowed ones.
        ports: String,
    },
}

impl Rules {
    /// Whether the pool may connect there.
    pub fn check(&self, address: SocketAddr) -> Result<(), Denied> {
        self.check_port(address.port())?;
        let ip = address.ip();
        let denied = |kind, key| Err(Denied::Address { address: ip, kind, key });
        match kind_of(ip) {
            Kind::Public => Ok(()),
            Kind::Never(kind) => denied(kind, None),
            Kind::Loopback if !self.loopback => denied("a loopback address", Some("tpc.allow_loopback")),
            Kind::LinkLocal if !self.link_local => {
                denied("a link-local address", Some("tpc.allow_link_local"))
            }
            Kind::Private if !self.private => {
                denied("an address of a private network", Some("tpc.allow_private"))
            }
            Kind::Loopback | Kind::LinkLocal | Kind::Private => Ok(()),
        }
    }

    /// Whether the pool may connect to that port.
    pub fn check_port(&self, port: u16) -> Result<(), Denied> {
        match self.ports.contain(port) {
            true => Ok(()),
            false => Err(Denied::Port { port, ports: self.ports.to_string() }),
        }
    }
}

enum Kind {
    Public,
    Loopback,
    LinkLocal,
    Private,
    /// Nothing that a file could come from.
    Never(&'static str),
}

fn kind_of(ip: IpAddr) -> Kind {
    match ip.to_canonical() {
        IpAddr::V4(ip) => kind_of_v4(ip),
        IpAddr::V6(ip) => kind_of_v6(ip),
    }
}

/// After the IANA registry of special-purpose addresses (RFC 6890).
fn kind_of_v4(ip: Ipv4Addr) -> Kind {
    match ip.octets() {
        // "This network": the kernel connects 0.0.0.0 to the machine itself.
        [0, ..] => Kind::Never("an unspecified address"),
        [127, ..] => Kind::Loopback,
        [169, 254, ..] => Kind::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Kind::Private,
        [224..=239, ..] => Kind::Never("a multicast address"),
        [240..=255, ..] => Kind::Never("a reserved address"),
        _ => Kind::Public,
    }
}

fn kind_of_v6(ip: Ipv6Addr) -> Kind {
    let [first, second, third, .., seventh, eighth] = ip.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match ip {
        ip if ip.is_unspecified() => Kind::Never("an unspecified address"),
        ip if ip.is_loopback() => Kind::Loopback,
        ip if ip.is_multicast() => Kind::Never("a multicast address"),
        _ if first & 0xffc0 == 0xfe80 => Kind::LinkLocal,
        // RFC 4193, and site-local addresses of old (RFC 3879).
        _ if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 => Kind::Private,
        // What leads to an IPv4 address is judged by that one: NAT64 (RFC 6052), 6to4 (RFC 3056), and the
        // IPv4-compatible addresses of old (RFC 4291 §2.5.5.1).
        _ if first == 0x64 && second == 0xff9b => kind_of_v4(embedded(seventh, eighth)),
        _ if first == 0x2002 => kind_of_v4(embedded(second, third)),
        ip if ip.segments()[..6] == [0; 6] => kind_of_v4(embedded(seventh, eighth)),
        _ => Kind::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rules: &Rules, address: &str) -> String {
        let ip: IpAddr = address.parse().unwrap();
        rules.check((ip, 443).into()).map_or_else(|denied| denied.to_string(), |()| "allowed".into())
    }

    #[test]
    fn what_is_inside_is_denied_however_it_is_written() {
        let cases = [
            ("192.0.2.1", "allowed"),
            ("2001:db8::1", "allowed"),
            ("10.0.0.1", "allowed"),
            ("fd00::1", "allowed"),
            ("127.0.0.1", "loopback"),
            ("127.8.9.1", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::127.0.0.1", "loopback"),
            ("64:ff9b::7f00:1", "loopback"),
            ("2002:7f00:1::", "loopback"),
            ("169.254.169.254", "link-local"),
            ("fe80::1", "link-local"),
            ("::ffff:169.254.169.254", "link-local"),
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("::", "unspecified"),
            ("224.0.0.1", "multicast"),
            ("ff02::1", "multicast"),
            ("255.255.255.255", "reserved"),
        ];
        for (address, expected) in cases {
            let said = said(&Rules::default(), address);
            assert!(said.contains(expected), "{address}: {said}");
        }
    }

    #[test]
    fn each_kind_can_be_switched() {
        let open = Rules { loopback: true, link_local: true, private: true, ports: Ports::default() };
        for address in ["127.0.0.1", "::1", "169.254.1.1", "fe80::1", "192.168.1.1"] {
            assert_eq!(said(&open, address), "allowed", "{address}");
        }
        assert!(said(&open, "224.0.0.1").contains("multicast"));
        let closed = Rules { private: false, ..Rules::default() };
        for address in ["10.1.2.3", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fec0::1"] {
            assert!(said(&closed, address).contains("tpc.allow_private"), "{address}");
        }
        assert_eq!(said(&closed, "172.32.0.1"), "allowed");
    }

    #[test]
    fn ports_are_a_list_of_ranges() {
        let rules = Rules::default();
        for (port, allowed) in
            [(22, false), (25, false), (80, true), (443, true), (1023, false), (1024, true)]
        {
            assert_eq!(rules.check_port(port).is_ok(), allowed, "{port}");
        }
        let said = rules.check_port(22).unwrap_err().to_string();
        assert_eq!(
            said,
            "port 22 is not among those that this pool connects to: 80, 443, 1024-65535 (tpc.ports)"
        );
        assert_eq!(Ports::new(vec![(5, 4)]), None);
        assert_eq!(Ports::new(vec![(0, 4)]), None);
    }
}
