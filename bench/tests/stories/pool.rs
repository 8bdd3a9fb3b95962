//! `penstock-bench pool`, against a pool that runs.

use std::net::TcpListener;

use penstock_pool::marking::Ports;

use crate::program::{bench, bench_as_nobody, start, text, within};
use crate::site::Site;

fn short<'a>(socket: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let common = ["pool", "--socket", socket, "--size", "1MiB", "--space", "64MiB"];
    [&common[..], more].concat()
}

#[test]
fn everything_a_door_orders_is_measured_and_nothing_stays() {
    let site = Site::new();
    let socket = site.socket();
    let more = ["--seconds", "0.1", "--runs", "1", "--no-warm-up", "--parallel", "1,3", "--json"];

    let json = bench(&short(text(&socket), &more)).json();

    assert_eq!(json["settings"]["pool"], "measured");
    let sections = json["sections"].as_array().unwrap();
    let names: Vec<&str> = sections.iter().map(|section| section["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["put", "first-get", "get", "ranges", "ranges", "small-put", "small-get", "mixed"]);
    for section in sections {
        let rows = section["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        for row in rows {
            assert!(row["figures"]["requests_per_second"]["median"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["latency_microseconds"]["count"].as_u64().unwrap() > 0, "{row}");
            let cpu = ["cpu_seconds_per_gib", "cpu_microseconds_per_request"];
            assert!(
                cpu.iter().any(|figure| row["figures"][*figure].is_object()),
                "the socket tells the process: {row}"
            );
        }
    }
    assert!(site.replicas().is_empty(), "{:?}", site.replicas());
}

#[test]
fn marked_transfers_are_measured_beside_unmarked_ones() {
    let site = Site::new();
    let socket = site.socket();
    let more = ["--cases", "put,get", "--seconds", "0.1", "--runs", "1", "--no-warm-up", "--parallel", "2"];

    let json = bench(&short(text(&socket), &[&more[..], &["--scitag", "130", "--json"]].concat())).json();

    for section in json["sections"].as_array().unwrap() {
        let rows = section["rows"].as_array().unwrap();
        let marked: Vec<&str> = rows.iter().map(|row| row["case"]["marked"].as_str().unwrap()).collect();
        assert_eq!(marked, ["no", "yes"], "{section}");
    }
    assert!(has_no_labels(&json), "{}", json["notes"]);
    let refused = bench(&short(text(&socket), &["--scitag", "64"]));
    assert!(refused.err.contains("64 is no SciTag"), "{}", refused.err);
}

#[test]
fn marked_transfers_over_ipv6_have_flow_labels() {
    let site = Site::with(|config, _| {
        config.data_listen = "[::1]:0".parse().unwrap();
        config.marking.ports = Ports::Any(2);
    });
    let socket = site.socket();
    let more = ["--cases", "put", "--seconds", "0.1", "--runs", "1", "--no-warm-up", "--parallel", "1"];

    let json = bench(&short(text(&socket), &[&more[..], &["--scitag", "130", "--json"]].concat())).json();

    assert!(!has_no_labels(&json), "{}", json["notes"]);
}

/// Whether the report warns that labels were not measured.
fn has_no_labels(json: &serde_json::Value) -> bool {
    json["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("no flow label"))
}

#[test]
fn the_ramp_ends_by_itself() {
    let site = Site::new();
    let socket = site.socket();
    let more = [
        "--cases",
        "put",
        "--seconds",
        "0.05",
        "--runs",
        "1",
        "--no-warm-up",
        "--most-parallel",
        "4",
        "--json",
    ];
    let json = bench(&short(text(&socket), &more)).json();
    let rows = json["sections"][0]["rows"].as_array().unwrap();
    let clients: Vec<u64> = rows.iter().map(|row| row["case"]["clients"].as_u64().unwrap()).collect();
    assert!([&[1, 2, 4][..], &[1, 2]].contains(&&clients[..]), "{clients:?}");
}

#[test]
fn ctrl_c_removes_what_was_uploaded() {
    let site = Site::new();
    let socket = site.socket();
    let more = ["--cases", "get,put", "--seconds", "5", "--parallel", "1", "--runs", "1", "--no-warm-up"];
    let running = start(&short(text(&socket), &more));
    within(|| !site.replicas().is_empty());
    let said = running.interrupted();
    assert_eq!(said.status.code(), Some(130), "{}", said.err);
    assert!(site.replicas().is_empty(), "{:?}", site.replicas());
}

#[test]
fn what_a_killed_run_has_left_can_be_removed() {
    let site = Site::new();
    let socket = site.socket();
    let running = start(&short(text(&socket), &["--cases", "get", "--seconds", "30"]));
    within(|| !site.replicas().is_empty());
    drop(running);
    assert!(!site.replicas().is_empty(), "a killed run cannot remove anything");
    let said = bench(&["pool", "--socket", text(&socket), "--remove-leftovers"]);
    assert!(said.status.success() && said.out.contains("replicas removed"), "{}{}", said.out, said.err);
    assert!(site.replicas().is_empty(), "{:?}", site.replicas());
}

#[test]
fn files_that_do_not_fit_are_refused_before_the_first() {
    let site = Site::new();
    let socket = site.socket();
    let said =
        bench(&["pool", "--socket", text(&socket), "--size", "64MiB", "--space", "32MiB", "--runs", "1"]);
    assert!(said.complaint().contains("do not fit into 32 MiB"), "{}", said.err);
    let said = bench(&["pool", "--socket", text(&socket), "--space", "1000TiB"]);
    assert!(said.complaint().contains("--space: 1000 TiB are asked for"), "{}", said.err);
}

#[test]
fn a_pool_that_does_not_run_is_named_with_where_to_look() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let said = bench(&["pool", "--socket", text(&socket)]);
    let complaint = said.complaint();
    assert!(complaint.contains("no pool answers at") && complaint.contains("grpc.socket"), "{complaint}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = bench(&["pool", "--address", &free]);
    let complaint = said.complaint();
    assert!(complaint.contains(&free) && complaint.contains("--ca, --cert and --key"), "{complaint}");
}

#[test]
fn a_pool_that_drains_is_not_measured_and_it_is_said_how_to_end_that() {
    let site = Site::new();
    site.drain_pool();
    let socket = site.socket();
    for command in ["pool", "tpc"] {
        let said = bench(&[command, "--socket", text(&socket)]);
        let complaint = said.complaint();
        assert!(complaint.contains("pool measured is draining"), "{complaint}");
        assert!(complaint.contains("penstock-pool resume"), "{complaint}");
    }
}

#[test]
fn a_pool_without_room_says_how_much_it_has() {
    let site = Site::with(|config, _| config.capacity = Some(8 << 20));
    let socket = site.socket();
    for command in ["pool", "tpc"] {
        let said = bench(&[command, "--socket", text(&socket), "--size", "64MiB"]);
        let complaint = said.complaint();
        assert!(complaint.contains("do not fit into") && complaint.contains("smaller --size"), "{complaint}");
    }
}

#[test]
fn the_socket_of_a_pool_is_not_for_everybody() {
    let site = Site::new();
    let socket = site.socket();
    let Some(said) = bench_as_nobody(&["pool", "--socket", text(&socket)]) else { return };
    let complaint = said.complaint();
    assert!(
        complaint.contains("no permission to open") && complaint.contains("sudo -u penstock"),
        "{complaint}"
    );
}
