//! Third-party copies over TLS.

use std::sync::{Arc, Mutex};

use rcgen::CertificateParams;

use super::far::{Far, Line, Request, Then, serve_file};
use super::{Stage, adler32, bytes};
use crate::tls::ClientTls;
use crate::tls::client::ClientFiles;
use crate::tls::tests::Authority;
use crate::transfer::{FailureCode, Side};

/// A pool that believes this authority.
fn believing(authority: &Authority) -> Stage {
    let files = ClientFiles { authorities: authority.certificate(), identity: None };
    Stage::trusting(Some(ClientTls::load(files).unwrap()), |_| {})
}

#[test]
fn a_pull_over_tls_arrives_whole_and_shows_its_connection_as_such() {
    let authority = Authority::new();
    for size in [0, 1, 100_000, 5_000_001] {
        let (stage, file) = (believing(&authority), bytes(size));
        let sent = file.clone();
        let far = Far::secure(
            &authority.issue("far", &["localhost"]),
            move |request: &Request, line: &mut Line| serve_file(&sent, request, line),
        );
        let finished = stage.succeeds(&stage.pull(&far));
        assert!(stage.stored("r1").as_deref() == Some(&file[..]), "{size}");
        assert!(finished.summary.connections.iter().all(|connection| connection.info.tls));
    }
}

#[test]
fn a_push_over_tls_arrives_whole_and_counts_what_has_arrived() {
    let authority = Authority::new();
    let (stage, file) = (believing(&authority), bytes(9_000_001));
    stage.store("r1", &file);
    let kept = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&kept);
    let far = Far::secure(&authority.issue("far", &["localhost"]), move |request, line| {
        line.say("HTTP/1.1 100 Continue\r\n\r\n");
        let body = line.take(request.content_length());
        line.answer("201 Created", &format!("Digest: adler32={}\r\n", adler32(&body).hex()), b"");
        *theirs.lock().unwrap() = body;
        Then::Keep
    });
    let finished = stage.succeeds(&stage.push(&far));
    assert!(*kept.lock().unwrap() == file);
    assert_eq!(finished.summary.bytes_moved, file.len() as u64);
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let expired = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let cases = [
        (authority.issue_with("old", &["localhost"], expired), "expired"),
        (authority.issue("other", &["other.example.org"]), "not valid for name"),
        (stranger.issue("stranger", &["localhost"]), "UnknownIssuer"),
    ];
    for (files, why) in cases {
        let stage = believing(&authority);
        let far = Far::secure(&files, |request, _| panic!("a request came: {request:?}"));
        let failure = stage.fails(&stage.pull(&far));
        assert_eq!((failure.code, failure.side), (FailureCode::Tls, Side::Source));
        assert!(
            failure.text().starts_with("connection failed for GET: TLS with https://localhost:"),
            "{failure}"
        );
        assert!(failure.text().contains(why), "{failure}");
    }
}

#[test]
fn a_server_without_tls_is_told_as_such_and_so_is_a_pool_without_authorities() {
    let authority = Authority::new();
    let stage = believing(&authority);
    let plain = Far::serving(bytes(10));
    let remote = penstock_door_proto::v1::Remote {
        url: format!("https://localhost:{}/f", plain.address().port()),
        ..Default::default()
    };
    let pull = penstock_door_proto::v1::Pull { remote: Some(remote.clone()), ..Default::default() };
    let kind = penstock_door_proto::v1::transfer_request::Kind::Pull(pull);
    let failure = stage.fails(&stage.start("r1", kind.clone()));
    assert_eq!(failure.code, FailureCode::Tls);
    assert!(failure.text().contains("TLS with https://localhost:"), "{failure}");

    let failure = Stage::new();
    let failure = failure.fails(&failure.start("r1", kind));
    assert!(failure.text().ends_with("no certificates of authorities to trust (tpc.ca)"), "{failure}");
}

#[test]
fn an_end_without_goodbye_is_no_end_of_the_file() {
    let authority = Authority::new();
    let stage = believing(&authority);
    // Until the connection closes, which over TLS has to be said: anybody could cut it.
    let far = Far::secure(&authority.issue("far", &["localhost"]), |request, line| {
        if request.method == "HEAD" {
            line.answer("403 Forbidden", "", b"");
            return Then::Keep;
        }
        line.say("HTTP/1.0 200 OK\r\n\r\n");
        line.say(bytes(100_000));
        Then::Close
    });
    let failure = stage.fails(&stage.pull(&far));
    assert_eq!(failure.code, FailureCode::ConnectionLost, "{failure}");
}
