//! Clients that ask for a copy and do not read how it goes.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use penstock_tests::files;
use penstock_tests::patience::eventually;
use penstock_tests::raw::Raw;
use penstock_tests::remote::{Scheme, WebServer, nginx};

use super::Here;
use super::markers::Markers;

/// Markers as often as the clock allows, so that they soon fill what the kernels keep for a reader.
const FLOOD: &str = "copy.marker_period = \"1 ms\"\n";

/// A copy that runs, whose client has read the head of the answer and no more.
struct Unread {
    client: Raw,
    original: PathBuf,
    _far: WebServer,
}

fn ask(here: &Here, seconds: u64) -> Unread {
    let far = nginx::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &here.authority.issue("nginx"));
    let original = far.offer("file", seconds * nginx::PACE, 1);
    let adler32 = files::adler32_hex(&std::fs::read(&original).unwrap());
    let source = far.url(Scheme::Http, &format!("/paced/{adler32}/file"));
    let (door, token) = (here.pair.door_address(), &here.pair.token);
    let mut client = Raw::connect_with_little_room(door);
    client.send(format!(
        "COPY /file HTTP/1.1\r\nHost: {door}\r\nAuthorization: Bearer {token}\r\nSource: {source}\r\n\
         Connection: close\r\n\r\n"
    ));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 202 "), "{head}");
    eventually("the copy runs", || (here.running() > 0.0).then_some(()));
    Unread { client, original, _far: far }
}

#[test]
fn a_client_that_never_reads_its_markers_has_its_copy_called_off() {
    let here = Here::with_both("", &format!("{FLOOD}copy.reader_timeout = \"1 s\"\n"));
    let unread = ask(&here, 60);

    here.has_nothing_of("/file");

    drop(unread);
}

#[test]
fn a_client_that_pauses_gets_fewer_markers_and_still_the_end() {
    let here = Here::with_both("", FLOOD);
    let mut unread = ask(&here, 4);
    std::thread::sleep(Duration::from_secs(6));

    let stream = unchunked(&unread.client.rest());

    let markers = Markers::parse(&stream);
    assert_eq!(markers.result, Ok(()));
    here.has("/file", &unread.original);
    here.is_at_rest();
}

/// RFC 9112 §7.1, without trailers.
fn unchunked(mut body: &[u8]) -> String {
    let mut data = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").expect("a chunk has a size");
        let size = std::str::from_utf8(&body[..end]).ok().and_then(|hex| usize::from_str_radix(hex, 16).ok());
        let size = size.expect("a size is a hexadecimal number");
        body = &body[end + 2..];
        if size == 0 {
            return String::from_utf8(data).expect("markers are text");
        }
        data.extend_from_slice(&body[..size]);
        body = body[size..].strip_prefix(b"\r\n").expect("a chunk's data is followed by a line end");
    }
}
