//! `Expect: 100-continue`: the pool says "go on" only when nothing stands against the upload.

use std::time::Duration;

use penstock_tests::raw::Raw;
use penstock_tests::site::{Plan, Site, target};

#[test]
fn the_pool_says_go_on_before_the_body_comes_and_201_after_it() {
    let site = Site::start();
    let url = site.upload_url("/file", 4);
    let mut client = Raw::connect(site.pool_address());
    client.send(format!(
        "PUT {} HTTP/1.1\r\nHost: pool\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        target(&url)
    ));
    let interim = client.answer();
    assert_eq!((interim.status, interim.body.len()), (100, 0));
    assert!(client.is_silent_for(Duration::from_millis(200)), "nothing more before the body");

    client.send("body");

    assert_eq!(client.answer().status, 201);
    assert_eq!(site.get("/file").expect(200).text(), "body");
}

#[test]
fn what_is_going_to_be_refused_is_refused_at_once() {
    let site = Plan::new().config("capacity = \"64 MiB\"\nmax_file_size = \"16 MiB\"\n").start();
    let url = site.upload_url("/file", 4);
    let unknown = url.replace("penstock-transfer=", "penstock-transfer=00");
    let cases = [
        ("a part of a file", target(&url), "Content-Length: 4\r\nContent-Range: bytes 0-3/9\r\n", 400),
        ("a coded body", target(&url), "Content-Length: 4\r\nContent-Encoding: gzip\r\n", 415),
        ("an unknown expectation", target(&url), "Content-Length: 4\r\nExpect: 200-ok\r\n", 417),
        ("an unreadable checksum", target(&url), "Content-Length: 4\r\nDigest: adler32=nothex\r\n", 400),
        ("another size than announced to the door", target(&url), "Content-Length: 5\r\n", 400),
        ("no length", target(&url), "", 411),
        ("an unknown transfer", target(&unknown), "Content-Length: 4\r\n", 307),
        ("another path", "/other?penstock-transfer=x", "Content-Length: 4\r\n", 400),
    ];
    for (what, target, lines, status) in cases {
        // A refused upload is over: each case has a transfer of its own.
        let fresh = site.upload_url("/file", 4);
        let target = if target == self::target(&url) { self::target(&fresh) } else { target };
        let expect = if lines.contains("Expect") { "" } else { "Expect: 100-continue\r\n" };
        let mut client = Raw::connect(site.pool_address());

        client.send(format!("PUT {target} HTTP/1.1\r\nHost: pool\r\n{lines}{expect}\r\n"));

        let answer = client.answer();
        assert_eq!(answer.status, status, "{what}: {}{}", answer.head, answer.text());
        assert_eq!(answer.text().lines().count(), 1, "{what}: one line says why");
    }
    assert_eq!(site.get("/file").status, 404);
}

#[test]
fn the_door_refuses_without_asking_for_the_body() {
    let site = Site::start();
    let file = site.room().join("in");
    std::fs::write(&file, "x").unwrap();
    let _ = site.put("/directory/file", &file).expect(201);
    let token = &site.token;
    let cases = [
        ("no token", "/new", "Content-Length: 4\r\n".to_owned(), 401),
        ("a directory", "/directory", format!("Authorization: Bearer {token}\r\nContent-Length: 4\r\n"), 409),
        (
            "below a file",
            "/directory/file/x",
            format!("Authorization: Bearer {token}\r\nContent-Length: 4\r\n"),
            409,
        ),
        ("no length", "/new", format!("Authorization: Bearer {token}\r\n"), 411),
        (
            "a name that exists, only if it does not",
            "/directory/file",
            format!("Authorization: Bearer {token}\r\nContent-Length: 4\r\nIf-None-Match: *\r\n"),
            412,
        ),
        (
            "more than the pool has",
            "/new",
            format!("Authorization: Bearer {token}\r\nContent-Length: 9000000000000000\r\n"),
            507,
        ),
    ];
    for (what, path, lines, status) in cases {
        let mut client = Raw::connect(site.door_address());

        client.send(format!("PUT {path} HTTP/1.1\r\nHost: door\r\n{lines}Expect: 100-continue\r\n\r\n"));

        let answer = client.answer();
        assert_eq!(answer.status, status, "{what}: {}{}", answer.head, answer.text());
    }
}

#[test]
fn a_client_that_grows_tired_of_waiting_may_send_its_body() {
    let site = Site::start();
    let url = site.upload_url("/file", 4);
    let mut client = Raw::connect(site.pool_address());

    client.send(format!(
        "PUT {} HTTP/1.1\r\nHost: pool\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody",
        target(&url)
    ));

    // "100 Continue" may come or not (RFC 9110 §10.1.1); the end is the same.
    let mut answer = client.answer();
    if answer.status == 100 {
        answer = client.answer();
    }
    assert_eq!(answer.status, 201);
    assert_eq!(site.get("/file").expect(200).text(), "body");
}
