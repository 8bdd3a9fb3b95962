//! An authority and the certificates of pools and doors, for mutual TLS.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};

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

impl Authority {
    /// A new one, whose files have names that begin with `name`.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
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

    /// A certificate for `localhost` and 127.0.0.1, good for both ends of a connection.
    #[must_use]
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_with(name, |_| {})
    }

    /// The same, good until then and not from before 2020.
    #[must_use]
    pub fn issue_until(&self, name: &str, end: SystemTime) -> Identity {
        let since_1970 = end.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        self.issue_with(name, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_1970;
        })
    }

    fn issue_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("the names are good");
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("the machine has randomness");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        let identity = Identity {
            certificate: self.directory.join(format!("{name}.pem")),
            key: self.directory.join(format!("{name}.key")),
        };
        fs::write(&identity.certificate, certificate.pem()).expect("the file can be written");
        fs::write(&identity.key, key.serialize_pem()).expect("the file can be written");
        identity
    }
}
