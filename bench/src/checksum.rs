//! `penstock-bench checksum`: how fast one core computes each checksum.
//!
//! What is measured is what a pool uses ([`Hasher`]), and beside it the plain `adler32` crate as a yardstick.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

use penstock_pool::checksum::{Algorithm, Hasher};
use serde::Serialize;

use crate::byte_size::{parse_byte_size, show_byte_size};
use crate::spread::Spread;

/// Runs of each implementation.
const RUNS: u32 = 5;
/// More would only measure how long memory takes to be had.
const MAX_SIZE_BYTES: u64 = 4 << 30;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Bytes that are read over and over; beyond the processor's caches, memory is measured too
    #[arg(long, default_value = "64MiB", value_parser = parse_size)]
    size: u64,
    /// How long each implementation is measured, its five runs together
    #[arg(long, default_value = "1", value_parser = parse_seconds)]
    seconds: Duration,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn parse_size(text: &str) -> Result<u64, String> {
    match parse_byte_size(text)? {
        size @ 1..=MAX_SIZE_BYTES => Ok(size),
        _ => Err(format!("the size must be between 1 B and {}", show_byte_size(MAX_SIZE_BYTES))),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 3600.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("'{text}' is not a number of seconds above 0 and up to 3600"))
}

/// What is measured: an algorithm as some crate computes it.
struct Implementation {
    algorithm: Algorithm,
    name: &'static str,
    compute: fn(Algorithm, &[u8]),
}

const IMPLEMENTATIONS: [Implementation; 8] = [
    Implementation { algorithm: Algorithm::Adler32, name: "simd-adler32", compute: with_hasher },
    Implementation { algorithm: Algorithm::Adler32, name: "adler32", compute: with_adler32_crate },
    Implementation { algorithm: Algorithm::Crc32, name: "crc32fast", compute: with_hasher },
    Implementation { algorithm: Algorithm::Crc32c, name: "crc-fast", compute: with_hasher },
    Implementation { algorithm: Algorithm::Md5, name: "md-5", compute: with_hasher },
    Implementation { algorithm: Algorithm::Sha1, name: "sha1", compute: with_hasher },
    Implementation { algorithm: Algorithm::Sha256, name: "sha2", compute: with_hasher },
    Implementation { algorithm: Algorithm::Sha512, name: "sha2", compute: with_hasher },
];

fn with_hasher(algorithm: Algorithm, data: &[u8]) {
    let mut hasher = Hasher::new(algorithm);
    hasher.update(black_box(data));
    black_box(hasher.finish());
}

fn with_adler32_crate(_: Algorithm, data: &[u8]) {
    let mut adler32 = adler32::RollingAdler32::new();
    adler32.update_buffer(black_box(data));
    black_box(adler32.hash());
}

#[derive(Debug, Serialize)]
struct Report {
    command: &'static str,
    version: &'static str,
    size_bytes: u64,
    runs: u32,
    results: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    algorithm: &'static str,
    implementation: &'static str,
    /// 10⁹ bytes per second.
    gb_per_second: Spread,
    /// False if the runs differ too much to be believed.
    trusted: bool,
}

/// Measures, prints the result to `out` and what casts doubt on it to `warnings`.
pub fn run(options: &Options, out: &mut dyn Write, warnings: &mut dyn Write) -> anyhow::Result<()> {
    let report = measure(options);
    if options.json {
        serde_json::to_writer(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", table(&report))?;
    }
    write!(warnings, "{}", doubts(&report))?;
    Ok(())
}

fn measure(options: &Options) -> Report {
    let data = noise(options.size);
    let run_time = options.seconds / RUNS;
    let results = IMPLEMENTATIONS
        .iter()
        .filter_map(|implementation| {
            // The first pass warms caches, clocks and the crates' own choice of instructions.
            (implementation.compute)(implementation.algorithm, &data);
            let rates = (0..RUNS).map(|_| rate(implementation, &data, run_time)).collect();
            let gb_per_second = Spread::of(rates)?;
            Some(Row {
                algorithm: implementation.algorithm.name(),
                implementation: implementation.name,
                gb_per_second,
                trusted: gb_per_second.is_trusted(),
            })
        })
        .collect();
    Report {
        command: "checksum",
        version: env!("CARGO_PKG_VERSION"),
        size_bytes: options.size,
        runs: RUNS,
        results,
    }
}

/// One run: whole passes until the time is up, at least one. Bytes per nanosecond are GB per second.
fn rate(implementation: &Implementation, data: &[u8], run_time: Duration) -> f64 {
    let start = Instant::now();
    let mut passes = 0u64;
    loop {
        (implementation.compute)(implementation.algorithm, data);
        passes += 1;
        let elapsed = start.elapsed();
        if elapsed >= run_time {
            // A clock may stand still over a few bytes.
            return passes as f64 * data.len() as f64 / elapsed.as_nanos().max(1) as f64;
        }
    }
}

/// Bytes without a pattern, always the same (xorshift64, Marsaglia 2003).
fn noise(size: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut data = Vec::new();
    // MAX_SIZE_BYTES fits wherever a pool runs.
    data.resize_with(size as usize, || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    });
    data
}

