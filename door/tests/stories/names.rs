//! Stories of names: MOVE, COPY from name to name, PROPPATCH, and what clients of the grid ask of a listing.

use crate::site::pool::Faults;
use crate::site::{Reply, Site};
use hyper::StatusCode;
use penstock_door_proto::v1::transfer_request::Kind;

/// What a request says beside its path.
type Headers<'a> = &'a [(&'a str, &'a str)];

const PATCH: &str = "<D:propertyupdate xmlns:D='DAV:' xmlns:z='urn:z'><D:set><D:prop><z:colour>red &amp; <z:b/></z:colour></D:prop></D:set></D:propertyupdate>";
const COLOUR: &str = "<propfind xmlns='DAV:'><prop><colour xmlns='urn:z'/></prop></propfind>";

async fn site_with_tree() -> Site {
    let site = Site::open().await;
    for path in ["/a/one", "/a/sub/two", "/other"] {
        assert_eq!(site.put(path, b"Wiki").await.status, StatusCode::CREATED);
    }
    site
}

async fn to(site: &Site, method: &str, from: &str, destination: &str, headers: &[(&str, &str)]) -> Reply {
    let headers = [&[("destination", destination)], headers].concat();
    site.send(method, from, &headers, b"").await
}

async fn status(site: &Site, path: &str) -> u16 {
    site.head(path).await.status.as_u16()
}

async fn colour(site: &Site, path: &str) -> bool {
    let reply = site.send("PROPFIND", path, &[("depth", "0")], COLOUR.as_bytes()).await;
    reply.text().contains(">red &amp; <z:b/></z:colour>")
}

