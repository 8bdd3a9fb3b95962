//! Proxies: certificates that a user, not an authority, has signed (RFC 3820), and the older kind without the extension
//! ("legacy", Globus 2), which is known by its name alone.

use x509_parser::asn1_rs::{Any, FromDer, Integer, Oid, Sequence, oid};

use super::facts::Certificate;

/// Which rights a proxy has of its owner's (RFC 3820 §3.8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// All.
    InheritAll,
    /// All, but it may not be delegated for starting jobs (Globus).
    Limited,
    /// None but what it is given for itself.
    Independent,
    /// A language that nobody here speaks.
    Unknown,
}

/// The extension proxyCertInfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyInfo {
    /// How many proxies may be below it.
    pub path_length: Option<u32>,
    /// Its rights.
    pub policy: Policy,
    /// Whether it is marked as RFC 3820 §3.8 demands.
    pub critical: bool,
}

/// What kind of proxy a certificate is. All proxies of a chain are of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With proxyCertInfo.
    Rfc3820(ProxyInfo),
    /// `/CN=proxy` or `/CN=limited proxy` behind its issuer's name.
    Legacy {
        /// The latter.
        limited: bool,
    },
}

/// Whether an extension is proxyCertInfo. Its draft's number counts as unknown: such proxies have died out.
pub fn is_proxy_info(oid: &Oid<'_>) -> bool {
    *oid == oid!(1.3.6.1.5.5.7.1.14)
}

impl ProxyInfo {
    /// `SEQUENCE { pcPathLenConstraint INTEGER OPTIONAL, proxyPolicy SEQUENCE { language OID, policy OCTET STRING
    /// OPTIONAL } }`.
    pub fn parse(value: &[u8], critical: bool) -> Option<Self> {
        let (rest, info) = Sequence::from_der(value).ok()?;
        let mut inner: &[u8] = &info.content;
        let mut path_length = None;
        if let Ok((behind, number)) = Integer::from_der(inner) {
            path_length = Some(number.as_u32().ok()?);
            inner = behind;
        }
        let (behind, policy) = Sequence::from_der(inner).ok()?;
        let (limits, language) = Oid::from_der(&policy.content).ok()?;
        let has_text = match Any::from_der(limits) {
            Ok(([], _)) => true,
            Ok(_) => return None,
            Err(_) if limits.is_empty() => false,
            Err(_) => return None,
        };
        if !rest.is_empty() || !behind.is_empty() {
            return None;
        }
        let policy = if language == oid!(1.3.6.1.5.5.7.21.1) && !has_text {
            Policy::InheritAll
        } else if language == oid!(1.3.6.1.4.1.3536.1.1.1.9) {
            Policy::Limited
        } else if language == oid!(1.3.6.1.5.5.7.21.2) && !has_text {
            Policy::Independent
        } else {
            Policy::Unknown
        };
        Some(Self { path_length, policy, critical })
    }
}

/// Whether a certificate is a proxy, and of what kind.
pub fn kind(certificate: &Certificate) -> Option<Kind> {
    if let Some(info) = certificate.proxy {
        return Some(Kind::Rfc3820(info));
    }
    match certificate.subject.common_name_below(&certificate.issuer)? {
        b"proxy" => Some(Kind::Legacy { limited: false }),
        b"limited proxy" => Some(Kind::Legacy { limited: true }),
        _ => None,
    }
}

/// What is wrong with a proxy and its issuer; the signature, the times and the depth are looked at elsewhere.
pub fn check(proxy: &Certificate, kind: Kind, issuer: &Certificate) -> Result<(), &'static str> {
    if proxy.subject.common_name_below(&proxy.issuer).is_none() {
        return Err("its name is not its issuer's with one common name behind it");
    }
    if proxy.is_authority {
        return Err("it says that it is an authority");
    }
    if issuer.is_authority {
        return Err("an authority has signed it, and not its owner");
    }
    if !proxy.other_names.is_empty() || proxy.has_issuer_names {
        return Err("it has alternative names");
    }
    if issuer.usage.is_some_and(|usage| !usage.digital_signature) {
        return Err("its issuer's key is not for signatures");
    }
    if proxy.usage.is_some_and(|usage| usage.certificates) {
        return Err("its key is for signing certificates");
    }
    match kind {
        Kind::Legacy { .. } => Ok(()),
        Kind::Rfc3820(info) => match info.policy {
            _ if !info.critical => Err("its proxyCertInfo is not marked as critical"),
            Policy::InheritAll | Policy::Limited => Ok(()),
            Policy::Independent => Err("it has none of its owner's rights (an independent proxy)"),
            Policy::Unknown => Err("its rights are limited in a way that this door does not understand"),
        },
    }
}

impl Kind {
    /// Whether it is one that may not be delegated.
    pub fn is_limited(self) -> bool {
        match self {
            Kind::Legacy { limited } => limited,
            Kind::Rfc3820(info) => info.policy == Policy::Limited,
        }
    }

    /// How many proxies may be below it.
    pub fn path_length(self) -> Option<u32> {
        match self {
            Kind::Legacy { .. } => None,
            Kind::Rfc3820(info) => info.path_length,
        }
    }

    /// Whether another is of the same kind: a chain with both is made by no tool.
    pub fn goes_with(self, other: Kind) -> bool {
        matches!(
            (self, other),
            (Kind::Legacy { .. }, Kind::Legacy { .. }) | (Kind::Rfc3820(_), Kind::Rfc3820(_))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SEQUENCE { [INTEGER], SEQUENCE { OID, … } }`.
    fn info(length: Option<u8>, language: &[u8], text: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, contents: &[u8]| {
            let mut element = vec![tag, u8::try_from(contents.len()).unwrap()];
            element.extend(contents);
            element
        };
        let policy = wrap(0x30, &[wrap(0x06, language), text.to_vec()].concat());
        let length = length.map(|length| wrap(0x02, &[length])).unwrap_or_default();
        wrap(0x30, &[length, policy].concat())
    }

    const INHERIT_ALL: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 21, 1];
    const INDEPENDENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 21, 2];
    const LIMITED: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9b, 0x50, 1, 1, 1, 9];

    #[test]
    fn the_extension_says_depth_and_rights() {
        let text = [0x04, 1, b'x'];
        let cases = [
            (info(None, INHERIT_ALL, &[]), Some((None, Policy::InheritAll))),
            (info(Some(0), INHERIT_ALL, &[]), Some((Some(0), Policy::InheritAll))),
            (info(Some(7), LIMITED, &[]), Some((Some(7), Policy::Limited))),
            (info(None, INDEPENDENT, &[]), Some((None, Policy::Independent))),
            (info(None, INHERIT_ALL, &text), Some((None, Policy::Unknown))),
            (info(None, &[0x2a, 3], &text), Some((None, Policy::Unknown))),
            // A negative depth, something behind the end, nothing at all.
            (info(Some(0xff), INHERIT_ALL, &[]), None),
            ([info(None, INHERIT_ALL, &[]), vec![0]].concat(), None),
            (info(None, INHERIT_ALL, &[0x04, 9]), None),
            (Vec::new(), None),
        ];
        for (bytes, expected) in cases {
            let found = ProxyInfo::parse(&bytes, true).map(|info| (info.path_length, info.policy));
            assert_eq!(found, expected, "{bytes:02x?}");
        }
    }
}
