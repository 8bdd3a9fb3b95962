//! Macaroons that clients ask for, and that the tools of others narrow, open and make.

use std::fs;
use std::process::Command;

use penstock_tests::curl::{Answer, Curl};
use penstock_tests::issuer::Issuer;
use penstock_tests::secure_site::SecureSite;
use serde_json::{Value, json};

use super::{WHOLE_VO, trusting};

const REQUEST: &str = "application/macaroon-request";

/// Opens a macaroon with the key, and prints its caveats; then makes another of the same caveats and some more.
const PYMACAROONS: &str = r#"
import sys
from pymacaroons import Macaroon, Verifier
name, key, token, *more = sys.argv[1:]
key = bytes.fromhex(key)
macaroon = Macaroon.deserialize(token)
verifier = Verifier()
verifier.satisfy_general(lambda caveat: True)
assert verifier.verify(macaroon, key)
assert macaroon.identifier == name, macaroon.identifier
made = Macaroon(location=macaroon.location, identifier=name, key=key)
for caveat in [each.caveat_id for each in macaroon.caveats] + more:
    made.add_first_party_caveat(caveat)
narrowed = Macaroon.deserialize(token)
for caveat in more:
    narrowed.add_first_party_caveat(caveat)
print("\n".join(each.caveat_id for each in macaroon.caveats))
print("made", made.serialize())
print("narrowed", narrowed.serialize())
"#;

/// The same narrowing by the C library.
const LIBMACAROONS: &str = r#"
import ctypes, sys
from ctypes import c_void_p, c_size_t, c_int, byref, create_string_buffer, c_char_p, POINTER
library = ctypes.CDLL("libmacaroons.so.0")
error_at = POINTER(c_int)
library.macaroon_deserialize.restype = c_void_p
library.macaroon_deserialize.argtypes = [c_char_p, error_at]
library.macaroon_add_first_party_caveat.restype = c_void_p
library.macaroon_add_first_party_caveat.argtypes = [c_void_p, c_char_p, c_size_t, error_at]
library.macaroon_serialize_size_hint.restype = c_size_t
library.macaroon_serialize_size_hint.argtypes = [c_void_p]
library.macaroon_serialize.argtypes = [c_void_p, c_char_p, c_size_t, error_at]
token, *caveats = [word.encode() for word in sys.argv[1:]]
error = c_int(0)
macaroon = library.macaroon_deserialize(token, byref(error))
assert macaroon, error.value
for caveat in caveats:
    macaroon = library.macaroon_add_first_party_caveat(macaroon, caveat, len(caveat), byref(error))
    assert macaroon, error.value
size = library.macaroon_serialize_size_hint(macaroon)
text = create_string_buffer(size)
assert library.macaroon_serialize(macaroon, text, size, byref(error)) == 0, error.value
print(text.value.decode())
"#;

fn python(program: &str, words: &[&str]) -> String {
    let output = Command::new("/usr/bin/python3")
        .args(["-c", program])
        .args(words)
        .output()
        .expect("python3 runs (Debian: python3-pymacaroons, libmacaroons0)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn request(curl: Curl, body: &Value) -> Answer {
    curl.header("Content-Type", REQUEST).arg("--data").arg(body.to_string()).run()
}

fn macaroon(answer: &Answer) -> String {
    let json: Value = serde_json::from_slice(&answer.body).unwrap();
    json["macaroon"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

fn status(site: &SecureSite, token: &str, method: &str, path: &str) -> u16 {
    let curl = site.stranger(path).token(Some(token));
    let curl = if method == "PUT" { curl.follow().upload(&site.config()) } else { curl.method(method) };
    curl.run().status
}

#[test]
fn a_request_gives_a_macaroon_and_four_urls() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let _ = site.curl("/vo/a/f").follow().upload(&site.config()).run().expect(201);
    let token = issuer.scoped("storage.read:/a storage.create:/a");
    let wish = json!({ "caveats": ["activity:LIST,DOWNLOAD"], "validity": "PT5M" });

    let answer = request(site.stranger("/vo/a").token(Some(&token)), &wish).expect(200);

    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    let json: Value = serde_json::from_slice(&answer.body).unwrap();
    let (made, uri) = (json["macaroon"].as_str().unwrap(), &json["uri"]);
    let url = |name: &str| uri[name].as_str().unwrap().to_owned();
    assert!(url("target").ends_with("/vo/a") && url("base").ends_with('/'), "{uri}");
    assert_eq!(url("targetWithMacaroon"), format!("{}?authz={made}", url("target")));
    assert_eq!(url("baseWithMacaroon"), format!("{}?authz={made}", url("base")));
    assert_eq!(status(&site, made, "GET", "/vo/a/f"), 307);
    assert_eq!(status(&site, made, "GET", "/vo/f"), 403, "it is for /vo/a");
    assert_eq!(status(&site, made, "PUT", "/vo/a/new"), 403, "it is for reading");
    assert!(!site.door.stderr().contains(&made[made.len() - 40..]), "the macaroon is in the log");
}

#[test]
fn nobody_gets_more_than_they_have() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let reader = issuer.scoped("storage.read:/a");
    let nothing = json!({});
    assert_eq!(request(site.stranger("/vo/a"), &nothing).status, 401);
    for outside in ["/", "/vo", "/vo/b", "/vo/ab"] {
        assert_eq!(request(site.stranger(outside).token(Some(&reader)), &nothing).status, 403, "{outside}");
    }
    let wish = json!({ "caveats": ["activity:UPLOAD,DELETE,DOWNLOAD"], "validity": "P30D" });
    let made = macaroon(&request(site.stranger("/vo/a").token(Some(&reader)), &wish));
    assert_eq!(status(&site, &made, "PUT", "/vo/a/f"), 403);
    assert_eq!(status(&site, &made, "DELETE", "/vo/a/f"), 403);
    assert_eq!(status(&site, &made, "GET", "/vo/a/f"), 404);
    for bad in [
        json!({ "caveats": ["colour:blue"] }),
        json!({ "caveats": ["id:0;0;root"] }),
        json!({ "validity": "5" }),
    ] {
        assert_eq!(request(site.stranger("/vo/a").token(Some(&reader)), &bad).status, 400, "{bad}");
    }
    assert_eq!(site.stranger("/vo/a").token(Some(&reader)).arg("--data").arg("x").run().status, 405);
}

#[test]
fn a_macaroon_gives_a_narrower_one_and_every_link_of_a_page_carries_it() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let _ = site.curl("/vo/a/f").follow().upload(&site.config()).run().expect(201);
    let made = macaroon(&request(site.curl("/vo"), &json!({ "validity": "PT1H" })));
    let wish = json!({ "caveats": ["activity:LIST"] });
    let narrower = macaroon(&request(site.stranger("/vo/a").token(Some(&made)), &wish));
    assert_eq!(status(&site, &narrower, "GET", "/vo/a/f"), 403);
    let page = site.stranger(&format!("/vo/a/?authz={narrower}")).run().expect(200).text();
    assert!(page.contains(&format!("f?authz={narrower}")), "{page}");
    assert_eq!(status(&site, &narrower, "GET", "/vo"), 200, "the way to it is seen");
}

