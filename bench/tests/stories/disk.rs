//! `penstock-bench disk`.

use std::os::unix::fs::PermissionsExt as _;

use crate::program::{bench, bench_as_nobody, bench_in_own_world, names_in, start, text, within};

/// As short as can be.
const SHORT: [&str; 6] = ["--runs", "1", "--no-warm-up", "--size", "4MiB", "--json"];

fn short<'a>(directory: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["disk", directory], &SHORT[..], more].concat()
}

#[test]
fn an_empty_directory_is_measured_both_ways_and_is_empty_again() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("report.html");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();

    let said = bench(&short(text(&data), &["--html", text(&page)]));

    let json = said.json();
    assert_eq!(json["command"], "disk");
    let sections = json["sections"].as_array().unwrap();
    assert!(sections.iter().any(|section| section["name"] == "write-modes"), "{json}");
    for row in sections.iter().flat_map(|section| section["rows"].as_array().unwrap()) {
        assert!(row["figures"]["mib_per_second"]["median"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["figures"]["cpu_seconds_per_gib"]["median"].as_f64().unwrap() > 0.0, "{row}");
        let latency = |name: &str| row["latency_microseconds"][name].as_u64().unwrap();
        assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max"), "{row}");
    }
    assert!(json["notes"].to_string().contains("fio --directory="), "the same with fio is told");
    assert_eq!(names_in(&data), [""; 0]);

    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.matches("<svg").count() >= 8, "there are charts");
    for outside in ["http://", "https://", "src=", "href=", "url(", "<script"] {
        assert!(!page.contains(outside), "{outside} would need a network");
    }
}

#[test]
fn in_a_pipe_there_are_tables_and_no_progress_bars() {
    let dir = tempfile::tempdir().unwrap();
    let said = bench(&[
        "disk",
        text(dir.path()),
        "--runs",
        "1",
        "--size",
        "4MiB",
        "--direction",
        "read",
        "--depth",
        "1,2",
    ]);
    assert!(said.status.success(), "{}", said.err);
    assert!(said.out.contains("\nReading\n") && said.out.contains("MiB/s"), "{}", said.out);
    for line in said.err.lines() {
        assert!(line.starts_with("warning: "), "{line:?}");
    }
    assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "no colours either");
}

#[test]
fn a_directory_that_is_not_there_is_named_and_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("typo");
    let said = bench(&short(text(&missing), &[]));
    assert!(said.complaint().contains("typo does not exist; make an empty directory"), "{}", said.err);
    assert!(!missing.exists());
}

#[test]
fn data_of_others_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "precious").unwrap();
    let said = bench(&short(text(dir.path()), &[]));
    assert!(said.complaint().contains("is not empty (it has \"thesis.tex\")"), "{}", said.err);
    assert_eq!(std::fs::read_to_string(dir.path().join("thesis.tex")).unwrap(), "precious");
    assert_eq!(names_in(dir.path()), ["thesis.tex"]);
}

#[test]
fn a_page_that_exists_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (data, page) = (dir.path().join("data"), dir.path().join("mine.html"));
    std::fs::create_dir(&data).unwrap();
    std::fs::write(&page, "precious").unwrap();
    let said = bench(&short(text(&data), &["--html", text(&page)]));
    assert!(said.complaint().contains("mine.html exists and is left as it is"), "{}", said.err);
    assert_eq!(std::fs::read_to_string(&page).unwrap(), "precious");
}

#[test]
fn a_full_disk_is_found_before_anything_is_written() {
    let prepare = "mount -t tmpfs -o size=16m none /mnt";
    let Some(said) = bench_in_own_world(prepare, &["disk", "/mnt", "--size", "64MiB", "--runs", "1"]) else {
        return;
    };
    let complaint = said.complaint();
    assert!(
        complaint.contains("/mnt has 16 MiB free") && complaint.contains("smaller --size"),
        "{complaint}"
    );
}

#[test]
fn a_small_disk_is_measured_with_small_files_and_one_in_memory_is_called_so() {
    let prepare = "mount -t tmpfs -o size=64m none /mnt";
    let arguments = ["disk", "/mnt", "--runs", "1", "--no-warm-up", "--mode", "buffered", "--json"];
    let Some(said) = bench_in_own_world(prepare, &arguments) else { return };
    let json = said.json();
    assert_eq!(json["settings"]["file size"], "15 MiB");
    assert!(json["notes"].to_string().contains("is a file system in memory"), "{json}");
}

#[test]
fn a_read_only_disk_is_called_so() {
    let prepare = "mount -t tmpfs -o ro none /mnt";
    let Some(said) = bench_in_own_world(prepare, &["disk", "/mnt", "--runs", "1"]) else { return };
    assert!(said.complaint().contains("/mnt is on a file system that is mounted read-only"), "{}", said.err);
}

#[test]
fn a_user_without_privileges_measures_in_a_directory_of_theirs_and_in_no_other() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let Some(refused) = bench_as_nobody(&short(text(dir.path()), &[])) else { return };
    assert!(refused.complaint().contains("no permission to write in"), "{}", refused.err);

    std::os::unix::fs::chown(dir.path(), Some(65_534), Some(65_534)).unwrap();
    let allowed =
        bench_as_nobody(&short(text(dir.path()), &["--direction", "write"])).expect("it could be run before");
    assert_eq!(allowed.json()["command"], "disk");
}

#[test]
fn ctrl_c_ends_it_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (data, page) = (dir.path().join("data"), dir.path().join("report.html"));
    std::fs::create_dir(&data).unwrap();
    let arguments = ["disk", text(&data), "--size", "16MiB", "--runs", "1000", "--html", text(&page)];
    let running = start(&arguments);
    let descriptors = format!("/proc/{}/fd", running.id());
    // It is at work as soon as it has a file in the directory.
    within(|| {
        let links = std::fs::read_dir(&descriptors).into_iter().flatten().flatten();
        links
            .filter_map(|link| std::fs::read_link(link.path()).ok())
            .any(|path| path.starts_with(&data) && path != data)
    });

    let said = running.interrupted();

    assert_eq!(said.status.code(), Some(130), "{}", said.err);
    assert_eq!(said.out, "", "no half result");
    assert!(
        said.err.contains("interrupted; what was made for the measurement has been removed"),
        "{}",
        said.err
    );
    assert_eq!(names_in(&data), [""; 0]);
    assert!(!page.exists());
}

#[test]
fn options_that_make_no_sense_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (["--block", "3KiB"], "--block: 3 KiB is not 4 KiB, 8 KiB"),
        (["--size", "1000"], "--size: 1000 B is not a whole number of MiB"),
        (["--depth", "4096"], "more than half of this machine's memory"),
    ] {
        let said = bench(&[&["disk", text(dir.path()), "--jobs", "16"], &arguments[..]].concat());
        assert!(said.complaint().contains(expected), "{}", said.err);
    }
}
