//! davix, the client of the grid: every tool that it has.

use std::fs;

use penstock_tests::files::{self, MIB};
use penstock_tests::site::{Plan, Site};

use super::{must, run};

fn davix(site: &Site, tool: &str, arguments: &[&str]) -> String {
    let authorization = format!("Authorization: Bearer {}", site.token);
    must(site.room(), tool, &[&["-H", authorization.as_str()], arguments].concat())
}

#[test]
fn every_tool_of_davix_does_its_work() {
    let site = Plan::new().start();
    let room = site.room();
    let file = files::file(room, "in", 3 * MIB, 1);
    let input = file.to_str().unwrap();

    davix(&site, "davix-mkdir", &[&site.url("/dir")]);
    davix(&site, "davix-put", &[input, &site.url("/dir/file")]);
    davix(&site, "davix-get", &[&site.url("/dir/file"), "out"]);
    assert!(fs::read(room.join("out")).unwrap() == fs::read(&file).unwrap());

    let listing = davix(&site, "davix-ls", &["-l", &site.url("/")]);
    let line = listing.lines().find(|line| line.ends_with("dir")).unwrap_or_else(|| panic!("{listing}"));
    assert!(line.starts_with("drwxrwxrwx"), "its mode is read: {listing}");
    let listing = davix(&site, "davix-ls", &["-l", &site.url("/dir")]);
    assert!(listing.contains(&(3 * MIB).to_string()) && listing.contains("-rw-rw-rw-"), "{listing}");

    let owners = "<propfind xmlns=\"DAV:\"><prop><owner/><group/></prop></propfind>";
    let told = site
        .curl("/dir/file")
        .method("PROPFIND")
        .header("Depth", "0")
        .arg("--data-binary")
        .arg(owners)
        .run()
        .expect(207);
    let told = String::from_utf8_lossy(&told.body).into_owned();
    assert!(told.contains("owner") && !told.contains("404"), "davix asks for both with everything: {told}");

    davix(&site, "davix-cp", &[&site.url("/dir/file"), &site.url("/dir/copy")]);
    // It ends with 255 whatever it is answered (0.8.4).
    let authorization = format!("Authorization: Bearer {}", site.token);
    let words = ["-H", &authorization, &site.url("/dir/copy"), &site.url("/moved")];
    let moved = run(room, "davix-mv", &words);
    assert!(!moved.text.contains("Error"), "{}", moved.text);
    let copied = site.get("/moved").expect(200);
    assert!(copied.body == fs::read(&file).unwrap());

    davix(&site, "davix-rm", &[&site.url("/moved")]);
    davix(&site, "davix-rm", &[&site.url("/dir")]);
    assert_eq!(site.curl("/dir").head().run().status, 404);
    assert!(site.get("/dir/file").status == 404);
}

#[test]
fn davix_says_what_is_wrong_in_words_that_fts_knows() {
    let site = Plan::new().start();
    let authorization = format!("Authorization: Bearer {}", site.token);

    let missing = run(site.room(), "davix-get", &["-H", &authorization, &site.url("/none"), "out"]);
    let denied = run(site.room(), "davix-get", &[&site.url("/none"), "out"]);

    assert!(!missing.ok && missing.text.to_lowercase().contains("not found"), "{}", missing.text);
    assert!(!denied.ok, "{}", denied.text);
}
