//! Stories of directories: MKCOL, DELETE, PROPFIND, the page for browsers, and what the door does not do.

use crate::site::{RawClient, Site};
use hyper::StatusCode;

const CHECKSUMS: &str = "<propfind xmlns=\"DAV:\"><prop><d:Checksums xmlns:d=\"http://www.dcache.org/2013/webdav\"/></prop></propfind>";

async fn site_with_files() -> Site {
    let site = Site::open().await;
    for path in ["/data/a", "/data/b%20%26%3Cc%3E", "/data/sub/x"] {
        assert_eq!(site.put(path, b"Wiki").await.status, StatusCode::CREATED);
    }
    site
}

#[tokio::test]
async fn options_tells_what_the_door_does() {
    let site = Site::open().await;
    for path in ["/", "/nothing/here", "*"] {
        let reply = site.send("OPTIONS", path, &[], b"").await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert_eq!(reply.header("dav"), Some("1, 2"));
        assert!(reply.header("allow").unwrap().contains("PROPFIND"));
    }
}

#[tokio::test]
async fn directories_are_made_one_at_a_time() {
    let site = Site::open().await;
    let mkcol = async |path, body: &'static [u8]| site.send("MKCOL", path, &[], body).await.status.as_u16();
    assert_eq!(mkcol("/a/", b"").await, 201);
    assert_eq!(mkcol("/a/b", b"").await, 201);
    assert_eq!(mkcol("/a", b"").await, 405);
    assert_eq!(mkcol("/no/parent", b"").await, 409);
    assert_eq!(mkcol("/c", b"<x/>").await, 415);
    site.put("/file", b"x").await;
    assert_eq!(mkcol("/file/below", b"").await, 409);
    assert_eq!(mkcol("/file", b"").await, 405);
}

#[tokio::test]
async fn deleting_a_directory_deletes_all_below_it_and_the_replicas_too() {
    let site = site_with_files().await;
    let delete =
        async |path, headers: &[(&str, &str)]| site.send("DELETE", path, headers, b"").await.status.as_u16();
    assert_eq!(delete("/data", &[("depth", "1")]).await, 400);
    assert_eq!(delete("/data/a", &[("if-match", "\"other\"")]).await, 412);
    assert_eq!(delete("/", &[]).await, 403);
    assert_eq!(delete("/data", &[]).await, 204);
    assert_eq!(delete("/data", &[]).await, 404);
    assert_eq!(site.head("/data/sub/x").await.status, StatusCode::NOT_FOUND);
    site.eventually("all replicas are deleted", async |site| site.pool.replicas().is_empty()).await;
}

#[tokio::test]
async fn propfind_lists_a_directory_one_level_deep() {
    let site = site_with_files().await;
    let reply = site.send("PROPFIND", "/data/", &[("depth", "1")], b"").await;
    assert_eq!(reply.status, StatusCode::MULTI_STATUS);
    let hrefs: Vec<_> =
        reply.text().split("<d:href>").skip(1).map(|rest| rest.split("</d:href>").next().unwrap()).collect();
    assert_eq!(hrefs, ["/data/", "/data/a", "/data/b%20%26%3Cc%3E", "/data/sub/"]);
    assert!(reply.text().contains("<d:displayname>b &amp;&lt;c&gt;</d:displayname>"));
    assert!(reply.text().ends_with("</d:multistatus>\n"));
    let one = site.send("PROPFIND", "/data", &[("depth", "0")], b"").await;
    assert_eq!(one.text().matches("<d:response>").count(), 1);
}

#[tokio::test]
async fn a_listing_longer_than_a_page_is_whole() {
    let site = Site::open().await;
    let count = 2 * penstock_door::http::propfind::PAGE as usize + 1;
    for number in 0..count {
        site.send("MKCOL", &format!("/{number:05}"), &[], b"").await;
    }
    let reply = site.send("PROPFIND", "/", &[("depth", "1")], b"").await;
    assert_eq!(reply.text().matches("<d:response>").count(), count + 1);
    assert!(reply.text().ends_with("</d:multistatus>\n"));
}

