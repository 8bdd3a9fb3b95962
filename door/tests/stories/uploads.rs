//! Stories of uploads: redirects, bodies through the door, and when a name appears.

use crate::site::pool::Faults;
use crate::site::{RawClient, Site, send, send_to};
use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::StatusCode;
use hyper::body::Frame;
use penstock_door_proto::v1 as proto;
use proto::acknowledge_request::Disposition;
use proto::transfer_request::Kind;

fn put_of(request: &proto::TransferRequest) -> &proto::Put {
    match &request.kind {
        Some(Kind::Put(put)) => put,
        other => panic!("not a PUT: {other:?}"),
    }
}

#[tokio::test]
async fn a_client_that_waits_is_redirected_and_the_name_appears_with_the_file() {
    let site = Site::open().await;
    let reply = site.put_expecting("/data/file", "Want-Digest: md5\r\n", 5).await;
    assert_eq!(reply.status(), 307, "{}", reply.head);
    assert!(reply.head.contains("connection: close"), "{}", reply.head);
    let request = site.pool.last_request();
    assert_eq!(put_of(&request).size, Some(5));
    assert_eq!(put_of(&request).success_status, 201);
    assert_eq!(put_of(&request).wanted_checksums, [i32::from(proto::ChecksumAlgorithm::Md5)]);
    assert_eq!(request.transfer_path, "/data/file");
    assert_eq!(request.client.unwrap().subject, "anonymous");
    assert_eq!(site.head("/data/file").await.status, StatusCode::NOT_FOUND);

    let stored = send_to(reply.location(), "PUT", &[], b"hello").await;

    assert_eq!(stored.status, StatusCode::CREATED);
    let head = site.head("/data/file").await;
    assert_eq!(head.header("content-length"), Some("5"));
    assert_eq!(head.header("etag"), stored.header("etag"));
}

#[tokio::test]
async fn a_client_that_does_not_wait_sends_its_body_through_the_door() {
    let site = Site::open().await;
    let reply = site.send("PUT", "/file", &[("digest", "adler32=03da0195")], b"Wiki").await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    assert!(reply.header("etag").is_some());
    let at_pool = site.pool.last_data_head();
    assert_eq!(at_pool["content-length"], "4");
    assert_eq!(at_pool["digest"], "adler32=03da0195");
    assert_eq!(site.head("/file").await.header("content-length"), Some("4"));
    assert_eq!(site.pool.unsettled(), 0);
}

#[tokio::test]
async fn a_chunked_body_of_unknown_length_goes_through_the_door() {
    let site = Site::open().await;
    let chunks = (0..100).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![b'x'; 10_000]))));
    let body = StreamBody::new(tokio_stream::iter(chunks));
    let reply = send(site.address(), "PUT", "/file", &[], body).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(site.pool.last_data_head()["transfer-encoding"], "chunked");
    assert_eq!(put_of(&site.pool.last_request()).size, None);
    assert_eq!(site.head("/file").await.header("content-length"), Some("1000000"));
}

