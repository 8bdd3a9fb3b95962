//! Chains of all kinds against a directory of authorities. The names of proxies have two common names at most here, as the
//! library that makes them cannot write more; longer ones are made by OpenSSL in the end-to-end stories.

use std::fs;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, NameConstraints, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::auth::identity::{Identity, Scheme};

const INHERIT_ALL: &[u8] = &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 21, 1];
const INDEPENDENT: &[u8] = &[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 21, 2];
const LIMITED: &[u8] = &[0x06, 11, 0x2b, 6, 1, 4, 1, 0x9b, 0x50, 1, 1, 1, 9];
/// The serial number of the user who is revoked.
pub(super) const REVOKED: u64 = 0x00c0_ffee;

pub(super) type Signer = CertifiedIssuer<'static, KeyPair>;

pub(super) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// CommonName again: the library keeps one of each kind.
fn second_common_name() -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, 3])
}

pub(super) fn named(parts: &[(DnType, &str)]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in parts {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}

pub(super) fn authority_params(name: &str) -> CertificateParams {
    let mut params = named(&[(DnType::CountryName, "XX"), (DnType::CommonName, name)]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// `/C=XX/O=Users/OU=<name>`: without a common name, so that proxies have room for two.
pub(super) fn user_params(name: &str) -> CertificateParams {
    let mut params = named(&[
        (DnType::CountryName, "XX"),
        (DnType::OrganizationName, "Users"),
        (DnType::OrganizationalUnitName, name),
    ]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn proxy_info(path_length: Option<u8>, policy: &[u8]) -> CustomExtension {
    let wrap = |contents: &[u8]| [&[0x30, u8::try_from(contents.len()).unwrap()], contents].concat();
    let length = path_length.map(|length| vec![0x02, 1, length]).unwrap_or_default();
    let mut extension = CustomExtension::from_oid_content(
        &[1, 3, 6, 1, 5, 5, 7, 1, 14],
        wrap(&[length, wrap(policy)].concat()),
    );
    extension.set_criticality(true);
    extension
}

/// A proxy below those parameters.
fn proxy_params(of: &CertificateParams, path_length: Option<u8>, policy: &[u8]) -> CertificateParams {
    let mut params = below(of, "123456");
    params.custom_extensions = vec![proxy_info(path_length, policy)];
    params
}

fn below(of: &CertificateParams, common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = of.distinguished_name.clone();
    let kind = match of.distinguished_name.get(&DnType::CommonName) {
        None => DnType::CommonName,
        Some(_) => second_common_name(),
    };
    params.distinguished_name.push(kind, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = rcgen::date_time_ymd(2024, 1, 1);
    params.not_after = rcgen::date_time_ymd(2039, 1, 1);
    params
}

/// An authority in a directory, and a user of it.
pub(super) struct Site {
    pub(super) directory: tempfile::TempDir,
    pub(super) authority: Signer,
    pub(super) user: Signer,
}

impl Site {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Signer::self_signed(authority_params("CA"), key()).unwrap();
        fs::write(directory.path().join("0123abcd.0"), authority.pem()).unwrap();
        let user = Signer::signed_by(user_params("paul"), key(), &authority).unwrap();
        Self { directory, authority, user }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn authorities(&self) -> Authorities {
        Authorities::load(self.directory.path(), None).unwrap()
    }

    fn verify_at(&self, chain: &[&Signer], now: Timestamp) -> Result<Identity, CertificateError> {
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|one| one.der().clone()).collect();
        self.authorities().verify(&chain, now)
    }

    fn verify(&self, chain: &[&Signer]) -> Result<Identity, CertificateError> {
        self.verify_at(chain, Timestamp::now())
    }

    /// A proxy of the user, with something changed.
    pub(super) fn proxy(&self, change: impl FnOnce(&mut CertificateParams)) -> Signer {
        let mut params = proxy_params(&user_params("paul"), None, INHERIT_ALL);
        change(&mut params);
        Signer::signed_by(params, key(), &self.user).unwrap()
    }

    pub(super) fn list(&self, name: &str, signer: &Signer, next_update: Timestamp) {
        let second = |time: Timestamp| {
            rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(time.as_second().unsigned_abs())
        };
        let list = CertificateRevocationListParams {
            this_update: second(Timestamp::now() - SignedDuration::from_hours(48)),
            next_update: second(next_update),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(REVOKED),
                revocation_time: second(Timestamp::now() - SignedDuration::from_hours(48)),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        fs::write(self.file(name), list.signed_by(signer).unwrap().pem().unwrap()).unwrap();
    }
}

pub(super) fn tomorrow() -> Timestamp {
    Timestamp::now() + SignedDuration::from_hours(24)
}

#[test]
fn a_user_is_known_by_the_name_in_the_certificate() {
    let site = Site::new();
    let identity = site.verify(&[&site.user]).unwrap();
    assert_eq!(identity.scheme, Scheme::Certificate);
    assert_eq!(identity.distinguished_name.as_deref(), Some("/C=XX/O=Users/OU=paul"));
    assert_eq!(identity.name, "/C=XX/O=Users/OU=paul");
    assert_eq!(identity.expires_at, Some("2040-01-01T00:00:00Z".parse().unwrap()));
    assert!(!identity.limited);
    // Many send their authority along; it makes no difference.
    assert_eq!(site.verify(&[&site.user, &site.authority]).unwrap(), identity);
}

#[test]
fn a_proxy_is_its_owner_until_it_ends() {
    let site = Site::new();
    let proxy = site.proxy(|_| ());
    let identity = site.verify(&[&proxy, &site.user]).unwrap();
    assert_eq!(identity.name, "/C=XX/O=Users/OU=paul");
    assert_eq!(identity.expires_at, Some("2039-01-01T00:00:00Z".parse().unwrap()));

    let first = proxy_params(&user_params("paul"), None, INHERIT_ALL);
    let second = proxy_params(&first, None, INHERIT_ALL);
    let second = Signer::signed_by(second, key(), &proxy).unwrap();
    assert_eq!(site.verify(&[&second, &proxy, &site.user]).unwrap().name, "/C=XX/O=Users/OU=paul");
    // The order of those that come along does not matter.
    assert!(site.verify(&[&second, &site.user, &proxy]).is_ok());
}

#[test]
fn a_limited_proxy_and_all_below_it_are_marked() {
    let site = Site::new();
    let limited = site.proxy(|params| params.custom_extensions = vec![proxy_info(None, LIMITED)]);
    assert!(site.verify(&[&limited, &site.user]).unwrap().limited);
    let first = proxy_params(&user_params("paul"), None, LIMITED);
    let below = Signer::signed_by(proxy_params(&first, None, INHERIT_ALL), key(), &limited).unwrap();
    assert!(site.verify(&[&below, &limited, &site.user]).unwrap().limited);
}

#[test]
fn proxies_of_the_old_kind_are_known_by_their_names() {
    let site = Site::new();
    for (common_name, limited) in [("proxy", false), ("limited proxy", true)] {
        let params = below(&user_params("paul"), common_name);
        let proxy = Signer::signed_by(params, key(), &site.user).unwrap();
        assert_eq!(site.verify(&[&proxy, &site.user]).unwrap().limited, limited);
    }
    let params = below(&user_params("paul"), "not a proxy");
    let other = Signer::signed_by(params, key(), &site.user).unwrap();
    let error = site.verify(&[&other, &site.user]).unwrap_err();
    assert!(matches!(error, CertificateError::NotAnAuthority { .. }), "{error}");

    let old = below(&user_params("paul"), "proxy");
    let new = proxy_params(&old, None, INHERIT_ALL);
    let old = Signer::signed_by(old, key(), &site.user).unwrap();
    let mixed = Signer::signed_by(new, key(), &old).unwrap();
    let error = site.verify(&[&mixed, &old, &site.user]).unwrap_err().to_string();
    assert!(error.contains("of another kind"), "{error}");
}

/// What is wrong with a proxy, how it is made so, and what the refusal says.
#[test]
fn a_proxy_that_breaks_a_rule_is_refused() {
    type Change = fn(&mut CertificateParams);
    let cases: [(Change, &str); 9] = [
        (
            |params| params.custom_extensions = vec![proxy_info(None, INDEPENDENT)],
            "none of its owner's rights",
        ),
        (
            |params| params.custom_extensions = vec![proxy_info(None, &[0x06, 2, 0x2a, 3])],
            "does not understand",
        ),
        (|params| params.custom_extensions[0].set_criticality(false), "not marked as critical"),
        (|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "says that it is an authority"),
        (
            |params| params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().unwrap())],
            "alternative names",
        ),
        (
            |params| {
                params.distinguished_name = user_params("mary").distinguished_name;
                params.distinguished_name.push(DnType::CommonName, "1");
            },
            "its name is not its issuer's",
        ),
        (|params| params.not_after = rcgen::date_time_ymd(2025, 1, 1), "has ended at 2025-01-01"),
        (|params| params.not_before = rcgen::date_time_ymd(2038, 1, 1), "is good from 2038-01-01"),
        (
            |params| {
                let mut unknown = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                unknown.set_criticality(true);
                params.custom_extensions.push(unknown);
            },
            "extension 1.2.3.4",
        ),
    ];
    let site = Site::new();
    for (change, expected) in cases {
        let error = site.verify(&[&site.proxy(change), &site.user]).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{expected}: {error}");
    }
}

#[test]
fn a_proxy_without_its_owner_or_of_another_owner_is_refused() {
    let site = Site::new();
    let proxy = site.proxy(|_| ());
    let error = site.verify(&[&proxy]).unwrap_err().to_string();
    assert!(error.contains("was not sent along"), "{error}");

    // Same name, another key.
    let impostor = Signer::signed_by(user_params("paul"), key(), &site.authority).unwrap();
    let error = site.verify(&[&proxy, &impostor]).unwrap_err();
    assert!(matches!(error, CertificateError::BadSignature { .. }), "{error}");
}

#[test]
fn a_proxy_below_one_that_allows_none_is_too_deep() {
    let site = Site::new();
    for (length, good) in [(Some(0), false), (Some(1), true), (None, true)] {
        let first = proxy_params(&user_params("paul"), length, INHERIT_ALL);
        let second = proxy_params(&first, None, INHERIT_ALL);
        let first = Signer::signed_by(first, key(), &site.user).unwrap();
        let second = Signer::signed_by(second, key(), &first).unwrap();
        let result = site.verify(&[&second, &first, &site.user]);
        assert_eq!(result.is_ok(), good, "{length:?} {result:?}");
        assert!(site.verify(&[&first, &site.user]).is_ok());
    }
}

#[test]
fn an_authority_signs_no_proxies() {
    let site = Site::new();
    let params = proxy_params(&authority_params("CA"), None, INHERIT_ALL);
    let proxy = Signer::signed_by(params, key(), &site.authority).unwrap();
    let error = site.verify(&[&proxy, &site.authority]).unwrap_err().to_string();
    assert!(error.contains("an authority has signed it"), "{error}");
}

#[test]
fn users_of_other_authorities_and_of_none_are_refused() {
    let site = Site::new();
    let other = Site::new();
    // An authority of the same name with another key, and one that the client brings along.
    let error = site.verify(&[&other.user, &other.authority]).unwrap_err();
    assert!(matches!(error, CertificateError::BadSignature { .. }), "{error}");
    let evil = Signer::self_signed(authority_params("Evil"), key()).unwrap();
    let user = Signer::signed_by(user_params("paul"), key(), &evil).unwrap();
    for chain in [vec![&user], vec![&user, &evil], vec![&user, &evil, &site.authority]] {
        let error = site.verify(&chain).unwrap_err();
        assert!(matches!(error, CertificateError::UnknownAuthority { .. }), "{error}");
    }
    let self_signed = Signer::self_signed(user_params("paul"), key()).unwrap();
    let error = site.verify(&[&self_signed]).unwrap_err();
    assert!(matches!(error, CertificateError::UnknownAuthority { .. }), "{error}");
    // A user is no authority, and an authority no user.
    let below = Signer::signed_by(user_params("mary"), key(), &site.user).unwrap();
    let error = site.verify(&[&below, &site.user]).unwrap_err();
    assert!(matches!(error, CertificateError::NotAnAuthority { .. }), "{error}");
    let mut sub = authority_params("Sub");
    sub.key_usages.push(KeyUsagePurpose::DigitalSignature);
    let sub = Signer::signed_by(sub, key(), &site.authority).unwrap();
    assert!(site.verify(&[&sub]).unwrap_err().to_string().contains("not for a user"));
}

#[test]
fn an_authority_in_between_may_come_with_the_client() {
    let site = Site::new();
    let between = Signer::signed_by(authority_params("Sub"), key(), &site.authority).unwrap();
    let user = Signer::signed_by(user_params("mary"), key(), &between).unwrap();
    assert_eq!(site.verify(&[&user, &between]).unwrap().name, "/C=XX/O=Users/OU=mary");
    let error = site.verify(&[&user]).unwrap_err();
    assert!(matches!(error, CertificateError::UnknownAuthority { .. }), "{error}");
    // Or lie in the directory; then it is trusted without the one above it.
    fs::write(site.file("89abcdef.0"), between.pem()).unwrap();
    assert!(site.verify(&[&user]).is_ok());
    fs::remove_file(site.file("0123abcd.0")).unwrap();
    assert!(site.verify(&[&user]).is_ok());
}

#[test]
fn an_authority_has_no_more_below_it_than_it_may() {
    let site = Site::new();
    let mut params = authority_params("Root");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = Signer::self_signed(params, key()).unwrap();
    fs::write(site.file("89abcdef.0"), root.pem()).unwrap();
    let user = Signer::signed_by(user_params("paul"), key(), &root).unwrap();
    assert!(site.verify(&[&user]).is_ok());
    let sub = Signer::signed_by(authority_params("Sub"), key(), &root).unwrap();
    let user = Signer::signed_by(user_params("paul"), key(), &sub).unwrap();
    let error = site.verify(&[&user, &sub]).unwrap_err();
    assert!(matches!(error, CertificateError::AuthorityDepth { .. }), "{error}");
}

#[test]
fn name_constraints_of_an_authority_hold() {
    let site = Site::new();
    let mut params = authority_params("Narrow");
    let mut base = DistinguishedName::new();
    base.push(DnType::CountryName, "XX");
    base.push(DnType::OrganizationName, "Users");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DirectoryName(base),
            GeneralSubtree::Rfc822Name("example.org".into()),
        ],
        excluded_subtrees: Vec::new(),
    });
    let narrow = Signer::self_signed(params, key()).unwrap();
    fs::write(site.file("89abcdef.0"), narrow.pem()).unwrap();
    let verdict = |change: fn(&mut CertificateParams)| {
        let mut params = user_params("paul");
        change(&mut params);
        site.verify(&[&Signer::signed_by(params, key(), &narrow).unwrap()])
    };
    assert!(verdict(|_| ()).is_ok());
    fn mail(address: &str) -> Vec<SanType> {
        vec![SanType::Rfc822Name(address.try_into().unwrap())]
    }
    assert!(verdict(|params| params.subject_alt_names = mail("a@example.org")).is_ok());
    let elsewhere = verdict(|params| params.subject_alt_names = mail("a@example.com"));
    assert!(matches!(elsewhere, Err(CertificateError::Namespace { .. })), "{elsewhere:?}");
    let outside = verdict(|params| params.distinguished_name.push(DnType::OrganizationName, "Others"));
    assert!(matches!(outside, Err(CertificateError::Namespace { .. })), "{outside:?}");
}

#[test]
fn a_certificate_for_something_else_is_refused() {
    let site = Site::new();
    let verdict = |change: fn(&mut CertificateParams)| {
        let mut params = user_params("paul");
        change(&mut params);
        let user = Signer::signed_by(params, key(), &site.authority).unwrap();
        site.verify(&[&user]).map_err(|error| error.to_string())
    };
    let error = verdict(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert!(error.unwrap_err().contains("not for clients of TLS"));
    let error = verdict(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    assert!(error.unwrap_err().contains("not for signatures"));
    let error = verdict(|params| params.distinguished_name = DistinguishedName::new());
    assert!(error.unwrap_err().contains("it has no name"));
    let error = verdict(|params| params.distinguished_name.push(DnType::CommonName, "me/CN=root"));
    assert!(error.unwrap_err().contains("mistaken for another"));
    assert!(verdict(|params| params.extended_key_usages = Vec::new()).is_ok());
    assert!(verdict(|params| params.key_usages = Vec::new()).is_ok());
}

#[test]
fn who_is_revoked_is_refused_and_so_are_the_proxies() {
    let mut site = Site::new();
    let mut params = user_params("paul");
    params.serial_number = Some(SerialNumber::from(REVOKED));
    site.user = Signer::signed_by(params, key(), &site.authority).unwrap();
    let proxy = site.proxy(|_| ());
    assert!(site.verify(&[&proxy, &site.user]).is_ok());

    site.list("0123abcd.r0", &site.authority, tomorrow());
    for chain in [vec![&site.user], vec![&proxy, &site.user]] {
        let error = site.verify(&chain).unwrap_err();
        assert!(matches!(error, CertificateError::Revoked { .. }), "{error}");
    }
    let other = Signer::signed_by(user_params("mary"), key(), &site.authority).unwrap();
    assert!(site.verify(&[&other]).is_ok());
}

#[test]
fn an_authority_that_is_revoked_takes_its_users_with_it() {
    let site = Site::new();
    let mut params = authority_params("Sub");
    params.serial_number = Some(SerialNumber::from(REVOKED));
    let sub = Signer::signed_by(params, key(), &site.authority).unwrap();
    let user = Signer::signed_by(user_params("mary"), key(), &sub).unwrap();
    site.list("0123abcd.r0", &site.authority, tomorrow());
    let error = site.verify(&[&user, &sub]).unwrap_err();
    assert!(matches!(error, CertificateError::Revoked { .. }), "{error}");
    // Also where it lies in the directory itself.
    fs::write(site.file("89abcdef.0"), sub.pem()).unwrap();
    let error = site.verify(&[&user]).unwrap_err();
    assert!(matches!(error, CertificateError::Revoked { .. }), "{error}");
}

#[test]
fn a_list_that_has_ended_is_not_gone_by_and_a_forged_one_does_not_count() {
    let site = Site::new();
    site.list("0123abcd.r0", &site.authority, Timestamp::now() - SignedDuration::from_hours(1));
    let error = site.verify(&[&site.user]).unwrap_err();
    assert!(matches!(error, CertificateError::ListEnded { .. }), "{error}");
    let forger = Signer::self_signed(authority_params("CA"), key()).unwrap();
    site.list("0123abcd.r0", &forger, tomorrow());
    assert!(site.verify(&[&site.user]).is_ok());
    let stock = site.authorities().stock();
    assert_eq!(stock.revocation_lists, 0);
    assert!(stock.passed_over[0].contains("not signed by /C=XX/CN=CA"), "{:?}", stock.passed_over);
}

#[test]
fn an_authority_certifies_only_the_names_that_the_site_believes_it() {
    let site = Site::new();
    let policy = |pattern: &str| {
        format!(
            "access_id_CA X509 '/C=XX/CN=CA'\npos_rights globus CA:sign\ncond_subjects globus '\"{pattern}\"'\n"
        )
    };
    fs::write(site.file("0123abcd.signing_policy"), policy("/C=XX/O=Users/*")).unwrap();
    let proxy = site.proxy(|_| ());
    assert!(site.verify(&[&proxy, &site.user]).is_ok());
    fs::write(site.file("0123abcd.signing_policy"), policy("/C=XX/O=Others/*")).unwrap();
    let error = site.verify(&[&proxy, &site.user]).unwrap_err();
    assert!(matches!(error, CertificateError::Namespace { .. }), "{error}");
    fs::write(
        site.file("0123abcd.namespaces"),
        "TO Issuer SELF \\\n PERMIT Subject \"/C=XX/O=Users/OU=[a-z]+\"\n",
    )
    .unwrap();
    assert!(site.verify(&[&proxy, &site.user]).is_ok(), "namespaces go first");
    fs::write(site.file("0123abcd.namespaces"), "TO Issuer SELF PERMIT").unwrap();
    let error = site.verify(&[&site.user]).unwrap_err();
    assert!(matches!(error, CertificateError::Namespace { .. }), "what is broken permits nobody: {error}");
    assert!(site.authorities().stock().passed_over[0].contains("line 1"));
}

#[test]
fn what_changes_in_the_directory_counts_after_the_next_look() {
    let site = Site::new();
    let authorities = site.authorities();
    let changes = authorities.changes();
    let chain = [site.user.der().clone()];
    assert!(!authorities.reload(false).unwrap());
    assert!(authorities.verify(&chain, Timestamp::now()).is_ok());
    fs::write(site.file("0123abcd.signing_policy"), "nonsense").unwrap();
    assert!(authorities.reload(false).unwrap());
    assert!(changes.has_changed().unwrap());
    assert!(authorities.verify(&chain, Timestamp::now()).is_err());
    // A directory that has become empty is a mistake, and changes nothing.
    fs::remove_file(site.file("0123abcd.signing_policy")).unwrap();
    assert!(authorities.reload(false).unwrap());
    fs::remove_file(site.file("0123abcd.0")).unwrap();
    assert!(authorities.reload(false).is_err());
    assert!(authorities.verify(&chain, Timestamp::now()).is_ok());
}

#[test]
fn too_many_certificates_and_nonsense_are_refused_without_a_panic() {
    let site = Site::new();
    let authorities = site.authorities();
    let own = site.user.der().clone();
    let now = Timestamp::now();
    assert_eq!(authorities.verify(&vec![own.clone(); 25], now), Err(CertificateError::TooLong));
    // Twenty issuers of one name, none of which is it: bounded work.
    let proxy = site.proxy(|_| ());
    let mut chain = vec![proxy.der().clone()];
    chain.extend(
        (0..20)
            .map(|_| Signer::signed_by(user_params("paul"), key(), &site.authority).unwrap().der().clone()),
    );
    assert!(authorities.verify(&chain, now).is_err());
    assert!(matches!(authorities.verify(&[], now), Err(CertificateError::Malformed { number: 1, .. })));
    for length in (0..own.len()).step_by(7) {
        let cut = CertificateDer::from(own[..length].to_vec());
        assert!(matches!(authorities.verify(&[cut], now), Err(CertificateError::Malformed { .. })));
    }
    for place in 0..own.len() {
        let mut bent = own.to_vec();
        bent[place] ^= 0x55;
        let verdict = authorities.verify(&[CertificateDer::from(bent)], now);
        assert!(verdict.is_err(), "byte {place} is not covered by the signature: {verdict:?}");
    }
}
