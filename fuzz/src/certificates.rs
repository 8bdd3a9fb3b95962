//! Chains of certificates as clients show them, proxies among them.
//!
//! Whatever is shown: without the authority's key nobody becomes anybody but whom it has certified. A certificate that was
//! read ends where it ends, when both readers say that it does, and nothing of it can drive a terminal or a log. The groups of
//! a VO are of that VO.

use std::path::Path;
use std::sync::LazyLock;

use jiff::Timestamp;
use penstock_door::auth::certificate::Authorities;
use penstock_door::auth::certificate::facts::Certificate;
use penstock_door::auth::certificate::voms::attribute_certificate;
use penstock_trust::certificate::not_after;
use rustls::pki_types::CertificateDer;

/// Whom the one authority has certified.
const PAUL: &str = "/DC=org/DC=example/CN=Paul";
/// Longer chains are refused before they are looked at.
const MOST: usize = 26;

static AUTHORITIES: LazyLock<Authorities> = LazyLock::new(|| {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/authority.pem");
    Authorities::load(&place, None).expect("the authority of the seeds")
});

/// Checks an input: certificates in DER, two bytes of its length before each.
pub fn check(data: &[u8]) {
    let mut chain = Vec::new();
    let mut rest = data;
    while let ([high, low, behind @ ..], true) = (rest, chain.len() < MOST) {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(behind.len());
        chain.push(CertificateDer::from(behind[..length].to_vec()));
        rest = &behind[length..];
    }
    for der in chain.iter().take(4) {
        parsed(der);
    }
    let now: Timestamp = "2027-01-01T00:00:00Z".parse().expect("a time");
    match AUTHORITIES.verify(&chain, now) {
        Ok(identity) => {
            assert_eq!(identity.distinguished_name.as_deref(), Some(PAUL), "a forged certificate");
            assert!(identity.expires_at.is_some_and(|end| end > now));
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
}

fn parsed(der: &CertificateDer<'_>) {
    let Ok(certificate) = Certificate::parse(der) else { return };
    assert_eq!(certificate.der, der.as_ref());
    for name in [&certificate.subject, &certificate.issuer] {
        assert!(name.to_string().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name}");
        assert!(name.is_within(name));
    }
    attributes(certificate.attributes.as_deref().unwrap_or(der));
    if let Ok(end) = not_after(der) {
        assert_eq!(Timestamp::try_from(end).ok(), Some(certificate.not_after));
    }
    let longer = [der.as_ref(), &[0]].concat();
    assert!(Certificate::parse(&longer).is_err() && Certificate::parse(&der[..der.len() - 1]).is_err());
}

/// Attributes of a VOMS, which stand in a proxy: whatever is read can stand in a policy, a log and a file's name.
fn attributes(extension: &[u8]) {
    for one in attribute_certificate::parse_all(extension).unwrap_or_default() {
        let prefix = format!("/{}", one.vo);
        for group in &one.groups {
            let behind = group.strip_prefix(&prefix).expect("a group of the VO");
            assert!(behind.is_empty() || behind.starts_with('/'), "{group}");
            assert!(group.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{group}");
        }
        for name in [&one.vo, &one.host] {
            assert!(!name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']), "{name}");
        }
        assert_eq!(one.host, one.host.to_ascii_lowercase());
    }
}