#[tokio::test]
async fn a_client_that_is_tired_of_waiting_and_sends_its_body_is_served_too() {
    let site = Site::open().await;
    let mut client = RawClient::connect(site.address()).await;
    // Given a pool that is not ready at once
    site.pool.fail(Faults { never_ready: true, ..Faults::default() });
    client
        .write(b"PUT /file HTTP/1.1\r\nHost: door\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
        .await;
    site.eventually("the pool is asked", async |site| site.pool.unsettled() == 1).await;
    // When the client sends its body before the door has answered
    client.write(b"hello").await;
    site.pool.make_ready();
    // Then the door takes it
    let answer = client.read_to_end().await;
    assert!(answer.contains("HTTP/1.1 201 Created"), "{answer}");
    assert_eq!(site.head("/file").await.header("content-length"), Some("5"));
}

#[tokio::test]
async fn redirects_can_be_switched_off_asked_for_and_declined() {
    let through = Site::open_with(|config| config.redirect.write = false).await;
    assert_eq!(through.put_expecting("/file", "", 5).await.status(), 100);
    let site = Site::open().await;
    assert_eq!(site.put_expecting("/file?redirect=false", "", 5).await.status(), 100);
    let asked = site.send("PUT", "/file?redirect=true", &[], b"hello").await;
    assert_eq!(asked.status, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn a_failed_upload_leaves_no_name_and_tells_why() {
    let site = Site::open().await;
    let reply = site.send("PUT", "/file", &[("digest", "adler32=00000000")], b"Wiki").await;
    assert_eq!((reply.status, reply.text()), (StatusCode::BAD_REQUEST, "Checksum mismatch\n"));
    site.eventually("the failure is settled", async |site| site.pool.unsettled() == 0).await;
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_leaves_no_name() {
    let site = Site::open().await;
    let mut client = RawClient::connect(site.address()).await;
    client.write(b"PUT /file HTTP/1.1\r\nHost: door\r\nContent-Length: 1000000\r\n\r\nsome").await;
    site.eventually("the pool is asked", async |site| site.pool.unsettled() == 1).await;
    drop(client);
    site.eventually("the failure is settled", async |site| site.pool.unsettled() == 0).await;
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
    assert!(site.pool.replicas().is_empty());
}

#[tokio::test]
async fn a_redirected_client_that_never_comes_leaves_no_name() {
    let site = Site::open().await;
    assert_eq!(site.put_expecting("/file", "", 5).await.status(), 307);
    site.pool.give_up(&site.pool.last_request().transfer_id);
    site.eventually("the failure is settled", async |site| site.pool.unsettled() == 0).await;
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_new_file_replaces_the_old_one_whose_replica_is_then_deleted() {
    let site = Site::open().await;
    site.put("/file", b"old").await;
    let old = site.pool.last_request().replica_id;
    let reply = site.put("/file", b"newer").await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(site.head("/file").await.header("content-length"), Some("5"));
    site.eventually("the old replica is deleted", async |site| site.pool.deleted() == [old.as_str()]).await;
    assert_eq!(site.pool.replicas().len(), 1);
}

#[tokio::test]
async fn an_upload_whose_place_was_taken_meanwhile_is_discarded_and_the_client_told() {
    let site = Site::open().await;
    let reply = site.put_expecting("/file", "If-None-Match: *\r\n", 5).await;
    let slow = site.pool.last_request();
    assert_eq!(site.put("/file", b"fast").await.status, StatusCode::CREATED);

    let stored = send_to(reply.location(), "PUT", &[], b"slow!").await;

    assert_eq!(stored.status, StatusCode::PRECONDITION_FAILED, "{}", stored.text());
    assert_eq!(site.pool.settled(&slow.transfer_id).unwrap().disposition, Disposition::Discard);
    assert_eq!(site.head("/file").await.header("content-length"), Some("4"));
}

#[tokio::test]
async fn preconditions_are_checked_before_a_pool_is_asked() {
    let site = Site::open().await;
    site.put("/file", b"x").await;
    let asked = site.pool.requests().len();
    for headers in [("if-none-match", "*"), ("if-match", "\"other\"")] {
        let reply = site.send("PUT", "/file", &[headers], b"y").await;
        assert_eq!(reply.status, StatusCode::PRECONDITION_FAILED, "{headers:?}");
    }
    let etag = site.head("/file").await.header("etag").unwrap().to_owned();
    assert_eq!(site.pool.requests().len(), asked);
    assert_eq!(site.send("PUT", "/file", &[("if-match", &etag)], b"z").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_no_pool_would_take_is_refused_with_its_reason() {
    let site = Site::open_with(|config| config.create_parents = false).await;
    site.put("/file", b"x").await;
    site.send("MKCOL", "/dir", &[], b"").await;
    let asked = site.pool.requests().len();
    type Header = (&'static str, &'static str);
    let table: [(&str, &[Header], u16); 7] = [
        ("/dir", &[], 409),
        ("/new/", &[], 409),
        ("/", &[], 409),
        ("/file/below", &[], 409),
        ("/no/parent", &[], 409),
        ("/new", &[("content-range", "bytes 0-1/5")], 400),
        ("/new", &[("content-encoding", "gzip")], 415),
    ];
    for (path, headers, status) in table {
        let reply = site.send("PUT", path, headers, b"x").await;
        assert_eq!(reply.status.as_u16(), status, "{path} {headers:?}");
        let text = reply.text();
        assert!(text.starts_with(&format!("PUT {path}: ")) && text.lines().count() == 1, "{text}");
    }
    let mut client = RawClient::connect(site.address()).await;
    client.write(b"PUT /new HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n").await;
    assert!(client.read_to_end().await.starts_with("HTTP/1.1 411 "));
    assert_eq!(site.pool.requests().len(), asked);
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_sends_a_large_body_all_the_same() {
    let site = Site::open().await;
    site.send("MKCOL", "/dir", &[], b"").await;
    let reply = site.put("/dir", &vec![b'x'; 4 << 20]).await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_site_without_room_or_pools_says_so() {
    let mut site = Site::open().await;
    site.pool.change_status(|status| status.space.as_mut().unwrap().available = 3);
    site.eventually("the pool is known to be full", async |site| {
        let reply = site.put("/file", b"hello").await;
        reply.status.as_u16() == 507 && reply.text().contains("no pool has room for 5 bytes")
    })
    .await;
    site.pool.change_status(|status| status.health = proto::pool_status::Health::Draining.into());
    site.eventually("the pool is known to drain", async |site| {
        let reply = site.put("/file", b"h").await;
        reply.status.as_u16() == 503 && reply.text().contains("pool01 is draining")
    })
    .await;
    site.pool.stop_grpc();
    site.eventually("the pool is known to be away", async |site| {
        let reply = site.put("/file", b"h").await;
        reply.status.as_u16() == 503 && reply.text().contains("pool01 cannot be reached")
    })
    .await;
}

#[tokio::test]
async fn what_a_pool_refuses_is_told_with_its_status() {
    let site = Site::open().await;
    let table = [
        (tonic::Code::ResourceExhausted, "FAILURE_CODE_NO_SPACE: the disk is full", 507),
        (tonic::Code::ResourceExhausted, "FAILURE_CODE_TOO_LARGE: at most 3 bytes", 413),
        (tonic::Code::ResourceExhausted, "the queue is full", 503),
        (tonic::Code::InvalidArgument, "queue: unknown", 400),
    ];
    for (code, text, status) in table {
        site.pool.fail(Faults { refuse_start: Some((code, text)), ..Faults::default() });
        let reply = site.put("/file", b"hello").await;
        assert_eq!(reply.status.as_u16(), status);
        assert!(reply.text().contains(text), "{}", reply.text());
    }
    site.pool.fail(Faults::default());
    assert_eq!(site.put("/file", b"hello").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_pool_that_is_never_ready_is_given_up_and_nothing_is_left() {
    let half_a_second = penstock_door::config::value::Period(std::time::Duration::from_millis(500));
    let site = Site::open_with(|config| config.timeouts.pool_start = half_a_second).await;
    site.pool.fail(Faults { never_ready: true, ..Faults::default() });
    let reply = site.put("/file", b"hello").await;
    assert_eq!(reply.status, StatusCode::GATEWAY_TIMEOUT);
    site.eventually("it is withdrawn", async |site| site.pool.unsettled() == 0).await;
    site.eventually("the door forgets it", async |site| site.door.as_ref().unwrap().transfers() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_pool_is_ready_takes_its_transfer_with_it() {
    let site = Site::open().await;
    site.pool.fail(Faults { never_ready: true, ..Faults::default() });
    let mut client = RawClient::connect(site.address()).await;
    client.write(b"PUT /file HTTP/1.1\r\nHost: door\r\nContent-Length: 0\r\n\r\n").await;
    site.eventually("the pool is asked", async |site| site.pool.unsettled() == 1).await;
    drop(client);
    site.eventually("it is withdrawn", async |site| site.pool.unsettled() == 0).await;
}

#[tokio::test]
async fn a_data_port_that_does_not_answer_is_a_bad_gateway() {
    let site = Site::open().await;
    site.pool.fail(Faults { no_data_port: true, ..Faults::default() });
    let reply = site.put("/file", b"hello").await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{}", reply.text());
    assert!(!reply.text().contains("/transfer/"), "a capability is shown: {}", reply.text());
    site.eventually("it is settled", async |site| site.pool.unsettled() == 0).await;
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let site = Site::open().await;
    assert_eq!(site.put("/empty", b"").await.status, StatusCode::CREATED);
    assert_eq!(site.head("/empty").await.header("content-length"), Some("0"));
    let listing = site.send("PROPFIND", "/empty", &[], b"").await;
    assert!(listing.text().contains("<d:getcontentlength>0<"), "{}", listing.text());
}

#[tokio::test]
async fn a_pool_that_refuses_in_the_middle_of_a_large_body_is_heard() {
    let site = Site::open().await;
    site.pool.fail(Faults { refuse_body: true, ..Faults::default() });
    let reply = site.put("/file", &vec![b'x'; 6 << 20]).await;
    assert_eq!((reply.status.as_u16(), reply.text()), (507, "no space left\n"));
    site.eventually("it is settled", async |site| site.pool.unsettled() == 0).await;
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn two_lengths_are_refused_and_one_length_twice_reaches_the_pool_once() {
    let site = Site::open().await;
    let put = async |framing: &str, body: &str| {
        let mut client = RawClient::connect(site.address()).await;
        let head = format!("PUT /file HTTP/1.1\r\nHost: door\r\nConnection: close\r\n{framing}\r\n{body}");
        client.write(head.as_bytes()).await;
        client.read_to_end().await
    };
    for framing in ["Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 5\r\n"] {
        assert!(put(framing, "hello").await.starts_with("HTTP/1.1 400 "), "{framing}");
    }
    assert!(site.pool.requests().is_empty());
    // RFC 9110 §8.6 allows to take equal ones for one; then nobody behind the door may see two.
    let answer = put("Content-Length: 5\r\nContent-Length: 5\r\n", "hello").await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(site.pool.last_data_head().get_all("content-length").iter().count(), 1);
    assert_eq!(site.head("/file").await.header("content-length"), Some("5"));
}
