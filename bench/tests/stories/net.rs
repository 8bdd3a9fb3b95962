//! `penstock-bench net`.

use std::io::Write as _;
use std::net::TcpListener;

use crate::program::{bench, start};

#[test]
fn loopback_needs_no_server_and_gives_both_sides_processor_time() {
    let said = bench(&[
        "net",
        "run",
        "--loopback",
        "--seconds",
        "0.1",
        "--runs",
        "1",
        "--no-warm-up",
        "--streams",
        "1,3",
        "--json",
    ]);
    let json = said.json();
    let rows = json["sections"][0]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 12);
    for row in rows {
        for figure in [
            "mib_per_second",
            "sender_cpu_seconds_per_gib",
            "receiver_cpu_seconds_per_gib",
            "round_trip_microseconds",
        ] {
            assert!(row["figures"][figure]["median"].as_f64().unwrap() > 0.0, "{figure}: {row}");
        }
    }
}

#[test]
fn with_a_scitag_each_case_is_measured_with_its_flow_label_and_without() {
    if TcpListener::bind("[::1]:0").is_err() {
        println!("skipped: no IPv6 here");
        return;
    }
    let common =
        ["net", "run", "--loopback", "--seconds", "0.1", "--runs", "1", "--no-warm-up", "--streams", "1"];
    let said = bench(&[&common[..], &["--method", "copy", "--scitag", "130", "--json"]].concat());
    let json = said.json();
    assert!(json["settings"]["server"].as_str().unwrap().starts_with("[::1]:"), "{json}");
    let rows = json["sections"][0]["rows"].as_array().unwrap();
    let of = |word: &str| rows.iter().filter(|row| row.to_string().contains(&format!("\"{word}\""))).count();
    assert_eq!((rows.len(), of("yes"), of("no")), (4, 2, 2), "{rows:?}");
    let four = bench(&["net", "run", "127.0.0.1:1", "--scitag", "130"]);
    assert!(four.complaint().contains("no address of the kind that is wanted (IPv6)"), "{}", four.err);
    let high = bench(&["net", "run", "--loopback", "--scitag", "40000"]);
    assert!(high.err.contains("experiments from 512 on have no flow label"), "{}", high.err);
}

#[test]
fn sending_without_a_copy_says_what_became_of_it() {
    let said = bench(&[
        "net",
        "run",
        "--loopback",
        "--seconds",
        "0.5",
        "--runs",
        "1",
        "--no-warm-up",
        "--streams",
        "2",
        "--method",
        "zero-copy",
        "--json",
    ]);
    let json = said.json();
    let rows = json["sections"][0]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "both directions");
    for row in rows {
        assert_eq!(row["case"]["method"], "zero-copy");
        // Loopback always copies, or the machine is too busy to find that out; a kernel that cannot send so has nothing
        // to tell.
        let remark = row["remark"].as_str().unwrap_or("connections: 2 copied by the kernel after all");
        let counts = remark.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
        assert_eq!(counts.sum::<u32>(), 2, "{remark}");
        assert!(remark.contains("copied by the kernel") || remark.contains("given up"), "{remark}");
    }
}

#[test]
fn one_host_serves_and_another_measures() {
    let mut server =
        start(&["net", "serve", "--listen", "127.0.0.1:0", "--shards", "1", "--most-streams", "2"]);
    let line = server.first_line();
    let address = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).to_owned();
    let run = |more: &[&str]| {
        let common = [
            "net",
            "run",
            &address,
            "--shards",
            "1",
            "--seconds",
            "0.1",
            "--runs",
            "1",
            "--no-warm-up",
            "--json",
        ];
        bench(&[&common[..], more].concat())
    };

    let said = run(&["--streams", "2", "--method", "copy"]);
    assert_eq!(said.json()["settings"]["server"], address.as_str());
    let crowded = run(&["--streams", "5", "--method", "copy", "--direction", "send"]);
    assert!(crowded.complaint().contains(&address), "{}", crowded.err);
    let six = run(&["-6"]);
    assert!(six.complaint().contains("has no address of the kind that is wanted (IPv6)"), "{}", six.err);

    assert!(server.interrupted().status.success(), "Ctrl-C is the way to end a server");
}

#[test]
fn a_port_that_refuses_is_named_with_what_to_do() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = bench(&["net", "run", &free, "--seconds", "0.1"]);
    let complaint = said.complaint();
    assert!(
        complaint.contains(&format!("cannot connect to {free}; is `penstock-bench net serve")),
        "{complaint}"
    );
}

#[test]
fn another_servers_port_is_recognised_as_such() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stranger = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mail.example.org ESMTP\r\n").unwrap();
    });
    let said = bench(&["net", "run", &address, "--seconds", "0.1"]);
    assert!(said.complaint().contains(&address), "{}", said.err);
    stranger.join().unwrap();
}

#[test]
fn a_port_that_is_taken_cannot_be_served_on() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = bench(&["net", "serve", "--listen", &address]);
    assert!(said.complaint().contains(&format!("--listen: cannot bind {address}")), "{}", said.err);
}

#[test]
fn neither_a_server_nor_loopback_is_a_question() {
    let said = bench(&["net", "run"]);
    assert_eq!(said.status.code(), Some(2));
    assert!(said.err.contains("HOST:PORT"), "{}", said.err);
}
