//! Stories of tokens: who gets in, and how far.

use crate::site::Site;
use hyper::StatusCode;
use penstock_door::Anonymous;
use penstock_door::auth::keys::KeyRing;
use penstock_door::auth::macaroon::Macaroon;

async fn closed_site() -> Site {
    Site::open_with(|config| config.anonymous = Anonymous::None).await
}

/// A token of this site with these caveats after the usual ones.
fn token(site: &Site, caveats: &[&str]) -> String {
    let keys = KeyRing::load(&site.directory.path().join("keys")).unwrap();
    let (name, key) = keys.signing();
    let macaroon =
        Macaroon::mint("http://door", name, key).with_caveat("iid:test").with_caveat("id:1000;1000;alice");
    caveats.iter().fold(macaroon, |macaroon, caveat| macaroon.with_caveat(caveat)).encode().unwrap()
}

async fn status(site: &Site, token: &str, method: &str, path: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend((method == "PROPFIND").then_some(("depth", "1")));
    site.send(method, path, &headers, b"").await.status.as_u16()
}

#[tokio::test]
async fn nobody_gets_in_without_a_token_and_is_told_what_to_show() {
    let site = closed_site().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "MKCOL", "PROPFIND"] {
        let reply = site.send(method, "/file", &[], b"").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{method}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"door\""));
    }
    assert_eq!(site.send("OPTIONS", "/", &[], b"").await.status, StatusCode::OK);
    assert!(site.pool.requests().is_empty());
}

#[tokio::test]
async fn the_first_token_opens_everything_by_header_or_query() {
    let site = closed_site().await;
    let (first, query) = (site.token(), format!("/dir/file?authz={}", site.token()));
    assert_eq!(status(&site, first, "PUT", "/dir/file").await, 201);
    assert_eq!(site.head(&query).await.status, StatusCode::OK);
    assert_eq!(site.pool.last_request().client.unwrap().subject, "admin");
    assert_eq!(status(&site, first, "GET", &query).await, 400);
    assert_eq!(status(&site, first, "DELETE", "/dir").await, 204);
}

