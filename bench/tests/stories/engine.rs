//! `penstock-bench engine`.

use crate::program::{bench, names_in, start, text, within};

#[test]
fn all_four_do_all_three_jobs_and_nothing_stays() {
    let dir = tempfile::tempdir().unwrap();
    // Neither whole MiB nor whole disk blocks: every byte has to come through.
    let said = bench(&[
        "engine",
        text(dir.path()),
        "--size",
        "3000001",
        "--clients",
        "1,2",
        "--runs",
        "1",
        "--no-warm-up",
        "--json",
    ]);
    let json = said.json();
    let sections = json["sections"].as_array().unwrap();
    let names: Vec<&str> = sections.iter().map(|section| section["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["hot", "cold", "put"]);
    for section in sections {
        let rows = section["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 8);
        for row in rows {
            assert!(row["figures"]["mib_per_second"]["median"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["figures"]["cpu_seconds_per_gib"]["median"].as_f64().unwrap() > 0.0, "{row}");
        }
    }
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn ctrl_c_removes_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&["engine", text(dir.path()), "--size", "16MiB", "--runs", "1000"]);
    within(|| !names_in(dir.path()).is_empty());
    let said = running.interrupted();
    assert_eq!(said.status.code(), Some(130), "{}", said.err);
    assert_eq!(names_in(dir.path()), [""; 0]);
}

#[test]
fn data_of_others_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("0"), "precious").unwrap();
    let said = bench(&["engine", text(dir.path())]);
    assert!(said.complaint().contains("is not empty"), "{}", said.err);
    assert_eq!(std::fs::read_to_string(dir.path().join("0")).unwrap(), "precious");
}
