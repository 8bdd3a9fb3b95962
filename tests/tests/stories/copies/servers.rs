//! nginx and Apache as source and as destination, in the clear and over TLS.

use std::net::{IpAddr, Ipv4Addr};

use penstock_tests::files::{self, MIB};
use penstock_tests::remote::{Scheme, WebServer, apache, nginx, version};

use super::{Here, failed, succeeded};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Nothing, a byte, less than a disk block more than some buffers, and what is fetched in several ranges.
const SIZES: [u64; 4] = [0, 1, 3 * MIB + 17, 40 * MIB + 1];

fn pulls_from(here: &Here, far: &WebServer, place: impl Fn(&[u8]) -> String) {
    for scheme in [Scheme::Http, Scheme::Https] {
        for (size, streams) in SIZES.into_iter().zip(["1", "1", "4", "4"]) {
            let name = format!("{scheme:?}-{size}");
            let original = far.offer(&name, size, size + 3);
            let url = far.url(scheme, &format!("{}{name}", place(&std::fs::read(&original).unwrap())));
            let path = format!("/pulled/{name}");

            let copied = here.pull(&path, &url).header("X-Number-Of-Streams", streams).run();

            let markers = succeeded(copied);
            here.has(&path, &original);
            assert_eq!(markers.last().number("Stripe Bytes Transferred"), size, "{name}");
            let remote = format!("tcp:{}", far.address(scheme));
            assert_eq!(markers.last().get("RemoteConnections"), Some(remote.as_str()), "{name}");
            assert_eq!(markers.last().get("Stripe Source"), Some(remote.as_str()), "{name}");
        }
    }
    here.is_at_rest();
}

fn pushes_to(here: &Here, far: &WebServer, verified: &str) {
    for scheme in [Scheme::Http, Scheme::Https] {
        for size in SIZES {
            let name = format!("pushed-{scheme:?}-{size}");
            let original = files::file(here.room.path(), &name, size, size + 5);
            let path = format!("/{name}");
            let _ = here.pair.put(&path, &original).expect(201);

            let copied = here
                .push(&path, &far.url(scheme, &path))
                .header("RequireChecksumVerification", verified)
                .run();

            let markers = succeeded(copied);
            assert!(files::same(&far.file(&name), &original), "{name}");
            assert_eq!(markers.last().number("Stripe Bytes Transferred"), size, "{name}");
            if size > 0 {
                let remote = format!("tcp:{}", far.address(scheme));
                assert_eq!(markers.last().get("Stripe Destination"), Some(remote.as_str()), "{name}");
            }
        }
    }
    here.is_at_rest();
}

#[test]
fn files_come_from_nginx_and_are_held_against_the_checksum_that_it_tells() {
    let here = Here::start();
    let far = nginx::start(HERE, &here.authority.issue("nginx"));
    println!("{}", version("nginx", "-v"));

    pulls_from(&here, &far, |bytes| format!("/digested/{}/", files::adler32_hex(bytes)));
}

#[test]
fn files_go_to_nginx_which_tells_their_size_only() {
    let here = Here::start();
    let far = nginx::start(HERE, &here.authority.issue("nginx"));

    pushes_to(&here, &far, "false");

    assert!(far.has_no_parts());
}

#[test]
fn files_come_from_apache_and_are_held_against_its_md5() {
    let here = Here::start();
    let far = apache::start(HERE, &here.authority.issue("apache"));
    println!("{}", version("apache2", "-v"));

    pulls_from(&here, &far, |_| "/".to_owned());
}

#[test]
fn files_go_to_apache_and_are_held_against_its_md5() {
    let here = Here::start();
    let far = apache::start(HERE, &here.authority.issue("apache"));

    pushes_to(&here, &far, "true");
}

#[test]
fn a_server_that_tells_no_checksum_is_believed_only_when_the_client_says_so() {
    let here = Here::start();
    let far = nginx::start(HERE, &here.authority.issue("nginx"));
    let source = far.offer("file", 3 * MIB, 1);
    let url = far.url(Scheme::Http, "/file");

    let text = failed(here.pull("/pulled", &url).run());

    assert!(text.contains("the source tells no checksum that is known here"), "{text}");
    assert!(text.contains("RequireChecksumVerification: false"), "{text}");
    here.has_nothing_of("/pulled");

    let _ = succeeded(here.pull("/pulled", &url).header("RequireChecksumVerification", "false").run());
    here.has("/pulled", &source);
    let text = failed(here.push("/pulled", &far.url(Scheme::Http, "/pushed")).run());
    assert!(text.contains("the destination tells no checksum that is known here"), "{text}");
    assert!(text.ends_with("what was there of it is removed"), "{text}");
    assert!(!far.file("pushed").exists(), "what could not be verified is removed");
    here.is_at_rest();
}

#[test]
fn a_file_with_another_checksum_than_its_server_tells_is_not_kept() {
    let here = Here::start();
    let far = nginx::start(HERE, &here.authority.issue("nginx"));
    let _ = far.offer("file", 3 * MIB, 1);

    let text = failed(here.pull("/pulled", &far.url(Scheme::Https, "/digested/00000007/file")).run());

    assert!(text.starts_with("verification failed: Checksum mismatch (expected=[1:00000007], "), "{text}");
    here.has_nothing_of("/pulled");
}

#[test]
fn a_server_is_shown_the_token_that_the_client_has_for_it_and_nobody_else_sees_it() {
    let here = Here::start();
    let far = nginx::start(HERE, &here.authority.issue("nginx"));
    let original = files::file(here.room.path(), "in", 2 * MIB, 1);
    let _ = here.pair.put("/file", &original).expect(201);
    let (url, token) = (far.url(Scheme::Https, "/private/file"), format!("Bearer {}", nginx::TOKEN));
    let push = || here.push("/file", &url).header("RequireChecksumVerification", "false");

    assert_eq!(failed(push().run()), "rejected PUT: 401 Unauthorized");
    let _ = succeeded(push().header("TransferHeaderAuthorization", &token).run());

    assert!(files::same(&far.file("private/file"), &original));
    assert_eq!(failed(here.pull("/back", &url).run()), "rejected GET: 401 Unauthorized");
    let pull = here.pull("/back", &url).header("RequireChecksumVerification", "false");
    let _ = succeeded(pull.header("TransferHeaderAuthorization", &token).run());
    here.has("/back", &original);
    for log in [here.pair.door.stderr(), here.pair.pool.daemon.stderr()] {
        assert!(!log.contains(nginx::TOKEN), "{log}");
    }
}
