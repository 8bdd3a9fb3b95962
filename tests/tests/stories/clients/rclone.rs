//! rclone: a tree of thousands of small files goes up, is compared, changed, and comes down again.

use std::fs;
use std::path::Path;

use penstock_tests::files::{self, MIB};
use penstock_tests::site::{Plan, Site};

use super::must;

/// Small files in the tree.
const FILES: usize = 2000;
/// Directories that hold them.
const DIRECTORIES: usize = 40;

fn tree(at: &Path) {
    for number in 0..FILES {
        let directory = at.join(format!("d{}", number % DIRECTORIES));
        fs::create_dir_all(&directory).unwrap();
        // Of every length from nothing on, so that none is like another; some names are no names for a URL.
        let name = if number % 50 == 0 { format!("ü #{number}% &?") } else { format!("f{number}") };
        fs::write(directory.join(name), "x".repeat(number % 977) + &number.to_string()).unwrap();
    }
    let _ = files::file(at, "large", 20 * MIB, 7);
}

fn remote(site: &Site) -> String {
    format!(":webdav,url=\"{}\",bearer_token=\"{}\":tree", site.door, site.token)
}

fn rclone(site: &Site, arguments: &[&str]) -> String {
    let common = ["--config", "/dev/null", "--transfers", "8", "--checkers", "8"];
    must(site.room(), "rclone", &[arguments, &common].concat())
}

fn is_same(left: &Path, right: &Path) -> bool {
    std::process::Command::new("diff").arg("-r").arg(left).arg(right).status().unwrap().success()
}

#[test]
fn a_tree_goes_up_is_compared_and_comes_down_the_same() {
    let site = Plan::new().start();
    let (up, down) = (site.room().join("up"), site.room().join("down"));
    tree(&up);
    let (here, there, back) = (up.to_str().unwrap(), remote(&site), down.to_str().unwrap());

    rclone(&site, &["sync", here, &there]);
    rclone(&site, &["check", "--download", here, &there]);
    assert!(rclone(&site, &["size", "--json", &there]).contains(&format!("\"count\":{}", FILES + 1)));

    // What is changed, gone and new is the only thing that moves.
    fs::write(up.join("d1/f1"), "changed").unwrap();
    fs::remove_dir_all(up.join("d2")).unwrap();
    fs::write(up.join("new"), "new").unwrap();
    rclone(&site, &["sync", here, &there]);
    rclone(&site, &["moveto", &format!("{there}/new"), &format!("{there}/moved")]);
    rclone(&site, &["copyto", &format!("{there}/moved"), &format!("{there}/copied")]);
    rclone(&site, &["sync", &there, back]);

    fs::rename(up.join("new"), up.join("moved")).unwrap();
    fs::copy(up.join("moved"), up.join("copied")).unwrap();
    assert!(is_same(&up, &down), "what came down is not what went up");
    rclone(&site, &["purge", &there]);
    assert_eq!(site.curl("/tree").head().run().status, 404);
}
