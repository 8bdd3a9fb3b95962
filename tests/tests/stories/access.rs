//! Who may do what: tokens, and those who have none.

use std::os::unix::fs::PermissionsExt;

use penstock_tests::curl::Curl;
use penstock_tests::files::{self, MIB};
use penstock_tests::site::{Plan, Site};

#[test]
fn without_a_token_nothing_is_asked_of_the_tape_interface() {
    let site = Site::start();
    let place = "/.well-known/wlcg-tape-rest-api/v1";
    for (path, body) in [
        ("stage", "{\"files\":[]}"),
        ("archiveinfo", "{\"paths\":[\"/f\"]}"),
        ("release/x", "{\"paths\":[]}"),
    ] {
        let ask = |curl: Curl| curl.arg("--data-binary").arg(body).run();
        assert_eq!(ask(Curl::new(site.url(&format!("{place}/{path}")))).status, 401, "{path}");
        let known = ask(site.curl(&format!("{place}/{path}"))).status;
        assert!((200..=201).contains(&known), "{path}: {known}");
    }
    // Where it is may be asked by everybody.
    assert_eq!(Curl::new(site.url("/.well-known/wlcg-tape-rest-api")).run().status, 200);
}

#[test]
fn without_a_token_nothing_is_allowed() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    for method in ["GET", "HEAD", "PUT", "DELETE", "MKCOL", "PROPFIND"] {
        let curl = Curl::new(site.url("/file"));
        let curl = match method {
            "HEAD" => curl.head(),
            "PUT" => curl.upload(&file),
            "GET" => curl,
            method => curl.method(method),
        };

        let answer = curl.run();

        assert_eq!(answer.status, 401, "{method}");
        assert!(
            answer.header("WWW-Authenticate").is_some_and(|value| value.starts_with("Bearer")),
            "{method}: {:?}",
            answer.heads
        );
        assert_eq!(answer.uploaded, 0, "{method}");
    }
    assert_eq!(site.get("/file").expect(200).body.len() as u64, 2 * MIB);
}

#[test]
fn a_token_is_taken_from_the_header_or_the_query() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let with_query = site.url(&format!("/file?authz={}", site.token));

    let _ = Curl::new(&with_query).follow().upload(&file).run().expect(201);
    let _ = Curl::new(&with_query).follow().run().expect(200);
    let _ = Curl::new(site.url("/file"))
        .header("Authorization", &format!("bearer {}", site.token))
        .run()
        .expect(307);

    let both = Curl::new(&with_query).token(Some(&site.token)).run();
    assert_eq!(both.status, 400, "RFC 6750 §2: one way at a time");
}

#[test]
fn a_token_that_is_not_ours_is_refused() {
    let site = Site::start();
    let other = Site::start();
    let mut changed = site.token.clone().into_bytes();
    let last = changed.len() - 3;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    let cases = [
        ("of another site", other.token.clone()),
        ("changed", String::from_utf8(changed).unwrap()),
        ("cut", site.token[..site.token.len() / 2].to_owned()),
        ("none at all", "x".to_owned()),
    ];
    for (what, token) in cases {
        let answer = Curl::new(site.url("/")).token(Some(&token)).run();

        assert_eq!(answer.status, 401, "{what}");
        assert!(!answer.text().contains(&token) || token == "x", "{what}: {}", answer.text());
    }
}

#[test]
fn anonymous_clients_get_what_was_switched_on() {
    for (level, read, write) in [("none", 401, 401), ("read", 200, 401), ("write", 200, 201)] {
        let site = Plan::new().anonymous(level).start();
        let file = files::file(site.room(), "in", 2 * MIB, 1);
        let _ = site.put("/file", &file).expect(201);

        let get = Curl::new(site.url("/file")).follow().run();
        let put = Curl::new(site.url("/new")).follow().upload(&file).run();

        assert_eq!((get.status, put.status), (read, write), "--anonymous {level}");
    }
}

#[test]
fn only_the_owner_can_read_the_token_and_the_keys() {
    let site = Site::start();
    let mut secrets = 0;
    for entry in std::fs::read_dir(site.data()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        if name == "token" || name.contains("key") {
            assert_eq!(mode, 0o600, "{name}");
            secrets += 1;
        } else if name.ends_with(".sock") {
            assert_eq!(mode & 0o077, 0, "{name}");
        }
    }
    assert!(secrets >= 2, "a token and a key file");
}

#[test]
fn no_secret_is_in_the_log_or_in_what_the_admin_port_shows() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    let _ = Curl::new(site.url(&format!("/file?authz={}", site.token))).follow().run().expect(200);
    let url = site.download_url("/file");
    let capability = url.split("penstock-transfer=").nth(1).unwrap()[..32].to_owned();
    let _ = Curl::new(url.replace("/file", "/other")).run();
    let transfers = Curl::new(format!("{}/transfers", site.admin)).run().expect(200).text();
    let metrics = Curl::new(format!("{}/metrics", site.admin)).run().expect(200).text();

    for text in [site.daemon.stderr(), site.daemon.stdout(), transfers, metrics] {
        assert!(!text.contains(&site.token), "{text}");
        assert!(!text.contains(&capability), "{text}");
    }
}
