//! Stories of third-party copies: what the pool is asked for, what the client reads, and when a name appears.

use std::time::Duration;

use crate::site::copying::SOURCE;
use crate::site::markers::{Markers, without_times};
use crate::site::pool::copies::{connection, finished};
use crate::site::pool::{FakePool, Faults};
use crate::site::{PATIENCE, RawClient, Site};
use hyper::StatusCode;
use penstock_door::config::value::Period;
use penstock_door::{PoolAccess, PoolConfig};
use penstock_door_proto::v1 as proto;
use proto::acknowledge_request::Disposition;
use proto::transfer_event::Event;

/// A token for a remote server; it must never be seen.
const THEIR_TOKEN: &str = "Bearer their-very-secret-token";

/// A site whose markers come often.
async fn quick_site() -> Site {
    Site::open_with(|config| config.copy.marker_period = Period(Duration::from_millis(20))).await
}

fn time(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

#[tokio::test]
async fn a_pull_has_its_name_before_its_success_is_told() {
    let site = Site::open().await;
    let mut copying = site
        .pull(
            "/data/file",
            &[
                ("transferheaderauthorization", THEIR_TOKEN),
                ("transferheaderhost", "elsewhere"),
                ("x-number-of-streams", "4"),
                ("requirechecksumverification", "false"),
                ("credential", "none"),
                ("copy-flags", "NoHead"),
                ("scitag", "66"),
                ("clientinfo", "job-id=1;file-id=2;retry=0"),
                ("want-digest", "md5"),
                ("repr-digest", "adler=:A9oBlQ==:"),
            ],
        )
        .await;
    assert_eq!(copying.header("content-type"), Some("text/perf-marker-stream"));
    assert_eq!(copying.header("transfer-encoding"), Some("chunked"));
    let (request, pull) = (site.pool.last_request(), site.pool.last_pull());
    let remote = pull.remote.unwrap();
    assert_eq!((remote.url.as_str(), remote.no_head), (SOURCE, true));
    assert!(!remote.require_checksum_verification);
    let headers: Vec<_> = remote.headers.iter().map(|h| (h.name.as_str(), h.value.as_str())).collect();
    assert_eq!(headers, [("authorization", THEIR_TOKEN)]);
    assert_eq!((pull.streams, pull.size, pull.maximum_size), (4, None, 0));
    assert_eq!(pull.wanted_checksums, [i32::from(proto::ChecksumAlgorithm::Md5)]);
    assert_eq!(pull.expected_checksums, finished(4).checksums);
    assert_eq!(request.transfer_path, "/data/file");
    assert_eq!(request.marking, Some(proto::Marking { scitag: 66 }));
    let client = request.client.unwrap();
    assert_eq!(
        (client.subject.as_str(), client.client_info.as_str()),
        ("admin", "job-id=1;file-id=2;retry=0")
    );
    assert_eq!(site.pool.progress_period_ms(), 1000);
    assert_eq!(site.head("/data/file").await.status, StatusCode::NOT_FOUND);

    site.pool.finish_pull(b"Wiki");
    copying.until("success: Created\n").await;

    let head = site.send("HEAD", "/data/file", &[("want-digest", "adler32")], b"").await;
    assert_eq!((head.header("content-length"), head.header("digest")), (Some("4"), Some("adler32=03da0195")));
    let settled = site.pool.settled(&request.transfer_id).expect("success was told before it was settled");
    assert_eq!(settled.disposition, Disposition::Keep);
    copying.end().await.result.unwrap();
    assert_eq!(without_times(&copying.text), include_str!("../golden/short_pull.txt"));
}

#[tokio::test]
async fn the_markers_of_a_running_pull_tell_what_the_pool_tells() {
    let site = quick_site().await;
    let mut copying = site.pull("/file", &[]).await;
    let mut queued = proto::Queued { ahead: 2, ..Default::default() };
    site.pool.tell(Event::Queued(queued.clone()));
    copying.until("State description: waiting in the pool's queue, 2 ahead\n").await;
    queued.ahead = 0;
    site.pool.tell(Event::Queued(queued));
    copying.until("State description: waiting in the pool's queue\n").await;
    let asking = proto::Progress { description: "asking the source".into(), ..Default::default() };
    site.pool.tell(Event::Progress(asking));
    copying.until("State description: asking the source\n").await;
    let moving = proto::Progress {
        started_at: time(1_700_000_000),
        last_moved_at: time(1_700_000_009),
        bytes_moved: 503_928_392,
        description: "writing".into(),
        connections: vec![
            connection(("2001:db8::2", 40000), ("2001:db8::1", 2345), 3),
            connection(("192.0.2.2", 40001), ("::ffff:192.0.2.1", 1234), 4),
            connection(("192.0.2.2", 40002), ("192.0.2.1", 1234), 0),
        ],
        limits: Some(proto::Limits {
            source: 0.62,
            network: 0.30,
            disk: 0.08,
            queue: 0.004,
            ..Default::default()
        }),
        ..Default::default()
    };
    site.pool.tell(Event::Progress(moving));
    copying.until("Stripe Bytes Transferred: 503928392\n").await;
    site.pool.tell(Event::Finished(proto::Finished { bytes_moved: 531_501_280, ..finished(531_501_280) }));
    let stream = copying.end().await;

    // How many markers came in between is a matter of time: of equal ones, one is kept.
    let text = without_times(&copying.text);
    let mut markers: Vec<_> = text.split_inclusive("End\n").collect();
    markers.dedup();
    markers.retain(|marker| !marker.contains("waiting in") && !marker.contains("asking the source"));
    // While the file gets its name, all bytes have moved and the copy still runs.
    markers.retain(|marker| !(marker.contains("531501280") && marker.contains("RUNNING")));
    assert_eq!(markers.concat(), include_str!("../golden/pull.txt"));
    assert_eq!(stream.last().number("Stripe Start Time"), 1_700_000_000);
    assert_eq!(stream.last().number("Stripe Last Transferred"), 1_700_000_009);
    assert_eq!(site.head("/file").await.header("content-length"), Some("531501280"));
}

#[tokio::test]
async fn what_the_source_says_is_the_last_line_and_leaves_nothing() {
    let site = Site::open().await;
    for why in ["rejected GET: 404 Not Found", "rejected GET: 401 Unauthorized"] {
        let mut copying = site.pull("/a/b/file", &[]).await;
        site.pool.fail_copy(why);
        assert_eq!(copying.end().await.result, Err(why.to_owned()));
        let golden = include_str!("../golden/rejected.txt").replace("rejected GET: 404 Not Found", why);
        assert_eq!(without_times(&copying.text), golden);
        site.all_settled().await;
        // The directories above it were not made either.
        assert_eq!(site.head("/a").await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_failure_is_one_short_line_whatever_others_wrote_into_it() {
    let site = Site::open().await;
    let mut copying = site.pull("/file", &[]).await;
    let text = format!("rejected GET: 500 bad\r\nEnd\nsuccess: Created\n{}", "é".repeat(2000));
    let started_at = time(1_700_000_000);
    site.pool.tell(Event::Failed(proto::Failed { text, bytes_moved: 77, started_at, ..Default::default() }));
    let stream = copying.end().await;
    let why = stream.result.as_ref().unwrap_err();
    assert!(why.starts_with("rejected GET: 500 bad  End success: Created éé"), "{why}");
    let last = stream.last();
    assert_eq!((last.get("Stripe Status"), last.number("Stripe Bytes Transferred")), (Some("CANCELED"), 77));
}

#[tokio::test]
async fn a_push_sends_the_file_and_changes_no_name() {
    let site = Site::open().await;
    site.put("/file", b"Wiki").await;
    let replica = site.pool.last_request().replica_id;
    let headers = [
        ("destination", "davs://dest.example.org:1094/x?authz=abc"),
        ("transferheaderauthorization", THEIR_TOKEN),
        ("x-number-of-streams", "8"),
    ];
    let mut copying = site.copy("/file", &headers).await;
    assert_eq!(copying.status, StatusCode::ACCEPTED);
    site.eventually("the pool is asked", async |site| site.pool.requests().len() == 2).await;
    let remote = site.pool.last_push().remote.unwrap();
    assert_eq!(remote.url, "https://dest.example.org:1094/x?authz=abc");
    assert_eq!(remote.headers[0].value, THEIR_TOKEN);
    assert!(remote.require_checksum_verification);
    assert_eq!(site.pool.last_request().replica_id, replica);
    let connections = vec![connection(("192.0.2.2", 40001), ("192.0.2.1", 1094), 0)];
    site.pool.tell(Event::Finished(proto::Finished { connections, ..finished(4) }));
    let stream = copying.end().await;
    stream.result.as_ref().unwrap();
    for (name, value) in [
        ("RemoteConnections", "tcp:192.0.2.1:1094"),
        ("Stripe Source", "tcp:192.0.2.2:40001"),
        ("Stripe Destination", "tcp:192.0.2.1:1094"),
    ] {
        assert_eq!(stream.last().get(name), Some(value));
    }
    assert_eq!(site.head("/file").await.header("content-length"), Some("4"));
    site.all_settled().await;
}

#[tokio::test]
async fn a_failed_push_is_told_and_settled() {
    let site = Site::open().await;
    site.put("/file", b"Wiki").await;
    let mut copying = site.copy("/file", &[("destination", "https://dest.example.org/x")]).await;
    site.eventually("the pool is asked", async |site| site.pool.requests().len() == 2).await;
    site.pool.fail_copy("rejected PUT: 507 Insufficient Storage");
    assert_eq!(copying.end().await.result, Err("rejected PUT: 507 Insufficient Storage".into()));
    site.all_settled().await;
    assert_eq!(site.head("/file").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_pull_with_it() {
    let site = quick_site().await;
    for started in [false, true] {
        let mut copying = site.pull("/file", &[]).await;
        let transfer = site.pool.last_transfer();
        if started {
            site.pool.tell(Event::Started(proto::Started::default()));
            copying.until("State: 10\n").await;
        }
        drop(copying);
        site.all_settled().await;
        assert!(site.pool.cancels().contains(&(transfer, "the client has gone".into())));
        assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
    }
    assert!(site.pool.replicas().is_empty());
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_push_with_it() {
    let site = Site::open().await;
    site.put("/file", b"Wiki").await;
    let copying = site.copy("/file", &[("destination", "https://dest.example.org/x")]).await;
    site.eventually("the pool is asked", async |site| site.pool.requests().len() == 2).await;
    drop(copying);
    site.all_settled().await;
    assert_eq!(site.pool.cancels().len(), 1);
}

#[tokio::test]
async fn a_pull_that_ends_although_its_client_has_gone_is_discarded() {
    let site = Site::open().await;
    let copying = site.pull("/file", &[]).await;
    let transfer = site.pool.last_transfer();
    // Given a pool that has all bytes when the cancellation comes
    site.pool.fail(Faults { finish_late: true, ..Faults::default() });
    drop(copying);
    site.all_settled().await;
    assert_eq!(site.pool.settled(&transfer).unwrap().disposition, Disposition::Discard);
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
    assert!(site.pool.replicas().is_empty());
}

#[tokio::test]
async fn a_pull_replaces_a_file_whose_replica_is_then_deleted() {
    let site = Site::open().await;
    site.put("/file", b"old").await;
    let old = site.pool.last_request().replica_id;
    let mut copying = site.pull("/file", &[("overwrite", "T")]).await;
    site.pool.finish_pull(b"Wiki");
    copying.end().await.result.unwrap();
    assert_eq!(site.head("/file").await.header("content-length"), Some("4"));
    site.eventually("the old replica is deleted", async |site| site.pool.deleted() == [old.as_str()]).await;
}

#[tokio::test]
async fn a_name_that_was_taken_meanwhile_is_not_overwritten_against_the_clients_wish() {
    let site = Site::open().await;
    let mut copying = site.pull("/file", &[("overwrite", "F")]).await;
    let transfer = site.pool.last_transfer();
    let pull = site.pool.last_request();
    site.put("/file", b"faster").await;
    site.pool.finish_transfer(&pull, b"Wiki");
    let why = copying.end().await.result.unwrap_err();
    assert!(why.contains("changed while the upload ran"), "{why}");
    assert_eq!(site.pool.settled(&transfer).unwrap().disposition, Disposition::Discard);
    assert_eq!(site.head("/file").await.header("content-length"), Some("6"));
}

#[tokio::test]
async fn digests_that_were_asked_for_come_as_trailers_to_those_who_take_them() {
    let site = Site::open().await;
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let table: [(Headers<'_>, Option<&str>, Option<&str>); 5] = [
        (&[("te", "trailers"), ("want-digest", "adler32")], Some("adler32=03da0195"), None),
        (
            &[("te", "gzip, trailers"), ("want-digest", "adler32"), ("want-repr-digest", "adler=1")],
            Some("adler32=03da0195"),
            Some("adler=:A9oBlQ==:"),
        ),
        (&[("te", "trailers"), ("want-digest", "md5")], None, None),
        (&[("te", "trailers")], None, None),
        (&[("want-digest", "adler32")], None, None),
    ];
    for (headers, digest, repr_digest) in table {
        let mut copying = site.pull("/file", headers).await;
        site.pool.finish_pull(b"Wiki");
        copying.end().await.result.unwrap();
        let trailer = |name: &str| {
            let value = copying.trailers.as_ref().and_then(|trailers| trailers.get(name));
            value.map(|value| value.to_str().unwrap())
        };
        assert_eq!((trailer("digest"), trailer("repr-digest")), (digest, repr_digest), "{headers:?}");
    }
    let mut failed = site.pull("/file", &[("te", "trailers"), ("want-digest", "adler32")]).await;
    site.pool.fail_copy("rejected GET: 404 Not Found");
    failed.end().await.result.unwrap_err();
    assert!(failed.trailers.is_none());
}

#[tokio::test]
async fn another_pool_is_tried_when_one_has_no_room_after_all() {
    let mut site = Site::prepare(|config| {
        let access = PoolAccess::Socket(config.macaroon_keys.with_file_name("second.sock"));
        config.pools.push(PoolConfig { name: "pool02".parse().unwrap(), access });
    })
    .await;
    let second = FakePool::start(site.directory.path().join("second.sock")).await;
    // Given a second pool that has so little room that the first is asked first
    second.change_status(|status| status.space.as_mut().unwrap().available = 1);
    site.start_door().await;
    let no_space = (tonic::Code::ResourceExhausted, "FAILURE_CODE_NO_SPACE: the disk is full");
    for refuse_start in [Some(no_space), None] {
        site.pool.fail(Faults { refuse_start, ..Faults::default() });
        let asked = second.requests().len();
        let mut copying = site.pull("/file", &[]).await;
        if refuse_start.is_none() {
            // When the first finds out only when it knows the size
            let failed = proto::Failed { code: proto::FailureCode::NoSpace.into(), ..Default::default() };
            site.pool.tell(Event::Failed(failed));
        }
        site.eventually("the second pool is asked", async |_| second.requests().len() > asked).await;
        second.finish_pull(b"Wiki");
        copying.end().await.result.unwrap();
        site.all_settled().await;
    }
    assert_eq!(second.requests().len(), 2);
    assert_eq!(second.unsettled(), 0);
}

#[tokio::test]
async fn a_pool_that_has_no_room_is_a_failure_with_its_own_words() {
    let site = Site::open().await;
    site.pool.fail(Faults {
        refuse_start: Some((tonic::Code::ResourceExhausted, "FAILURE_CODE_NO_SPACE: the disk is full")),
        ..Default::default()
    });
    let mut copying = site.copy("/file", &[("source", SOURCE)]).await;
    assert_eq!(copying.status, StatusCode::ACCEPTED);
    let why = copying.end().await.result.unwrap_err();
    assert!(why.contains("the disk is full"), "{why}");
    site.all_settled().await;
}

#[tokio::test]
async fn a_broken_stream_of_events_is_attached_again() {
    let mut site = quick_site().await;
    site.pool.fail(Faults { ignore_disconnect: true, ..Default::default() });
    let mut copying = site.pull("/file", &[]).await;
    site.pool.stop_grpc();
    site.pool.start_grpc();
    let moving = proto::Progress { started_at: time(1_700_000_000), bytes_moved: 2, ..Default::default() };
    site.pool.tell(Event::Progress(moving));
    copying.until("Stripe Bytes Transferred: 2\n").await;
    site.pool.finish_pull(b"Wiki");
    copying.end().await.result.unwrap();
}

#[tokio::test]
async fn a_door_that_stops_leaves_no_copy_running() {
    let mut site = quick_site().await;
    let mut copying = site.pull("/file", &[]).await;
    let transfer = site.pool.last_transfer();
    // Until then the door may still wait for the pool to begin.
    let moving = proto::Progress { started_at: time(1_700_000_000), bytes_moved: 2, ..Default::default() };
    site.pool.tell(Event::Progress(moving));
    copying.until("Stripe Bytes Transferred: 2\n").await;
    site.stop_door().await;
    drop(copying);
    site.start_door().await;
    site.all_settled().await;
    assert_eq!(site.pool.settled(&transfer).unwrap().disposition, Disposition::Keep);
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_pull_that_ended_while_the_door_was_away_gets_its_name_at_the_next_start() {
    let mut site = Site::open().await;
    site.pool.fail(Faults { ignore_disconnect: true, ..Default::default() });
    let copying = site.pull("/file", &[]).await;
    // Given a pool that hears nothing of the door's end
    site.pool.stop_grpc();
    site.stop_door().await;
    drop(copying);
    site.pool.finish_pull(b"Wiki");
    site.pool.start_grpc();
    site.start_door().await;
    site.all_settled().await;
    assert_eq!(site.head("/file").await.header("content-length"), Some("4"));
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_nothing_up() {
    let site = quick_site().await;
    let client = unread_copy(&site).await;
    site.eventually("the pool is asked", async |site| !site.pool.requests().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    site.pool.finish_pull(b"Wiki");
    site.all_settled().await;
    assert_eq!(site.head("/file").await.status, StatusCode::OK);
    drop(client);
}

/// A client that asks for a pull and then reads nothing, with as small a buffer as the kernel gives.
async fn unread_copy(site: &Site) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    let mut stream = socket.connect(site.address()).await.unwrap();
    let head = format!(
        "COPY /file HTTP/1.1\r\nHost: door\r\nSource: {SOURCE}\r\nAuthorization: Bearer {}\r\n\r\n",
        site.token()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_never_reads_is_given_up_and_its_copy_cancelled() {
    let site = Site::open_with(|config| {
        config.copy.marker_period = Period(Duration::from_millis(1));
        config.copy.reader_timeout = Period(Duration::from_millis(500));
    })
    .await;
    let client = unread_copy(&site).await;
    site.eventually("the pool is asked", async |site| !site.pool.requests().is_empty()).await;
    let long = proto::Progress { description: "x".repeat(900), ..Default::default() };
    site.pool.tell(Event::Progress(long));
    site.eventually("the copy is cancelled", async |site| !site.pool.cancels().is_empty()).await;
    site.all_settled().await;
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
    drop(client);
}

#[tokio::test]
async fn more_copies_than_configured_are_told_to_come_later() {
    let site = Site::open_with(|config| config.copy.transfers = 1).await;
    let first = site.pull("/one", &[]).await;
    let mut second = site.copy("/two", &[("source", SOURCE)]).await;
    assert_eq!(second.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(second.header("retry-after").is_some());
    assert!(second.refusal().await.contains("as many third-party copies as it may"));
    drop(first);
    site.all_settled().await;
    site.eventually("there is room again", async |site| {
        site.copy("/two", &[("source", SOURCE)]).await.status == StatusCode::ACCEPTED
    })
    .await;
}

#[tokio::test]
async fn copies_are_counted() {
    let site = Site::open().await;
    let line = |wanted: &str| {
        let text = site.door.as_ref().unwrap().metrics().encode().unwrap();
        assert!(text.lines().any(|line| line == wanted), "{wanted}\n{text}");
    };
    let mut copying = site.pull("/file", &[]).await;
    line("penstock_door_copies_running{direction=\"pull\"} 1");
    site.pool.finish_pull(b"Wiki");
    copying.end().await.result.unwrap();
    line("penstock_door_copies_total{direction=\"pull\",outcome=\"done\"} 1");
    let mut copying = site.pull("/file", &[]).await;
    site.pool.fail_copy("rejected GET: 404 Not Found");
    copying.end().await.result.unwrap_err();
    line("penstock_door_copies_total{direction=\"pull\",outcome=\"failed\"} 1");
    drop(site.pull("/file", &[]).await);
    site.all_settled().await;
    line("penstock_door_copies_total{direction=\"pull\",outcome=\"cancelled\"} 1");
    line("penstock_door_copies_running{direction=\"pull\"} 0");
}

#[tokio::test]
async fn the_connection_serves_other_requests_after_a_copy() {
    let site = Site::open().await;
    let mut client = RawClient::connect(site.address()).await;
    let head = format!(
        "COPY /file HTTP/1.1\r\nHost: door\r\nSource: {SOURCE}\r\nAuthorization: Bearer {}\r\n\r\n",
        site.token()
    );
    client.write(head.as_bytes()).await;
    site.eventually("the pool is asked", async |site| !site.pool.requests().is_empty()).await;
    site.pool.finish_pull(b"Wiki");
    assert_eq!(client.read_head().await.status(), 202);
    client.read_until("success: Created\n\r\n0\r\n\r\n").await;
    client.write(b"HEAD /file HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n").await;
    assert!(client.read_to_end().await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn the_last_line_comes_even_when_the_marker_period_is_long() {
    let site = Site::open_with(|config| config.copy.marker_period = Period(Duration::from_secs(3600))).await;
    let mut copying = site.pull("/file", &[]).await;
    copying.until("End\n").await;
    assert!(copying.is_silent(Duration::from_millis(100)).await);
    site.pool.finish_pull(b"Wiki");
    let stream: Markers = tokio::time::timeout(PATIENCE, copying.end()).await.unwrap();
    assert_eq!(stream.markers.len(), 2);
    assert_eq!(stream.first().number("State"), 3);
}
