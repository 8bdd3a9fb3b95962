//! Stories of copies that are refused before they begin: the status, the text, and that no pool was asked.

use crate::site::Site;
use crate::site::copying::SOURCE;
use hyper::StatusCode;
use penstock_door::auth::keys::KeyRing;
use penstock_door::auth::macaroon::Macaroon;
use penstock_door_proto::v1 as proto;

/// A token of this site with these caveats after the usual ones.
fn token(site: &Site, caveats: &[&str]) -> String {
    let keys = KeyRing::load(&site.directory.path().join("keys")).unwrap();
    let (name, key) = keys.signing();
    let macaroon =
        Macaroon::mint("http://door", name, key).with_caveat("iid:test").with_caveat("id:1000;1000;alice");
    caveats.iter().fold(macaroon, |macaroon, caveat| macaroon.with_caveat(caveat)).encode().unwrap()
}

/// The status and the text of a refusal.
async fn refusal(site: &Site, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut copying = site.copy(path, headers).await;
    let status = copying.status.as_u16();
    assert_ne!(status, 202, "{path} {headers:?}");
    (status, copying.refusal().await.to_owned())
}

#[tokio::test]
async fn who_shows_no_token_may_not_copy_even_where_everything_is_open() {
    let site = Site::open().await;
    site.put("/file", b"x").await;
    let asked = site.pool.requests().len();
    for headers in [("source", SOURCE), ("destination", SOURCE), ("x-other", "1")] {
        let copying = site.copy_as("/file", &[headers]).await;
        assert_eq!(copying.status, StatusCode::UNAUTHORIZED, "{headers:?}");
        assert_eq!(copying.header("www-authenticate"), Some("Bearer realm=\"door\""));
    }
    assert_eq!(site.pool.requests().len(), asked);
}

#[tokio::test]
async fn a_pull_needs_the_right_to_upload_and_a_push_that_to_download() {
    let site = Site::open().await;
    site.put("/data/file", b"x").await;
    let asked = site.pool.requests().len();
    let status = async |caveats: &[&str], path: &str, header: &str| {
        let bearer = format!("Bearer {}", token(&site, caveats));
        let headers = [("authorization", bearer.as_str()), (header, SOURCE)];
        site.copy_as(path, &headers).await.status.as_u16()
    };
    for (caveats, path, header, expected) in [
        (&["activity:DOWNLOAD,LIST"][..], "/data/new", "source", 403),
        (&["activity:UPLOAD"], "/data/new", "source", 202),
        (&["activity:UPLOAD"], "/data/file", "source", 403),
        (&["activity:UPLOAD,DELETE"], "/data/file", "source", 202),
        (&["activity:UPLOAD", "path:/data"], "/other", "source", 403),
        (&["activity:UPLOAD"], "/data/file", "destination", 403),
        (&["activity:DOWNLOAD"], "/data/file", "destination", 202),
        (&["activity:DOWNLOAD", "path:/other"], "/data/file", "destination", 403),
        (&["before:2020-01-01T00:00:00Z"], "/data/file", "destination", 401),
    ] {
        assert_eq!(status(caveats, path, header).await, expected, "{caveats:?} {path} {header}");
        site.all_settled().await;
    }
    assert!(site.pool.requests().len() <= asked + 3, "a pool was asked for what was refused");
}

#[tokio::test]
async fn a_tokens_largest_upload_holds_for_pulls() {
    let site = Site::open().await;
    let bearer = format!("Bearer {}", token(&site, &["max-upload:1000"]));
    let copying = site.copy_as("/file", &[("authorization", &bearer), ("source", SOURCE)]).await;
    assert_eq!(copying.status, StatusCode::ACCEPTED);
    site.eventually("the pool is asked", async |site| !site.pool.requests().is_empty()).await;
    assert_eq!(site.pool.last_pull().maximum_size, 1000);
}

