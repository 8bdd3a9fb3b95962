//! Reading `Range` headers, and merging ranges that are close to each other or overlap.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use penstock_pool::http1::{MAX_RANGES, Ranges, parse_ranges};

/// The size of the file that is asked for.
const SIZE: u64 = 1 << 40;

/// One range, and lists of many: apart, overlapping, and in the wrong order.
pub fn all(criterion: &mut Criterion) {
    let list = |ranges: Vec<(u64, u64)>| {
        let texts: Vec<String> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        format!("bytes={}", texts.join(","))
    };
    let count = MAX_RANGES as u64;
    let apart = list((0..count).map(|place| (place * 1_000_000, place * 1_000_000 + 4_095)).collect());
    let overlapping = list((0..count).map(|place| (place * 1_000, place * 1_000 + 4_095)).collect());
    let backwards =
        list((0..count).rev().map(|place| (place * 1_000_000, place * 1_000_000 + 4_095)).collect());
    let vector = list((0..250).map(|place| (place * 1_000_000, place * 1_000_000 + 4_095)).collect());
    assert!(matches!(parse_ranges(&apart, SIZE), Ranges::Many(_)), "they are apart");

    let mut group = criterion.benchmark_group("range");
    group.bench_function("one", |bencher| {
        bencher.iter(|| parse_ranges(black_box("bytes=4096-1052671"), SIZE))
    });
    group.bench_function("suffix", |bencher| bencher.iter(|| parse_ranges(black_box("bytes=-500"), SIZE)));
    for (name, header, ranges) in [
        ("apart", &apart, count),
        ("overlapping", &overlapping, count),
        ("backwards", &backwards, count),
        ("vector read", &vector, 250),
    ] {
        group.throughput(Throughput::Elements(ranges));
        group.bench_function(BenchmarkId::new(name, ranges), |bencher| {
            bencher.iter(|| parse_ranges(black_box(header), SIZE));
        });
    }
    group.finish();
}
