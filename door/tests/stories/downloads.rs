//! Stories of downloads.

use crate::site::pool::Faults;
use crate::site::{Site, send_to};
use hyper::StatusCode;
use penstock_door_proto::v1 as proto;
use proto::transfer_request::Kind;

#[tokio::test]
async fn a_download_is_redirected_to_the_pool_and_settled_when_it_has_ended() {
    let site = Site::open().await;
    site.put("/data/file", b"hello").await;
    let reply = site.get("/data/file").await;
    assert_eq!(reply.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let request = site.pool.last_request();
    let Some(Kind::Get(get)) = &request.kind else { panic!("{request:?}") };
    assert_eq!(get.etag, request.replica_id);
    assert!(get.last_modified.is_some());

    let file = send_to(reply.header("location").unwrap(), "GET", &[], b"").await;

    assert_eq!(file.text(), "hello");
    assert_eq!(file.header("etag"), site.head("/data/file").await.header("etag"));
    site.eventually("the download is settled", async |site| site.pool.unsettled() == 0).await;
}

#[tokio::test]
async fn without_redirects_the_bytes_come_through_the_door() {
    let site = Site::open_with(|config| config.redirect.read = false).await;
    let content = vec![b'x'; 3 << 20];
    site.put("/file", &content).await;
    let reply = site.send("GET", "/file", &[("range", "bytes=0-9"), ("cookie", "x")], b"").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-length"), Some("3145728"));
    assert_eq!(reply.header("set-cookie"), None);
    assert!(reply.body == content);
    let at_pool = site.pool.last_data_head();
    assert_eq!(at_pool["range"], "bytes=0-9");
    assert!(!at_pool.contains_key("cookie"));
}

#[tokio::test]
async fn head_is_answered_without_the_pool() {
    let mut site = Site::open().await;
    site.put("/file", b"Wiki").await;
    site.pool.stop_grpc();
    let wants = [("want-digest", "adler32,md5"), ("want-repr-digest", "adler=1")];
    let reply = site.send("HEAD", "/file", &wants, b"").await;
    assert_eq!(reply.status, StatusCode::OK);
    for (name, value) in [
        ("content-length", "4"),
        ("accept-ranges", "bytes"),
        ("content-type", "application/octet-stream"),
        ("digest", "adler32=03da0195"),
        ("repr-digest", "adler=:A9oBlQ==:"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    assert!(reply.header("last-modified").is_some());
    assert_eq!(site.head("/file").await.header("digest"), None);
    let etag = reply.header("etag").unwrap();
    let same = site.send("GET", "/file", &[("if-none-match", etag)], b"").await;
    assert_eq!((same.status, same.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let other = site.send("HEAD", "/file", &[("if-match", "\"x\"")], b"").await;
    assert_eq!(other.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn a_file_whose_pool_is_away_is_unavailable_and_comes_back_with_it() {
    let mut site = Site::open().await;
    site.put("/file", b"hello").await;
    site.pool.stop_grpc();
    site.eventually("the pool is known to be away", async |site| {
        let reply = site.get("/file").await;
        reply.status == StatusCode::SERVICE_UNAVAILABLE && reply.text().contains("pool pool01")
    })
    .await;
    assert!(site.get("/file").await.header("retry-after").is_some());
    site.pool.start_grpc();
    site.eventually("the pool is back", async |site| {
        site.get("/file").await.status == StatusCode::TEMPORARY_REDIRECT
    })
    .await;
}

#[tokio::test]
async fn a_read_only_pool_still_serves_its_files() {
    let site = Site::open().await;
    site.put("/file", b"hello").await;
    site.pool.change_status(|status| status.health = proto::pool_status::Health::ReadOnly.into());
    site.eventually("it is known to be read-only", async |site| {
        site.put("/other", b"x").await.text().contains("pool01 is read-only")
    })
    .await;
    assert_eq!(site.get("/file").await.status, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let site = Site::open().await;
    site.put("/file", b"x").await;
    for path in ["/none", "/none/below", "/file/below"] {
        let reply = site.get(path).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(reply.text(), format!("GET {path}: No such file or directory\n"));
    }
    for path in ["/a/../file", "/a%2Fb", "/a%00", "/%zz", "/%ff"] {
        assert_eq!(site.get(path).await.status, StatusCode::BAD_REQUEST, "{path}");
    }
    let long = format!("/{}", "x".repeat(300));
    assert_eq!(site.get(&long).await.status, StatusCode::URI_TOO_LONG);
}

#[tokio::test]
async fn a_transfer_that_the_pool_refuses_is_told_and_forgotten() {
    let site = Site::open().await;
    site.put("/file", b"hello").await;
    site.pool
        .fail(Faults { refuse_start: Some((tonic::Code::Unavailable, "draining")), ..Faults::default() });
    let reply = site.get("/file").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.text().contains("pool pool01 refused the transfer: draining"), "{}", reply.text());
    site.eventually("the door forgets it", async |site| site.door.as_ref().unwrap().transfers() == 0).await;
}
