//! Stories of write locks: LOCK, UNLOCK, the header If, and what they stand against.

use crate::site::{Reply, Site};
use hyper::StatusCode;

fn info(scope: &str) -> String {
    format!(
        "<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:{scope}/></D:lockscope><D:locktype><D:write/></D:locktype>\
         <D:owner>paul &amp; <D:href>http://paul/</D:href></D:owner></D:lockinfo>"
    )
}

async fn lock(site: &Site, path: &str, headers: &[(&str, &str)]) -> Reply {
    site.send("LOCK", path, headers, info("exclusive").as_bytes()).await
}

/// The token of a lock that was given, with its brackets.
fn token(reply: &Reply) -> String {
    assert!(reply.status.is_success(), "{}", reply.text());
    reply.header("lock-token").expect("no token").to_owned()
}

async fn put(site: &Site, path: &str, condition: &str) -> u16 {
    let headers = [("if", condition)];
    let headers = if condition.is_empty() { &headers[..0] } else { &headers[..] };
    site.send("PUT", path, headers, b"Wiki").await.status.as_u16()
}

#[tokio::test]
async fn a_lock_is_told_stands_against_others_and_ends() {
    let site = Site::open().await;
    site.put("/dir/file", b"Wiki").await;
    let taken = lock(&site, "/dir/file", &[("timeout", "Second-100"), ("depth", "0")]).await;
    assert_eq!(taken.status, StatusCode::OK);
    let token = token(&taken);
    for part in [
        "<d:exclusive/>",
        "<d:depth>0</d:depth>",
        "<D:owner xmlns:D=\"DAV:\">paul &amp; <D:href>http://paul/</D:href></D:owner>",
        "<d:timeout>Second-100</d:timeout>",
        &format!("<d:href>{}</d:href>", token.trim_matches(['<', '>'])),
        "<d:lockroot><d:href>/dir/file</d:href></d:lockroot>",
    ] {
        assert!(taken.text().contains(part), "{part}\n{}", taken.text());
    }

    let shown = format!("({token})");
    assert_eq!(put(&site, "/dir/file", "").await, 423);
    assert_eq!(put(&site, "/dir/file", &shown).await, 204);
    assert_eq!(put(&site, "/dir/file", "(<urn:uuid:0>)").await, 412);
    assert_eq!(put(&site, "/dir/file", &format!("({token}) (Not <DAV:no-lock>)")).await, 204);
    assert_eq!(put(&site, "/dir/file", "(Not <DAV:no-lock>)").await, 423);
    for (method, headers) in [("DELETE", &[][..]), ("PROPPATCH", &[]), ("MOVE", &[("destination", "/x")])] {
        let body: &[u8] = match method {
            "PROPPATCH" => b"<propertyupdate xmlns='DAV:'><set><prop><a/></prop></set></propertyupdate>",
            _ => b"",
        };
        let refused = site.send(method, "/dir/file", headers, body).await;
        assert_eq!(refused.status, StatusCode::LOCKED, "{method}");
        let named = "<d:lock-token-submitted><d:href>/dir/file</d:href></d:lock-token-submitted>";
        assert!(refused.text().contains(named), "{method}: {}", refused.text());
    }
    let second = lock(&site, "/dir/file", &[]).await;
    assert_eq!(second.status, StatusCode::LOCKED);
    assert!(second.text().contains("<d:no-conflicting-lock>"), "{}", second.text());

    let listing = site.send("PROPFIND", "/dir", &[("depth", "1")], b"").await;
    assert_eq!(listing.text().matches("<d:activelock>").count(), 1);

    let unlock = async |path, token: &str| {
        site.send("UNLOCK", path, &[("lock-token", token)], b"").await.status.as_u16()
    };
    assert_eq!(unlock("/dir/file", "<urn:uuid:0>").await, 409);
    assert_eq!(unlock("/dir", &token).await, 409);
    assert_eq!(unlock("/dir/file", "nonsense").await, 400);
    assert_eq!(unlock("/dir/file", &token).await, 204);
    assert_eq!(put(&site, "/dir/file", "").await, 204);
}

#[tokio::test]
async fn a_lock_on_a_free_name_makes_an_empty_file_and_on_a_locked_one_nothing() {
    let site = Site::open().await;
    let taken = lock(&site, "/dir/new", &[]).await;
    assert_eq!(taken.status, StatusCode::CREATED);
    assert_eq!(site.head("/dir/new").await.header("content-length"), Some("0"));
    assert_eq!(put(&site, "/dir/new", &format!("({})", token(&taken))).await, 204);

    let above = lock(&site, "/dir", &[]).await;
    assert_eq!(
        above.status,
        StatusCode::MULTI_STATUS,
        "the file's own lock is in the way of a deep one above"
    );
    for part in ["/dir/new</d:href><d:status>HTTP/1.1 423 ", "/dir</d:href><d:status>HTTP/1.1 424 "] {
        assert!(above.text().contains(part), "{part}\n{}", above.text());
    }
    site.send("MKCOL", "/deep", &[], b"").await;
    let deep = lock(&site, "/deep", &[]).await;
    assert_eq!(deep.status, StatusCode::OK);
    assert_eq!(lock(&site, "/deep/below", &[]).await.status, StatusCode::LOCKED);
    assert_eq!(site.head("/deep/below").await.status, StatusCode::NOT_FOUND, "nothing was made");
    assert_eq!(site.send("MKCOL", "/deep/below", &[], b"").await.status, StatusCode::LOCKED);
    let copied = site.send("COPY", "/dir/new", &[("destination", "/deep/copy")], b"").await;
    assert_eq!(copied.status, StatusCode::LOCKED);
    assert_eq!(put(&site, "/deep/below", &format!("</deep> ({})", token(&deep))).await, 201);
}

