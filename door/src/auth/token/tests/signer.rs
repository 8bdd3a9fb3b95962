//! An issuer's keys, and tokens of every kind that they can sign.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

pub struct Signer {
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub fn new() -> Self {
        Self {
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    /// Keys "e" (ES256) and "r" (RS256).
    pub fn jwks(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        // RFC 8017 §A.1.1, of 2048 bits: a sequence of two integers, whose lengths are known.
        let der = self.rsa.public_key().as_ref();
        let (n, e) = (&der[9..265], &der[267..]);
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "e", "alg": "ES256", "use": "sig", "x": encode(x), "y": encode(y) },
            { "kty": "RSA", "kid": "r", "n": encode(n), "e": encode(e) },
        ] })
    }

    pub fn es256(&self, claims: &Value) -> String {
        self.es256_with(&json!({ "alg": "ES256", "kid": "e", "typ": "JWT" }), claims)
    }

    pub fn es256_with(&self, header: &Value, claims: &Value) -> String {
        self.raw_header(&header.to_string(), claims)
    }

    pub fn raw_header(&self, header: &str, claims: &Value) -> String {
        self.sign_es256(format!("{}.{}", encode(header), encode(claims.to_string())))
    }

    pub fn es256_raw(&self, payload: &str) -> String {
        let header = json!({ "alg": "ES256", "kid": "e" }).to_string();
        self.sign_es256(format!("{}.{}", encode(header), encode(payload)))
    }

    pub fn rs256(&self, claims: &Value) -> String {
        let header = json!({ "alg": "RS256", "kid": "r" }).to_string();
        let message = format!("{}.{}", encode(header), encode(claims.to_string()));
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", encode(signature))
    }

    pub fn unsigned(&self, header: &Value, claims: &Value) -> String {
        format!("{}.{}.", encode(header.to_string()), encode(claims.to_string()))
    }

    /// The public key, as everybody has it, taken for a shared secret.
    pub fn hs256(&self, claims: &Value) -> String {
        let header = json!({ "alg": "HS256", "kid": "e" }).to_string();
        let message = format!("{}.{}", encode(header), encode(claims.to_string()));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.ec.public_key().as_ref()).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", encode(mac.finalize().into_bytes()))
    }

    fn sign_es256(&self, message: String) -> String {
        let signature = self.ec.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", encode(signature))
    }
}
