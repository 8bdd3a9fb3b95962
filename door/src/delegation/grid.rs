//! A small grid for the tests: an authority, a user, and whatever the user signs.

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;

use super::request::ProxyRequest;

/// The policy languages of RFC 3820 §3.8.2 and, last, that of limited proxies.
pub const INHERIT_ALL: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 21, 1];
pub const INDEPENDENT: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 21, 2];
pub const LIMITED: &[u64] = &[1, 3, 6, 1, 4, 1, 3536, 1, 1, 1, 9];

/// Somebody who can sign proxies.
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    params: CertificateParams,
    /// Its own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
}

/// What a proxy is to be like. By default it is as it should be.
pub struct Proxied {
    pub policy: &'static [u64],
    pub path_length: Option<u8>,
    pub is_proxy: bool,
    pub names: Vec<&'static str>,
    pub from: SignedDuration,
    pub until: SignedDuration,
    pub further: Option<CustomExtension>,
}

impl Default for Proxied {
    fn default() -> Self {
        Self {
            policy: INHERIT_ALL,
            path_length: None,
            is_proxy: true,
            names: vec!["1234567"],
            from: SignedDuration::from_mins(-1),
            until: SignedDuration::from_hours(12),
            further: None,
        }
    }
}

/// The attribute that a name may have several times, twice: the library has a place for one of each kind.
fn common_names() -> [DnType; 2] {
    [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])]
}

fn time(at: Timestamp) -> std::time::SystemTime {
    at.into()
}

/// A user whom an authority has given a certificate.
pub fn user(name: &str) -> Signer {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(vec![]).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "Authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let own = authority.self_signed(&authority_key).unwrap().der().clone();
    let authority = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Grid");
    params.distinguished_name.push(DnType::OrganizationalUnitName, name);
    let certificate = params.signed_by(&key, &authority).unwrap();
    Signer { issuer: Issuer::new(params.clone(), key), params, chain: vec![certificate.der().clone(), own] }
}

impl Signer {
    /// A certificate for somebody's key, signed by this one.
    fn certificate(
        &self,
        key: &KeyPair,
        how: &Proxied,
        now: Timestamp,
    ) -> (CertificateParams, rcgen::Certificate) {
        let mut params = self.params.clone();
        let taken = params.distinguished_name.iter().count() - 2;
        for (kind, name) in common_names().into_iter().skip(taken).zip(&how.names) {
            params.distinguished_name.push(kind, *name);
        }
        params.not_before = time(now + how.from).into();
        params.not_after = time(now + how.until).into();
        params.custom_extensions = how.further.iter().cloned().collect();
        if how.is_proxy {
            params.custom_extensions.push(proxy_info(how.policy, how.path_length));
        }
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        (params, certificate)
    }

    /// Signs what a door asks for; PEM, with this one's own chain behind it as clients send it.
    pub fn sign(&self, request: &ProxyRequest, how: &Proxied, now: Timestamp) -> String {
        let key = KeyPair::from_pem(std::str::from_utf8(request.key().expose()).unwrap()).unwrap();
        let (_, certificate) = self.certificate(&key, how, now);
        let mut pem = certificate.pem();
        for der in &self.chain {
            super::proxy::push_pem(&mut pem, der);
        }
        pem
    }

    /// A proxy of this one's own, that can sign further ones.
    pub fn proxy(&self, how: &Proxied, now: Timestamp) -> Signer {
        let key = KeyPair::generate().unwrap();
        let (params, certificate) = self.certificate(&key, how, now);
        let chain = std::iter::once(certificate.der().clone()).chain(self.chain.iter().cloned()).collect();
        Signer { issuer: Issuer::new(params.clone(), key), params, chain }
    }
}

/// ProxyCertInfo, critical.
fn proxy_info(policy: &[u64], path_length: Option<u8>) -> CustomExtension {
    let mut oid = vec![(policy[0] * 40 + policy[1]) as u8];
    for part in &policy[2..] {
        if *part >= 0x80 {
            oid.push((part >> 7) as u8 | 0x80);
        }
        oid.push((part & 0x7f) as u8);
    }
    let wrap = |tag: u8, contents: Vec<u8>| [vec![tag, contents.len() as u8], contents].concat();
    let path = path_length.map(|length| wrap(0x02, vec![length])).unwrap_or_default();
    let info = wrap(0x30, [path, wrap(0x30, wrap(0x06, oid))].concat());
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 14], info);
    extension.set_criticality(true);
    extension
}
