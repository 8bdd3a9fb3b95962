//! cadaver, which follows no redirect: its bytes go through the door.

use std::fs;

use penstock_tests::files::{self, MIB};
use penstock_tests::site::Plan;

use super::must;

#[test]
fn a_session_of_cadaver_does_all_that_it_is_told() {
    let site = Plan::new().anonymous("write").start();
    let room = site.room();
    let file = files::file(room, "in", 3 * MIB, 1);
    // cadaver takes its commands from a file, and says what became of each.
    let script = "mkcol dir\ncd dir\nput in\ncopy in copy\nmove copy moved\nlock moved\nunlock moved\n\
        propset moved colour red\npropget moved colour\nget moved out\ndelete in\nls\ncd ..\nmove dir other\nls\nquit\n";
    fs::write(room.join("rc"), script).unwrap();

    let said = must(room, "cadaver", &["-r", "rc", &site.url("/")]);

    assert!(!said.contains("failed") && !said.contains("Could not"), "{said}");
    assert!(said.contains("red"), "the property that was set: {said}");
    assert!(fs::read(room.join("out")).unwrap() == fs::read(&file).unwrap());
    assert_eq!(site.curl("/other/moved").head().run().status, 200);
    assert_eq!(site.curl("/other/in").head().run().status, 404);
}