#[tokio::test]
async fn what_is_not_well_formed_is_refused_with_its_reason() {
    let site = Site::open_with(|config| config.create_parents = false).await;
    site.put("/file", b"x").await;
    site.send("MKCOL", "/dir", &[], b"").await;
    let asked = site.pool.requests().len();
    let source = ("source", SOURCE);
    type Header<'a> = (&'a str, &'a str);
    let table: [(&str, &[Header<'_>], u16, &str); 27] = [
        ("/new", &[], 400, "needs a Source"),
        ("/new", &[source, ("destination", SOURCE)], 400, "not both"),
        ("/new", &[source, ("source", "https://other/x")], 400, "two different values"),
        ("/new", &[("source", "gsiftp://a/b")], 501, "http and https"),
        ("/new", &[("source", "nothing")], 400, "not a URL"),
        ("/new", &[("source", "https://u:p@a/b")], 400, "user name or password"),
        ("/new", &[("source", "http://127.0.0.1/x")], 403, "this machine itself"),
        ("/new", &[("source", "http://[::1]:8080/x")], 403, "this machine itself"),
        ("/new", &[("source", "http://169.254.169.254/x")], 403, "link-local"),
        ("/new", &[("source", "http://other:22/x")], 403, "a port"),
        ("/new", &[source, ("credential", "wrong")], 400, "Credential"),
        ("/new", &[source, ("credential", "gridsite")], 401, "client certificate"),
        ("/new", &[source, ("credential", "oidc")], 501, "not configured"),
        ("/new", &[source, ("requirechecksumverification", "perhaps")], 400, "RequireChecksumVerification"),
        ("/new", &[source, ("overwrite", "X")], 400, "Overwrite"),
        ("/new", &[source, ("x-number-of-streams", "-1")], 400, "X-Number-Of-Streams"),
        ("/new", &[source, ("x-number-of-streams", "101")], 400, "X-Number-Of-Streams"),
        ("/new", &[source, ("repr-digest", "md5=:AAAA:")], 400, "repr-digest"),
        ("/new", &[source, ("copy-header", "nonsense")], 400, "Copy-Header"),
        ("/file", &[source, ("overwrite", "F")], 412, "File exists"),
        ("/file", &[source, ("if-none-match", "*")], 412, "precondition"),
        ("/dir", &[source], 409, "directory"),
        ("/no/parent", &[source], 409, "parent"),
        ("/file/below", &[source], 409, "not a directory"),
        ("/none", &[("destination", SOURCE)], 404, "No such file"),
        ("/dir", &[("destination", SOURCE)], 409, "directory"),
        ("/file", &[("destination", "http://127.0.0.1:9000/x")], 403, "this machine itself"),
    ];
    for (path, headers, status, part) in table {
        let (told, text) = refusal(&site, path, headers).await;
        assert_eq!(told, status, "{path} {headers:?}: {text}");
        assert!(text.contains(part) && text.starts_with(&format!("COPY {path}: ")), "{headers:?}: {text}");
        assert!(text.lines().count() == 1 && text.len() < 1000, "{text}");
    }
    assert_eq!(site.pool.requests().len(), asked);
}

#[tokio::test]
async fn what_real_clients_send_besides_is_taken() {
    let site = Site::open().await;
    let copying = site
        .pull(
            "/file",
            &[
                ("source", SOURCE),
                ("destination", ""),
                ("secure-redirection", "1"),
                ("x-no-delegate", "true"),
                ("credentials", "none"),
                ("credential", ""),
                ("te", "trailers"),
                ("overwrite", "T"),
                ("overwrite", "T"),
                ("x-number-of-streams", "0"),
                ("transferheaderarchivemetadata", "{\"a\":1}"),
                ("transferheaderscitag", "65"),
                ("scitag", "not a tag"),
            ],
        )
        .await;
    let (request, pull) = (site.pool.last_request(), site.pool.last_pull());
    // What is no tag marks nothing, whatever else says something.
    assert_eq!((pull.streams, request.marking), (1, Some(proto::Marking { scitag: 0 })));
    let headers: Vec<_> = pull.remote.as_ref().unwrap().headers.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(headers, ["archivemetadata", "scitag"]);
    assert!(pull.remote.unwrap().require_checksum_verification);
    drop(copying);
}

#[tokio::test]
async fn loopback_is_a_matter_of_configuration() {
    let site = Site::open_with(|config| config.copy.allow_loopback = true).await;
    let copying = site.copy("/file", &[("source", "http://127.0.0.1:9000/x")]).await;
    assert_eq!(copying.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_copy_with_a_body_is_not_known() {
    let site = Site::open().await;
    let bearer = format!("Bearer {}", site.token());
    let headers = [("source", SOURCE), ("authorization", bearer.as_str())];
    let reply = site.send("COPY", "/file", &headers, b"<propertybehavior/>").await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
}
