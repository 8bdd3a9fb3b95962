//! One table of scheme, right, operation and path, of which the door's own tests check every row; here some hundred of
//! them are asked of a door and a pool.

use penstock_tests::issuer::Issuer;
use penstock_tests::macaroon::narrow;
use penstock_tests::secure_site::SecureSite;
use serde_json::{Value, json};

use super::{WHOLE_VO, trusting};

/// What a request needs, in the words of the rights; `way`: it is allowed on the way to the path, too.
struct Asked {
    method: &'static str,
    rights: &'static [&'static str],
    way: &'static [&'static str],
}

const ASKED: [Asked; 6] = [
    Asked { method: "GET", rights: &["read"], way: &[] },
    Asked { method: "HEAD", rights: &["read", "create", "modify", "stage"], way: &["read", "create", "modify", "stage"] },
    Asked { method: "PUT", rights: &["create", "modify"], way: &[] },
    Asked { method: "REPLACE", rights: &["modify"], way: &[] },
    Asked { method: "DELETE", rights: &["modify"], way: &[] },
    Asked { method: "MKCOL", rights: &["create", "modify"], way: &["create", "modify"] },
];

/// The activities of a macaroon with the same rights.
fn activities(right: &str) -> &'static str {
    match right {
        "read" => "activity:LIST,DOWNLOAD",
        "create" => "activity:UPLOAD,MANAGE",
        "modify" => "activity:LIST,UPLOAD,DELETE,MANAGE,UPDATE_METADATA",
        _ => "activity:STAGE",
    }
}

fn ask(site: &SecureSite, token: &str, method: &str, path: &str) -> u16 {
    let curl = site.stranger(path).token(Some(token));
    match method {
        "GET" => curl.run().status,
        "HEAD" => curl.head().run().status,
        "PUT" | "REPLACE" => curl.follow().upload(&site.config()).run().status,
        method => curl.method(method).run().status,
    }
}

#[test]
fn tokens_and_macaroons_do_at_the_door_what_the_table_says() {
    let issuer = Issuer::start();
    let site = trusting(&issuer, WHOLE_VO, "");
    let rights = ["read", "create", "modify", "stage"];
    let scopes: Vec<Value> =
        rights.iter().map(|right| json!({ "scope": format!("storage.{right}:/a/b") })).collect();
    let tokens = issuer.tokens(&scopes);
    let mut rows = 0;
    for (right, token) in rights.iter().zip(&tokens) {
        let macaroon = narrow(&site.token, &[activities(right), "path:/vo/a/b"]);
        for (kind, credential) in [("token", token), ("macaroon", &macaroon)] {
            for (asked, place) in ASKED.iter().flat_map(|asked| {
                ["/vo/a/b/x", "/vo/a/bc", "/vo/z", "/vo/a"].into_iter().map(move |place| (asked, place))
            }) {
                let is_way = place == "/vo/a";
                let path = match (asked.method, is_way) {
                    (_, true) => place.to_owned(),
                    ("PUT" | "MKCOL", false) => format!("{place}/{kind}-{right}-{}", asked.method),
                    ("DELETE", false) => format!("{place}/gone"),
                    _ => format!("{place}/there"),
                };
                if matches!(asked.method, "REPLACE" | "DELETE" | "GET" | "HEAD") && !is_way {
                    assert!(ask(&site, &site.token, "PUT", &path) / 100 == 2);
                }
                if is_way && !matches!(asked.method, "HEAD" | "MKCOL") {
                    continue;
                }
                if is_way && asked.method == "MKCOL" {
                    // It is there already, which only those are told who might make it.
                    let expected = if asked.way.contains(right) { 405 } else { 403 };
                    assert_eq!(ask(&site, credential, "MKCOL", place), expected, "{kind} {right} on the way");
                    continue;
                }
                if asked.method == "MKCOL" {
                    assert!(ask(&site, &site.token, "PUT", &format!("{place}/there")) / 100 == 2);
                }
                let inside = place == "/vo/a/b/x";
                let allowed = (inside && asked.rights.contains(right)) || (is_way && asked.way.contains(right));
                let status = ask(&site, credential, asked.method, &path);
                assert_eq!(status != 403, allowed, "{kind} {right} {} {path}: {status}", asked.method);
                assert!(status < 500 && status != 401, "{kind} {right} {} {path}: {status}", asked.method);
                rows += 1;
            }
        }
    }
    assert!(rows > 150, "{rows}");
}
