//! The key of a proxy that a user is to sign, and the request for that (PKCS#10, RFC 2986).

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::auth::secret::Secret;

/// The request cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("a key for a delegated proxy cannot be made: {0}")]
pub struct RequestError(#[from] rcgen::Error);

/// A key that waits for its certificate.
#[derive(Debug)]
pub struct ProxyRequest {
    /// What the user is to sign, PEM.
    pem: String,
    /// PKCS#8, PEM.
    key: Secret,
    /// The public key as it stands in certificates (the bits of subjectPublicKey).
    public_key: Vec<u8>,
}

impl ProxyRequest {
    /// Makes a key: takes a noticeable part of a second of a processor.
    pub fn new() -> Result<Self, RequestError> {
        // RSA, since clients of grids sign nothing else reliably, and servers of grids take nothing else reliably.
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let mut params = CertificateParams::new(Vec::new())?;
        // Clients name the proxy themselves (RFC 3820 §3.4: after whoever signs it).
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "delegation");
        let pem = params.serialize_request(&key)?.pem()?;
        Ok(Self { pem, key: Secret::new(key.serialize_pem()), public_key: key.public_key_raw().to_vec() })
    }

    /// What the user is to sign, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The key, PEM.
    pub(super) fn key(&self) -> &Secret {
        &self.key
    }

    /// The public key as it stands in certificates.
    pub(super) fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_pem_and_shows_nothing_of_its_key() {
        let request = ProxyRequest::new().unwrap();
        assert!(request.pem().starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"), "{}", request.pem());
        let key = std::str::from_utf8(request.key().expose()).unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"));
        let secret_line = key.lines().nth(5).unwrap();
        assert!(!request.pem().contains(secret_line));
        assert!(!format!("{request:?}").contains(secret_line));
    }
}
