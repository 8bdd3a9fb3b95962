//! The status page in a real browser, without a screen.

use std::process::Command;

use penstock_tests::curl::Curl;
use penstock_tests::lone_pool::LonePool;
use penstock_tests::pool_client::{Client, start, upload};
use penstock_tests::room::Room;

/// What the page is once its script has run.
fn rendered(url: &str) -> String {
    let room = Room::for_everyone();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        // Nothing but this machine can be reached: what the page would ask of others fails.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        .arg(format!("--user-data-dir={}", room.join("profile").display()))
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(url)
        .output()
        .expect("chromium is installed (Debian: apt-get install chromium)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_browser_shows_health_space_and_what_runs() {
    let pool = LonePool::start("");
    pool.client().call(async |mut door: Client| {
        let mut request = upload("t1", "/data/<b>bold</b>.root");
        if let Some(client) = &mut request.client {
            client.subject = "ada".to_owned();
        }
        let _events = start(&mut door, request).await.unwrap();

        let dom = rendered(&format!("http://{}/", pool.admin));

        assert!(dom.contains("<title>pool01: ok</title>"), "{dom}");
        assert!(dom.contains("class=\"badge ok\""), "{dom}");
        assert!(dom.contains("available of"), "{dom}");
        assert!(
            dom.contains("upload /data/&lt;b&gt;bold&lt;/b&gt;.root"),
            "names are text, never markup: {dom}"
        );
        assert!(dom.contains("ada"), "{dom}");
        assert!(
            dom.contains("id=\"silence\" class=\"alarm\" role=\"alert\" hidden"),
            "it has been answered: {dom}"
        );
    });
}

#[test]
fn nobody_can_change_anything_there() {
    let pool = LonePool::start("");
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for place in ["/", "/status", "/transfers", "/metrics"] {
            let answer = Curl::new(format!("http://{}{place}", pool.admin)).method(method).run();
            assert_eq!(answer.status, 405, "{method} {place}");
        }
    }
}
