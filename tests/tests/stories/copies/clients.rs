//! The clients that users have: curl as in the guides, and davix, which is below gfal2 and FTS.

use std::net::{IpAddr, Ipv4Addr};

use penstock_tests::davix::{self, Mode};
use penstock_tests::files::{self, MIB};
use penstock_tests::macaroon;
use penstock_tests::patience::eventually;
use penstock_tests::remote::{Scheme, nginx, version};
use penstock_tests::site::Site;

use super::{Here, succeeded};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn curl_is_told_how_a_copy_goes_from_its_first_moment_to_its_last() {
    let here = Here::start();
    let far = nginx::start(HERE, &here.authority.issue("nginx"));
    let size = 2 * nginx::PACE;
    let original = far.offer("file", size, 1);
    let adler32 = files::adler32_hex(&std::fs::read(&original).unwrap());

    let copied = here.pull("/file", &far.url(Scheme::Http, &format!("/paced/{adler32}/file"))).run();

    let markers = succeeded(copied);
    assert_eq!(markers.first().number("State"), 3, "at once, before anything can move");
    let moved: Vec<u64> = markers
        .markers
        .iter()
        .filter(|marker| marker.number("State") == 10)
        .map(|marker| marker.number("Stripe Bytes Transferred"))
        .collect();
    assert!(moved.is_sorted(), "{moved:?}");
    assert!(moved.iter().any(|bytes| (1..size).contains(bytes)), "on the way: {moved:?}");
    assert_eq!(moved.last(), Some(&size));
    let limited = markers.last().get("X-Penstock-Limited-By").unwrap();
    assert!(limited.starts_with("source "), "nginx was told to be slow: {limited}");
    here.has("/file", &original);
}

#[test]
fn a_curl_that_is_killed_has_its_copy_called_off_and_nothing_is_left() {
    let here = Here::start();
    let far = nginx::start(HERE, &here.authority.issue("nginx"));
    let original = far.offer("file", 20 * nginx::PACE, 1);
    let adler32 = files::adler32_hex(&std::fs::read(&original).unwrap());
    let source = far.url(Scheme::Http, &format!("/paced/{adler32}/file"));
    let pulling = here.pull("/file", &source).start();
    eventually("the copy runs", || (here.running() > 0.0).then_some(()));
    eventually("space is taken for it", || {
        let metrics = here.pair.pool.metrics();
        (metrics.sum_where("penstock_space_bytes", "part=\"reserved\"") > 0.0).then_some(())
    });

    pulling.kill();

    here.has_nothing_of("/file");
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn transfer_bearer(token: &str) -> String {
    format!("TransferHeaderAuthorization: Bearer {token}")
}

#[test]
fn davix_has_a_file_pulled_and_pushed_between_two_sites() {
    println!("{}", version("davix-cp", "--version"));
    let (here, there) = (Here::start(), Site::start());
    let original = files::file(here.room.path(), "in", 5 * MIB + 3, 1);
    let _ = there.put("/data/file", &original).expect(201);
    let near = |path: &str| format!("http://{}{path}", here.pair.door_address());
    let theirs = macaroon::narrow(&there.token, &["path:/data"]);
    let headers = [bearer(&here.pair.token), transfer_bearer(&theirs)];

    // The near side is asked in both: it fetches, and it sends.
    let pulled = davix::copy(Mode::Pull, &there.url("/data/file"), &near("/file"), &headers);
    assert_eq!(pulled.status, 0, "{}", pulled.said);
    here.has("/file", &original);

    let pushed = davix::copy(Mode::Push, &near("/file"), &there.url("/data/back"), &headers);
    assert_eq!(pushed.status, 0, "{}", pushed.said);
    assert!(there.get("/data/back").expect(200).body == std::fs::read(&original).unwrap());
    here.is_at_rest();
}

#[test]
fn davix_shows_why_a_copy_failed() {
    let here = Here::start();
    let far = nginx::start(HERE, &here.authority.issue("nginx"));
    let original = files::file(here.room.path(), "in", MIB, 1);
    let _ = here.pair.put("/file", &original).expect(201);
    let near = |path: &str| format!("http://{}{path}", here.pair.door_address());
    let headers = [bearer(&here.pair.token)];

    let pull = davix::copy(Mode::Pull, &far.url(Scheme::Http, "/missing"), &near("/new"), &headers);
    assert_ne!(pull.status, 0, "{}", pull.said);
    assert!(pull.said.contains("rejected GET: 404 Not Found"), "{}", pull.said);

    let private = far.url(Scheme::Http, "/private/file");
    let push = davix::copy(Mode::Push, &near("/file"), &private, &headers);
    assert_ne!(push.status, 0, "{}", push.said);
    assert!(push.said.contains("rejected PUT: 401 Unauthorized"), "{}", push.said);
    assert_eq!(here.pair.get("/new").status, 404);
    here.is_at_rest();
}
