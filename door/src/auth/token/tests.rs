//! Tokens that are let in and tokens that are not, by a local issuer with keys of its own.

mod compliance;
mod server;
mod signer;

use std::sync::Arc;

use serde_json::{Value, json};
use signer::Signer;

use super::fetch::Fetcher;
use super::*;
use crate::auth::decision::{Access, Anonymous, Decision, Operation, decide};
use crate::auth::known::{Granted, Known};
use crate::auth::policy::Policy;
use crate::namespace::NsPath;

pub(super) const ISSUER: &str = "https://vo.example/";
pub(super) const DOOR: &str = "https://door.example.org:2880";

pub(super) fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

pub(super) fn trusted(profile: Profile) -> TrustedIssuer {
    TrustedIssuer {
        url: ISSUER.into(),
        audiences: vec![DOOR.into()],
        prefix: NsPath::parse("/vo").unwrap(),
        profile,
    }
}

/// Claims of a good token of a profile; a claim that is changed to null is left out.
pub(super) fn claims(profile: Profile, changes: Value) -> Value {
    let seconds = now().as_second();
    let mut claims = json!({
        "iss": ISSUER, "sub": "1234", "aud": DOOR, "iat": seconds - 10, "nbf": seconds - 10, "exp": seconds + 600,
        "jti": "id1", "scope": "openid",
    });
    match profile {
        Profile::Wlcg => claims["wlcg.ver"] = json!("1.0"),
        Profile::Scitokens => claims["ver"] = json!("scitoken:2.0"),
        Profile::Oidc => {}
    }
    let claims_map = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims_map.remove(name),
            value => claims_map.insert(name.clone(), value.clone()),
        };
    }
    claims
}

/// An issuer, its keys, and who trusts it.
pub(super) struct World {
    pub signer: Signer,
    pub issuers: Arc<Issuers>,
}

impl World {
    pub fn new(profile: Profile) -> Self {
        let signer = Signer::new();
        let keys = jwks::Jwks::parse(signer.jwks().to_string().as_bytes()).unwrap();
        let fetcher = Fetcher::trusting(&[]);
        Self { issuers: Issuers::knowing(trusted(profile), keys, fetcher), signer }
    }

    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, TokenError> {
        verify(&self.issuers, &Secret::new(token), now()).await
    }
}

#[tokio::test]
async fn tokens_of_both_algorithms_say_whom_they_speak_for() {
    let world = World::new(Profile::Wlcg);
    let groups = json!({ "wlcg.groups": ["/vo", "/vo/prod"], "scope": "storage.read:/a" });
    let claims = claims(Profile::Wlcg, groups);
    for token in [world.signer.es256(&claims), world.signer.rs256(&claims)] {
        let verified = world.verify(&token).await.unwrap();
        let identity = verified.identity;
        assert_eq!(identity.name, "1234@https://vo.example/");
        assert_eq!(identity.issuer.as_deref(), Some(ISSUER));
        assert_eq!(identity.subject.as_deref(), Some("1234"));
        assert_eq!(identity.token_id.as_deref(), Some("id1"));
        assert_eq!(identity.groups, ["/vo", "/vo/prod"]);
        assert_eq!(identity.expires_at, Some(Timestamp::from_second(now().as_second() + 600).unwrap()));
        assert_eq!(verified.scopes.unwrap()[0].prefix.as_str(), "/vo/a");
    }
}