#[tokio::test]
async fn a_lock_that_was_taken_while_an_upload_ran_keeps_it_from_its_name() {
    let site = Site::open().await;
    site.put("/file", b"Wiki").await;
    let reply = site.put_expecting("/file", "", 4).await;
    assert_eq!(reply.status(), 307);
    token(&lock(&site, "/file", &[]).await);

    let uploaded = crate::site::send_to(reply.location(), "PUT", &[("content-length", "4")], b"kiwi").await;

    assert_eq!(uploaded.status, StatusCode::LOCKED);
    site.eventually("its replica goes", async |site| site.pool.replicas().len() == 1).await;
}

#[tokio::test]
async fn locks_are_shared_and_refreshed_and_bounded_in_time() {
    let short = penstock_door::config::value::Period(std::time::Duration::from_secs(1000));
    let site = Site::open_with(|config| config.timeouts.lock = short).await;
    site.put("/dir/file", b"Wiki").await;
    let share =
        async || site.send("LOCK", "/dir", &[("timeout", "Infinite")], info("shared").as_bytes()).await;
    let (one, other) = (share().await, share().await);
    assert!(one.text().contains("Second-1000<") && other.text().contains("<d:shared/>"));
    assert_eq!(put(&site, "/dir/file", &format!("</dir> ({})", token(&other))).await, 204);

    let condition = format!("({})", token(&one));
    let refresh = async |path, condition: &str| {
        site.send("LOCK", path, &[("if", condition), ("timeout", "Second-5")], b"").await
    };
    let refreshed = refresh("/dir/file", &condition).await;
    assert_eq!(refreshed.status, StatusCode::OK);
    assert!(refreshed.text().contains("Second-5<") && refreshed.header("lock-token").is_none());
    assert_eq!(refresh("/", &condition).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(refresh("/dir", "(<urn:uuid:0>)").await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(site.send("LOCK", "/dir", &[], b"").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_token_is_good_only_for_who_took_the_lock() {
    let site = Site::open().await;
    site.put("/file", b"Wiki").await;
    let bearer = format!("Bearer {}", site.token());
    let admin = ("authorization", bearer.as_str());
    let token = token(&lock(&site, "/file", &[admin]).await);
    let shown = format!("({token})");
    assert_eq!(put(&site, "/file", &shown).await, 423, "the lock is not anonymous's");
    let unlock = async |headers: &[(&str, &str)]| {
        let headers = [headers, &[("lock-token", token.as_str())]].concat();
        site.send("UNLOCK", "/file", &headers, b"").await.status.as_u16()
    };
    assert_eq!(unlock(&[]).await, 403);
    assert_eq!(unlock(&[admin]).await, 204);
}

#[tokio::test]
async fn a_lock_that_makes_no_sense_is_refused() {
    let site = Site::open().await;
    site.put("/file", b"Wiki").await;
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let table: [(&str, Headers<'_>, &str, u16); 6] = [
        ("/file", &[("depth", "1")], &info("exclusive"), 400),
        ("/file", &[], &info("other"), 400),
        ("/file", &[], "<propfind xmlns='DAV:'/>", 400),
        ("/file", &[("if", "nonsense")], &info("exclusive"), 400),
        ("/file/below", &[], &info("exclusive"), 409),
        ("/file", &[("if", "([\"other\"])")], &info("exclusive"), 412),
    ];
    for (path, headers, body, expected) in table {
        let reply = site.send("LOCK", path, headers, body.as_bytes()).await;
        assert_eq!(reply.status.as_u16(), expected, "{path} {headers:?} {body}: {}", reply.text());
    }
}

#[tokio::test]
async fn locks_outlive_the_door() {
    let mut site = Site::open().await;
    site.put("/file", b"Wiki").await;
    let token = token(&lock(&site, "/file", &[]).await);
    site.stop_door().await;
    site.start_door().await;
    assert_eq!(put(&site, "/file", "").await, 423);
    assert_eq!(put(&site, "/file", &format!("({token})")).await, 204);
}

#[tokio::test]
async fn nobody_takes_all_locks_and_a_lock_that_is_refused_leaves_no_file() {
    const OF_PATH: usize = 100;
    const OF_ONE: usize = 1000;
    let site = Site::open().await;
    let shared = async |path: &str, headers: &[(&str, &str)]| {
        site.send("LOCK", path, headers, info("shared").as_bytes()).await
    };
    let names: Vec<String> = (0..OF_ONE / OF_PATH).map(|number| format!("/file{number}")).collect();
    for name in &names {
        site.put(name, b"Wiki").await;
        for _ in 0..OF_PATH {
            assert_eq!(shared(name, &[]).await.status, StatusCode::OK);
        }
    }

    let on_one = shared(&names[0], &[]).await;
    let of_one = shared("/new", &[]).await;

    assert_eq!((on_one.status.as_u16(), of_one.status.as_u16()), (503, 503));
    assert!(of_one.text().contains("you hold 1000 locks"), "{}", of_one.text());
    assert_eq!(site.send("GET", "/new", &[], b"").await.status, StatusCode::NOT_FOUND, "no file is left");
    let authorization = format!("Bearer {}", site.token());
    let other = shared("/new", &[("authorization", &authorization)]).await;
    assert_eq!(other.status, StatusCode::CREATED, "somebody else has locks left: {}", other.text());
    let here = shared(&names[0], &[("authorization", &authorization)]).await;
    assert!(here.text().contains("there are 100 locks on it"), "{}", here.text());
}
