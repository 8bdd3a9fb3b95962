//! The door as WebDAV clients use it: RFC 4918.

use penstock_tests::curl::Answer;
use penstock_tests::files::{self, MIB};
use penstock_tests::patience::eventually;
use penstock_tests::site::Site;

fn propfind(site: &Site, path: &str, depth: &str, body: &str) -> Answer {
    site.curl(path).method("PROPFIND").header("Depth", depth).arg("--data-binary").arg(body).run()
}

/// The text of every element of that name.
fn texts(xml: &str, name: &str) -> Vec<String> {
    xml.split(&format!(":{name}>"))
        .skip(1)
        .step_by(2)
        .map(|rest| rest.split('<').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn directories_are_made_listed_and_removed() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let mkcol = |path: &str| site.curl(path).method("MKCOL").run().status;
    assert_eq!(mkcol("/dir"), 201);
    assert_eq!(mkcol("/dir"), 405, "it exists");
    assert_eq!(mkcol("/no/parent"), 409);
    let _ = site.put("/dir/b%20file", &file).expect(201);
    let _ = site.put("/dir/sub/deep", &file).expect(201);

    let listing = propfind(&site, "/dir", "1", "").expect(207).text();

    let mut hrefs = texts(&listing, "href");
    hrefs.sort();
    assert_eq!(hrefs, ["/dir/", "/dir/b%20file", "/dir/sub/"], "{listing}");
    assert_eq!(texts(&listing, "getcontentlength"), [(2 * MIB).to_string()], "{listing}");
    assert_eq!(site.curl("/dir").method("DELETE").run().status, 204);
    assert_eq!(propfind(&site, "/dir", "0", "").status, 404);
    assert_eq!(site.get("/dir/sub/deep").status, 404);
    eventually("the replicas are removed", || files::replicas(site.data()).is_empty().then_some(()));
}

#[test]
fn conditions_of_http_count_for_every_method_that_changes_something() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 100, 1);
    let _ = site.put("/dir/file", &file).expect(201);
    let etag = site.curl("/dir/file").head().run().expect(200).header("ETag").unwrap().to_owned();
    let property =
        "<propertyupdate xmlns=\"DAV:\"><set><prop><a xmlns=\"urn:a\">1</a></prop></set></propertyupdate>";
    let lock = "<lockinfo xmlns=\"DAV:\"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>";
    let other = "\"other\"";
    let past = "Mon, 01 Jan 2024 00:00:00 GMT";
    let bodies =
        [("PROPPATCH", "/dir/file", property), ("LOCK", "/dir/file", lock), ("DELETE", "/dir/file", "")];
    let ask = |method: &str, path: &str, body: &str, (name, value): (&str, &str)| {
        let curl = site.curl(path).method(method).header(name, value);
        let curl = if method == "MOVE" { curl.header("Destination", "/moved") } else { curl };
        if body.is_empty() { curl.run().status } else { curl.arg("--data-binary").arg(body).run().status }
    };
    for (method, path, body) in bodies.into_iter().chain([("MOVE", "/dir/file", "")]) {
        for condition in [("If-Match", other), ("If-None-Match", "*"), ("If-Unmodified-Since", past)] {
            assert_eq!(ask(method, path, body, condition), 412, "{method} {condition:?}");
        }
    }
    for (method, path, body) in bodies {
        let status = ask(method, path, body, ("If-Match", &etag));
        assert!((200..=299).contains(&status) || status == 423, "{method}: {status}");
    }
    assert_eq!(ask("MKCOL", "/new", "", ("If-Match", other)), 412);
    // There is nothing that could have been changed since (RFC 9110 §13.1.4).
    assert_eq!(ask("MKCOL", "/new", "", ("If-Unmodified-Since", past)), 201);
    let put = site.curl("/absent").follow().upload(&file).header("If-Unmodified-Since", past).run();
    assert_eq!(put.status, 201);
}

#[test]
fn a_slash_at_the_end_means_a_directory_and_no_file_of_that_name() {
    let site = Site::start();
    let _ = site.put("/file", &files::file(site.room(), "in", 100, 1)).expect(201);

    let refused = site.curl("/file/").method("DELETE").run().expect(404);

    assert!(refused.text().contains("there is a file of that name"), "{}", refused.text());
    assert_eq!(site.get("/file").status, 200);
}

