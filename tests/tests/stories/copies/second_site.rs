//! Another Penstock as source and as destination: through its door, and at its data port over TLS.

use penstock_door_proto::v1 as proto;
use penstock_tests::files::{self, MIB};
use penstock_tests::lone_pool::LonePool;
use penstock_tests::macaroon;
use penstock_tests::pool_client::{self, Client, download, finished, keep, ready_url, upload};
use penstock_tests::site::Site;

use super::{Here, failed, succeeded};

const SIZES: [u64; 4] = [0, 1, 3 * MIB + 17, 40 * MIB + 1];

/// A token of that site for what is below `/data`, as its user would have narrowed it.
fn token_for(there: &Site, activities: &str) -> String {
    macaroon::narrow(&there.token, &["path:/data", &format!("activity:{activities}")])
}

#[test]
fn files_come_from_another_site_with_a_token_that_allows_no_more_than_that() {
    let (here, there) = (Here::start(), Site::start());
    let token = token_for(&there, "DOWNLOAD,READ_METADATA");
    for size in SIZES {
        let original = files::file(here.room.path(), "in", size, size + 1);
        let _ = there.put(&format!("/data/{size}"), &original).expect(201);
        let (path, source) = (format!("/{size}"), there.url(&format!("/data/{size}")));
        let pull = |token: &str| {
            let pull = here.pull(&path, &source).header("X-Number-Of-Streams", "3");
            pull.header("TransferHeaderAuthorization", &format!("Bearer {token}")).run()
        };

        let markers = succeeded(pull(&token));

        here.has(&path, &original);
        assert_eq!(markers.last().number("Stripe Bytes Transferred"), size);
        if size > 0 {
            let remote = format!("tcp:{}", there.pool_address());
            assert_eq!(markers.last().get("Stripe Source"), Some(remote.as_str()), "past the other door");
        }
    }
    let denied = token_for(&there, "LIST");
    let pull = here.pull("/denied", &there.url("/data/1"));
    let text = failed(pull.header("TransferHeaderAuthorization", &format!("Bearer {denied}")).run());
    assert_eq!(text, "rejected GET: 403 Permission denied: the token does not allow this activity");
    let text = failed(here.pull("/denied", &there.url("/data/1")).run());
    assert!(text.starts_with("rejected GET: 401 Permission denied: a token is needed"), "{text}");
    assert_eq!(here.pair.get("/denied").status, 404);
    here.is_at_rest();
    for log in [here.pair.door.stderr(), here.pair.pool.daemon.stderr(), there.daemon.stderr()] {
        assert!(!log.contains(&token) && !log.contains(&denied), "{log}");
    }
}

#[test]
fn files_go_to_another_site_which_verifies_them_before_it_gives_them_a_name() {
    let (here, there) = (Here::start(), Site::start());
    let token = token_for(&there, "UPLOAD,READ_METADATA");
    for size in SIZES {
        let original = files::file(here.room.path(), "in", size, size + 1);
        let (path, name) = (format!("/{size}"), format!("/data/{size}"));
        let _ = here.pair.put(&path, &original).expect(201);
        let push = || here.push(&path, &there.url(&name));

        let pushed = push().header("TransferHeaderAuthorization", &format!("Bearer {token}")).run();

        let markers = succeeded(pushed);
        let bytes = std::fs::read(&original).unwrap();
        let got = there.curl(&name).follow().header("Want-Digest", "adler32").run().expect(200);
        assert!(got.body == bytes, "{size}");
        let digest = format!("adler32={}", files::adler32_hex(&bytes));
        assert_eq!(got.header("Digest"), Some(digest.as_str()), "{size}");
        assert_eq!(markers.last().number("Stripe Bytes Transferred"), size);
    }
    let push = here.push("/1", &there.url("/elsewhere"));
    let text = failed(push.header("TransferHeaderAuthorization", &format!("Bearer {token}")).run());
    assert_eq!(text, "rejected PUT: 403 Permission denied: the token does not reach this path");
    assert_eq!(there.get("/elsewhere").status, 404);
    here.is_at_rest();
}

/// What a door asks its pool for whose client came by https.
fn secure(mut request: proto::TransferRequest) -> proto::TransferRequest {
    if let Some(client) = &mut request.client {
        client.secure = true;
    }
    request
}

#[test]
fn files_go_to_and_come_from_the_data_port_of_another_pool_over_tls() {
    let here = Here::start();
    // Its door is this story.
    let (there, _) = LonePool::start_secured(&here.authority.issue("there"), "");
    for size in [1, 3 * MIB + 17, 20 * MIB] {
        let original = files::file(here.room.path(), "in", size, size + 1);
        let (path, back) = (format!("/{size}"), format!("/back/{size}"));
        let _ = here.pair.put(&path, &original).expect(201);

        let (id, replica) = (format!("put-{size}"), format!("replica-put-{size}"));
        let pushed = there.client().call(async |mut door: Client| {
            let request = secure(upload(&id, "/file"));
            let mut events = pool_client::start(&mut door, request).await.unwrap();
            let url = ready_url(&mut events).await;
            assert!(url.starts_with("https://localhost:"), "{url}");
            let pushing = here.push(&path, &url).start();
            let stored = finished(&mut events).await;
            assert_eq!(stored.size, size);
            assert!(keep(&mut door, &id).await);
            pushing.wait()
        });
        let _ = succeeded(pushed);

        let source = there.client().call(async |mut door: Client| {
            let request = secure(download(&format!("get-{size}"), "/file", &replica));
            let mut events = pool_client::start(&mut door, request).await.unwrap();
            ready_url(&mut events).await
        });
        assert!(source.starts_with("https://localhost:"), "{source}");
        let _ = succeeded(here.pull(&back, &source).header("X-Number-Of-Streams", "2").run());

        here.has(&back, &original);
    }
    assert!(there.metrics().sum("penstock_data_tls_handshakes_total") > 0.0);
    assert_eq!(there.metrics().sum("penstock_data_tls_failures_total"), 0.0);
    here.is_at_rest();
}
