//! What no honest client sends: requests that two servers would read differently, and clients that never finish.

use std::time::{Duration, Instant};

use penstock_tests::cluster::Cluster;
use penstock_tests::curl::Curl;
use penstock_tests::files::{self, MIB};
use penstock_tests::patience::eventually;
use penstock_tests::raw::Raw;
use penstock_tests::site::{Plan, Site, target, upload_url};

/// Request lines and headers after a target, and the status they deserve. RFC 9112 §2.2, §5.1, §5.2, §6.1, §6.3.
const SMUGGLING: [(&str, &str, u16); 21] = [
    (
        "both lengths",
        "PUT T HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "both lengths, the other way round",
        "PUT T HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("two lengths", "PUT T HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody", 400),
    (
        "two equal lengths",
        "PUT T HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
        400,
    ),
    ("a list of equal lengths", "PUT T HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nbody", 400),
    ("a signed length", "PUT T HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nbody", 400),
    ("a negative length", "PUT T HTTP/1.1\r\nHost: a\r\nContent-Length: -4\r\n\r\nbody", 400),
    ("a hexadecimal length", "PUT T HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nbody", 400),
    (
        "a length beyond all numbers",
        "PUT T HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nbody",
        400,
    ),
    ("an obsolete folded line", "GET T HTTP/1.1\r\nHost: a\r\nX-Folded: one\r\n two\r\n\r\n", 400),
    ("a space before the colon", "PUT T HTTP/1.1\r\nHost: a\r\nContent-Length : 4\r\n\r\nbody", 400),
    ("a space before the first header", "GET T HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("a bare line feed", "GET T HTTP/1.1\nHost: a\n\n", 400),
    ("a bare line feed in a header", "GET T HTTP/1.1\r\nHost: a\r\nX: one\nY: two\r\n\r\n", 400),
    ("a bare carriage return", "GET T HTTP/1.1\r\nHost: a\r\nX: one\rY: two\r\n\r\n", 400),
    ("a NUL in a header", "GET T HTTP/1.1\r\nHost: a\r\nX: o\0e\r\n\r\n", 400),
    (
        "chunked twice",
        "PUT T HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunked with the old version",
        "PUT T HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("no host", "GET T HTTP/1.1\r\n\r\n", 400),
    ("two hosts", "GET T HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("a body where none belongs", "GET T HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody", 400),
];

#[test]
fn a_request_that_could_be_read_in_two_ways_is_refused_by_the_pool_and_the_connection_closed() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    for (what, request, status) in SMUGGLING {
        let url =
            if request.starts_with("PUT") { site.upload_url("/new", 4) } else { site.download_url("/file") };
        let mut client = Raw::connect(site.pool_address());

        // What a smuggler wants to be answered as a second request.
        client.send(request.replacen(" T ", &format!(" {} ", target(&url)), 1));
        client.send(format!("GET {} HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0\r\n\r\n", target(&url)));

        let answer = client.answer();
        assert_eq!(answer.status, status, "{what}: {}{}", answer.head, answer.text());
        assert_eq!(answer.text().lines().count(), 1, "{what}: one line says why");
        assert!(client.rest().is_empty(), "{what}: the connection is closed after the refusal");
        assert_eq!(site.get("/new").status, 404, "{what}");
    }
}

#[test]
fn a_request_that_could_be_read_in_two_ways_ends_the_connection_at_the_door_too() {
    let site = Plan::new().anonymous("write").start();
    // Equal lengths may be taken for one (RFC 9110 §8.6), as hyper does: everybody reads them alike.
    let framing = |what: &str| (what.contains("length") && !what.contains("equal")) || what.contains("colon");
    for (what, request, _) in SMUGGLING.iter().filter(|(what, ..)| framing(what)) {
        let mut client = Raw::connect(site.door_address());

        client.send(request.replacen(" T ", " /new ", 1));
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");

        let answer = client.answer();
        // Both lengths: chunked counts, and the connection ends (RFC 9112 §6.1).
        let expected = if what.contains("both") { 201..=204 } else { 400..=400 };
        assert!(expected.contains(&answer.status), "{what}: {}{}", answer.head, answer.text());
        assert!(client.rest().is_empty(), "{what}: nothing behind it is answered");
    }
}

#[test]
fn other_malformed_requests_get_the_status_that_says_what_is_wrong() {
    let site = Site::start();
    let long = "x".repeat(20_000);
    let many = "X: y\r\n".repeat(500);
    let cases = [
        (
            "an unknown coding",
            "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
            501,
        ),
        ("an unknown method", "BREW /x HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 501),
        ("another version", "GET /x HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("a target that is too long", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        ("a head that is too long", format!("GET /x HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        ("too many headers", format!("GET /x HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
        ("no HTTP at all", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".to_owned(), 400),
        ("a target with a control character", "GET /\u{1} HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("a path that is no text", "GET /%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
    ];
    for (what, request, status) in cases {
        let mut client = Raw::connect(site.pool_address());

        client.send(&request);

        let answer = client.answer();
        assert_eq!(answer.status, status, "{what}: {}{}", answer.head, answer.text());
        assert_eq!(answer.text().lines().count(), 1, "{what}: one line says why");
    }
}

#[test]
fn a_chunked_body_with_a_fault_is_refused_and_leaves_nothing() {
    let site = Site::start();
    let endless_extension = format!("4;{}\r\nbody\r\n0\r\n\r\n", "x".repeat(5000));
    let endless_trailers = format!("4\r\nbody\r\n0\r\n{}\r\n", "X: y\r\n".repeat(5000));
    let bodies = [
        ("a size that is no number", "zz\r\nbody\r\n0\r\n\r\n"),
        ("a size beyond all numbers", "ffffffffffffffffff\r\nbody"),
        ("a negative size", "-4\r\nbody\r\n0\r\n\r\n"),
        ("a chunk longer than announced", "2\r\nbody\r\n0\r\n\r\n"),
        ("bare line feeds", "4\nbody\n0\n\n"),
        ("an endless extension", endless_extension.as_str()),
        ("endless trailers", endless_trailers.as_str()),
    ];
    for (what, body) in bodies {
        let url = chunked_upload_url(&site, "/new");
        let mut client = Raw::connect(site.pool_address());

        client.send(format!(
            "PUT {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}",
            target(&url)
        ));

        let answer = client.answer();
        assert_eq!(answer.status, 400, "{what}: {}{}", answer.head, answer.text());
        assert!(client.rest().is_empty(), "{what}: the connection is closed after the refusal");
        assert_eq!(site.get("/new").status, 404, "{what}");
    }
    assert!(files::replicas(site.data()).is_empty());
}

#[test]
fn a_body_that_the_door_cannot_read_is_its_clients_fault_and_leaves_nothing() {
    let site = Plan::new().anonymous("write").start();
    let bodies = [
        ("a size that is no number", "chunked", "zz\r\nbody\r\n0\r\n\r\n", 400, "chunked coding is faulty"),
        (
            "a chunk longer than announced",
            "chunked",
            "2\r\nbody\r\n0\r\n\r\n",
            400,
            "chunked coding is faulty",
        ),
        (
            "a coding that nobody undoes",
            "gzip, chunked",
            "4\r\nbody\r\n0\r\n\r\n",
            501,
            "than chunked is not understood",
        ),
        (
            "the coding twice",
            "chunked, chunked",
            "4\r\nbody\r\n0\r\n\r\n",
            501,
            "than chunked is not understood",
        ),
    ];
    for (what, coding, body, status, text) in bodies {
        let mut client = Raw::connect(site.door_address());

        client.send(format!("PUT /new HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n{body}"));

        let answer = client.answer();
        assert_eq!(answer.status, status, "{what}: {}{}", answer.head, answer.text());
        assert!(
            answer.text().starts_with("PUT /new: ") && answer.text().contains(text),
            "{what}: {}",
            answer.text()
        );
        assert!(client.rest().is_empty(), "{what}: the connection is closed after the refusal");
        assert_eq!(site.get("/new").status, 404, "{what}");
    }
    eventually("nothing is left", || site.is_empty().then_some(()));
}

#[test]
fn a_fragment_is_no_part_of_a_name_that_is_to_be_deleted() {
    let site = Plan::new().anonymous("write").start();
    let _ = site.put("/run/file", &files::file(site.room(), "in", 10, 1)).expect(201);
    let ask = |line: &str| {
        let mut client = Raw::connect(site.door_address());
        client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.answer()
    };

    // Who has forgotten to encode the name "run#12".
    let refused = ask("DELETE /run#12");

    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("%23"), "{}", refused.text());
    assert_eq!(site.get("/run/file").status, 200);
    assert_eq!(ask("DELETE /run%2312").status, 404);
    assert_eq!(ask("DELETE /run").status, 204);
}

#[test]
fn a_client_that_never_finishes_its_head_is_given_up() {
    let cluster = Cluster::start_with(1, "[timeouts]\nhead = \"1 s\"\n");
    let start = Instant::now();
    let mut client = Raw::connect(cluster.pools[0].data);
    client.send("GET /file HTTP/1.1\r\nHost: a\r\n");
    // A byte now and then does not buy more time.
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(200));
        client.send("X");
    }

    let answer = client.answer();

    assert_eq!(answer.status, 408, "{}", answer.head);
    assert!(client.rest().is_empty());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn an_upload_that_stops_moving_is_given_up_and_leaves_nothing() {
    let cluster = Cluster::start_with(1, "[timeouts]\nidle = \"1 s\"\n");
    let url = upload_url(cluster.door_address(), "/stalled", 2 * MIB, None);
    let mut client = Raw::connect(cluster.pools[0].data);
    client.send(format!("PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", target(&url), 2 * MIB));
    client.send(files::bytes(MIB, 1));

    let answer = client.answer();

    assert_eq!(answer.status, 408, "{}{}", answer.head, answer.text());
    assert_eq!(cluster.curl("/stalled").run().status, 404);
    assert_eq!(cluster.pools[0].metrics().sum_where("penstock_space_bytes", "part=\"reserved\""), 0.0);
}

#[test]
fn a_hundred_silent_connections_do_not_keep_a_client_from_its_file() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    let silent: Vec<Raw> = (0..100)
        .map(|number| {
            let mut client = Raw::connect(site.pool_address());
            if number % 2 == 0 {
                client.send("GET /");
            }
            client
        })
        .collect();

    let answer = site.get("/file").expect(200);

    assert_eq!(answer.body.len() as u64, 2 * MIB);
    drop(silent);
}

#[test]
fn random_bytes_do_no_harm() {
    let mut site = Site::start();
    for seed in 0..200 {
        let mut client = Raw::connect(if seed % 2 == 0 { site.pool_address() } else { site.door_address() });
        client.send(files::bytes(1 + seed * 7, seed));
        client.end_sending();
        let _ = client.rest();
    }

    assert!(site.daemon.runs());
    assert_eq!(Curl::new(format!("{}/healthz", site.admin)).run().status, 200);
    assert!(!site.daemon.stderr().contains("panicked"), "{}", site.daemon.stderr());
}

fn chunked_upload_url(site: &Site, path: &str) -> String {
    let mut client = Raw::connect(site.door_address());
    client.send(format!(
        "PUT {path} HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\
         Expect: 100-continue\r\n\r\n",
        site.token
    ));
    let answer = client.answer();
    assert_eq!(answer.status, 307, "{}", answer.head);
    answer.header("Location").expect("a redirect has a Location").to_owned()
}
