//! The signature of a delegated proxy: as everywhere, and by RSA with SHA-1 as well.
//!
//! GridSite's own programs (`htproxyput`) sign proxies with SHA-1 and cannot be told otherwise. In this one place that
//! takes nothing from anybody: the proxy is for a key that this door has made for this one request, and whoever brings it
//! has just shown, by TLS, that they have the key that signs. Who could make a signature collide wins nothing that the same
//! connection does not give them anyway. Nowhere else is SHA-1 taken: not in the chain that TLS shows, not in what
//! clients, issuers or pools are known by.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};

use crate::auth::certificate::signature::{PublicKey, SignatureProblem, Signed};

/// sha1WithRSAEncryption with its parameters, NULL (RFC 3279 §2.2.1).
const SHA1_WITH_RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00];
/// rsaEncryption, likewise.
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Whether a proxy's signature is by this key.
pub fn verify(signer: &PublicKey, signed: &Signed) -> Result<(), SignatureProblem> {
    if signed.algorithm != SHA1_WITH_RSA {
        return signer.verify(signed);
    }
    if signer.algorithm != RSA {
        return Err(SignatureProblem::Wrong);
    }
    // A key of less than 2048 bits is refused by the algorithm itself.
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, &signer.bits)
        .verify(&signed.message, &signed.signature)
        .map_err(|_| SignatureProblem::Wrong)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    // Made by OpenSSL: `openssl genrsa 2048`, `openssl dgst -sha1 -sign`, `openssl dgst -sha256 -sign`.
    const MESSAGE: &str = "what is signed";
    const KEY: &str = "MIIBCgKCAQEAvJhVmrTRGpaYmk6xqCXHJU+hqco1GZl96Xs6bCFpOWQolcaMKJAb7/OYdio6ss+8qf4x6IFPHy4MCcbI77WM\
        qQtcqynFdBV8OwfFFlIJZ//I/WWZVh5QrqMsgyqsgbU71RPMvHDy6EKf0ba/RRs6kaHccN6OCfGYzUTM3pZGYjj2zOS5ARlN\
        2ncph+iNZXayCiMk5UjtjG5SeATDsbP1e09B/UmuY8ou+nzHDfmVU/JAm6m6BA5qwZ3i7SxxxKsaEZDE6tCrRQdBwCls6Kvp\
        +1dSM7f6uKvi4/+k6Wq7CkRd9etr5yZs/rZdzdx2SsW1xw5hFBfl4CBIAuvrpoBmGwIDAQAB";
    const BY_SHA1: &str = "jwNixPLgUXB8x9F0EWsSG4omwy/qE2UFcIxOZUgTJwuA0JZl1+fFHmjKCMG6r7uTjV+gjbwYef6+KFSG1d395EdRaWC/Iw9t\
        6zIbQUaZMTI5obIMhhCYw/T/00glUG9AqkdDr/jovJwkylfa89rqZuDnwZBsQC50JsOuBgIrYzd8CJybB+GN/Y+havoFa4sq\
        ibJ4KaKsJL1H7euPz+Wth/ssAfrd45YD1ux4nYk1VrvtsRdctFgqgcV8Do50+/FmgMBWp+mXCXAGK7PIarI8o9Z/i2hZAFaH\
        RRndEMt7i0M9eaxH9qa+yw6wrfOPbuJl6EGfsJcbBd+O6WZeAQPTGg==";
    const BY_SHA256: &str = "siirfF6hXeG73EoKcnt5TZHYdzrLbefqcaZP6aBOwJXNopLEU7LpYvV/oOoP9TYtR0wQbneznCByeX47NzJfAc5b0It2c4AI\
        7M8aVRiFMs9STsRRdu3g96QEsaDNnuv+cwJv6nMBRct0LohocKZBzbV+Du44L3ZKG0pKV31YbWPkH6/8fmgxCxPSpWYCLBvd\
        uN8l7T9ysBfAP+LvZffYpSyTybjAlElXkIdjmfZDZhtAScyRNjw9L3OCDjqUmMT4IMPFXpdUMiWBR83a+qYs1sU1RIiX4yWx\
        6uYf/tg4YpJjiQVgatmN9zHGwd5P8nwtgd07lIzq1HryrMob4JJ6wg==";
    const SHA256_WITH_RSA: &[u8] =
        &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00];
    const MD5_WITH_RSA: &[u8] =
        &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04, 0x05, 0x00];
    /// id-ecPublicKey with P-256.
    const EC: &[u8] = &[
        0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
        0x01, 0x07,
    ];

    fn key(algorithm: &[u8]) -> PublicKey {
        PublicKey { algorithm: algorithm.to_vec(), bits: STANDARD.decode(KEY).unwrap() }
    }

    fn signed(algorithm: &[u8], signature: &str, message: &str) -> Signed {
        Signed {
            algorithm: algorithm.to_vec(),
            algorithm_name: String::new(),
            message: message.into(),
            signature: STANDARD.decode(signature).unwrap(),
        }
    }

    #[test]
    fn a_proxy_may_be_signed_with_sha_1_by_rsa_and_must_be_signed_all_the_same() {
        use SignatureProblem::{Algorithm, Wrong};
        let table = [
            (key(RSA), signed(SHA1_WITH_RSA, BY_SHA1, MESSAGE), Ok(())),
            (key(RSA), signed(SHA256_WITH_RSA, BY_SHA256, MESSAGE), Ok(())),
            (key(RSA), signed(SHA1_WITH_RSA, BY_SHA1, "what is not"), Err(Wrong)),
            (key(RSA), signed(SHA1_WITH_RSA, BY_SHA256, MESSAGE), Err(Wrong)),
            (key(RSA), signed(SHA256_WITH_RSA, BY_SHA1, MESSAGE), Err(Wrong)),
            (key(RSA), signed(MD5_WITH_RSA, BY_SHA1, MESSAGE), Err(Algorithm)),
            (key(EC), signed(SHA1_WITH_RSA, BY_SHA1, MESSAGE), Err(Wrong)),
        ];
        for (number, (key, signed, expected)) in table.into_iter().enumerate() {
            assert_eq!(verify(&key, &signed), expected, "row {number}");
        }
    }

    #[test]
    fn nobody_is_known_by_such_a_signature() {
        let certificate = signed(SHA1_WITH_RSA, BY_SHA1, MESSAGE);
        assert_eq!(key(RSA).verify(&certificate), Err(SignatureProblem::Algorithm));
    }
}
