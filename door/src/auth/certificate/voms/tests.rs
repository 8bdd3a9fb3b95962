//! Attributes of VOs in proxies, made here as VOMS makes them, against a directory of servers. Those of VOMS' own tools are
//! shown to a door in the end-to-end stories.

use std::fs;

use jiff::Timestamp;
use rcgen::{
    CustomExtension, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose, SerialNumber, SigningKey as _,
};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::tests::{REVOKED, Signer, Site, authority_params, key, named, tomorrow, user_params};
use crate::auth::certificate::{Authorities, CertificateError};
use crate::auth::identity::Identity;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 2;
const BITS: u8 = 3;
const OCTETS: u8 = 4;
const TIME: u8 = 0x18;
/// What the door is called.
const HOST: &str = "door.example.org";
const SERVER: &str = "/C=XX/O=Hosts/CN=voms.example.org";
/// ecdsa-with-SHA256, that of the keys that are made here.
const ALGORITHM: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
    let head = match contents.len() {
        ..0x80 => vec![tag, length[1]],
        0x80..0x100 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [&head, contents].concat()
}

fn nested(tag: u8, elements: &[Vec<u8>]) -> Vec<u8> {
    element(tag, &elements.concat())
}

/// An object identifier below that of VOMS.
fn voms_id(last: u8) -> Vec<u8> {
    element(6, &[0x2b, 6, 1, 4, 1, 0xbe, 0x45, 100, 100, last])
}

/// An extension that limits attributes to these hosts.
fn targets(hosts: &[&str], critical: bool) -> (Vec<u8>, Vec<u8>, bool) {
    let all: Vec<Vec<u8>> = hosts.iter().map(|host| element(0xa0, &element(0x86, host.as_bytes()))).collect();
    (vec![6, 3, 0x55, 0x1d, 55], nested(SEQUENCE, &[nested(SEQUENCE, &all)]), critical)
}

/// DER of a certificate's subject and issuer, and its number.
fn facts(certificate: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let (_, parsed) = X509Certificate::from_der(certificate).unwrap();
    let (subject, issuer) = (parsed.subject().as_raw().to_vec(), parsed.issuer().as_raw().to_vec());
    (subject, issuer, parsed.tbs_certificate.raw_serial().to_vec())
}

/// What a server writes; each part can be changed.
struct Making {
    version: u8,
    holder: Vec<u8>,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    from: &'static str,
    until: &'static str,
    authority: &'static str,
    groups: Vec<&'static str>,
    /// The attribute, so many times.
    attributes: usize,
    certificates: Vec<Vec<u8>>,
    /// More extensions: object identifier and value, both in DER, and whether it is critical.
    more: Vec<(Vec<u8>, Vec<u8>, bool)>,
    algorithm_inside: Vec<u8>,
    algorithm: Vec<u8>,
    flip: bool,
    behind: Vec<u8>,
}

impl Making {
    fn write(&self, server: &Signer) -> Vec<u8> {
        let name = |name: &[u8]| element(SEQUENCE, &element(0xa4, name));
        let values: Vec<Vec<u8>> =
            self.groups.iter().map(|group| element(OCTETS, group.as_bytes())).collect();
        let memberships = nested(
            SEQUENCE,
            &[element(0xa0, &element(0x86, self.authority.as_bytes())), nested(SEQUENCE, &values)],
        );
        let attribute = nested(SEQUENCE, &[voms_id(4), element(SET, &memberships)]);
        let listed = nested(SEQUENCE, &[nested(SEQUENCE, &self.certificates)]);
        let mut extensions = vec![
            nested(SEQUENCE, &[voms_id(10), element(OCTETS, &listed)]),
            // noRevAvail.
            nested(SEQUENCE, &[vec![6, 3, 0x55, 0x1d, 56], element(OCTETS, &[5, 0])]),
        ];
        for (id, value, critical) in &self.more {
            let mark = if *critical { vec![1, 1, 0xff] } else { Vec::new() };
            extensions.push(nested(SEQUENCE, &[id.clone(), mark, element(OCTETS, value)]));
        }
        let info = nested(
            SEQUENCE,
            &[
                element(INTEGER, &[self.version]),
                element(SEQUENCE, &nested(0xa0, &[name(&self.holder), element(INTEGER, &self.serial)])),
                element(0xa0, &name(&self.issuer)),
                element(SEQUENCE, &self.algorithm_inside),
                element(INTEGER, &[7]),
                nested(
                    SEQUENCE,
                    &[element(TIME, self.from.as_bytes()), element(TIME, self.until.as_bytes())],
                ),
                nested(SEQUENCE, &vec![attribute; self.attributes]),
                nested(SEQUENCE, &extensions),
            ],
        );
        let mut signature = server.key().sign(&info).unwrap();
        let last = signature.len() - 1;
        signature[last] ^= u8::from(self.flip);
        nested(
            SEQUENCE,
            &[
                info,
                element(SEQUENCE, &self.algorithm),
                element(BITS, &[&[0], &signature[..]].concat()),
                self.behind.clone(),
            ],
        )
    }
}

