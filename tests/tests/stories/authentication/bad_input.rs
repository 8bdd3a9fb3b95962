//! Credentials and paths that are no good, shown to a door that runs: each gets 400, 401 or 403, with a text that helps the
//! honest and tells the others nothing (or 431 where the head as a whole is too long), and everybody else is served as before.
//!
//! The parsers' own tests go further, case by case; here is that all of them stand where requests come in.

use std::time::{SystemTime, UNIX_EPOCH};

use penstock_tests::curl::Answer;
use penstock_tests::issuer::Issuer;
use penstock_tests::macaroon::narrow;
use penstock_tests::secure_site::SecureSite;
use serde_json::{Value, json};

use super::{WHOLE_VO, trusting};

/// Tokens that no sound issuer makes, of good claims and the issuer's own key: a name and a token on each line.
const FORGED: &str = r#"
import base64, hashlib, hmac, json, sys
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
import jwt
pem, kid, claims = open(sys.argv[1]).read(), sys.argv[2], json.loads(sys.argv[3])
part = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
payload = json.dumps(claims).encode()
jws = jwt.api_jws.PyJWS()
signed = lambda payload, headers, key=pem: jws.encode(payload, key, algorithm="ES256", headers=headers)
public = form.load_pem_private_key(pem.encode(), None).public_key().public_bytes(
    form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
unsigned = lambda alg: part(json.dumps({"alg": alg, "kid": kid}).encode()) + "." + part(payload) + "."
mac = unsigned("HS256")[:-1]
other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()).decode()
good = signed(payload, {"kid": kid})
twice = payload.decode()[:-1] + ', "scope": "storage.modify:/"}'
for name, token in {
    "none": unsigned("none"),
    "hmac": mac + "." + part(hmac.new(public, mac.encode(), hashlib.sha256).digest()),
    "no-kid": signed(payload, None),
    "unknown-kid": signed(payload, {"kid": "other"}),
    "anothers-key": signed(payload, {"kid": kid}, other),
    "cut": good[:-9],
    "flipped": good[:-9] + ("A" if good[-9] != "A" else "B") + good[-8:],
    "twice": signed(twice.encode(), {"kid": kid}),
    "huge": signed(json.dumps({**claims, "x": "y" * 20000}).encode(), {"kid": kid}),
    "nested": signed((payload.decode()[:-1] + ', "sub": ' + "[" * 3000 + "]" * 3000 + "}").encode(), {"kid": kid}),
}.items(): print(name, token)
"#;

/// Asks from an address of its own, so that nobody's failures slow down the next.
struct Asking<'a> {
    site: &'a SecureSite,
    last_address: u8,
}

impl Asking<'_> {
    fn ask(&mut self, path: &str, token: &str) -> Answer {
        self.last_address += 1;
        let from = format!("127.0.0.{}", self.last_address);
        let curl = self.site.stranger(path).arg("--path-as-is").arg("--ipv4").arg("--interface").arg(from);
        curl.token(Some(token)).run()
    }

    /// Panics unless it is refused with that status and such a text.
    fn is_refused(&mut self, what: &str, path: &str, token: &str, (status, text): (u16, &str)) {
        let answer = self.ask(path, token);
        let said = answer.text();
        assert!(answer.status == status && said.contains(text), "{what}: {} {said}", answer.status);
        let one_line = said.trim_end().lines().count() <= 1;
        let told = token.len() > 40 && said.contains(&token[token.len() - 40..]);
        assert!(one_line && said.len() < 1000 && !told, "{what}: {said}");
    }
}

