//! The redirect URL: what it lets a client do, and what not.

use std::process::Stdio;
use std::time::Duration;

use penstock_tests::cluster::Cluster;
use penstock_tests::curl::Curl;
use penstock_tests::files::{self, MIB};
use penstock_tests::raw::Raw;
use penstock_tests::site::{Site, target, upload_url};

#[test]
fn a_redirect_points_to_the_data_port_with_an_unguessable_id() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let answer = site.put("/dir/file", &file).expect(201);
    assert!(
        answer.effective_url.starts_with(&format!("{}/dir/file?", site.pool)),
        "{}",
        answer.effective_url
    );

    let (first, second) = (site.download_url("/dir/file"), site.download_url("/dir/file"));

    let id = |url: &str| {
        let (_, query) = url.split_once('?').expect("a redirect URL has a query");
        let value = query.split('&').find_map(|pair| pair.strip_prefix("penstock-transfer="));
        value.expect("a redirect URL names its transfer").to_owned()
    };
    assert!(id(&first).len() == 32 && id(&first).bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert_ne!(id(&first), id(&second));
}

#[test]
fn a_redirect_to_the_pool_needs_no_token_there_and_tells_caches_nothing() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    let answer = site.curl("/file").run().expect(307);
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    assert!(!answer.redirect_url.contains(&site.token));

    let download = Curl::new(&answer.redirect_url).run().expect(200);

    assert_eq!(download.body.len() as u64, 2 * MIB);
}

#[test]
fn an_upload_url_is_good_for_one_upload() {
    let site = Site::start();
    let url = site.upload_url("/once", 3);
    let put = |body: &str| {
        let mut client = Raw::connect(site.pool_address());
        let (target, length) = (target(&url), body.len());
        client.send(format!("PUT {target} HTTP/1.1\r\nHost: pool\r\nContent-Length: {length}\r\n\r\n{body}"));
        client.answer()
    };
    assert_eq!(put("one").status, 201);

    let second = put("two");

    // Settled transfers are forgotten: then the door is asked again.
    assert!([307, 409, 410].contains(&second.status), "{}", second.head);
    assert_eq!(site.get("/once").expect(200).text(), "one");
}

#[test]
fn a_redirect_url_is_bound_to_its_path_and_method() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/mine", &file).expect(201);
    let _ = site.put("/other", &file).expect(201);
    let download = site.download_url("/mine");
    let upload = site.upload_url("/new", 5);
    let cases = [
        ("another path", "GET", download.replace("/mine", "/other"), 403),
        ("the root", "GET", download.replace("/mine", "/"), 403),
        ("a path below", "GET", download.replace("/mine", "/mine/x"), 403),
        ("a write where a read was allowed", "PUT", download.clone(), 405),
        ("a read where a write was allowed", "GET", upload.clone(), 405),
        ("a write to another path", "PUT", upload.replace("/new", "/mine"), 403),
    ];
    for (what, method, url, status) in cases {
        let mut client = Raw::connect(site.pool_address());
        let body = if method == "PUT" { "Content-Length: 5\r\n\r\nwrong" } else { "\r\n" };

        client.send(format!("{method} {} HTTP/1.1\r\nHost: pool\r\n{body}", target(&url)));

        let answer = client.answer();
        assert_eq!(answer.status, status, "{what}: {}{}", answer.head, answer.text());
        assert_eq!(answer.text().lines().count(), 1, "{what}: one line says why");
    }
    // None of that has used them up.
    assert_eq!(Curl::new(&download).run().expect(200).body.len() as u64, 2 * MIB);
    let mut client = Raw::connect(site.pool_address());
    client.send(format!("PUT {} HTTP/1.1\r\nHost: pool\r\nContent-Length: 5\r\n\r\nright", target(&upload)));
    assert_eq!(client.answer().status, 201);
}

#[test]
fn who_comes_with_an_unknown_id_is_sent_back_to_the_door() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/dir/a%20file", &file).expect(201);
    let url = site.download_url("/dir/a%20file");
    let (before, id) = url.split_once("penstock-transfer=").unwrap();
    let unknown = format!("{before}penstock-transfer={}{}", "0".repeat(32), &id[32..]);

    let answer = Curl::new(&unknown).run().expect(307);

    assert_eq!(answer.redirect_url, site.url("/dir/a%20file"));
    // Where the door is not known either, there is nothing but to refuse.
    let nameless = format!("{}/dir/a%20file?penstock-transfer={}", site.pool, "0".repeat(32));
    assert_eq!(Curl::new(&nameless).run().status, 400);
    assert_eq!(Curl::new(format!("{}/dir/a%20file", site.pool)).run().status, 400);
}

#[test]
fn an_upload_url_that_nobody_uses_expires_and_leaves_nothing() {
    let cluster = Cluster::start_with(1, "[timeouts]\nclient = \"1 s\"\n");
    let url = upload_url(cluster.door_address(), "/late", 3, None);
    std::thread::sleep(Duration::from_millis(2500));
    let mut client = Raw::connect(cluster.pools[0].data);

    client.send(format!("PUT {} HTTP/1.1\r\nHost: pool\r\nContent-Length: 3\r\n\r\nend", target(&url)));

    let answer = client.answer();
    assert!([307, 410].contains(&answer.status), "{}", answer.head);
    assert_eq!(cluster.curl("/late").run().status, 404);
    assert_eq!(cluster.pools[0].metrics().sum_where("penstock_space_bytes", "part=\"reserved\""), 0.0);
}

