//! A report for the tests of what is written of one.

use super::{Chart, Label, Report, Row, Section};
use crate::measure::figures::{CPU, THROUGHPUT};
use crate::measure::{Machine, Percentiles, Spread};

/// With everything that has to be shown, escaped or doubted.
pub fn report() -> Report {
    let spread = |runs: [f64; 3]| Spread::of(runs.to_vec()).unwrap();
    let labels = |mode: &str, depth: u32| {
        vec![Label::text("mode", "mode", mode), Label::count("depth", "in flight", depth)]
    };
    let latencies = |p99, max| Some(Percentiles { count: 1000, p50: 50, p90: 90, p99, p99_9: p99, max });
    let rows = vec![
        Row {
            labels: labels("direct", 1),
            figures: vec![
                (&THROUGHPUT, spread([2000.0, 1900.0, 2100.0])),
                (&CPU, spread([0.05, 0.04, 0.06])),
            ],
            latencies: latencies(99, 100),
            remark: None,
        },
        Row {
            labels: labels("direct", 4),
            figures: vec![(&THROUGHPUT, spread([3000.0, 2000.0, 3100.0]))],
            latencies: latencies(900, 12_345),
            remark: Some("a <remark>".to_owned()),
        },
        Row {
            labels: labels("buffered", 4),
            figures: vec![(&THROUGHPUT, spread([1000.0, 990.0, 1010.0])), (&CPU, spread([0.6, 0.6, 0.6]))],
            latencies: None,
            remark: None,
        },
    ];
    let section = Section {
        name: "speed",
        title: "How fast".to_owned(),
        about: "with <love>".to_owned(),
        charts: vec![
            Chart::Bars(&THROUGHPUT),
            Chart::Lines { figure: &THROUGHPUT, along: "depth" },
            Chart::Latencies,
        ],
        rows,
    };
    let machine = Machine {
        host: "host & co".to_owned(),
        kernel: "6.18".to_owned(),
        processor: "Fast 9000".to_owned(),
        processors: 2,
        memory_bytes: 1 << 34,
        load_before: 0.25,
        congestion_control: "cubic".to_owned(),
    };
    let doubts = section.doubts().into_iter().collect();
    Report {
        command: "disk",
        started_at: "2026-11-22T08:00:00Z".to_owned(),
        machine,
        settings: vec![("size", "1 GiB".to_owned())],
        sections: vec![section],
        notes: vec!["the same with fio: …".to_owned()],
        doubts,
    }
}
