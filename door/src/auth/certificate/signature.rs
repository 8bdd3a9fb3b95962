//! Signatures in certificates and revocation lists, by the algorithms that TLS itself goes by here: so neither MD5 nor
//! SHA-1, and no short RSA key.

use std::sync::LazyLock;

use rustls::crypto::WebPkiSupportedAlgorithms;

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

    /// Whether it is an RSA key that is too short to be believed.
    pub fn is_weak(&self) -> bool {
        /// rsaEncryption (RFC 8017 A.1).
        const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
        const MIN_MODULUS_BYTES: usize = 2048 / 8;
        // The bits hold the modulus, the exponent and the lengths of both.
        self.algorithm.starts_with(RSA) && self.bits.len() < MIN_MODULUS_BYTES
    }
}
