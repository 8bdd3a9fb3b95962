//! Stories of checksums that are wanted and not stored, and of the tape REST API.

use std::time::Duration;

use crate::site::pool::Faults;
use crate::site::{Reply, Site};
use hyper::StatusCode;
use penstock_door::config::value::Period;
use serde_json::{Value, json};

const MD5: &str = "md5=BwcHBwcHBwcHBwcHBwcHBw==";

async fn wanting(site: &Site, method: &str, digest: &str) -> Reply {
    site.send(method, "/file", &[("want-digest", digest)], b"").await
}

#[tokio::test]
async fn a_checksum_that_is_not_stored_is_computed_by_the_pool_and_remembered() {
    let site = Site::open().await;
    site.put("/file", b"Wiki").await;

    assert_eq!(wanting(&site, "HEAD", "md5").await.header("digest"), Some(MD5));
    assert_eq!(wanting(&site, "HEAD", "md5").await.header("digest"), Some(MD5));
    let body = "<propfind xmlns='DAV:'><prop><Checksums xmlns='http://www.dcache.org/2013/webdav'/></prop></propfind>";
    let property = site.send("PROPFIND", "/file", &[("depth", "0")], body.as_bytes()).await;

    assert_eq!(site.pool.verifications().len(), 1, "it is computed once");
    assert!(property.text().contains(&format!("adler32=03da0195,{MD5}")), "{}", property.text());
}

#[tokio::test]
async fn what_is_stored_is_told_at_once_although_something_else_is_wanted_more() {
    let site = Site::open().await;
    site.put("/file", b"Wiki").await;
    let reply = wanting(&site, "HEAD", "md5, adler32;q=0.5").await;
    assert_eq!(reply.header("digest"), Some("adler32=03da0195"));
    assert!(site.pool.verifications().is_empty());
    assert_eq!(site.head("/file").await.header("digest"), None);
    assert_eq!(wanting(&site, "HEAD", "unknown").await.header("digest"), None);
    assert!(site.pool.verifications().is_empty());
}

#[tokio::test]
async fn a_download_has_the_pool_compute_what_it_is_to_tell() {
    let site = Site::open().await;
    site.put("/file", b"Wiki").await;
    let reply = wanting(&site, "GET", "sha-256").await;
    assert_eq!(reply.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(site.pool.verifications().len(), 1);
}

#[tokio::test]
async fn who_cannot_wait_is_told_to_come_again_and_a_download_does_without() {
    let site = Site::open_with(|config| config.timeouts.digest = Period(Duration::from_millis(100))).await;
    site.put("/file", b"Wiki").await;
    site.pool.fail(Faults { never_computed: true, ..Faults::default() });
    let reply = wanting(&site, "HEAD", "md5").await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert_eq!((reply.header("digest"), reply.header("retry-after")), (None, Some("5")));
    assert_eq!(reply.header("content-length"), Some("4"));
    assert_eq!(wanting(&site, "GET", "md5").await.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(site.pool.verifications().len(), 1, "it goes on, and nothing is begun twice");
}

async fn tape(site: &Site, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let path = format!("/.well-known/wlcg-tape-rest-api{path}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = site.send(method, &path, &[], body.as_bytes()).await;
    (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_site_without_tapes_says_so_in_the_way_that_gfal_and_fts_ask() {
    let site = Site::open().await;
    site.put("/dir/file", b"Wiki").await;
    let none = &Value::Null;
    let (status, found) = tape(&site, "GET", "", none).await;
    let uri = found["endpoints"][0]["uri"].as_str().unwrap();
    assert_eq!((status, found["endpoints"][0]["version"].as_str()), (200, Some("v1")));
    assert_eq!(uri, format!("http://{}/.well-known/wlcg-tape-rest-api/v1", site.address()));

    let paths = json!({ "paths": ["/dir/file", "/dir", "/none", "relative"] });
    let (status, info) = tape(&site, "POST", "/v1/archiveinfo", &paths).await;
    assert_eq!(status, 200);
    assert_eq!(info[0], json!({ "path": "/dir/file", "locality": "DISK" }));
    assert_eq!(info[2], json!({ "path": "/none", "error": "No such file or directory" }));
    assert!(info[1]["error"].is_string() && info[3]["error"].is_string(), "{info}");

    let wanted = json!({ "files": [{ "path": "/dir/file", "diskLifetime": "P1D" }, { "path": "/none" }] });
    let (status, staged) = tape(&site, "POST", "/v1/stage", &wanted).await;
    assert_eq!(status, 201);
    let id = staged["requestId"].as_str().unwrap();
    let (status, state) = tape(&site, "GET", &format!("/v1/stage/{id}"), none).await;
    assert_eq!((status, state["id"].as_str()), (200, Some(id)));
    assert_eq!(
        (state["files"][0]["state"].as_str(), state["files"][0]["onDisk"].as_bool()),
        (Some("COMPLETED"), Some(true))
    );
    assert_eq!(state["files"][1]["state"], "FAILED");
    let files = json!({ "paths": ["/dir/file"] });
    assert_eq!(tape(&site, "POST", &format!("/v1/stage/{id}/cancel"), &files).await.0, 200);
    assert_eq!(tape(&site, "POST", &format!("/v1/release/{id}"), &files).await.0, 200);
    assert_eq!(tape(&site, "DELETE", &format!("/v1/stage/{id}"), none).await.0, 200);
    assert_eq!(tape(&site, "GET", &format!("/v1/stage/{id}"), none).await.0, 404);
    assert_eq!(tape(&site, "POST", "/v1/stage", &json!({ "nonsense": 1 })).await.0, 400);
    assert_eq!(tape(&site, "PUT", "/v1/stage", none).await.0, 405);
    let wrong = site.send("PUT", "/.well-known/wlcg-tape-rest-api/v1/stage", &[], b"").await;
    assert_eq!(wrong.header("allow"), Some("POST"));
    assert_eq!(tape(&site, "GET", "/v2", none).await.0, 404);
    assert_eq!(tape(&site, "GET", "/v1/nothing", none).await.0, 404);
}

#[tokio::test]
async fn who_wants_problems_in_json_gets_them_and_the_reason_phrase_says_why() {
    let site = Site::open().await;
    let reply = site.send("GET", "/none", &[("accept", "application/problem+json")], b"").await;
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["detail"], "GET /none: No such file or directory");
    let mut raw = crate::site::RawClient::connect(site.address()).await;
    raw.write(b"GET /none HTTP/1.1\r\nHost: door\r\n\r\n").await;
    let head = raw.read_head().await.head;
    assert!(head.starts_with("HTTP/1.1 404 No such file or directory\r\n"), "{head}");
}
