//! litmus, the test suite for WebDAV servers.

use penstock_tests::site::Plan;

use super::run;

#[test]
fn all_of_litmus_passes() {
    // Its tests want what the RFC says of missing parents, and not what the grid is used to.
    let site = Plan::new().anonymous("write").config("create_parents = false\n").start();

    let said = run(site.room(), "litmus", &["-k", &site.url("/")]);

    for suite in ["basic", "copymove", "props", "locks", "http"] {
        let line = said.text.lines().find(|line| line.contains(&format!("summary for `{suite}'")));
        let line = line.unwrap_or_else(|| panic!("{suite} did not run:\n{}", said.text));
        assert!(line.contains(" 0 failed"), "{line}\n{}", said.text);
        assert!(!line.contains("of 0 tests"), "{line}");
    }
    assert!(said.ok && !said.text.contains("FAIL") && !said.text.contains("SKIPPED"), "{}", said.text);
    assert!(!said.text.contains("WARNING"), "{}", said.text);
}
