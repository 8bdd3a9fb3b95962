//! Signatures in certificates and revocation lists, by the algorithms that TLS itself goes by here: so neither MD5 nor
//! SHA-1, and no short RSA key. One exception: a proxy that a user lends the door, which proves nothing to the door.

use std::sync::LazyLock;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
use rustls::crypto::WebPkiSupportedAlgorithms;

/// AlgorithmIdentifier of rsaEncryption (RFC 8017 A.1), without the outermost tag and length, as in [`PublicKey`].
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// Likewise of sha1WithRSAEncryption (RFC 8017 A.2.4).
const SHA1_WITH_RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00];

/// A public key as a certificate holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// AlgorithmIdentifier, without the outermost tag and length.
    pub algorithm: Vec<u8>,
    /// The key's bits.
    pub bits: Vec<u8>,
}

/// A signature and what it is over.
#[derive(Debug, Clone)]
pub struct Signed {
    /// AlgorithmIdentifier, without the outermost tag and length.
    pub algorithm: Vec<u8>,
    /// For people: its name, or the object identifier.
    pub algorithm_name: String,
    /// What was signed.
    pub message: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// How a signature is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureProblem {
    /// An algorithm that is not accepted.
    Algorithm,
    /// The signature is not that of the key.
    Wrong,
}

/// What is accepted. Chosen once for the process.
pub fn algorithms() -> &'static WebPkiSupportedAlgorithms {
    static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> =
        LazyLock::new(|| penstock_trust::provider().signature_verification_algorithms);
    &ALGORITHMS
}

impl PublicKey {
    /// Whether a signature is by this key.
    pub fn verify(&self, signed: &Signed) -> Result<(), SignatureProblem> {
        let mut problem = SignatureProblem::Algorithm;
        for algorithm in algorithms().all {
            if algorithm.signature_alg_id().as_ref() != signed.algorithm {
                continue;
            }
            // The algorithm is good; whether for this key, the others of its name may tell.
            problem = SignatureProblem::Wrong;
            if algorithm.public_key_alg_id().as_ref() == self.algorithm
                && algorithm.verify_signature(&self.bits, &signed.message, &signed.signature).is_ok()
            {
                return Ok(());
            }
        }
        Err(problem)
    }

    /// The same where nothing depends on it that the signer has not proved in another way: SHA-1 with RSA is good, too.
    ///
    /// Never for who somebody is: who has one document signed by SHA-1 may have two (<https://sha-mbles.github.io>).
    pub fn verify_unrelied(&self, signed: &Signed) -> Result<(), SignatureProblem> {
        if signed.algorithm != SHA1_WITH_RSA || !self.algorithm.starts_with(RSA) {
            return self.verify(signed);
        }
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, &self.bits)
            .verify(&signed.message, &signed.signature)
            .map_err(|_| SignatureProblem::Wrong)
    }

    /// Whether it is an RSA key that is too short to be believed.
    pub fn is_weak(&self) -> bool {
        const MIN_MODULUS_BYTES: usize = 2048 / 8;
        // The bits hold the modulus, the exponent and the lengths of both.
        self.algorithm.starts_with(RSA) && self.bits.len() < MIN_MODULUS_BYTES
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::facts::Certificate;
    use super::*;

    /// A certificate that has signed itself, with SHA-1: `openssl req -x509 -sha1 -newkey rsa:2048 -subj /CN=old`.
    const SHA_1: &str = "MIICpTCCAY0CFGn9QZE7dXEqyNkYXbFGyNzhKj0aMA0GCSqGSIb3DQEBBQUAMA4xDDAKBgNVBAMMA29sZDAgFw0yNjEx\
        MjIyMzA0MDJaGA8yMTI2MTAyOTIzMDQwMlowDjEMMAoGA1UEAwwDb2xkMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIB\
        CgKCAQEA2bci4ED13keAlS4L0+odm9FECeJZh5suDS35PluDEW2HWolpuvSWCX7RmLiW9AF2ala107yQJ7Sw7dmIhNaG\
        k2KSNR7iVXcHFNRMpWtXU2kCkuuF/LpZBN+cgvm8szTHhnZDJx8YYEy0hQB7HSahgv1BfGbBVHPiEjgT+V6Kq+dJcC+f\
        0Qa1hyUIy2XpUL59O+4ob1fArjFUhrw0W7VgMt2wsfDDqWdXULGhGpMujX9Fc7RZKUufy9E/Q6tuasCVwpwqTumFzUMg\
        Ka+4DJfiBWoJ05dwL9QcVx0BkA2nQeGJLkssHh5R/bejAErwXx1aIXkZK8Cc21N8L9yfrRwkqQIDAQABMA0GCSqGSIb3\
        DQEBBQUAA4IBAQAaJ+qQLJJtt9kpAR8JQc7/OCCKteDWjV8eCQWpoHyTBw8ETBX9ATqYwA4J6+z5AilIYuoLlJDnAn6g\
        Q2x57Fp7xltpMpcxFJYpaG3wqzMPr4ijPY2Kps6oHOK9qaZpGtw43Zh1TchCy/lN6HkTYbe/Ct/Sj+MH5lVdBTKV75ft\
        y3ycgl3/53wwoXAK1F64j8FmyoWShSsYjYkkHh6kXvBS3vLelwQGu3zHYQY7j3Iqsf9sfcFX1Ep1NhiQ7xQ8w7VSXotB\
        Si3mLFClbN6C40U4GZbh9Y2GLeatKMjOofeE2S4vEykbRG47qG7SA3XBNmfeBHltvUkI15E5tIZe8Ghc";

    #[test]
    fn sha_1_counts_only_where_nothing_relies_on_it() {
        let old = Certificate::parse(&STANDARD.decode(SHA_1).unwrap()).unwrap();
        assert_eq!(old.key.verify(&old.signed), Err(SignatureProblem::Algorithm));
        assert_eq!(old.key.verify_unrelied(&old.signed), Ok(()));

        let mut changed = old.signed.clone();
        changed.message[20] ^= 1;
        assert_eq!(old.key.verify_unrelied(&changed), Err(SignatureProblem::Wrong));
        let mut other_key = old.key.clone();
        other_key.bits[60] ^= 1;
        assert_eq!(other_key.verify_unrelied(&old.signed), Err(SignatureProblem::Wrong));
        // Another algorithm is not made good by it: MD5 with RSA.
        let mut worse = old.signed.clone();
        worse.algorithm[10] = 0x04;
        assert_eq!(old.key.verify_unrelied(&worse), Err(SignatureProblem::Algorithm));
    }
}
