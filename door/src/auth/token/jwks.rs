//! An issuer's public keys (RFC 7517): those that can sign tokens, by their ids.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::jws::{Algorithm, MAX_KEY_ID_BYTES, PublicKey};

/// Keys of one issuer that are kept.
pub const MAX_KEYS: usize = 64;
/// Largest modulus and coordinate in bytes: 8192 bits, and 256.
const MAX_MODULUS_BYTES: usize = 1024;
const COORDINATE_BYTES: usize = 32;

/// Why a document holds no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not JSON, or not of that form.
    #[error("it is not a JSON Web Key Set")]
    Malformed,
    /// More than are kept.
    #[error("it has more than {MAX_KEYS} keys")]
    TooMany,
    /// None that could sign a token.
    #[error("it has no key for RS256 or ES256 that has an id")]
    NoneUsable,
}

/// Keys by their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks(HashMap<String, PublicKey>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// RFC 7518 §6. What is not text where it should be makes the key unusable, not the others.
#[derive(Deserialize)]
struct Entry {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Jwks {
    /// Reads a key set. Keys for other purposes or algorithms are left out.
    pub fn parse(document: &[u8]) -> Result<Self, JwksError> {
        let document: Document = serde_json::from_slice(document).map_err(|_| JwksError::Malformed)?;
        if document.keys.len() > MAX_KEYS {
            return Err(JwksError::TooMany);
        }
        let entries = document.keys.into_iter().filter_map(|key| serde_json::from_value::<Entry>(key).ok());
        let keys: HashMap<String, PublicKey> = entries.filter_map(usable).collect();
        if keys.is_empty() { Err(JwksError::NoneUsable) } else { Ok(Self(keys)) }
    }

    /// The key of an id.
    pub fn find(&self, key_id: &str) -> Option<&PublicKey> {
        self.0.get(key_id)
    }
}

fn usable(entry: Entry) -> Option<(String, PublicKey)> {
    let key_id = entry.kid.filter(|id| !id.is_empty() && id.len() <= MAX_KEY_ID_BYTES)?;
    if entry.purpose.is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let key = match entry.kty.as_str() {
        "RSA" => {
            let (n, e) = (number(&entry.n?)?, number(&entry.e?)?);
            (n.len() <= MAX_MODULUS_BYTES).then_some(PublicKey::Rsa { n, e })?
        }
        "EC" if entry.crv.as_deref() == Some("P-256") => {
            let mut point = vec![4];
            point.extend(coordinate(&entry.x?)?);
            point.extend(coordinate(&entry.y?)?);
            PublicKey::P256(point)
        }
        _ => return None,
    };
    let named = entry.alg.as_deref().is_none_or(|name| Algorithm::named(name) == Some(key.algorithm()));
    named.then_some((key_id, key))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// Without the leading zeros that some write.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = decode(text)?;
    let start = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[start..].to_vec())
}

/// RFC 7518 §6.2.1.2: of full length, zeros included.
fn coordinate(text: &str) -> Option<Vec<u8>> {
    decode(text).filter(|bytes| bytes.len() == COORDINATE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(keys: Value) -> Result<Jwks, JwksError> {
        Jwks::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn rsa() -> Value {
        json!({ "kty": "RSA", "kid": "r", "n": URL_SAFE_NO_PAD.encode([1; 256]), "e": "AQAB" })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    #[test]
    fn keys_of_both_kinds_are_found_by_their_ids() {
        let half = URL_SAFE_NO_PAD.encode([7; 32]);
        let ec = json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": half, "y": half, "use": "sig" });
        let keys = parse(json!([with(rsa(), "alg", json!("RS256")), ec])).unwrap();
        assert_eq!(keys.find("r").unwrap().algorithm(), Algorithm::Rs256);
        assert_eq!(keys.find("e").unwrap().algorithm(), Algorithm::Es256);
        assert_eq!(keys.find("x"), None);
        let zeros = with(rsa(), "n", json!(URL_SAFE_NO_PAD.encode([[0; 1].as_slice(), &[1; 256]].concat())));
        assert_eq!(parse(json!([zeros])).unwrap(), parse(json!([rsa()])).unwrap());
    }

    #[test]
    fn what_cannot_sign_a_token_is_left_out_and_nothing_else() {
        let unusable = [
            with(rsa(), "use", json!("enc")),
            with(rsa(), "alg", json!("RS512")),
            with(rsa(), "alg", json!("HS256")),
            with(rsa(), "alg", json!("ES256")),
            with(rsa(), "kid", json!("")),
            with(rsa(), "kid", Value::Null),
            with(rsa(), "kid", json!("x".repeat(257))),
            with(rsa(), "n", json!("")),
            with(rsa(), "n", json!("#")),
            with(rsa(), "n", json!(URL_SAFE_NO_PAD.encode([1; 1025]))),
            with(rsa(), "kty", json!("oct")),
            json!({ "kty": "EC", "crv": "P-384", "kid": "e", "x": "AA", "y": "AA" }),
            json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": "AA", "y": "AA" }),
            json!("text"),
            json!({ "kty": 1 }),
        ];
        for key in unusable {
            assert_eq!(parse(json!([key])), Err(JwksError::NoneUsable), "{key}");
            assert!(parse(json!([key, with(rsa(), "kid", json!("other"))])).is_ok(), "{key}");
        }
    }

    #[test]
    fn a_document_of_another_form_or_size_is_refused() {
        for document in ["", "[]", "{}", "{\"keys\":1}", "<html>"] {
            assert_eq!(Jwks::parse(document.as_bytes()), Err(JwksError::Malformed), "{document}");
        }
        assert_eq!(parse(json!(vec![rsa(); MAX_KEYS + 1])), Err(JwksError::TooMany));
    }
}
