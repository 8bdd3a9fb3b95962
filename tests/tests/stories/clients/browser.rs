//! A browser at a directory page: Chromium without a head, which runs what the page brings along and nothing else.

use penstock_tests::files;
use penstock_tests::site::{Plan, Site};

use super::must;

/// A name that would run something, if it could.
const HOSTILE: &str = "%3Cimg%20src=x%20onerror=%22document.title='taken'%22%3E";

/// The page as it is after its scripts have run.
fn dom(site: &Site, path: &str) -> String {
    dom_of(site, &site.url(&format!("{path}?authz={}", site.token)))
}

fn dom_of(site: &Site, url: &str) -> String {
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
            url,
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

#[test]
fn a_click_on_a_column_sorts_by_it_and_another_one_the_other_way() {
    let site = Plan::new().start();
    for (name, size) in [("a", 900), ("b", 12_000), ("c", 50), ("B", 7)] {
        let _ = site.put(&format!("/dir/{name}"), &files::file(site.room(), "in", size, 1)).expect(201);
    }
    let page = site.get("/dir/").expect(200).text();
    // The page with somebody who clicks, from a file: at the door no script would run but the page's own.
    let clicked = |column: usize, times: usize| {
        let click = format!("document.querySelectorAll('th button')[{column}].click();").repeat(times);
        let file = site.room().join("page.html");
        std::fs::write(&file, format!("{page}<script>{click}</script>")).unwrap();
        let page = dom_of(&site, &format!("file://{}", file.display()));
        let mut names: Vec<_> = ["a", "b", "c", "B"]
            .map(|name| (page.find(&format!("href=\"/dir/{name}\"")).expect("it is in the page"), name))
            .into();
        names.sort_unstable();
        names.into_iter().map(|(_, name)| name).collect::<String>()
    };

    assert_eq!(clicked(1, 1), "Bcab", "by size");
    assert_eq!(clicked(1, 2), "bacB", "the largest first");
    let (one, other) = (clicked(0, 1), clicked(0, 2));
    assert_eq!(one, other.chars().rev().collect::<String>(), "by name");
}
