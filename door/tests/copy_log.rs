//! The story of what the log says of a copy. Alone in its process, as a log that is looked at belongs to one story.

#[path = "stories/site/mod.rs"]
mod site;

use crate::site::Site;
use crate::site::copying::SOURCE;
use hyper::StatusCode;

/// A token for a remote server; it must never be seen.
const THEIR_TOKEN: &str = "Bearer their-very-secret-token";

#[tokio::test]
async fn no_credential_of_a_copy_is_in_the_log() {
    let log = crate::site::log::capture();
    let site = Site::open().await;
    let secret_source = format!("{SOURCE}?authz=their-very-secret-token");
    let headers = [("transferheaderauthorization", THEIR_TOKEN), ("source", secret_source.as_str())];
    for ends_well in [true, false] {
        let asked = site.pool.requests().len();
        let mut copying = site.copy("/file", &headers).await;
        site.eventually("the pool is asked", async |site| site.pool.requests().len() > asked).await;
        if ends_well {
            site.pool.finish_pull(b"Wiki");
        } else {
            site.pool.fail_copy("rejected GET: 404 Not Found");
        }
        copying.end().await.result.ok();
    }
    // Values that are refused are not shown either.
    let refused = site.copy("/file", &[("source", SOURCE), ("copy-header", "their-very-secret-token")]).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    let text = log.text();
    assert!(text.contains("https://source.example.org") && text.contains("copy ended"), "{text}");
    assert!(!text.contains("secret") && !text.contains(site.token()), "{text}");
}
