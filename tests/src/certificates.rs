//! An authority and the certificates of pools and doors, for mutual TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};

/// The serial number of a certificate that is taken back.
const REVOKED: [u8; 2] = [0x17, 0x2a];
/// How long a revocation list is good.
const LIST_LIFETIME: Duration = Duration::from_secs(86_400);

/// A certificate authority of a test site.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// What may be wrong with a server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its time is over.
    Expired,
    /// It is for another server.
    OtherName,
    /// Nobody but the server itself vouches for it.
    SelfSigned,
    /// The authority has taken it back, and says so in a list.
    Revoked,
}

impl Authority {
    /// A new one, whose files have names that begin with `name`.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let key = KeyPair::generate().expect("the machine has randomness");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority signs itself");
        let directory = directory.join(name);
        fs::create_dir_all(&directory).expect("the directory can be made");
        fs::write(directory.join("ca.pem"), issuer.pem()).expect("the file can be written");
        Authority { issuer, directory }
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// A directory as grid sites have it, with its own certificate and, where it has taken one back, the list of those.
    #[must_use]
    pub fn trust_directory(&self) -> PathBuf {
        let trust = self.directory.join("trust");
        fs::create_dir_all(&trust).expect("the directory can be made");
        fs::copy(self.certificate(), trust.join("0123abcd.0")).expect("the file can be copied");
        trust
    }

    /// A certificate for `localhost` and 127.0.0.1, good for both ends of a connection.
    #[must_use]
    pub fn issue(&self, name: &str) -> Identity {
        let (params, key) = plain(name, &["localhost", "127.0.0.1"]);
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        self.write(name, &certificate, &key)
    }

    /// One that is good until then and not from before 2020.
    #[must_use]
    pub fn issue_until(&self, name: &str, end: SystemTime) -> Identity {
        let since_1970 = end.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let (mut params, key) = plain(name, &["localhost", "127.0.0.1"]);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970;
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        self.write(name, &certificate, &key)
    }

    /// A certificate that is not to be believed, for a server at `localhost`. The list of one that is taken back goes
    /// to the trust directory.
    #[must_use]
    pub fn issue_faulty(&self, fault: Fault) -> Identity {
        let name = format!("{fault:?}");
        let host = if fault == Fault::OtherName { "other.example.org" } else { "localhost" };
        let (mut params, key) = plain(&name, &[host]);
        match fault {
            Fault::Expired => params.not_after = rcgen::date_time_ymd(2020, 1, 1),
            Fault::Revoked => params.serial_number = Some(SerialNumber::from_slice(&REVOKED)),
            Fault::OtherName | Fault::SelfSigned => {}
        }
        let certificate = match fault {
            Fault::SelfSigned => params.self_signed(&key).expect("a certificate signs itself"),
            Fault::Expired | Fault::OtherName | Fault::Revoked => {
                params.signed_by(&key, &self.issuer).expect("the authority signs")
            }
        };
        if fault == Fault::Revoked {
            fs::write(self.trust_directory().join("0123abcd.r0"), self.revocation_list())
                .expect("the file can be written");
        }
        self.write(&name, &certificate, &key)
    }

    /// PEM.
    fn revocation_list(&self) -> String {
        let now = SystemTime::now();
        let list = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + LIST_LIFETIME).into(),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from_slice(&REVOKED),
                revocation_time: now.into(),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).and_then(|list| list.pem()).expect("the authority signs its list")
    }

    fn write(&self, name: &str, certificate: &rcgen::Certificate, key: &KeyPair) -> Identity {
        let identity = Identity {
            certificate: self.directory.join(format!("{name}.pem")),
            key: self.directory.join(format!("{name}.key")),
        };
        fs::write(&identity.certificate, certificate.pem()).expect("the file can be written");
        fs::write(&identity.key, key.serialize_pem()).expect("the file can be written");
        identity
    }
}

/// What is to be signed, and its key.
fn plain(name: &str, hosts: &[&str]) -> (CertificateParams, KeyPair) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("the names are good");
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    (params, KeyPair::generate().expect("the machine has randomness"))
}
