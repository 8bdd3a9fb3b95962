//! `penstock-bench door`, against a door and a pool that run.

use std::net::TcpListener;

use crate::program::{bench, start, text, within};
use crate::site::Site;

/// As short as can be.
const SHORT: [&str; 9] =
    ["--seconds", "0.2", "--runs", "1", "--no-warm-up", "--parallel", "1,3", "--files", "4"];

fn short<'a>(url: &'a str, token_file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["door", url, "--token-file", token_file], &SHORT[..], more].concat()
}

#[test]
fn whole_redirected_files_are_measured_and_nothing_stays() {
    let site = Site::with_door();
    let (url, token, own) = (site.door_url(), site.token_file(), std::process::id().to_string());

    let json = bench(&short(&url, text(&token), &["--pid", &own, "--json"])).json();

    let sections = json["sections"].as_array().unwrap();
    let names: Vec<&str> = sections.iter().map(|section| section["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["put", "get"]);
    for row in sections.iter().flat_map(|section| section["rows"].as_array().unwrap()) {
        let median = |figure: &str| row["figures"][figure]["median"].as_f64().unwrap();
        assert!(median("requests_per_second") > 0.0 && median("failed") == 0.0, "{row}");
        assert!(row["figures"]["cpu_microseconds_per_request"].is_object(), "{row}");
        let (redirect, data) = (median("redirect_p50_microseconds"), median("data_p50_microseconds"));
        let whole = row["latency_microseconds"]["max"].as_f64().unwrap();
        assert!(0.0 < redirect && 0.0 < data && redirect < whole && data < whole, "{row}");
    }
    assert!(!site.at_the_door("GET", "/").contains("penstock-bench"), "the directory is gone");
    within(|| site.replicas().is_empty());
}

#[test]
fn ctrl_c_removes_the_directory() {
    let site = Site::with_door();
    let (url, token) = (site.door_url(), site.token_file());
    let running = start(&["door", &url, "--token-file", text(&token), "--files", "4", "--seconds", "600"]);
    within(|| site.replicas().len() > 4);

    let said = running.interrupted();

    assert_eq!(said.status.code(), Some(130), "{}", said.err);
    assert_eq!(said.out, "", "no half result");
    assert!(!site.at_the_door("GET", "/").contains("penstock-bench"), "the directory is gone");
    within(|| site.replicas().is_empty());
}

#[test]
fn a_directory_that_is_there_is_left_alone() {
    let site = Site::with_door();
    let (url, token) = (site.door_url(), site.token_file());
    assert!(site.at_the_door("MKCOL", "/mine").starts_with("HTTP/1.1 201"));

    let said = bench(&short(&url, text(&token), &["--directory", "/mine"]));

    assert!(
        said.complaint().contains("/mine exists at the door; nothing is measured in what was there"),
        "{}",
        said.err
    );
    assert!(site.at_the_door("GET", "/").contains("mine"));
}

#[test]
fn a_door_that_refuses_the_token_says_what_to_do_and_the_token_is_not_shown() {
    let site = Site::with_door();
    let url = site.door_url();
    let none = bench(&["door", &url]);
    assert!(none.complaint().contains("wants a token") && none.err.contains("--token-file"), "{}", none.err);

    let wrong = bench(&["door", &url, "--token", "MDAwxyzzy"]);
    let complaint = wrong.complaint();
    assert!(complaint.contains("refuses the token"), "{complaint}");
    assert!(!complaint.contains("xyzzy"), "{complaint}");
}

#[test]
fn a_door_that_does_not_run_is_named() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = bench(&["door", &format!("http://{free}")]);
    let complaint = said.complaint();
    assert!(complaint.contains(&free) && complaint.contains("does the door run"), "{complaint}");
}

#[test]
fn a_door_without_a_pool_that_takes_files_says_why() {
    let site = Site::with_door();
    let (url, token) = (site.door_url(), site.token_file());
    site.drain_pool();
    let said = bench(&short(&url, text(&token), &[]));
    let complaint = said.complaint();
    assert!(complaint.contains("the first uploads failed") && complaint.contains("drain"), "{complaint}");
    assert!(!site.at_the_door("GET", "/").contains("penstock-bench"), "the directory is gone");
}

#[test]
fn a_door_that_moves_the_bytes_itself_is_not_what_is_measured() {
    for (key, change) in [
        (
            "redirect.write",
            (|config: &mut penstock_door::Config| config.redirect.write = false) as fn(&mut _),
        ),
        ("redirect.read", |config: &mut penstock_door::Config| config.redirect.read = false),
    ] {
        let site = Site::with_such_a_door(change);
        let (url, token) = (site.door_url(), site.token_file());
        let said = bench(&short(&url, text(&token), &[]));
        assert!(said.complaint().contains(&format!("({key} = false)")), "{}", said.err);
    }
}

#[test]
fn options_that_make_no_sense_are_explained() {
    for (arguments, expected) in [
        (&["--size", "1GiB"][..], "penstock-bench pool measures large ones"),
        (&["--space", "1MiB", "--files", "256"], "do not fit into --space 1 MiB"),
        (&["--pid", "4294967295"], "--pid: cannot look at process"),
    ] {
        let said = bench(&[&["door", "http://127.0.0.1:9"], arguments].concat());
        assert!(said.complaint().contains(expected), "{}", said.err);
    }
}
