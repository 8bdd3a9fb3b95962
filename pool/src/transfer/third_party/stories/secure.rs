//! Third-party copies over TLS.

use std::sync::{Arc, Mutex};

use rcgen::CertificateParams;

use penstock_door_proto::v1;
use v1::transfer_request::Kind;

use super::far::{Far, Line, Request, Then, serve_file};
use super::{Stage, adler32, bytes, remote};
use crate::tls::ClientTls;
use crate::tls::certificate::read_chain;
use crate::tls::client::ClientFiles;
use crate::tls::server::ServerFiles;
use crate::tls::tests::Authority;
use crate::transfer::{FailureCode, Side, State};

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

/// A pool that believes this authority, shows a certificate of its own, and keeps connections.
fn with_a_certificate_of_its_own(authority: &Authority) -> (Stage, ServerFiles) {
    let own = authority.issue("pool", &[]);
    let files = ClientFiles { authorities: authority.certificate(), identity: Some(own.clone()) };
    let keep_alive = std::time::Duration::from_secs(2);
    (Stage::trusting(Some(ClientTls::load(files).unwrap()), |settings| settings.keep_alive = keep_alive), own)
}

/// What a door hands on of a user.
fn credential(files: &ServerFiles) -> v1::Credential {
    let pem = [std::fs::read(&files.cert).unwrap(), std::fs::read(&files.key).unwrap()].concat();
    v1::Credential { kind: Some(v1::credential::Kind::X509ProxyPem(pem)) }
}

fn pull_as(far: &Far, user: Option<&ServerFiles>) -> Kind {
    let remote = v1::Remote { credential: user.map(credential), ..remote(far) };
    Kind::Pull(v1::Pull { remote: Some(remote), ..Default::default() })
}

#[test]
fn a_copy_shows_its_users_certificate_and_never_goes_out_on_the_connection_of_another() {
    let authority = Authority::new();
    let (stage, own) = with_a_certificate_of_its_own(&authority);
    let [alice, bob] = ["alice", "bob"].map(|name| authority.issue(name, &[]));
    let file = bytes(100_000);
    let server = authority.issue("far", &["localhost"]);
    let far = Far::demanding(&server, &authority.certificate(), move |request, line| {
        serve_file(&file, request, line)
    });
    for (number, user) in [None, Some(&alice), Some(&alice), Some(&bob), None].into_iter().enumerate() {
        let pull = stage.start(&format!("r{number}"), pull_as(&far, user));
        let State::Done(_) = stage.end(&pull) else { panic!("{:?}", pull.state()) };
    }
    let expected = [&own, &alice, &bob].map(|files| Some(read_chain(&files.cert).unwrap()[0].to_vec()));
    assert_eq!(far.shown(), expected, "one connection each, with its own certificate");
    stage.nothing_is_left_in_use();
}

#[test]
fn a_push_shows_its_users_certificate_where_it_is_redirected_to_as_well() {
    let authority = Authority::new();
    let stage = believing(&authority);
    let alice = authority.issue("alice", &[]);
    let file = bytes(50_000);
    stage.store("r1", &file);
    let server = authority.issue("far", &["localhost"]);
    let place = Far::demanding(&server, &authority.certificate(), |request, line| {
        line.say("HTTP/1.1 100 Continue\r\n\r\n");
        let body = line.take(request.content_length());
        line.answer("201 Created", &format!("Digest: adler32={}\r\n", adler32(&body).hex()), b"");
        Then::Keep
    });
    let location = place.url();
    let door = Far::demanding(&server, &authority.certificate(), move |_, line| {
        line.answer("307 Temporary Redirect", &format!("Location: {location}\r\n"), b"");
        Then::Keep
    });
    let remote = v1::Remote { credential: Some(credential(&alice)), ..remote(&door) };
    stage.succeeds(&stage.start("r1", Kind::Push(v1::Push { remote: Some(remote) })));
    let shown = Some(read_chain(&alice.cert).unwrap()[0].to_vec());
    assert!(!place.shown().is_empty() && place.shown().iter().all(|certificate| *certificate == shown));
}

#[test]
fn a_certificate_that_ended_in_the_queue_is_told_as_such_and_shown_to_nobody() {
    let authority = Authority::new();
    let stage = believing(&authority);
    let ended =
        authority.issue_with("ended", &[], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let server = authority.issue("far", &["localhost"]);
    let far = Far::demanding(&server, &authority.certificate(), |_, _| panic!("a request came"));
    let failure = stage.fails(&stage.start("r1", pull_as(&far, Some(&ended))));
    assert_eq!((failure.code, failure.side, failure.retryable), (FailureCode::Tls, Side::Source, false));
    assert_eq!(
        failure.text(),
        "no GET: the delegated certificate ended at 2020-01-01T00:00:00Z; delegate a new one"
    );
    assert_eq!(far.connections(), 0);
}

#[test]
fn a_token_that_ended_in_the_queue_is_told_as_such_and_sent_to_nobody() {
    let far = Far::new(|_, _| panic!("a request came"));
    let pull = |expires_at: std::time::SystemTime| {
        let token = v1::OidcToken { access_token: "SECRET".into(), expires_at: Some(expires_at.into()) };
        let credential = v1::Credential { kind: Some(v1::credential::Kind::Oidc(token)) };
        let remote = v1::Remote { credential: Some(credential), ..remote(&far) };
        Kind::Pull(v1::Pull { remote: Some(remote), ..Default::default() })
    };
    let stage = Stage::new();
    let ended = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let failure = stage.fails(&stage.start("r1", pull(ended)));
    assert_eq!(
        (failure.code, failure.side, failure.retryable),
        (FailureCode::RemoteRefused, Side::Source, true)
    );
    assert_eq!(
        failure.text(),
        "no GET: the token for this copy ended at 2023-11-14T22:13:20Z, before its turn came; ask again"
    );
    assert_eq!(far.connections(), 0);
}