/// A site that knows a server of the VO `vo`, and a user.
struct Vo {
    site: Site,
    servers: tempfile::TempDir,
    server: Signer,
}

impl Vo {
    fn new() -> Self {
        let site = Site::new();
        let params = named(&[
            (DnType::CountryName, "XX"),
            (DnType::OrganizationName, "Hosts"),
            (DnType::CommonName, "voms.example.org"),
        ]);
        let server = Signer::signed_by(params, key(), &site.authority).unwrap();
        let vo = Self { site, servers: tempfile::tempdir().unwrap(), server };
        vo.know(&format!("{SERVER}\n/C=XX/CN=CA\n"));
        vo
    }

    /// What the site has written down of the server.
    fn know(&self, text: &str) {
        fs::create_dir_all(self.servers.path().join("vo")).unwrap();
        fs::write(self.servers.path().join("vo/voms.example.org.lsc"), text).unwrap();
    }

    fn usual(&self) -> Making {
        let (_, issuer, serial) = facts(self.site.user.der());
        let (subject, ..) = facts(self.server.der());
        Making {
            version: 1,
            holder: issuer,
            serial,
            issuer: subject,
            from: "20250101000000Z",
            until: "20380101000000Z",
            authority: "vo://VOMS.example.org:15000",
            groups: vec!["/vo/Role=production/Capability=NULL", "/vo/Role=NULL/Capability=NULL", "/vo/sub"],
            attributes: 1,
            certificates: vec![self.server.der().to_vec()],
            more: Vec::new(),
            algorithm_inside: ALGORITHM.to_vec(),
            algorithm: ALGORITHM.to_vec(),
            flip: false,
            behind: Vec::new(),
        }
    }

    /// A proxy of the user with these in it.
    fn proxy(&self, written: &[Vec<u8>]) -> Signer {
        self.proxy_with(nested(SEQUENCE, &[nested(SEQUENCE, written)]))
    }

    fn proxy_with(&self, extension: Vec<u8>) -> Signer {
        let id = [1, 3, 6, 1, 4, 1, 8005, 100, 100, 5];
        self.site.proxy(|params| {
            params.custom_extensions.push(CustomExtension::from_oid_content(&id, extension));
        })
    }

    fn authorities(&self) -> Authorities {
        Authorities::load(self.site.directory.path(), Some(self.servers.path())).unwrap()
    }

    fn verify(&self, proxy: &Signer) -> Result<Identity, CertificateError> {
        let chain: Vec<CertificateDer<'_>> = [proxy, &self.site.user].map(|one| one.der().clone()).into();
        self.authorities().called(Some("Door.example.org")).verify(&chain, Timestamp::now())
    }

    /// Who somebody is with what is written so.
    fn identity(&self, making: &Making) -> Identity {
        self.verify(&self.proxy(&[making.write(&self.server)])).unwrap()
    }
}

