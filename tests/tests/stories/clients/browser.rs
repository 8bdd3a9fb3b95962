//! A browser at a directory page: Chromium without a head, which runs what the page brings along and nothing else.

use penstock_tests::files;
use penstock_tests::site::{Plan, Site};

use super::must;

/// A name that would run something, if it could.
const HOSTILE: &str = "%3Cimg%20src=x%20onerror=%22document.title='taken'%22%3E";

/// The page as it is after its scripts have run.
fn dom(site: &Site, path: &str) -> String {
    let url = site.url(&format!("{path}?authz={}", site.token));
    must(
        site.room(),
        "chromium",
        &[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--virtual-time-budget=2000",
            "--dump-dom",
            &url,
        ],
    )
}

#[test]
fn the_page_can_be_sorted_its_links_carry_the_token_and_no_name_runs_anything() {
    let site = Plan::new().start();
    let file = files::file(site.room(), "in", 5000, 1);
    for name in ["plain", HOSTILE, "%E2%80%AEtxt.exe", "sub/deep"] {
        let _ = site.put(&format!("/dir/{name}"), &file).expect(201);
    }

    let page = dom(&site, "/dir");

    assert!(page.contains("<title>/dir</title>"), "no name became anything else: {page}");
    assert_eq!(page.matches("<th scope=\"col\"").count(), 4);
    assert_eq!(page.matches("<button type=\"button\">").count(), 3, "the script ran: {page}");
    assert!(page.contains("&lt;img src=x onerror="), "{page}");
    assert!(!page.contains("<img"), "{page}");
    assert!(page.contains("<bdi>\u{fffd}txt.exe</bdi>"), "it does not look like exe.txt: {page}");
    let token = format!("?authz={}", site.token);
    for link in ["/dir/plain", "/dir/sub/", "/"] {
        assert!(page.contains(&format!("href=\"{link}{token}\"")), "{link}\n{page}");
    }
}