#[test]
fn pymacaroons_and_libmacaroons_open_narrow_and_make_them() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let _ = site.curl("/vo/a/f").follow().upload(&site.config()).run().expect(201);
    let _ = site.curl("/vo/b").follow().upload(&site.config()).run().expect(201);
    let token = issuer.scoped("storage.read:/");
    let made = macaroon(&request(site.stranger("/vo").token(Some(&token)), &json!({})));
    let keys = fs::read_to_string(site.room().join("macaroon.keys")).unwrap();
    let (name, key) = keys.lines().next().unwrap().split_once(' ').unwrap();

    let seen = python(PYMACAROONS, &[name, key, &made, "path:/a"]);
    let line = |word: &str| {
        let mut lines = seen.lines().filter_map(|line| line.strip_prefix(word));
        lines.next().unwrap_or_else(|| panic!("no {word} in {seen}")).trim().to_owned()
    };
    assert!(seen.contains("\npath:/vo\n") && seen.contains("alice@"), "{seen}");
    let by_library = python(LIBMACAROONS, &[&made, "path:/a"]).trim().to_owned();
    for (who, narrowed) in [
        ("narrowed by pymacaroons", line("narrowed ")),
        ("made by pymacaroons", line("made ")),
        ("narrowed by libmacaroons", by_library),
    ] {
        assert_eq!(status(&site, &narrowed, "GET", "/vo/a/f"), 307, "{who}");
        assert_eq!(status(&site, &narrowed, "GET", "/vo/b"), 403, "{who}");
    }
}

#[test]
fn gfal_finds_the_token_endpoint_and_gets_a_macaroon_there() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let _ = site.curl("/vo/a/f").follow().upload(&site.config()).run().expect(201);
    let described = |place: &str| -> Value {
        let path = format!("/.well-known/oauth-authorization-server{place}");
        serde_json::from_slice(&site.stranger(&path).run().expect(200).body).unwrap()
    };
    for (place, issuer) in [("", ""), ("/", ""), ("/vo/a", "/vo/a"), ("/vo/a%20b/", "/vo/a%20b")] {
        let found = described(place);
        assert!(found["token_endpoint"].as_str().unwrap().ends_with("/.oauth2/token"), "{found}");
        let issuer = site.url(issuer);
        assert_eq!(found["issuer"], issuer, "RFC 8414 §3.3: the one that was asked for");
    }
    // That is no name of the namespace, and no prefix of one, either.
    assert_eq!(site.stranger("/.well-known/oauth-authorization-server-not").run().status, 401);
    let token = issuer.scoped("storage.read:/a");
    let ask = |form: &str| {
        let curl = site.stranger("/.oauth2/token").token(Some(&token));
        curl.arg("--data").arg(form).header("Accept", "application/json").run()
    };
    let form = "grant_type=client_credentials&expire_in=300&scopes=LIST%3A%2Fvo%2Fa%20DOWNLOAD%3A%2Fvo%2Fa";
    let answer = ask(form).expect(200);
    let json: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&json["token_type"], &json["expires_in"]), (&json!("bearer"), &json!(300)));
    assert_eq!(status(&site, json["access_token"].as_str().unwrap(), "GET", "/vo/a/f"), 307);
    let beyond = ask("grant_type=client_credentials&scope=DOWNLOAD:/vo/b").expect(400);
    assert!(beyond.text().contains("\"invalid_scope\""), "{}", beyond.text());
    let stranger =
        site.stranger("/.oauth2/token").arg("--data").arg("grant_type=client_credentials").run().expect(401);
    assert!(stranger.text().contains("\"invalid_client\""), "{}", stranger.text());
    assert!(stranger.header("WWW-Authenticate").is_some());
    let forged = site.stranger("/.oauth2/token").token(Some(&format!("{token}x")));
    let forged = forged.arg("--data").arg("grant_type=client_credentials").run().expect(401);
    let said: Value = serde_json::from_slice(&forged.body).unwrap();
    assert_eq!(said["error"], "invalid_client", "{said}");
    let wrong = ask("grant_type=password").expect(400);
    assert!(wrong.text().contains("\"unsupported_grant_type\""), "{}", wrong.text());
}