#[test]
fn groups_and_roles_that_a_known_server_has_signed_are_those_of_the_proxys_owner() {
    let vo = Vo::new();
    let identity = vo.identity(&vo.usual());
    assert_eq!(identity.ignored, None);
    assert_eq!(identity.groups, ["/vo/Role=production", "/vo", "/vo/sub"]);
    assert_eq!(identity.name, "/C=XX/O=Users/OU=paul");
    assert_eq!(identity.expires_at, Some("2038-01-01T00:00:00Z".parse().unwrap()), "before the proxy ends");

    // As servers of VOMS do: the owner's own name in the place of that of the issuer.
    let (subject, ..) = facts(vo.site.user.der());
    assert_eq!(vo.identity(&Making { holder: subject, ..vo.usual() }).groups.len(), 3);
    // What else an extension says does not matter while it does not have to be understood.
    let unknown = (voms_id(99), vec![5, 0], false);
    assert_eq!(vo.identity(&Making { more: vec![unknown], ..vo.usual() }).groups.len(), 3);
}

#[test]
fn a_site_that_knows_no_servers_does_not_look_at_attributes() {
    let vo = Vo::new();
    let proxy = vo.proxy(&[vec![0; 10]]);
    let chain: Vec<CertificateDer<'_>> = [&proxy, &vo.site.user].map(|one| one.der().clone()).into();
    let authorities = Authorities::load(vo.site.directory.path(), None).unwrap();
    let identity = authorities.verify(&chain, Timestamp::now()).unwrap();
    assert_eq!((identity.groups.len(), identity.ignored), (0, None));
}

#[test]
fn attributes_of_several_vos_stand_beside_each_other_and_one_that_is_no_good_spoils_none() {
    let vo = Vo::new();
    fs::create_dir(vo.servers.path().join("other")).unwrap();
    let known = format!("{SERVER}\n/C=XX/CN=CA\n");
    fs::write(vo.servers.path().join("other/voms.example.org.lsc"), known).unwrap();
    let first = vo.usual().write(&vo.server);
    let bad = Making { flip: true, ..vo.usual() }.write(&vo.server);
    let other = Making {
        authority: "other://voms.example.org:15001",
        groups: vec!["/other", "/other/Role=x"],
        until: "20370101000000Z",
        ..vo.usual()
    };
    let identity = vo.verify(&vo.proxy(&[first, bad, other.write(&vo.server)])).unwrap();
    assert_eq!(identity.groups, ["/vo/Role=production", "/vo", "/vo/sub", "/other", "/other/Role=x"]);
    assert!(identity.ignored.is_some_and(|why| why.contains("signature")));
    assert_eq!(identity.expires_at, Some("2037-01-01T00:00:00Z".parse().unwrap()));
}

