//! Who may do what: tokens, and those who have none.

use std::os::unix::fs::PermissionsExt;

use penstock_tests::curl::Curl;
use penstock_tests::files::{self, MIB};
use penstock_tests::macaroon::narrow;
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

#[test]
fn a_token_that_is_bound_to_an_address_moves_bytes_from_and_to_there_and_nowhere_else() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 100, 1);
    let bound = narrow(&site.token, &["ip:127.0.0.1"]);
    let from = |address: &str, path: &str| {
        Curl::new(site.url(path)).token(Some(&bound)).arg("--interface").arg(address)
    };

    // No URL that another could use: the bytes go through the door, which looks at the address.
    let put = from("127.0.0.1", "/file").upload(&file).header("Expect", "100-continue").run().expect(201);
    let asked = from("127.0.0.1", "/asked?redirect=true").upload(&file).run().expect(201);
    let get = from("127.0.0.1", "/file").run().expect(200);

    assert_eq!((put.redirects, asked.redirects, get.redirects), (0, 0, 0));
    assert_eq!(get.body, std::fs::read(&file).unwrap());
    assert_eq!(from("127.0.0.9", "/file").run().status, 401);
}

#[test]
fn a_copy_is_no_larger_than_the_uploads_that_a_token_allows() {
    let site = Site::start();
    let _ = site.put("/dir/large", &files::file(site.room(), "large", 2000, 1)).expect(201);
    let _ = site.put("/dir/small", &files::file(site.room(), "small", 500, 1)).expect(201);
    let token = narrow(&site.token, &["max-upload:1000"]);
    let copy = |from: &str, to: &str| {
        Curl::new(site.url(from)).token(Some(&token)).method("COPY").header("Destination", &site.url(to))
    };

    assert_eq!(copy("/dir/large", "/copy").run().status, 413);
    assert_eq!(copy("/dir/small", "/copy").run().status, 201);
    let marked = copy("/dir/large", "/marked").header("Credential", "none").run();
    assert_eq!(marked.status, 413, "{}", marked.text());
    // Of a directory the others are copied.
    let told = copy("/dir/", "/copies").run().expect(207).text();
    assert!(told.contains("/copies/large") && told.contains("413"), "{told}");
    assert_eq!((site.get("/copies/small").status, site.get("/copies/large").status), (200, 404));
}

#[test]
fn nothing_is_moved_or_copied_to_names_that_the_door_keeps_for_itself() {
    let site = Site::start();
    let _ = site.put("/file", &files::file(site.room(), "in", 100, 1)).expect(201);
    for place in
        ["/.well-known/wlcg-tape-rest-api/v1/x", "/.oauth2/token", "/.well-known/oauth-authorization-server"]
    {
        for method in ["COPY", "MOVE"] {
            let answer = site.curl("/file").method(method).header("Destination", &site.url(place)).run();
            assert_eq!(answer.status, 403, "{method} to {place}: {}", answer.text());
        }
    }
    // Nor by what is above them, nor by a token for which they have another name.
    assert_eq!(site.curl("/dir").method("MKCOL").run().status, 201);
    let moved = site.curl("/dir").method("MOVE").header("Destination", &site.url("/.well-known")).run();
    assert_eq!(moved.status, 403, "{}", moved.text());
    let rooted = narrow(&site.token, &["root:/.well-known"]);
    let put = Curl::new(site.url("/wlcg-tape-rest-api/x"))
        .token(Some(&rooted))
        .upload(&site.room().join("in"))
        .run();
    assert_eq!(put.status, 403, "{}", put.text());
    assert_eq!(site.get("/file").status, 200);
}