#[test]
fn a_client_of_fts_walks_from_the_description_to_the_macaroon_and_stores_with_it_and_no_more() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let token = issuer.scoped("storage.read:/in storage.create:/in");
    for directory in ["/vo", "/vo/in"] {
        assert_eq!(site.curl(directory).method("MKCOL").run().status, 201);
    }
    // 1. Where are tokens given for this file?
    let about = site.stranger("/.well-known/oauth-authorization-server/vo/in/file").run().expect(200);
    assert_eq!(about.header("Content-Type"), Some("application/json"));
    let about: Value = serde_json::from_slice(&about.body).unwrap();
    assert_eq!(about["issuer"], site.url("/vo/in/file"));
    assert_eq!(about["grant_types_supported"], json!(["client_credentials"]));
    let endpoint = about["token_endpoint"].as_str().unwrap();

    // 2. One for it, from those who show who they are.
    let form = "grant_type=client_credentials&expire_in=600&scopes=UPLOAD%3A%2Fvo%2Fin%2Ffile%20DOWNLOAD%3A%2Fvo%2Fin%2Ffile";
    let ask = |curl: Curl| curl.arg("--data").arg(form).header("Accept", "application/json").run();
    let at_endpoint = || Curl::new(endpoint).arg("--cacert").arg(site.authority.certificate());
    assert_eq!(ask(at_endpoint()).status, 401);
    let given = ask(at_endpoint().token(Some(&token))).expect(200);
    assert_eq!(given.header("Cache-Control"), Some("no-store"));
    let given: Value = serde_json::from_slice(&given.body).unwrap();
    let macaroon = given["access_token"].as_str().unwrap();

    // 3. The bytes, with it and nothing else.
    let file = penstock_tests::files::file(site.room(), "in", 300_000, 3);
    let put = |path: &str| site.stranger(path).token(Some(macaroon)).follow().upload(&file).run().status;
    assert_eq!(put("/vo/in/file"), 201);
    let back = site.stranger("/vo/in/file").token(Some(macaroon)).follow().run().expect(200);
    assert!(back.body == fs::read(&file).unwrap());

    // 4. And no more: not beside it, not again, not away with it.
    assert_eq!(put("/vo/in/other"), 403);
    assert_eq!(put("/vo/in/file"), 403, "who may create may not replace");
    assert_eq!(status(&site, macaroon, "DELETE", "/vo/in/file"), 403);
}

#[test]
fn keys_rotate_while_old_macaroons_go_on_until_their_key_goes() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let old = macaroon(&request(site.curl("/vo"), &json!({})));
    let keys = site.room().join("macaroon.keys");
    let rotate = Command::new(penstock_tests::binaries::binary("penstock-door"))
        .arg("--config")
        .arg(site.config())
        .arg("--rotate-keys")
        .output()
        .unwrap();
    assert!(rotate.status.success(), "{rotate:?}");
    let text = fs::read_to_string(&keys).unwrap();
    assert_eq!(text.lines().count(), 2, "the new one and the old one");
    let reread = |times: usize| {
        site.door.signal(rustix::process::Signal::HUP);
        penstock_tests::patience::eventually("the keys were read again", || {
            (site.door.stderr().matches("the configuration was read again").count() == times).then_some(())
        });
    };
    reread(1);
    assert_eq!(status(&site, &old, "GET", "/vo/x"), 404);
    let token = issuer.scoped("storage.read:/");
    let new = macaroon(&request(site.stranger("/vo").token(Some(&token)), &json!({})));

    fs::write(&keys, format!("{}\n", text.lines().next().unwrap())).unwrap();
    reread(2);
    assert_eq!(status(&site, &new, "GET", "/vo/x"), 404);
    assert_eq!(status(&site, &old, "GET", "/vo/x"), 401);
}