fn table(report: &Report) -> String {
    let mut text = format!(
        "GB/s on one core, {} runs over {}\n\n{:<10} {:<14} {:>8} {:>8} {:>8}\n",
        report.runs,
        show_byte_size(report.size_bytes),
        "checksum",
        "crate",
        "median",
        "min",
        "max"
    );
    for row in &report.results {
        let rate = &row.gb_per_second;
        text += &format!(
            "{:<10} {:<14} {:>8.2} {:>8.2} {:>8.2}{}\n",
            row.algorithm,
            row.implementation,
            rate.median,
            rate.min,
            rate.max,
            if row.trusted { "" } else { "  (unsteady)" }
        );
    }
    text
}

fn doubts(report: &Report) -> String {
    let lines = report.results.iter().filter(|row| !row.trusted).map(|row| {
        format!(
            "warning: the runs of {} ({}) differ by {:.0} %; other work, or a changing clock, disturbs this machine\n",
            row.algorithm,
            row.implementation,
            row.gb_per_second.width() * 100.0
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        options: Options,
    }

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let arguments = ["checksum"].iter().chain(arguments);
        Alone::try_parse_from(arguments).map(|alone| alone.options).map_err(|error| error.to_string())
    }

    fn row(implementation: &'static str, min: f64, median: f64, max: f64) -> Row {
        let gb_per_second = Spread { min, median, max };
        Row { algorithm: "adler32", implementation, gb_per_second, trusted: gb_per_second.is_trusted() }
    }

    fn report() -> Report {
        let results = vec![row("simd-adler32", 48.0, 49.25, 50.0), row("adler32", 2.0, 3.5, 3.6)];
        Report { command: "checksum", version: "1.2.3", size_bytes: 64 << 20, runs: 5, results }
    }

    #[test]
    fn options_have_defaults_and_bounds() {
        let defaults = parse(&[]).unwrap();
        assert_eq!(
            (defaults.size, defaults.seconds, defaults.json),
            (64 << 20, Duration::from_secs(1), false)
        );
        let given = parse(&["--size", "1KiB", "--seconds", "0.5", "--json"]).unwrap();
        assert_eq!((given.size, given.seconds, given.json), (1024, Duration::from_millis(500), true));
        for (arguments, reason) in [
            (["--size", "0"], "between 1 B and 4 GiB"),
            (["--size", "5GiB"], "between 1 B and 4 GiB"),
            (["--size", "big"], "'big' is not a size"),
            (["--seconds", "0"], "'0' is not a number of seconds"),
            (["--seconds", "NaN"], "'NaN' is not a number of seconds"),
            (["--seconds", "1h"], "'1h' is not a number of seconds"),
        ] {
            let error = parse(&arguments).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn the_table_lines_up_and_marks_what_is_unsteady() {
        assert_eq!(
            table(&report()),
            "GB/s on one core, 5 runs over 64 MiB\n\n\
             checksum   crate            median      min      max\n\
             adler32    simd-adler32      49.25    48.00    50.00\n\
             adler32    adler32            3.50     2.00     3.60  (unsteady)\n"
        );
    }

    #[test]
    fn only_unsteady_runs_are_warned_of() {
        assert_eq!(
            doubts(&report()),
            "warning: the runs of adler32 (adler32) differ by 46 %; other work, or a changing clock, disturbs this \
             machine\n"
        );
    }

    #[test]
    fn every_implementation_is_measured_and_told_in_json() {
        let options = parse(&["--size", "64KiB", "--seconds", "0.005", "--json"]).unwrap();
        let (mut out, mut warnings) = (Vec::new(), Vec::new());
        run(&options, &mut out, &mut warnings).unwrap();

        let report: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(report["size_bytes"], 65_536);
        let results = report["results"].as_array().unwrap();
        let measured: std::collections::BTreeSet<&str> =
            results.iter().map(|row| row["algorithm"].as_str().unwrap()).collect();
        assert_eq!(measured, Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect());
        assert_eq!(results.len(), IMPLEMENTATIONS.len());
        for row in results {
            let rate = |key: &str| row["gb_per_second"][key].as_f64().unwrap();
            assert!(
                0.0 < rate("min") && rate("min") <= rate("median") && rate("median") <= rate("max"),
                "{row}"
            );
        }
        // As many warnings as rows that are not trusted.
        let doubted = results.iter().filter(|row| row["trusted"] == false).count();
        assert_eq!(String::from_utf8(warnings).unwrap().lines().count(), doubted);
    }

    #[test]
    fn the_noise_has_no_pattern_and_is_always_the_same() {
        let data = noise(1 << 16);
        assert_eq!(data, noise(1 << 16));
        let mut counts = [0u32; 256];
        data.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        assert!(counts.iter().all(|count| (150..400).contains(count)), "{counts:?}");
    }
}