#[tokio::test]
async fn a_move_takes_a_tree_along_and_moves_no_byte() {
    let site = site_with_tree().await;
    let asked = site.pool.requests().len();
    let here = format!("http://{}/moved%20tree/", site.address());
    assert_eq!(to(&site, "MOVE", "/a", &here, &[]).await.status, StatusCode::CREATED);
    assert_eq!(status(&site, "/moved%20tree/sub/two").await, 200);
    assert_eq!(status(&site, "/a").await, 404);
    assert_eq!(to(&site, "MOVE", "/other", "/moved%20tree/one", &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.pool.requests().len(), asked);
    site.eventually("what was replaced is deleted", async |site| site.pool.replicas().len() == 2).await;
}

#[tokio::test]
async fn a_move_that_cannot_be_is_refused() {
    let site = site_with_tree().await;
    let table: [(&str, &str, Headers<'_>, u16); 12] = [
        ("/none", "/x", &[], 404),
        ("/a", "/a", &[], 403),
        ("/a", "/a/below", &[], 403),
        ("/", "/x", &[], 403),
        ("/other", "/a/one", &[("overwrite", "F")], 412),
        ("/other", "/a/one/below", &[], 409),
        ("/a", "/x", &[("depth", "0")], 400),
        ("/other", "/x", &[("if-match", "\"old\"")], 412),
        ("/other", "http://elsewhere.example.org/x", &[], 502),
        ("/other", "nonsense", &[], 400),
        ("/other", "/a/one#2", &[], 400),
        ("/other", "http://door/a/one#2", &[("host", "door")], 400),
    ];
    for (from, destination, headers, expected) in table {
        let reply = to(&site, "MOVE", from, destination, headers).await;
        assert_eq!(reply.status.as_u16(), expected, "{from} {destination} {headers:?}: {}", reply.text());
    }
    assert_eq!(site.send("MOVE", "/other", &[], b"").await.status, StatusCode::BAD_REQUEST);
    let strict = Site::open_with(|config| config.create_parents = false).await;
    strict.send("MKCOL", "/d", &[], b"").await;
    assert_eq!(to(&strict, "MOVE", "/d", "/no/d", &[]).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_copy_is_made_by_the_pool_and_takes_the_properties_along() {
    let site = site_with_tree().await;
    site.send("PROPPATCH", "/a/one", &[], PATCH.as_bytes()).await;
    let original = site.head("/a/one").await;

    assert_eq!(to(&site, "COPY", "/a/one", "/copy", &[]).await.status, StatusCode::CREATED);

    assert!(matches!(site.pool.last_request().kind, Some(Kind::LocalCopy(_))));
    let copy = site.head("/copy").await;
    assert_eq!(copy.header("content-length"), original.header("content-length"));
    assert_ne!(copy.header("etag"), original.header("etag"), "it is another file");
    assert!(colour(&site, "/copy").await);
    assert_eq!(to(&site, "COPY", "/a/one", "/other", &[]).await.status, StatusCode::NO_CONTENT);
    site.eventually("what was replaced is deleted", async |site| site.pool.replicas().len() == 4).await;
}

#[tokio::test]
async fn who_takes_every_copy_for_a_third_party_one_gets_its_markers_and_its_last_line() {
    let site = site_with_tree().await;
    for header in ["secure-redirection", "x-number-of-streams"] {
        let reply = to(&site, "COPY", "/a/one", "/copy", &[(header, "1")]).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{header}");
        assert_eq!(reply.header("content-type"), Some("text/perf-marker-stream"));
        assert!(reply.text().ends_with("success: Created\n"), "{}", reply.text());
        assert_eq!(status(&site, "/copy").await, 200);
    }
    let exists =
        to(&site, "COPY", "/a/one", "/copy", &[("secure-redirection", "1"), ("overwrite", "F")]).await;
    assert_eq!(exists.status, StatusCode::PRECONDITION_FAILED);
}

#[tokio::test]
async fn a_directory_is_copied_with_all_below_or_alone() {
    let site = site_with_tree().await;
    site.send("PROPPATCH", "/a", &[], PATCH.as_bytes()).await;

    assert_eq!(to(&site, "COPY", "/a", "/b", &[]).await.status, StatusCode::CREATED);
    assert_eq!(to(&site, "COPY", "/a", "/alone/", &[("depth", "0")]).await.status, StatusCode::CREATED);
    // Over a file, and over a directory, of which nothing stays.
    assert_eq!(to(&site, "COPY", "/a", "/other", &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(to(&site, "COPY", "/a/sub", "/b", &[]).await.status, StatusCode::NO_CONTENT);

    for (path, expected) in
        [("/alone", 200), ("/alone/one", 404), ("/other/sub/two", 200), ("/b/two", 200), ("/b/one", 404)]
    {
        assert_eq!(status(&site, path).await, expected, "{path}");
    }
    for path in ["/alone", "/other"] {
        assert!(colour(&site, path).await, "{path}");
    }
}

#[tokio::test]
async fn a_copy_that_cannot_be_is_refused_and_what_fails_below_is_named() {
    let site = site_with_tree().await;
    let table: [(&str, &str, Headers<'_>, u16); 8] = [
        ("/none", "/x", &[], 404),
        ("/a", "/a", &[], 403),
        ("/a", "/a/below", &[], 403),
        ("/a/one", "/other#2", &[], 400),
        ("/a/one", "http://door/other#2", &[("host", "door")], 400),
        ("/a/one", "/a", &[], 403),
        ("/a/one", "/other", &[("overwrite", "F")], 412),
        ("/a/one", "/x", &[("depth", "1")], 400),
    ];
    for (from, destination, headers, expected) in table {
        let reply = to(&site, "COPY", from, destination, headers).await;
        assert_eq!(reply.status.as_u16(), expected, "{from} {destination} {headers:?}: {}", reply.text());
    }
    site.pool.fail(Faults {
        refuse_start: Some((tonic::Code::ResourceExhausted, "FAILURE_CODE_NO_SPACE: full")),
        ..Faults::default()
    });
    assert_eq!(to(&site, "COPY", "/a/one", "/x", &[]).await.status, StatusCode::INSUFFICIENT_STORAGE);
    let tree = to(&site, "COPY", "/a", "/x", &[]).await;
    assert_eq!(tree.status, StatusCode::MULTI_STATUS);
    for part in ["<d:href>/x/one</d:href><d:status>HTTP/1.1 507 ", "<d:href>/x/sub/two</d:href>"] {
        assert!(tree.text().contains(part), "{part}\n{}", tree.text());
    }
    assert_eq!(status(&site, "/x/sub").await, 200);
}

#[tokio::test]
async fn so_many_requests_copy_at_once_and_no_more() {
    let site = Site::open_with(|config| config.copy.transfers = 1).await;
    site.put("/file", b"Wiki").await;
    site.pool.fail(Faults { never_ready: true, ..Faults::default() });
    let first = to(&site, "COPY", "/file", "/one", &[]);
    let second = async {
        site.eventually("the first runs", async |site| {
            matches!(site.pool.last_request().kind, Some(Kind::LocalCopy(_)))
        })
        .await;
        let refused = to(&site, "COPY", "/file", "/two", &[]).await;
        site.pool.finish_transfer(&site.pool.last_request(), b"Wiki");
        refused
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (201, 429));
}

#[tokio::test]
async fn a_copy_whose_client_goes_leaves_nothing() {
    let site = Site::open().await;
    site.put("/file", b"Wiki").await;
    site.pool.fail(Faults { never_ready: true, ..Faults::default() });
    let copying = to(&site, "COPY", "/file", "/copy", &[]);
    let started = site.eventually("it runs", async |site| {
        matches!(site.pool.last_request().kind, Some(Kind::LocalCopy(_)))
    });
    tokio::select! {
        reply = copying => panic!("{reply:?}"),
        () = started => {}
    }
    site.eventually("the pool is told", async |site| !site.pool.cancels().is_empty()).await;
    assert_eq!(status(&site, "/copy").await, 404);
    assert_eq!(site.pool.replicas().len(), 1);
}

#[tokio::test]
async fn dead_properties_are_set_told_and_removed() {
    let site = site_with_tree().await;
    let reply = site.send("PROPPATCH", "/a/one", &[], PATCH.as_bytes()).await;
    assert_eq!(reply.status, StatusCode::MULTI_STATUS);
    assert!(reply.text().contains("<x:colour xmlns:x=\"urn:z\"/></d:prop><d:status>HTTP/1.1 200 OK"));
    assert!(colour(&site, "/a/one").await);
    for body in ["", "<propfind xmlns='DAV:'><propname/></propfind>"] {
        let all = site.send("PROPFIND", "/a", &[("depth", "1")], body.as_bytes()).await;
        assert!(all.text().contains("colour"), "{}", all.text());
    }
    let remove =
        "<propertyupdate xmlns='DAV:'><remove><prop><colour xmlns='urn:z'/></prop></remove></propertyupdate>";
    assert_eq!(
        site.send("PROPPATCH", "/a/one", &[], remove.as_bytes()).await.status,
        StatusCode::MULTI_STATUS
    );
    assert!(!colour(&site, "/a/one").await);
}

#[tokio::test]
async fn what_the_door_computes_itself_cannot_be_set() {
    let site = site_with_tree().await;
    let body = "<propertyupdate xmlns='DAV:'><set><prop><getetag>x</getetag><colour xmlns='urn:z'>red</colour></prop></set></propertyupdate>";
    let reply = site.send("PROPPATCH", "/other", &[], body.as_bytes()).await;
    assert!(reply.text().contains("403 Forbidden") && reply.text().contains("424 Failed Dependency"));
    assert!(!colour(&site, "/other").await);
    for body in ["", "nonsense", "<propfind xmlns='DAV:'/>"] {
        let status = site.send("PROPPATCH", "/other", &[], body.as_bytes()).await.status;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
    assert_eq!(site.send("PROPPATCH", "/none", &[], PATCH.as_bytes()).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_grid_learns_space_and_mode_also_without_a_content_type() {
    let site = site_with_tree().await;
    site.pool.change_status(|status| {
        status.space =
            Some(penstock_door_proto::v1::Space { used: 123, available: 456, ..Default::default() });
    });
    let body = "<D:propfind xmlns:D='DAV:' xmlns:L='LCGDM:'><D:prop><D:quota-used-bytes/><D:quota-available-bytes/><L:mode/><D:owner/></D:prop></D:propfind>";
    site.eventually("the door has heard it", async |site| {
        let reply = site.send("PROPFIND", "/a", &[("depth", "1")], body.as_bytes()).await;
        reply.text().contains("<d:quota-used-bytes>123</d:quota-used-bytes>")
            && reply.text().contains("<d:quota-available-bytes>456</d:quota-available-bytes>")
    })
    .await;
    let reply = site.send("PROPFIND", "/a", &[("depth", "1")], body.as_bytes()).await;
    for part in ["<l:mode>40777</l:mode>", "<l:mode>100666</l:mode>", "404 Not Found"] {
        assert!(reply.text().contains(part), "{part}\n{}", reply.text());
    }
}