#[tokio::test]
async fn envelopes_that_are_not_signed_as_they_should_be_are_refused() {
    let world = World::new(Profile::Wlcg);
    let signer = &world.signer;
    let good = claims(Profile::Wlcg, json!({}));
    let header = |header: Value| signer.es256_with(&header, &good);
    let mut parts: Vec<String> = signer.es256(&good).split('.').map(str::to_owned).collect();
    let other = Signer::new();
    let jws = |error| Err(TokenError::Jws(error));
    let mut table = vec![
        ("none", signer.unsigned(&json!({ "alg": "none", "kid": "e" }), &good), jws(JwsError::Algorithm)),
        (
            "none in capitals",
            signer.unsigned(&json!({ "alg": "NONE", "kid": "e" }), &good),
            jws(JwsError::Algorithm),
        ),
        ("HMAC with the public key", signer.hs256(&good), jws(JwsError::Algorithm)),
        ("another algorithm", header(json!({ "alg": "ES384", "kid": "e" })), jws(JwsError::Algorithm)),
        ("no algorithm", header(json!({ "kid": "e" })), jws(JwsError::Header)),
        (
            "two algorithms",
            signer.raw_header(r#"{"alg":"ES256","alg":"none","kid":"e"}"#, &good),
            jws(JwsError::Header),
        ),
        ("no kid", header(json!({ "alg": "ES256" })), jws(JwsError::NoKeyId)),
        ("an empty kid", header(json!({ "alg": "ES256", "kid": "" })), jws(JwsError::NoKeyId)),
        ("a long kid", header(json!({ "alg": "ES256", "kid": "x".repeat(257) })), jws(JwsError::NoKeyId)),
        ("a kid that is no text", header(json!({ "alg": "ES256", "kid": 1 })), jws(JwsError::Header)),
        ("an unknown kid", header(json!({ "alg": "ES256", "kid": "x" })), Err(TokenError::UnknownKey)),
        ("the other kind of key", header(json!({ "alg": "ES256", "kid": "r" })), jws(JwsError::Signature)),
        (
            "a key for the other algorithm",
            header(json!({ "alg": "RS256", "kid": "e" })),
            jws(JwsError::Signature),
        ),
        (
            "a critical header",
            header(json!({ "alg": "ES256", "kid": "e", "crit": ["b64"] })),
            jws(JwsError::Critical),
        ),
        ("a header that is no object", signer.raw_header("[]", &good), jws(JwsError::Header)),
        ("somebody else's signature", other.es256(&good), jws(JwsError::Signature)),
        ("two parts", parts[..2].join("."), jws(JwsError::Malformed)),
        ("four parts", format!("{}.x", parts.join(".")), jws(JwsError::Malformed)),
        ("nothing", String::new(), jws(JwsError::Malformed)),
        ("dots", "..".to_owned(), jws(JwsError::Header)),
        ("a huge one", "x".repeat(jws::MAX_TOKEN_BYTES + 1), jws(JwsError::TooLong)),
    ];
    parts[2] = String::new();
    table.push(("no signature", parts.join("."), jws(JwsError::Signature)));
    parts[2] = "=".to_owned();
    table.push(("no base64", parts.join("."), jws(JwsError::Malformed)));
    for (what, token, expected) in table {
        assert_eq!(world.verify(&token).await.map(drop), expected, "{what}");
    }
}

#[tokio::test]
async fn no_changed_byte_gets_through() {
    let world = World::new(Profile::Wlcg);
    let token = world.signer.es256(&claims(Profile::Wlcg, json!({ "scope": "storage.read:/a" })));
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(world.verify(&changed).await.is_err(), "byte {at}");
    }
    for length in 0..token.len() {
        assert!(world.verify(&token[..length]).await.is_err(), "cut at {length}");
    }
}

