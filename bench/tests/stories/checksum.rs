//! `penstock-bench checksum`.

use std::collections::BTreeSet;

use penstock_pool::checksum::Algorithm;

use crate::program::bench;

#[test]
fn every_algorithm_is_measured_hot_cold_and_on_threads() {
    let said = bench(&[
        "checksum",
        "--seconds",
        "0.001",
        "--runs",
        "2",
        "--sizes",
        "4KiB",
        "--memory",
        "1MiB",
        "--threads",
        "1,2",
        "--json",
    ]);
    let json = said.json();
    for name in ["hot", "cold", "threads"] {
        let sections = json["sections"].as_array().unwrap();
        let section = sections.iter().find(|section| section["name"] == name).unwrap();
        let rows = section["rows"].as_array().unwrap();
        let measured: BTreeSet<&str> =
            rows.iter().map(|row| row["case"]["algorithm"].as_str().unwrap()).collect();
        for algorithm in Algorithm::ALL {
            assert!(measured.contains(algorithm.name()), "{name}: {}", algorithm.name());
        }
        for row in rows {
            let rate = |key: &str| row["figures"]["gb_per_second"][key].as_f64().unwrap();
            assert!(
                0.0 < rate("min") && rate("min") <= rate("median") && rate("median") <= rate("max"),
                "{row}"
            );
            assert_eq!(row["figures"]["gb_per_second"]["runs"].as_array().unwrap().len(), 2);
        }
    }
    // Rows that cannot be trusted are never without a warning.
    let doubted = json.to_string().contains("\"trusted\":false");
    assert!(!doubted || said.err.contains("unsteady"), "{}", said.err);
}

#[test]
fn sizes_beyond_reason_are_refused() {
    for (size, expected) in
        [("5GiB", "5 GiB is more than 4 GiB"), ("0", "must not be 0"), ("big", "is not a size")]
    {
        let said = bench(&["checksum", "--sizes", size]);
        assert!(!said.status.success());
        assert!(said.err.contains(expected), "{}", said.err);
    }
}