#[test]
fn tokens_that_are_no_good_are_refused_with_a_word_on_why() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let _ = site.curl("/vo/a/f").follow().upload(&site.config()).run().expect(201);
    let mut asking = Asking { site: &site, last_address: 1 };
    let read = |changes: Value| {
        let mut all = json!({ "scope": "storage.read:/" });
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        all
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let table = [
        ("expired", json!({ "exp": now - 5 }), (401, "the token expired at")),
        ("not yet valid", json!({ "nbf": now + 300 }), (401, "the token is not valid before")),
        ("from the future", json!({ "iat": now + 300 }), (401, "the token is not valid before")),
        ("another audience", json!({ "aud": "https://other.example" }), (401, "for another audience")),
        ("no audience", json!({ "aud": null }), (401, "has no claim \"aud\"")),
        (
            "an unknown issuer",
            json!({ "iss": "https://evil.example" }),
            (401, "not one that this site trusts"),
        ),
        ("no subject", json!({ "sub": null }), (401, "has no claim \"sub\"")),
        ("no id", json!({ "jti": null }), (401, "has no claim \"jti\"")),
        ("another version", json!({ "wlcg.ver": "2.0" }), (401, "not of the version")),
        ("a claim of another kind", json!({ "exp": "tomorrow" }), (401, "cannot be read")),
        ("a line end in the name", json!({ "sub": "a\nb" }), (401, "a value that is not accepted")),
        ("a scope that climbs", json!({ "scope": "storage.read:/a storage.read:/a/../.." }), (401, "")),
        ("a scope without a path", json!({ "scope": "storage.read" }), (401, "")),
        (
            "two scopes of which none is this",
            json!({ "scope": "storage.create:/a storage.read:/b" }),
            (403, ""),
        ),
        ("no scope and no group", json!({ "scope": null }), (403, "")),
    ];
    let changes: Vec<Value> = table.iter().map(|(_, changes, _)| read(changes.clone())).collect();
    for (token, (what, _, expected)) in issuer.tokens(&changes).iter().zip(table) {
        asking.is_refused(what, "/vo/a/f", token, expected);
    }

    let forged = issuer.python(FORGED, &issuer.claims(read(json!({}))));
    let expected = [
        ("none", "another way than RS256 or ES256"),
        ("hmac", "another way than RS256 or ES256"),
        ("no-kid", "kid"),
        ("unknown-kid", "a key that its issuer does not publish"),
        ("anothers-key", "signature"),
        ("cut", "the token is not a signed JSON Web Token"),
        ("flipped", "signature"),
        ("twice", "cannot be read"),
        ("huge", ""),
        ("nested", "cannot be read"),
    ];
    assert_eq!(forged.lines().count(), expected.len());
    for (line, (name, text)) in forged.lines().zip(expected) {
        let (found, token) = line.split_once(' ').unwrap();
        assert_eq!(found, name);
        // Longer than a request's head may be: that is said before anybody looks for a token in it.
        let status = if name == "huge" { 431 } else { 401 };
        asking.is_refused(name, "/vo/a/f", token, (status, text));
    }
    let good = issuer.tokens(&[read(json!({}))]).remove(0);
    assert_eq!(asking.ask("/vo/a/f", &good).status, 307, "others are served");
}

#[test]
fn macaroons_that_are_no_good_are_refused_with_a_word_on_why() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let _ = site.curl("/vo/a/f").follow().upload(&site.config()).run().expect(201);
    let mut asking = Asking { site: &site, last_address: 1 };
    let token = site.token.clone();
    let with = |caveats: &[&str]| narrow(&token, caveats);
    let middle = token.len() / 2;
    let mut flipped = token.clone();
    let other = if &token[middle..=middle] == "A" { "B" } else { "A" };
    flipped.replace_range(middle..=middle, other);
    let many = vec!["activity:DOWNLOAD"; 1000];
    let table = [
        ("cut", token[..token.len() - 20].to_owned(), (401, "")),
        ("cut to half", token[..middle].to_owned(), (401, "")),
        ("flipped", flipped, (401, "")),
        ("nothing", "A".to_owned(), (401, "")),
        ("unknown", with(&["colour:blue"]), (401, "caveat")),
        ("over", with(&["before:2020-01-01T00:00:00Z"]), (401, "")),
        ("elsewhere", with(&["ip:192.0.2.0/24"]), (401, "")),
        ("another's", with(&["id:0;0;admin"]), (401, "caveat")),
        ("three hundred", with(&many[..300]), (401, "more than 256 caveats")),
        ("a thousand", with(&many), (431, "")),
        ("widening activity", with(&["activity:LIST", "activity:DOWNLOAD,LIST"]), (403, "")),
        ("widening path", with(&["path:/vo/b", "path:/"]), (403, "")),
        ("later before", with(&["before:2020-01-01T00:00:00Z", "before:2090-01-01T00:00:00Z"]), (401, "")),
    ];
    for (what, token, expected) in table {
        asking.is_refused(what, "/vo/a/f", &token, expected);
    }
    assert_eq!(asking.ask("/vo/a/f", &token).status, 307, "others are served");
}

#[test]
fn paths_that_could_be_read_in_two_ways_lead_nowhere() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    // One letter in one code point, and the same in two: names are bytes, and these are two names.
    for path in ["/vo/a/f", "/vo/%C3%A9/f", "/vo/e%CC%81/f", "/vo/secret"] {
        let _ = site.curl(path).follow().upload(&site.config()).run().expect(201);
    }
    let token = issuer.scoped("storage.read:/a storage.read:/é");
    let mut asking = Asking { site: &site, last_address: 1 };
    let table = [
        ("/vo/a/f", 307),
        ("/vo/a//f", 307),
        ("/vo/a/../secret", 400),
        ("/vo/a/%2e%2e/secret", 400),
        ("/vo/a/.%2E/secret", 400),
        ("/vo/a/..%2fsecret", 400),
        ("/vo/a%2f..%2fsecret", 400),
        ("/vo/a/%2Ff", 400),
        ("/vo/a/f%00", 400),
        ("/vo/a/%ff", 400),
        ("/vo/a/%c0%ae%c0%ae/secret", 400),
        ("/vo/a/%u002e%u002e/secret", 400),
        ("/vo/a/%252e%252e/secret", 404),
        ("/vo/a\\..\\secret", 403),
        ("/vo/%C3%A9/f", 307),
        ("/vo/e%CC%81/f", 403),
        ("/vo/A/f", 403),
        ("/vo/secret", 403),
    ];
    for (path, expected) in table {
        let answer = asking.ask(path, &token);
        assert_eq!(answer.status, expected, "{path}: {}", answer.text());
    }
}