#[tokio::test]
async fn a_bad_token_is_refused_even_where_none_is_needed() {
    let site = Site::open().await;
    assert_eq!(site.get("/").await.status, StatusCode::OK);
    let expired = token(&site, &["before:2020-01-01T00:00:00Z"]);
    let mut forged = site.token().to_owned();
    forged.replace_range(200..201, if &forged[200..201] == "A" { "B" } else { "A" });
    for bad in ["nonsense", &expired, &forged, &token(&site, &["colour:blue"])] {
        let reply = site.send("GET", "/", &[("authorization", &format!("Bearer {bad}"))], b"").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert!(reply.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
        assert!(!reply.text().contains(bad), "a token is shown: {}", reply.text());
    }
    let basic = site.send("GET", "/", &[("authorization", "Basic YTpi")], b"").await;
    assert_eq!(basic.status, StatusCode::UNAUTHORIZED);
    let expired = site.send("GET", "/", &[("authorization", &format!("Bearer {expired}"))], b"").await;
    assert!(expired.text().contains("expired at 2020-01-01"), "{}", expired.text());
}

#[tokio::test]
async fn a_token_does_only_what_it_names() {
    let site = closed_site().await;
    let first = site.token();
    assert_eq!(status(&site, first, "PUT", "/a/file").await, 201);
    let table = [
        ("activity:DOWNLOAD", "GET", "/a/file", 307),
        ("activity:DOWNLOAD", "GET", "/a", 403),
        ("activity:LIST", "GET", "/a", 200),
        ("activity:LIST", "GET", "/a/file", 403),
        ("activity:LIST", "PROPFIND", "/a", 207),
        ("activity:DOWNLOAD", "PROPFIND", "/a", 403),
        ("activity:DOWNLOAD", "PUT", "/a/new", 403),
        ("activity:UPLOAD", "PUT", "/a/file", 403),
        ("activity:UPLOAD", "PUT", "/a/new", 201),
        ("activity:UPLOAD,DELETE", "PUT", "/a/file", 204),
        ("activity:UPLOAD", "DELETE", "/a/file", 403),
        ("activity:UPLOAD", "MKCOL", "/a/dir", 201),
        ("path:/a", "GET", "/a/file", 307),
        ("path:/a", "DELETE", "/b", 403),
        ("path:/b", "GET", "/a/file", 403),
        ("root:/a", "GET", "/file", 307),
        ("root:/a", "GET", "/a/file", 404),
        // Through the door, which looks where it goes.
        ("ip:127.0.0.0/8", "GET", "/a/file", 200),
        ("ip:192.0.2.0/24", "GET", "/a/file", 401),
    ];
    for (caveat, method, path, expected) in table {
        let token = token(&site, &[caveat]);
        assert_eq!(status(&site, &token, method, path).await, expected, "{caveat} {method} {path}");
    }
}

#[tokio::test]
async fn a_root_is_invisible_to_its_holder() {
    let site = closed_site().await;
    let token = token(&site, &["root:/home/alice"]);
    assert_eq!(status(&site, &token, "PUT", "/file").await, 201);
    let request = site.pool.last_request();
    assert_eq!(
        (request.transfer_path.as_str(), request.billing_path.as_str()),
        ("/file", "/home/alice/file")
    );
    let bearer = format!("Bearer {token}");
    let listing = site.send("PROPFIND", "/", &[("authorization", &bearer), ("depth", "1")], b"").await;
    assert!(listing.text().contains("<d:href>/file</d:href>"), "{}", listing.text());
    assert!(!listing.text().contains("alice"), "{}", listing.text());
}

#[tokio::test]
async fn a_listing_leaves_out_what_a_token_does_not_reach() {
    let site = closed_site().await;
    for path in ["/a/in/file", "/a/out", "/b"] {
        assert_eq!(status(&site, site.token(), "PUT", path).await, 201);
    }
    let bearer = format!("Bearer {}", token(&site, &["path:/a/in"]));
    for (path, seen, hidden) in [("/", "/a/", "/b"), ("/a", "/a/in/", "out")] {
        let listing = site.send("PROPFIND", path, &[("authorization", &bearer), ("depth", "1")], b"").await;
        assert!(listing.text().contains(&format!("<d:href>{seen}</d:href>")), "{}", listing.text());
        assert!(!listing.text().contains(hidden), "{}", listing.text());
        let page = site.send("GET", path, &[("authorization", &bearer)], b"").await;
        assert!(!page.text().contains(&format!(">{hidden}")), "{}", page.text());
    }
}

#[tokio::test]
async fn an_upload_larger_than_the_token_allows_is_refused_and_the_limit_goes_to_the_pool() {
    let site = closed_site().await;
    let bearer = format!("Bearer {}", token(&site, &["max-upload:4"]));
    let put = async |body: &'static [u8]| {
        site.send("PUT", "/file", &[("authorization", &bearer)], body).await.status.as_u16()
    };
    assert_eq!(put(b"hello").await, 413);
    assert_eq!(put(b"four").await, 201);
    let request = site.pool.last_request();
    let Some(penstock_door_proto::v1::transfer_request::Kind::Put(put)) = request.kind else { panic!() };
    assert_eq!(put.maximum_size, 4);
}

#[tokio::test]
async fn readers_without_a_token_can_read_and_no_more() {
    let site = Site::open_with(|config| config.anonymous = Anonymous::Read).await;
    let first = site.token();
    assert_eq!(status(&site, first, "PUT", "/file").await, 201);
    assert_eq!(site.get("/file").await.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(site.get("/").await.status, StatusCode::OK);
    assert_eq!(site.put("/other", b"x").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.send("DELETE", "/file", &[], b"").await.status, StatusCode::UNAUTHORIZED);
}