#[test]
fn a_client_that_sends_the_body_all_the_same_is_served_through_the_door() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 3 * MIB, 4);

    // No Expect: curl does not wait, whatever the size.
    let answer = site.curl("/through").upload(&file).header("Expect", "").run().expect(201);

    assert_eq!(answer.redirects, 0);
    assert_eq!(answer.uploaded, 3 * MIB);
    assert!(site.get("/through").expect(200).body == std::fs::read(&file).unwrap());
}

#[test]
fn a_body_that_comes_right_behind_its_head_goes_through_the_door_although_the_client_said_that_it_would_wait()
{
    let site = Site::start();
    let head = |name: &str| {
        format!(
            "PUT {name} HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer {}\r\nExpect: 100-continue\r\n\
             Content-Length: 5\r\n\r\n",
            site.token
        )
    };
    for (name, pieces) in [
        ("/at-once", vec![head("/at-once") + "12345"]),
        ("/begun", vec![head("/begun") + "1", "2345".into()]),
    ] {
        let mut client = Raw::connect(site.door_address());

        for piece in &pieces {
            client.send(piece);
        }

        let mut answer = client.answer();
        if answer.status == 100 {
            answer = client.answer();
        }
        assert_eq!(answer.status, 201, "{name}: {}{}", answer.head, answer.text());
        assert_eq!(site.get(name).expect(200).body, b"12345", "{name}");
    }
    let mut client = Raw::connect(site.door_address());
    client.send(head("/waits"));
    assert_eq!(client.answer().status, 307, "who really waits is sent to the pool");
}

#[test]
fn a_client_may_ask_for_a_redirect_or_decline_it() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 4);

    let declined = site.curl("/declined?redirect=false").upload(&file).run().expect(201);

    assert_eq!(declined.redirects, 0);
    let mut client = Raw::connect(site.door_address());
    client.send(format!(
        "PUT /asked?redirect=true HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer {}\r\nContent-Length: 5\r\n\r\n",
        site.token
    ));
    assert_eq!(client.answer().status, 307);
}

#[test]
fn several_requests_on_one_connection_to_the_pool_are_answered_in_order() {
    let site = Site::start();
    let file = site.room().join("in");
    std::fs::write(&file, "0123456789").unwrap();
    let _ = site.put("/file", &file).expect(201);
    let url = site.download_url("/file");
    let mut client = Raw::connect(site.pool_address());
    let get =
        |range: &str| format!("GET {} HTTP/1.1\r\nHost: pool\r\nRange: bytes={range}\r\n\r\n", target(&url));

    // All at once, before the first answer.
    client.send(format!("{}{}{}", get("0-1"), get("4-6"), get("-1")));

    for expected in ["01", "456", "9"] {
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (206, expected));
    }
}

#[test]
fn the_answer_to_an_upload_is_followed_by_the_next_request_of_the_connection() {
    let site = Site::start();
    let (first, second) = (site.upload_url("/first", 5), site.upload_url("/second", 6));
    let mut client = Raw::connect(site.pool_address());

    client.send(format!(
        "PUT {} HTTP/1.1\r\nHost: pool\r\nContent-Length: 5\r\n\r\nfirstPUT {} HTTP/1.1\r\nHost: pool\r\n\
         Transfer-Encoding: chunked\r\n\r\n6\r\nsecond\r\n0\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: pool\r\n\r\n",
        target(&first),
        target(&second),
    ));

    assert_eq!(client.answer().status, 201);
    assert_eq!(client.answer().status, 201);
    assert_eq!(client.answer().status, 204);
    assert_eq!(site.get("/first").expect(200).text(), "first");
    assert_eq!(site.get("/second").expect(200).text(), "second");
}

#[test]
fn a_redirect_of_a_piped_upload_sends_the_body_once() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 6);

    let pipe = Stdio::from(std::fs::File::open(&file).unwrap());
    let answer = site.curl("/piped").follow().upload_stdin(pipe).run().expect(201);

    assert_eq!(answer.redirects, 1);
    assert_eq!(answer.effective_url.split('?').next(), Some(format!("{}/piped", site.pool).as_str()));
}

#[test]
fn who_was_sent_to_a_file_gets_it_although_it_is_replaced_or_deleted_meanwhile() {
    let site = Site::start();
    let old = files::file(site.room(), "old", 2 * MIB, 1);
    let new = files::file(site.room(), "new", 2 * MIB, 2);
    for path in ["/replaced", "/deleted"] {
        let _ = site.put(path, &old).expect(201);
    }
    let urls = [site.download_url("/replaced"), site.download_url("/deleted")];

    let _ = site.put("/replaced", &new).expect(204);
    let _ = site.curl("/deleted").method("DELETE").run().expect(204);
    // Long enough for the pool to have been told.
    std::thread::sleep(Duration::from_millis(500));

    for url in urls {
        let download = Curl::new(&url).run().expect(200);
        assert!(download.body == files::bytes(2 * MIB, 1), "other bytes than the client was sent to");
    }
    assert!(site.get("/replaced").expect(200).body == files::bytes(2 * MIB, 2));
    let _ = site.get("/deleted").expect(404);
}