#[test]
fn what_is_wrong_is_told_to_its_end_however_long_the_path_is() {
    let site = Site::start();
    let path = "/d".repeat(1000);

    let refused = site.get(&path).expect(404).text();

    assert!(
        refused.starts_with("GET /d/d/") && refused.ends_with("…: No such file or directory\n"),
        "{refused}"
    );
    assert!(refused.len() <= 1001, "{}", refused.len());
}

#[test]
fn a_deleted_file_is_gone_and_its_space_is_free() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);

    assert_eq!(site.curl("/file").method("DELETE").run().status, 204);

    assert_eq!(site.get("/file").status, 404);
    assert_eq!(site.curl("/file").method("DELETE").run().status, 404);
    eventually("the space is given back", || site.is_empty().then_some(()));
}

#[test]
fn a_download_that_runs_when_its_file_is_deleted_ends_well() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 32 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    let download = site.curl("/file").follow().arg("--limit-rate").arg("16M").start();
    eventually("bytes flow", || (site.metrics().sum("penstock_sent_bytes_total") > 0.0).then_some(()));

    assert_eq!(site.curl("/file").method("DELETE").run().status, 204);

    assert!(download.wait().expect(200).body == std::fs::read(&file).unwrap());
}

#[test]
fn propfind_tells_what_it_is_asked_for() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    let etag = site.curl("/file").head().run().expect(200).header("ETag").unwrap().replace('"', "&quot;");
    let adler32 = files::adler32_hex(&std::fs::read(&file).unwrap());

    let all = propfind(&site, "/file", "0", "").expect(207).text();
    let checksums = propfind(
        &site,
        "/file",
        "0",
        "<?xml version=\"1.0\"?><D:propfind xmlns:D=\"DAV:\" xmlns:X=\"http://www.dcache.org/2013/webdav\">\
         <D:prop><X:Checksums/><D:getetag/><D:nosuch/></D:prop></D:propfind>",
    )
    .expect(207)
    .text();

    for name in
        ["getcontentlength", "getlastmodified", "getetag", "resourcetype", "creationdate", "displayname"]
    {
        assert!(all.contains(name), "{name} is not in {all}");
    }
    assert!(!all.contains("Checksums"), "only when asked for: {all}");
    assert!(checksums.contains(&format!("adler32={adler32}")), "{checksums}");
    assert!(checksums.contains(&etag) || checksums.contains(&etag.replace("&quot;", "\"")), "{checksums}");
    assert!(checksums.contains("404 Not Found"), "what it does not have: {checksums}");
}

#[test]
fn faulty_webdav_requests_are_refused() {
    let site = Site::start();
    assert_eq!(propfind(&site, "/", "infinity", "").status, 403);
    assert_eq!(propfind(&site, "/", "2", "").status, 400);
    assert_eq!(propfind(&site, "/", "0", "<not-xml").status, 400);
    assert_eq!(propfind(&site, "/missing", "0", "").status, 404);
    assert_eq!(site.curl("/x").method("MKCOL").arg("--data").arg("a body").run().status, 415);
    assert_eq!(site.curl("/").method("DELETE").run().status, 403);
    let unknown = site.curl("/x").method("BREW").run();
    assert!([405, 501].contains(&unknown.status), "{}", unknown.status);
}

#[test]
fn options_says_what_the_door_can_do() {
    let site = Site::start();

    let answer = site.curl("/").method("OPTIONS").run();

    assert!([200, 204].contains(&answer.status));
    assert!(answer.header("DAV").is_some_and(|classes| classes.split(',').any(|class| class.trim() == "1")));
    let allowed = answer.header("Allow").unwrap();
    for method in ["OPTIONS", "GET", "HEAD", "PUT", "DELETE", "MKCOL", "PROPFIND"] {
        assert!(allowed.contains(method), "{method} is not in {allowed}");
    }
}

#[test]
fn a_directory_can_be_looked_at_in_a_browser() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/dir/%3Cscript%3E", &file).expect(201);

    let page = site.get("/dir/").expect(200);

    assert!(page.header("Content-Type").is_some_and(|kind| kind.starts_with("text/html")));
    assert!(page.text().contains("&lt;script&gt;"), "{}", page.text());
    assert_eq!(page.text().matches("<script>").count(), 1, "the page's own: {}", page.text());
}
