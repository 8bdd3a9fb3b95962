//! Signed tokens (JSON Web Tokens), their scopes, and the keys of issuers.
//!
//! No token passes with a signature that its key has not made; who a token speaks for can stand in a log; what has passed
//! ends; and no scope reaches beyond what the site gives its issuer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use penstock_door::auth::secret::Secret;
use penstock_door::auth::token::claims::{Claims, ClaimsError, issuer_of};
use penstock_door::auth::token::jwks::Jwks;
use penstock_door::auth::token::jws::{MAX_KEY_ID_BYTES, PublicKey, Unverified};
use penstock_door::auth::token::scope::{self, MAX_SCOPES};
use penstock_door::auth::token::{Profile, TrustedIssuer};
use penstock_door::namespace::NsPath;

use crate::input::Input;
use crate::operations::OPERATIONS;

const ISSUER: &str = "https://issuer.example.org";
const AUDIENCE: &str = "https://door.example.org";
const PROFILES: [Profile; 3] = [Profile::Wlcg, Profile::Scitokens, Profile::Oidc];

/// Checks an input: a byte that says what follows: a token's text; its header and its claims, a line each; scopes; keys.
pub fn check(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => {
            token(input.0);
        }
        1 => {
            let mut lines = input.lines(2);
            let (header, claims) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
            let parts = [header, claims, &[0; 64]].map(|part| URL_SAFE_NO_PAD.encode(part));
            if let Some(payload) = token(parts.join(".").as_bytes()) {
                assert_eq!(payload, claims);
            }
            read(claims);
        }
        2 => {
            if let Ok(text) = std::str::from_utf8(input.0) {
                scopes(text);
            }
        }
        _ => keys(input.0),
    }
}

/// Gives what it says, when it is one.
fn token(text: &[u8]) -> Option<Vec<u8>> {
    let secret = Secret::new(text);
    let parsed = || Unverified::parse(&secret);
    let token = match parsed() {
        Ok(token) => token,
        Err(error) => {
            assert!(!error.to_string().contains(['\r', '\n']));
            return None;
        }
    };
    assert!((1..=MAX_KEY_ID_BYTES).contains(&token.key_id().len()));
    let payload = token.payload().to_vec();
    let keys = [PublicKey::Rsa { n: vec![0xc5; 256], e: vec![1, 0, 1] }, PublicKey::P256(vec![4; 65])];
    for key in keys {
        assert!(parsed().is_ok_and(|token| token.verify(&key).is_err()), "a forged signature");
    }
    Some(payload)
}

fn read(payload: &[u8]) {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    let Ok(claims) = Claims::read(payload) else {
        assert!(issuer_of(payload).is_err());
        return;
    };
    for profile in PROFILES {
        let issuer = TrustedIssuer {
            url: ISSUER.to_owned(),
            audiences: vec![AUDIENCE.to_owned()],
            prefix: NsPath::root(),
            profile,
        };
        let Ok(identity) = claims.check(&issuer, now) else { continue };
        let subject = identity.subject.as_deref().unwrap_or_default();
        assert!(!subject.is_empty() && identity.issuer.as_deref() == Some(ISSUER));
        let mut shown = [&identity.name].into_iter().chain(&identity.token_id).chain(&identity.groups);
        assert!(shown.all(|text| !text.contains(char::is_control) && !text.is_empty()));
        let expires_at = identity.expires_at.expect("a token has an end");
        assert!(expires_at > now);
        assert_eq!(claims.check(&issuer, expires_at), Err(ClaimsError::Expired(expires_at)));
        let elsewhere = TrustedIssuer { audiences: vec!["https://other.example.org".to_owned()], ..issuer };
        if profile == Profile::Oidc && !String::from_utf8_lossy(payload).contains("other.example.org") {
            assert!(claims.check(&elsewhere, now).is_err(), "a token for another service");
        }
    }
    if let Some(text) = claims.scope() {
        scopes(text);
    }
}

fn scopes(text: &str) {
    let site = NsPath::parse("/site").expect("a path");
    for profile in PROFILES {
        let Ok(Some(reaches)) = scope::read(Some(text), profile, &site) else { continue };
        assert!((1..=MAX_SCOPES).contains(&reaches.len()));
        for (index, reach) in reaches.iter().enumerate() {
            assert!(reach.prefix.is_within(&site) && !reach.rights.is_empty(), "{reach:?}");
            assert!(reaches[..index].iter().all(|other| other.prefix != reach.prefix));
            for (path, operation) in ["/", "/other", "/sitemap", "/other/site"].iter().flat_map(|path| {
                let path = NsPath::parse(path).expect("a path");
                OPERATIONS.map(|operation| (path.clone(), operation))
            }) {
                assert!(!reach.covers(operation, &path), "{reach:?} covers {path}");
                // The way to what is allowed may be seen.
                assert!(
                    path.is_root() || !reach.allows(operation, &path),
                    "{reach:?} allows {operation:?} of {path}"
                );
            }
        }
    }
}

fn keys(document: &[u8]) {
    let Ok(keys) = Jwks::parse(document) else { return };
    assert_eq!(Jwks::parse(document).as_ref(), Ok(&keys));
    let document: serde_json::Value = serde_json::from_slice(document).expect("it was JSON before");
    let ids = document["keys"].as_array().expect("a list").iter().filter_map(|key| key["kid"].as_str());
    assert!(ids.filter_map(|id| keys.find(id)).count() > 0, "keys that nobody can name");
}
