//! The URL of a copy's other side: what it may be, and which addresses it may name.
//!
//! What the URL itself shows is refused here, with 403. A name is resolved by the pool alone, which looks at the address
//! that it connects to; so nothing is gained by a name that means one thing here and another there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::StatusCode;
use url::{Host, Url};

use super::super::answer::Refusal;
use crate::config::CopyRules;

/// What WebDAV clients call the two schemes.
const SCHEME_NAMES: [(&str, &str); 2] = [("davs:", "https:"), ("dav:", "http:")];

/// An http or https URL with a host. It has no `Debug`: its query may be a credential.
#[derive(Clone)]
pub struct RemoteUrl(Url);

/// Why a text is no URL of a remote side. None of the texts shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// No URL at all, or one without a host.
    #[error("{0} is not a URL of the form \"https://host/path\"")]
    NotAUrl(&'static str),
    /// Another scheme.
    #[error("{0} has a scheme that this door does not copy with: it knows http and https")]
    Scheme(&'static str),
    /// A user name or password.
    #[error("{0} holds a user name or password: send it in TransferHeaderAuthorization")]
    Userinfo(&'static str),
    /// An address or port that the configuration does not allow.
    #[error("{0} names {1}, with which this door does not copy")]
    Denied(&'static str, &'static str),
}

impl From<RemoteError> for Refusal {
    fn from(error: RemoteError) -> Self {
        let status = match error {
            RemoteError::NotAUrl(_) | RemoteError::Userinfo(_) => StatusCode::BAD_REQUEST,
            RemoteError::Scheme(_) => StatusCode::NOT_IMPLEMENTED,
            RemoteError::Denied(..) => StatusCode::FORBIDDEN,
        };
        Refusal::new(status, error.to_string())
    }
}

impl RemoteUrl {
    /// Reads a URL; `header` names where it stood, for the error.
    pub fn parse(text: &str, header: &'static str) -> Result<Self, RemoteError> {
        let known = SCHEME_NAMES.iter().find_map(|(theirs, ours)| {
            let (scheme, rest) = text.split_at_checked(theirs.len())?;
            scheme.eq_ignore_ascii_case(theirs).then(|| format!("{ours}{rest}"))
        });
        let mut url =
            Url::parse(known.as_deref().unwrap_or(text)).map_err(|_| RemoteError::NotAUrl(header))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(RemoteError::Scheme(header));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RemoteError::Userinfo(header));
        }
        if url.port_or_known_default().is_none_or(|port| port == 0) {
            return Err(RemoteError::NotAUrl(header));
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    /// What is sent to the pool: normalised, so that nobody after this reads it differently.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Scheme, host and port, for the log.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Whether it names the server that a `Host` header or a configured URL names.
    pub fn is_at(&self, authority: &str) -> bool {
        let other = Url::parse(&format!("{}://{authority}/", self.0.scheme()));
        other.is_ok_and(|other| other.origin() == self.0.origin())
    }

    /// Refuses what the rules do not allow, as far as the URL shows it.
    pub fn check(&self, rules: &CopyRules, header: &'static str) -> Result<(), RemoteError> {
        let port = self.0.port_or_known_default();
        if !port.is_some_and(|port| rules.ports.iter().any(|range| range.contains(port))) {
            return Err(RemoteError::Denied(header, "a port"));
        }
        let place = match self.0.host() {
            None => return Err(RemoteError::NotAUrl(header)),
            // RFC 6761 §6.3.
            Some(Host::Domain(name)) => {
                let name = name.trim_end_matches('.');
                let here = name == "localhost" || name.ends_with(".localhost");
                if here { Place::Here } else { Place::Elsewhere }
            }
            Some(Host::Ipv4(address)) => Place::of(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Place::of(IpAddr::V6(address)),
        };
        match place {
            Place::Here if !rules.allow_loopback => Err(RemoteError::Denied(header, "this machine itself")),
            Place::Private if !rules.allow_private => {
                Err(RemoteError::Denied(header, "an address of a private network"))
            }
            Place::LinkLocal if !rules.allow_link_local => {
                Err(RemoteError::Denied(header, "a link-local address"))
            }
            Place::Many => Err(RemoteError::Denied(header, "a multicast or broadcast address")),
            Place::Here | Place::LinkLocal | Place::Private | Place::Elsewhere => Ok(()),
        }
    }
}

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Here,
    LinkLocal,
    Private,
    Many,
    Elsewhere,
}

impl Place {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(address) => Self::of_v4(address),
                None => Self::of_v6(address),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // RFC 1122 §3.2.1.3: "this host"; Linux connects to itself.
            [0, ..] | [127, ..] => Place::Here,
            [169, 254, ..] => Place::LinkLocal,
            // RFC 6598.
            [100, second, ..] if second & 0xc0 == 64 => Place::Private,
            [first, ..] if first >= 224 => Place::Many,
            _ if address.is_private() => Place::Private,
            _ => Place::Elsewhere,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address {
            address if address.is_loopback() || address.is_unspecified() => Place::Here,
            address if address.is_unicast_link_local() => Place::LinkLocal,
            address if address.is_unique_local() => Place::Private,
            address if address.is_multicast() => Place::Many,
            _ => Place::Elsewhere,
        }
    }
}

/// The IPv4 address in an IPv6 one: mapped or compatible (RFC 4291 §2.5.5), or translated (RFC 6052 §2.1).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d] = [12, 13, 14, 15].map(|at| address.octets()[at]);
    match address.segments() {
        // :: and ::1 are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PortRange;

    fn status(url: &str, rules: &CopyRules) -> u16 {
        let checked = RemoteUrl::parse(url, "Source").and_then(|url| url.check(rules, "Source"));
        checked.map_or_else(|error| Refusal::from(error).status().as_u16(), |()| 200)
    }

    #[test]
    fn a_url_is_http_or_https_and_holds_no_password() {
        for (url, expected) in [
            ("http://a.example/b", 200),
            ("HTTPS://a.example:8443/b?authz=x#y", 200),
            ("davs://a.example/b", 200),
            ("gsiftp://a.example/b", 501),
            ("file:///etc/passwd", 501),
            ("/a/b", 400),
            ("a.example/b", 400),
            ("http://", 400),
            ("http://a.example:0/", 400),
            ("http://a.example:70000/", 400),
            ("http://user:secret@a.example/", 400),
            ("", 400),
        ] {
            assert_eq!(status(url, &CopyRules::default()), expected, "{url}");
        }
        let url = RemoteUrl::parse("DAVS://A.example/x/../b?q=1#part", "Source").unwrap();
        assert_eq!((url.as_str(), url.origin().as_str()), ("https://a.example/b?q=1", "https://a.example"));
    }

    #[test]
    fn this_machine_and_its_link_are_denied_however_they_are_written() {
        let usual = CopyRules::default();
        let here = [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0",
            "0.0.0.0",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
        ];
        let trial = CopyRules { allow_loopback: true, ..CopyRules::default() };
        for host in here {
            assert_eq!(status(&format!("http://{host}/x"), &usual), 403, "{host}");
            assert_eq!(status(&format!("http://{host}/x"), &trial), 200, "{host}");
        }
        for host in [
            "169.254.169.254",
            "[fe80::1]",
            "[::ffff:169.254.0.1]",
            "224.0.0.1",
            "255.255.255.255",
            "[ff02::1]",
        ] {
            assert_eq!(status(&format!("http://{host}/x"), &trial), 403, "{host}");
        }
    }

    #[test]
    fn private_networks_and_ports_are_the_sites_choice() {
        let usual = CopyRules::default();
        let ports = [443, 1094].map(|port| PortRange::new(port, port).unwrap()).to_vec();
        let strict = CopyRules { allow_private: false, ports, ..CopyRules::default() };
        for host in ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "[fd00::1]", "[::ffff:10.0.0.1]"]
        {
            assert_eq!(status(&format!("https://{host}/x"), &usual), 200, "{host}");
            assert_eq!(status(&format!("https://{host}/x"), &strict), 403, "{host}");
        }
        for (url, expected) in
            [("https://a.example/", 200), ("http://a.example:1094/", 200), ("http://a.example/", 403)]
        {
            assert_eq!(status(url, &strict), expected, "{url}");
        }
        for (port, expected) in [(80, 200), (443, 200), (22, 403), (1023, 403), (1024, 200), (65535, 200)] {
            assert_eq!(status(&format!("https://a.example:{port}/"), &usual), expected, "{port}");
        }
        let open = CopyRules { allow_link_local: true, ..CopyRules::default() };
        assert_eq!(status("http://[fe80::1]/x", &open), 200);
    }

    #[test]
    fn a_server_is_told_from_another_by_name_and_port() {
        let url = RemoteUrl::parse("https://Door.example/b", "Destination").unwrap();
        assert!(url.is_at("door.example") && url.is_at("door.example:443"));
        assert!(!url.is_at("door.example:80") && !url.is_at("other.example") && !url.is_at("a b"));
    }
}