/// How attributes are made wrong, and what is told of it. The owner is let in all the same, without them.
#[test]
fn attributes_that_are_no_good_add_nothing_and_say_why() {
    type Change = fn(&mut Making);
    let cases: &[(Change, &str)] = &[
        (
            |making| making.until = "20250601000000Z",
            "they have ended at 2025-06-01T00:00:00Z: make a new proxy",
        ),
        (|making| making.from = "20370101000000Z", "they are good from 2037-01-01T00:00:00Z on only"),
        (|making| making.serial = vec![1, 2, 3], "for another certificate than that of the proxy's owner"),
        (
            |making| making.holder = making.issuer.clone(),
            "for another certificate than that of the proxy's owner",
        ),
        (|making| making.authority = "vo://other.example.org:15000", "knows no server other.example.org"),
        (
            |making| {
                making.authority = "strangers://voms.example.org:15000";
                making.groups = vec!["/strangers"];
            },
            "attributes of strangers do not count: this site knows no server voms.example.org of this VO",
        ),
        (|making| making.groups = vec!["/vo", "/atlas/Role=production"], "none of this VO"),
        (|making| making.groups = vec!["/vo/\u{7}"], "none of this VO"),
        (|making| making.groups = vec!["/vo"; 300], "groups cannot be read"),
        (|making| making.authority = "vo", "the name of their VO or its server cannot be read"),
        (|making| making.authority = "../vo://h:1", "the name of their VO or its server cannot be read"),
        (|making| making.attributes = 0, "they name no group"),
        (|making| making.attributes = 2, "their groups twice"),
        (|making| making.certificates.clear(), "is not among them"),
        (|making| making.certificates[0].truncate(40), "do not count"),
        (|making| making.certificates = vec![element(SEQUENCE, &[5, 0])], "it is no X.509 certificate"),
        (|making| making.issuer = making.holder.clone(), "it is not the issuer's"),
        (|making| making.flip = true, "their signature is not that of the server"),
        (
            |making| making.more = vec![(voms_id(99), vec![5, 0], true)],
            "they demand that extension 1.3.6.1.4.1.8005.100.100.99 is understood",
        ),
        (|making| making.more = vec![targets(&["a.example.org"], true)], "for certain hosts only"),
        (
            |making| making.more = vec![targets(&[HOST], true), targets(&[HOST], true)],
            "they have an extension twice",
        ),
        (
            |making| making.more = vec![(vec![6, 3, 0x55, 0x1d, 55], vec![5, 0], true)],
            "one of their extensions cannot be read",
        ),
        (
            |making| making.more = vec![(voms_id(10), vec![0x30, 2, 0x30, 0], false)],
            "they have an extension twice",
        ),
        (|making| making.version = 0, "of another version"),
        (|making| making.behind = vec![5, 0], "cannot be read"),
        // ecdsa-with-SHA384 outside, the other inside; then SHA-1 in both.
        (|making| making.algorithm[9] = 3, "two algorithms for one signature"),
        (
            |making| {
                let sha_1 = vec![6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
                (making.algorithm_inside, making.algorithm) = (sha_1.clone(), sha_1);
            },
            "they are signed with SHA-1, which is not accepted",
        ),
    ];
    let vo = Vo::new();
    for (change, expected) in cases {
        let mut making = vo.usual();
        change(&mut making);
        let identity = vo.identity(&making);
        assert_eq!(identity.groups.len(), 0, "{expected}");
        assert_eq!(identity.name, "/C=XX/O=Users/OU=paul");
        let told = identity.ignored.unwrap();
        assert!(told.starts_with("the VOMS attributes") && told.contains(expected), "{expected}: {told}");
        assert!(!told.contains(char::is_control) && told.len() < 400, "{told}");
    }

    for (extension, expected) in [
        (Vec::new(), "not as VOMS writes them"),
        (vec![0x30, 0x80, 0, 0], "not as VOMS writes them"),
        (nested(SEQUENCE, &[nested(SEQUENCE, &vec![vo.usual().write(&vo.server); 9])]), "too many of them"),
    ] {
        let identity = vo.verify(&vo.proxy_with(extension)).unwrap();
        assert!(identity.ignored.unwrap().contains(expected), "{expected}");
    }
}

#[test]
fn attributes_for_certain_hosts_count_at_these_alone() {
    let vo = Vo::new();
    // RFC 5755 demands that it is critical; where it is not, it is meant all the same.
    for critical in [true, false] {
        for (hosts, counts) in [
            (&["DOOR.example.org"][..], true),
            (&["other.example.org", HOST], true),
            (&["other.example.org"], false),
            (&["sub.door.example.org", "example.org"], false),
            // As VOMS' own tools write it at times: for nobody.
            (&[], false),
        ] {
            let identity = vo.identity(&Making { more: vec![targets(hosts, critical)], ..vo.usual() });
            assert_eq!(identity.groups.is_empty(), !counts, "{hosts:?}");
            let told = identity.ignored.unwrap_or_default();
            assert_eq!(told.contains("of which this door (door.example.org) is none"), !counts, "{told}");
        }
    }

    // A door that does not know its own name is none of them, and says what is to be done.
    let making = Making { more: vec![targets(&[HOST], true)], ..vo.usual() };
    let proxy = vo.proxy(&[making.write(&vo.server)]);
    let chain: Vec<CertificateDer<'_>> = [&proxy, &vo.site.user].map(|one| one.der().clone()).into();
    let identity = vo.authorities().verify(&chain, Timestamp::now()).unwrap();
    assert!(identity.groups.is_empty());
    assert!(identity.ignored.unwrap().contains("not configured: url"));
}

#[test]
fn a_server_speaks_for_a_vo_only_with_the_certificate_that_the_site_expects() {
    let vo = Vo::new();
    let told = |text: &str| {
        vo.know(text);
        vo.identity(&vo.usual()).ignored.unwrap_or_default()
    };
    assert_eq!(told(&format!("{SERVER}\n/C=XX/CN=CA\n")), "");
    // While a certificate is exchanged, both are there.
    assert_eq!(
        told(&format!("/C=XX/CN=new\n/C=XX/CN=CA\n------ NEXT CHAIN ------\n{SERVER}\n/C=XX/CN=CA\n")),
        ""
    );
    let other = "which is not the server voms.example.org that this site knows";
    assert!(told("/C=XX/CN=new\n/C=XX/CN=CA\n").contains(other));
    assert!(
        told(&format!("{SERVER}\n/C=XX/CN=Another CA\n")).contains(other),
        "the same name of another authority"
    );
    assert!(
        told(&format!("{SERVER}\n/C=XX/CN=CA\n/C=XX/CN=Root\n")).contains(other),
        "a longer way than there is"
    );
}

#[test]
fn a_server_is_believed_only_while_its_authority_vouches_for_it() {
    let vo = Vo::new();
    let host = |change: &dyn Fn(&mut rcgen::CertificateParams), signer: &Signer| {
        let mut params = named(&[
            (DnType::CountryName, "XX"),
            (DnType::OrganizationName, "Hosts"),
            (DnType::CommonName, "voms.example.org"),
        ]);
        change(&mut params);
        Signer::signed_by(params, key(), signer).unwrap()
    };
    let told = |server: &Signer| {
        let making = Making { certificates: vec![server.der().to_vec()], ..vo.usual() };
        let identity = vo.verify(&vo.proxy(&[making.write(server)])).unwrap();
        assert_eq!(identity.groups.is_empty(), identity.ignored.is_some());
        identity.ignored.unwrap_or_default()
    };
    // Hosts' certificates are for servers of TLS, mostly, and that is no matter here.
    let for_servers = host(
        &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        &vo.site.authority,
    );
    assert_eq!(told(&for_servers), "");

    let ended = host(&|params| params.not_after = rcgen::date_time_ymd(2025, 1, 1), &vo.site.authority);
    assert!(told(&ended).contains("has ended at 2025-01-01"));
    let not_for_this =
        host(&|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment], &vo.site.authority);
    assert!(told(&not_for_this).contains("it is not for signatures"));
    let stranger = Signer::self_signed(authority_params("Stranger"), key()).unwrap();
    assert!(told(&host(&|_| (), &stranger)).contains("no authority that this site trusts"));
    assert!(
        told(&Signer::self_signed(user_params("voms"), key()).unwrap()).contains("it is not the issuer's")
    );

    let revoked =
        host(&|params| params.serial_number = Some(SerialNumber::from(REVOKED)), &vo.site.authority);
    assert_eq!(told(&revoked), "");
    vo.site.list("0123abcd.r0", &vo.site.authority, tomorrow());
    assert!(told(&revoked).contains("revoked"), "{}", told(&revoked));
}

#[test]
fn the_directory_of_servers_is_read_again_when_it_changes() {
    let vo = Vo::new();
    let proxy = vo.proxy(&[vo.usual().write(&vo.server)]);
    let chain: Vec<CertificateDer<'_>> = [&proxy, &vo.site.user].map(|one| one.der().clone()).into();
    let authorities = Authorities::load(vo.site.directory.path(), Some(vo.servers.path())).unwrap();
    let groups = || authorities.verify(&chain, Timestamp::now()).unwrap().groups.len();
    assert_eq!((groups(), authorities.stock().voms_servers), (3, 1));

    fs::remove_file(vo.servers.path().join("vo/voms.example.org.lsc")).unwrap();
    assert!(authorities.reload(false).unwrap(), "a change below a VO's directory is seen");
    assert_eq!((groups(), authorities.stock().voms_servers), (0, 0));
}
