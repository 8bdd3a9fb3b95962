//! A certificate and key that a door gives for one third-party copy: a user's delegated proxy (RFC 3820).
//!
//! It is shown to the servers of that copy instead of the pool's own certificate. Nothing of it is ever printed, and it is
//! kept nowhere but in the transfer.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::server::provider;

/// Largest credential in bytes: a long chain with large keys and attribute certificates has a few tens of KiB.
pub const MAX_CREDENTIAL_BYTES: usize = 256 << 10;
/// Most certificates in its chain.
pub const MAX_CREDENTIAL_CERTIFICATES: usize = 16;

/// Why a credential cannot be used. No text holds any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Too large.
    #[error("it is longer than {MAX_CREDENTIAL_BYTES} bytes")]
    TooLong,
    /// Too many certificates.
    #[error("it has more than {MAX_CREDENTIAL_CERTIFICATES} certificates")]
    TooMany,
    /// No certificate, or one that cannot be read.
    #[error("it does not begin with a chain of certificates (PEM)")]
    Chain,
    /// No key, or one that cannot be used.
    #[error("it has no private key that TLS can use (PEM, without a passphrase)")]
    Key,
    /// The key is another one's.
    #[error("its key does not belong to its first certificate")]
    Mismatch,
}

/// Tells credentials apart without showing anything of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// A chain of certificates and the key of the first.
#[derive(Clone)]
pub struct Credential {
    shown: Arc<SingleCertAndKey>,
    fingerprint: Fingerprint,
    ends_at: SystemTime,
}

impl Credential {
    /// Reads it: PEM, the chain from its own certificate on, then the key.
    pub fn parse(pem: &[u8]) -> Result<Credential, CredentialError> {
        if pem.len() > MAX_CREDENTIAL_BYTES {
            return Err(CredentialError::TooLong);
        }
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .take(MAX_CREDENTIAL_CERTIFICATES + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| CredentialError::Chain)?;
        if chain.len() > MAX_CREDENTIAL_CERTIFICATES {
            return Err(CredentialError::TooMany);
        }
        let parsed: Vec<X509Certificate<'_>> = chain
            .iter()
            .map(|der| X509Certificate::from_der(der).map(|(_, certificate)| certificate))
            .collect::<Result<_, _>>()
            .map_err(|_| CredentialError::Chain)?;
        let first = parsed.first().ok_or(CredentialError::Chain)?;
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| CredentialError::Key)?;
        let key = provider().key_provider.load_private_key(key).map_err(|_| CredentialError::Key)?;
        // Not left to the TLS library: it does not know proxies, whose extension is critical.
        if key.public_key().is_some_and(|public| *public != *first.public_key().raw) {
            return Err(CredentialError::Mismatch);
        }
        // Whoever is shown it will look at each; before 1970 is over, too.
        let ends = parsed.iter().map(|certificate| certificate.validity().not_after.timestamp());
        let ends = ends.min().and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
        let fingerprint = Fingerprint(Sha256::digest(pem).into());
        drop(parsed);
        Ok(Credential {
            shown: Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))),
            fingerprint,
            ends_at: SystemTime::UNIX_EPOCH + Duration::from_secs(ends),
        })
    }

    /// Which it is.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// When the first of its certificates ends.
    #[must_use]
    pub fn ends_at(&self) -> SystemTime {
        self.ends_at
    }

    /// A configuration that shows it instead of what it shows itself.
    pub(super) fn shown_by(&self, config: &ClientConfig) -> ClientConfig {
        let mut config = config.clone();
        config.client_auth_cert_resolver = Arc::clone(&self.shown) as Arc<_>;
        // A resumed session goes on as whoever began it: never share one between users.
        config.resumption = Resumption::disabled();
        config
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("ends_at", &self.ends_at).finish_non_exhaustive()
    }
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Credential {}

#[cfg(test)]
mod tests {
    use super::super::tests::Authority;
    use super::*;

    fn pem(authority: &Authority, name: &str, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Vec<u8> {
        let files = authority.issue_with(name, &[], change);
        [std::fs::read(files.cert).unwrap(), std::fs::read(files.key).unwrap()].concat()
    }

    /// RFC 3820 §3.8, critical, as proxies have it: inherit all rights.
    fn as_proxy(params: &mut rcgen::CertificateParams) {
        let inherit_all = vec![0x30, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 6, 1, 5, 5, 7, 21, 1];
        let mut extension =
            rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 14], inherit_all);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    }

    #[test]
    fn a_chain_with_its_key_is_read_and_ends_when_the_first_of_it_does() {
        let authority = Authority::new();
        let proxy = pem(&authority, "proxy", |params| {
            as_proxy(params);
            params.not_after = rcgen::date_time_ymd(2040, 1, 1);
        });
        let issuer = pem(&authority, "user", |params| params.not_after = rcgen::date_time_ymd(2031, 2, 3));
        // The key of the issuer comes later and does not count.
        let credential = Credential::parse(&[proxy.clone(), issuer].concat()).unwrap();
        assert_eq!(credential.ends_at(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_927_843_200));
        assert!(credential != Credential::parse(&proxy).unwrap(), "another chain is another credential");
        assert!(credential == credential.clone());
    }

    #[test]
    fn what_cannot_be_shown_is_refused_with_its_own_text_and_nothing_of_it_is_told() {
        let authority = Authority::new();
        let good = pem(&authority, "one", |_| {});
        let other = authority.issue("other", &[]);
        let certificate = std::fs::read(authority.directory().join("one.cert")).unwrap();
        let key = std::fs::read(&other.key).unwrap();
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases: [(Vec<u8>, CredentialError); 7] = [
            (Vec::new(), CredentialError::Chain),
            (b"SECRET".to_vec(), CredentialError::Chain),
            (key.clone(), CredentialError::Chain),
            ([broken.as_slice(), &key].concat(), CredentialError::Chain),
            (certificate.clone(), CredentialError::Key),
            ([certificate.clone(), key].concat(), CredentialError::Mismatch),
            (certificate.repeat(MAX_CREDENTIAL_CERTIFICATES + 1), CredentialError::TooMany),
        ];
        for (pem, expected) in cases {
            assert_eq!(Credential::parse(&pem).unwrap_err(), expected);
        }
        assert_eq!(
            Credential::parse(&vec![b' '; MAX_CREDENTIAL_BYTES + 1]).unwrap_err(),
            CredentialError::TooLong
        );
        let shown = format!("{:?}", Credential::parse(&good).unwrap());
        assert!(shown.starts_with("Credential { ends_at: ") && shown.len() < 120, "{shown}");
    }
}