#[tokio::test]
async fn checksums_are_told_only_when_asked_for() {
    let site = site_with_files().await;
    let asked = site.send("PROPFIND", "/data/a", &[], CHECKSUMS.as_bytes()).await;
    assert!(asked.text().contains("<c:Checksums>adler32=03da0195</c:Checksums>"), "{}", asked.text());
    let all = site.send("PROPFIND", "/data/a", &[], b"").await;
    assert!(all.text().contains("getcontentlength") && !all.text().contains("Checksums>"), "{}", all.text());
}

#[tokio::test]
async fn an_endless_depth_and_a_bad_body_are_refused() {
    let site = site_with_files().await;
    for headers in [&[][..], &[("depth", "infinity")]] {
        let reply = site.send("PROPFIND", "/data", headers, b"").await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN);
        assert!(reply.text().contains("<d:propfind-finite-depth/>"));
    }
    let body =
        async |body: &[u8]| site.send("PROPFIND", "/data", &[("depth", "0")], body).await.status.as_u16();
    assert_eq!(body(b"<!DOCTYPE a><propfind xmlns='DAV:'><allprop/></propfind>").await, 400);
    assert_eq!(body(b"nonsense").await, 400);
    assert_eq!(body(&vec![b' '; 70_000]).await, 413);
    assert_eq!(site.send("PROPFIND", "/data", &[("depth", "2")], b"").await.status.as_u16(), 400);
}

#[tokio::test]
async fn a_browser_gets_a_page_whose_links_carry_the_query_and_whose_names_are_harmless() {
    let site = site_with_files().await;
    let reply = site.get("/data?x=%3Cb%3E&y=''").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(reply.header("content-security-policy").unwrap().contains("default-src 'none'"));
    let page = reply.text();
    for part in [
        "<a href=\"/?x=%3Cb%3E&amp;y=&apos;&apos;\">../ ",
        "<a href=\"/data/b%20%26%3Cc%3E?x=%3Cb%3E&amp;y=&apos;&apos;\"><bdi>b &amp;&lt;c&gt;</bdi></a></td><td data-key=\"4\"",
        "<a href=\"/data/sub/?x=",
        "<code>adler32=03da0195</code>",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let head = site.head("/data").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn methods_that_the_door_does_not_do_are_refused() {
    let site = Site::open().await;
    for method in ["POST", "PATCH"] {
        let reply = site.send(method, "/", &[], b"").await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert!(reply.header("allow").unwrap().contains("PUT"));
    }
    assert_eq!(site.send("BREW", "/", &[], b"").await.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_and_a_slow_one_cut_off() {
    let short = penstock_door::config::value::Period(std::time::Duration::from_millis(200));
    let site = Site::open_with(|config| config.timeouts.head = short).await;
    let long = "x".repeat(17 * 1024);
    let reply = site.send("GET", "/", &[("x-long", &long)], b"").await;
    assert_eq!(reply.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    let mut slow = RawClient::connect(site.address()).await;
    slow.write(b"GET / HTTP/1.1\r\nHost:").await;
    assert!(!slow.read_to_end().await.contains("200"));
}

#[tokio::test]
async fn a_client_with_too_many_connections_is_refused_until_it_closes_some() {
    let site = Site::open_with(|config| config.limits.connections_per_client = 2).await;
    let (one, _two) = (RawClient::connect(site.address()).await, RawClient::connect(site.address()).await);
    let third = RawClient::connect(site.address()).await.read_to_end().await;
    assert!(third.starts_with("HTTP/1.1 429 ") && third.contains("try again later"), "{third}");
    drop(one);
    site.eventually("its place is free", async |site| {
        let mut again = RawClient::connect(site.address()).await;
        again.write(b"OPTIONS * HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n").await;
        again.read_to_end().await.starts_with("HTTP/1.1 200 ")
    })
    .await;
}
