//! The envelope of a signed token (RFC 7515, compact form), and its signature.
//!
//! Two algorithms, both with public keys (WLCG profile): RS256 and ES256. What a token says of its algorithm only
//! chooses between these; the key has to be of the same kind, so that no key can be taken for one of another kind
//! (RFC 8725 §3.1).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::auth::secret::Secret;

/// Longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Longest key id.
pub const MAX_KEY_ID_BYTES: usize = 256;

/// Why a text is no signed token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than is looked at.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts of base64url.
    #[error("the token is not a signed JSON Web Token")]
    Malformed,
    /// Its header is not JSON, or says something twice.
    #[error("the token's header cannot be read")]
    Header,
    /// `none`, HMAC, or another one.
    #[error("the token is signed in another way than RS256 or ES256")]
    Algorithm,
    /// RFC 7515 §4.1.11: what is critical and not understood is refused.
    #[error("the token has a critical header that this door does not know")]
    Critical,
    /// No `kid`.
    #[error("the token does not name its key (kid)")]
    NoKeyId,
    /// Something was changed, or it was signed with another key.
    #[error("the token's signature is wrong")]
    Signature,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// By its name in RFC 7518 §3.1, for those that are accepted.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// Modulus and exponent, big-endian and without leading zeros.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
    /// An uncompressed point (SEC 1 §2.3.3).
    P256(Vec<u8>),
}

impl PublicKey {
    /// The algorithm that it is for.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            PublicKey::Rsa { .. } => Algorithm::Rs256,
            PublicKey::P256(_) => Algorithm::Es256,
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JwsError> {
        let result = match self {
            PublicKey::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            PublicKey::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
        };
        result.map_err(|_| JwsError::Signature)
    }
}

/// RFC 7515 §4.1. Fields that are there twice are an error of the reader.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

/// A token, taken apart, of which nothing has been checked.
pub struct Unverified<'a> {
    algorithm: Algorithm,
    key_id: String,
    /// What is signed: the first two parts as they came.
    message: &'a [u8],
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    pub fn parse(token: &'a Secret) -> Result<Self, JwsError> {
        let token = token.expose();
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwsError::TooLong);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwsError::Malformed);
        };
        let message = &token[..header.len() + 1 + payload.len()];
        let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| JwsError::Header)?;
        let algorithm = Algorithm::named(&header.alg).ok_or(JwsError::Algorithm)?;
        if header.crit.is_some() {
            return Err(JwsError::Critical);
        }
        let sound = |id: &String| !id.is_empty() && id.len() <= MAX_KEY_ID_BYTES;
        let key_id = header.kid.filter(sound).ok_or(JwsError::NoKeyId)?;
        Ok(Self { algorithm, key_id, message, payload: decode(payload)?, signature: decode(signature)? })
    }

    /// Names the key that it says it was signed with.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// What it says. Anybody may have written it.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Checks the signature; what comes back is what the key's owner has signed.
    pub fn verify(self, key: &PublicKey) -> Result<Vec<u8>, JwsError> {
        if key.algorithm() != self.algorithm {
            return Err(JwsError::Signature);
        }
        key.verify(self.message, &self.signature)?;
        Ok(self.payload)
    }
}
