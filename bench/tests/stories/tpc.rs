//! `penstock-bench tpc`, against a pool that runs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use penstock_pool::config::Config;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::program::{bench, start, text, within};
use crate::site::Site;

/// As short as can be.
const SHORT: [&str; 9] =
    ["--seconds", "0.2", "--runs", "1", "--no-warm-up", "--parallel", "1,2", "--space", "256MiB"];

fn short<'a>(socket: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["tpc", "--socket", socket], &SHORT[..], more].concat()
}

/// A pool that may connect to this machine.
fn site() -> Site {
    Site::with(allow_loopback)
}

fn allow_loopback(config: &mut Config, _: &Path) {
    config.tpc.rules.loopback = true;
}

/// Writes an authority, and a certificate of its for 127.0.0.1. Gives the files: authority, certificate, key.
fn certificate(directory: &Path) -> [PathBuf; 3] {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let issued = params.signed_by(&key, &authority).unwrap();
    let files = ["ca.pem", "cert.pem", "key.pem"].map(|name| directory.join(name));
    for (file, text) in files.iter().zip([authority.pem(), issued.pem(), key.serialize_pem()]) {
        std::fs::write(file, text).unwrap();
    }
    files
}

#[test]
fn both_ways_with_tls_and_without_are_measured_and_nothing_stays() {
    let mut files = None;
    let site = Site::with(|config, directory| {
        allow_loopback(config, directory);
        let [ca, cert, key] = certificate(directory);
        config.tpc.authorities = Some(ca);
        files = Some([cert, key]);
    });
    let [cert, key] = files.unwrap();
    let socket = site.socket();
    let more = [
        "--size",
        "1MiB,17MiB",
        "--streams",
        "1,3",
        "--server-cert",
        text(&cert),
        "--server-key",
        text(&key),
        "--json",
    ];

    let json = bench(&short(text(&socket), &more)).json();

    let sections = json["sections"].as_array().unwrap();
    let rows_of = |section: &serde_json::Value| section["rows"].as_array().unwrap().clone();
    let found: Vec<(&str, usize)> =
        sections.iter().map(|section| (section["name"].as_str().unwrap(), rows_of(section).len())).collect();
    // 1 MiB has one stream, and a push one in any case.
    assert_eq!(found, [("pull-http", 6), ("pull-https", 6), ("push-http", 4), ("push-https", 4)]);
    for row in sections.iter().flat_map(rows_of) {
        let median = |figure: &str| row["figures"][figure]["median"].as_f64().unwrap();
        assert!(median("mib_per_second") > 0.0 && median("copies_per_second") > 0.0, "{row}");
        assert_eq!(median("failed"), 0.0, "{row}");
        assert!(
            row["figures"]["pool_cpu_seconds_per_gib"].is_object(),
            "the socket tells the process: {row}"
        );
        assert!(row["latency_microseconds"]["count"].as_u64().unwrap() > 0, "{row}");
    }
    let remarks = json.to_string();
    assert!(remarks.contains("waited for "), "what limits is told");
    assert!(site.replicas().is_empty(), "{:?}", site.replicas());
}

#[test]
fn a_pool_that_may_not_connect_here_says_which_key_allows_it() {
    let site = Site::new();
    let socket = site.socket();
    let said = bench(&short(text(&socket), &["--size", "1MiB"]));
    let complaint = said.complaint();
    assert!(complaint.contains("tpc.allow_loopback"), "{complaint}");
    assert!(complaint.contains("--listen"), "{complaint}");
}

#[test]
fn a_certificate_that_the_pool_does_not_believe_is_said_to_be_one() {
    let site = site();
    let [_, cert, key] = certificate(site.directory());
    let socket = site.socket();
    let more =
        ["--size", "1MiB", "--scheme", "https", "--server-cert", text(&cert), "--server-key", text(&key)];
    let said = bench(&short(text(&socket), &more));
    let complaint = said.complaint();
    assert!(complaint.contains("by https") && complaint.contains("(tpc.ca)"), "{complaint}");
}

#[test]
fn ctrl_c_calls_the_copies_off_and_removes_what_was_copied() {
    let site = site();
    let socket = site.socket();
    let running =
        start(&["tpc", "--socket", text(&socket), "--size", "16MiB", "--space", "1GiB", "--seconds", "600"]);
    within(|| site.replicas().len() > 1);

    let said = running.interrupted();

    assert_eq!(said.status.code(), Some(130), "{}", said.err);
    assert_eq!(said.out, "", "no half result");
    within(|| site.replicas().is_empty());
}

/// A server of one file of 5 bytes, which it gives to those who show a token. Ends with the test.
fn source() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(&stream));
        }
    });
    address
}

/// Answers requests until there are no more.
fn answer(stream: &TcpStream) {
    let mut lines = BufReader::new(stream).lines();
    loop {
        let head: Vec<String> =
            lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(request) = head.first() else { return };
        let known = head.iter().any(|line| line.eq_ignore_ascii_case("authorization: bearer abc"));
        let answer = match (known, request.starts_with("HEAD")) {
            (false, _) => "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
            (true, true) => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            (true, false) => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        };
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn a_file_at_a_url_is_pulled_over_and_over_with_a_token() {
    let site = site();
    let (socket, url) = (site.socket(), format!("http://{}/file?secret=1", source()));
    let token = site.directory().join("abc");
    std::fs::write(&token, "abc\n").unwrap();
    let common = ["tpc", "--socket", text(&socket), "--source", &url, "--seconds", "0.2", "--runs", "1"];

    let refused = bench(&common);
    let complaint = refused.complaint();
    assert!(complaint.contains("rejected GET: 401"), "{complaint}");
    assert!(!complaint.contains("secret"), "{complaint}");

    let json = bench(&[&common[..], &["--source-token-file", text(&token), "--json"]].concat()).json();
    let sections = json["sections"].as_array().unwrap();
    assert_eq!(sections.len(), 1, "pulls only");
    assert_eq!(sections[0]["rows"][0]["case"]["size_bytes"], 5);
    assert!(!json.to_string().contains("secret"), "{json}");
    assert!(site.replicas().is_empty(), "{:?}", site.replicas());
}

#[test]
fn what_makes_no_sense_is_explained() {
    let site = site();
    let socket = site.socket();
    for (arguments, expected) in [
        (&["--scheme", "https"][..], "--scheme https needs --server-cert and --server-key"),
        (&["--source", "ftp://x/y"], "is no URL: write http:// or https://"),
        (&["--source", "http://me:xyzzy@x/y"], "the URL names no host, or a user"),
        (&["--source", "http://x/y", "--direction", "push"], "nothing is written there"),
        (&["--listen", "0.0.0.0:0"], "say with --host"),
        (&["--listen", "192.0.2.1:0"], "--listen: cannot bind 192.0.2.1:0"),
        (&["--space", "1000TiB"], "--space: 1000 TiB are asked for"),
    ] {
        let said = bench(&[&["tpc", "--socket", text(&socket)], arguments].concat());
        assert!(said.complaint().contains(expected) && !said.err.contains("xyzzy"), "{}", said.err);
    }
}
