//! Criterion benchmarks of the kernels: code that runs for every byte, every request or every range.
//!
//! `cargo bench -p penstock-pool`, or `-- checksum` for those of one subject. Not part of the tests. What a whole
//! machine does is measured by `penstock-bench`.
#![forbid(unsafe_code)]

mod checksums;
mod heads;
mod ranges;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    checksums::all(&mut criterion);
    heads::all(&mut criterion);
    ranges::all(&mut criterion);
    criterion.final_summary();
}