#[tokio::test]
async fn claims_that_a_profile_does_not_allow_are_refused() {
    use Profile::*;
    let seconds = now().as_second();
    let bad = |error| Err(TokenError::Claims(error));
    let at = |second| Timestamp::from_second(second).unwrap();
    let missing = |name| bad(ClaimsError::Missing(name));
    let table = [
        (Wlcg, json!({}), Ok(())),
        (Scitokens, json!({}), Ok(())),
        (Oidc, json!({}), Ok(())),
        (Wlcg, json!({ "nbf": null }), Ok(())),
        (Scitokens, json!({ "jti": null, "iat": null, "nbf": null }), Ok(())),
        (Wlcg, json!({ "wlcg.ver": "1.3" }), Ok(())),
        (Wlcg, json!({ "exp": seconds as f64 + 0.5 }), Ok(())),
        (Wlcg, json!({ "exp": seconds }), bad(ClaimsError::Expired(now()))),
        (Wlcg, json!({ "exp": 0 }), bad(ClaimsError::Expired(at(0)))),
        (Wlcg, json!({ "exp": -5 }), bad(ClaimsError::Expired(at(-5)))),
        (Wlcg, json!({ "exp": 1e300 }), bad(ClaimsError::BadValue("exp"))),
        (Wlcg, json!({ "exp": "soon" }), bad(ClaimsError::Malformed)),
        (Wlcg, json!({ "nbf": seconds + 60 }), Ok(())),
        (Wlcg, json!({ "nbf": seconds + 61 }), bad(ClaimsError::TooEarly(at(seconds + 61)))),
        (Wlcg, json!({ "iat": seconds + 3600 }), bad(ClaimsError::TooEarly(at(seconds + 3600)))),
        (Wlcg, json!({ "exp": null }), missing("exp")),
        (Wlcg, json!({ "sub": null }), missing("sub")),
        (Wlcg, json!({ "aud": null }), missing("aud")),
        (Wlcg, json!({ "iat": null }), missing("iat")),
        (Wlcg, json!({ "jti": null }), missing("jti")),
        (Wlcg, json!({ "wlcg.ver": null }), missing("wlcg.ver")),
        (Wlcg, json!({ "wlcg.ver": "2.0" }), bad(ClaimsError::Version)),
        (Wlcg, json!({ "wlcg.ver": "10" }), bad(ClaimsError::Version)),
        (Scitokens, json!({ "ver": null }), missing("ver")),
        (Scitokens, json!({ "ver": "scitoken:1.0" }), bad(ClaimsError::Version)),
        (Scitokens, json!({ "aud": null }), missing("aud")),
        (Oidc, json!({ "aud": null }), missing("aud")),
        (Wlcg, json!({ "iss": null }), missing("iss")),
        (Wlcg, json!({ "iss": "https://vo.example" }), Err(TokenError::Issuer)),
        (Wlcg, json!({ "iss": "https://evil.example/" }), Err(TokenError::Issuer)),
        (Wlcg, json!({ "sub": "" }), bad(ClaimsError::BadValue("sub"))),
        (Wlcg, json!({ "sub": "a\nb" }), bad(ClaimsError::BadValue("sub"))),
        (Wlcg, json!({ "sub": "x".repeat(257) }), bad(ClaimsError::BadValue("sub"))),
        (Wlcg, json!({ "sub": { "a": 1 } }), bad(ClaimsError::Malformed)),
        (Wlcg, json!({ "jti": "x".repeat(257) }), bad(ClaimsError::BadValue("jti"))),
        (Wlcg, json!({ "wlcg.groups": vec!["/a"; 257] }), bad(ClaimsError::BadValue("wlcg.groups"))),
        (Wlcg, json!({ "wlcg.groups": "/a" }), Ok(())),
        (Wlcg, json!({ "scope": ["storage.read:/"] }), bad(ClaimsError::Malformed)),
        (
            Wlcg,
            json!({ "scope": "storage.read" }),
            Err(TokenError::Scope(ScopeError::NoPath("storage.read"))),
        ),
        (Wlcg, json!({ "x": "y".repeat(9000) }), Ok(())),
        (Wlcg, json!({ "x": "y".repeat(20_000) }), Err(TokenError::Jws(JwsError::TooLong))),
    ];
    for (profile, changes, expected) in table {
        let world = World::new(profile);
        let token = world.signer.es256(&claims(profile, changes.clone()));
        assert_eq!(world.verify(&token).await.map(drop), expected, "{profile:?} {changes}");
    }
}

#[tokio::test]
async fn a_claim_twice_and_a_claim_that_is_deep_are_refused() {
    let world = World::new(Profile::Wlcg);
    let good = claims(Profile::Wlcg, json!({ "scope": "storage.read:/a" })).to_string();
    let twice = good.replacen('{', "{\"scope\":\"storage.modify:/\",", 1);
    let nested = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let deep = good.replacen("\"1234\"", &nested, 1);
    for payload in [twice, deep, "[]".to_owned(), "{".to_owned()] {
        let token = world.signer.es256_raw(&payload);
        let error = world.verify(&token).await.map(drop);
        assert_eq!(error, Err(TokenError::Claims(ClaimsError::Malformed)), "{:.60}", payload);
    }
    // A claim that means nothing here is passed over, however deep, without going down into it.
    let foreign = good.replacen('{', &format!("{{\"x\":{nested},"), 1);
    assert_eq!(world.verify(&world.signer.es256_raw(&foreign)).await.map(drop), Ok(()));
}

#[tokio::test]
async fn nothing_is_fetched_for_an_issuer_that_is_not_trusted() {
    let world = World::new(Profile::Wlcg);
    let server = server::Server::start().await;
    let stranger = claims(Profile::Wlcg, json!({ "iss": server.url("") }));
    let result = world.verify(&world.signer.es256(&stranger)).await.map(drop);
    assert_eq!(result, Err(TokenError::Issuer));
    assert_eq!(server.requests(), 0);
}

#[test]
fn no_error_tells_what_the_token_was() {
    let secret = "eyJhbGciOiJub25lIn0.c2VjcmV0.c2VjcmV0";
    let error = Unverified::parse(&Secret::new(secret)).err().unwrap();
    assert!(!format!("{error} {error:?}").contains("c2Vj"));
}
