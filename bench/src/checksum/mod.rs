//! `penstock-bench checksum`: how fast this machine computes each checksum.
//!
//! What is measured is what a pool uses, and beside it what others use: over pieces of several sizes that stay in the
//! processor's caches, over memory that does not, and on several threads at once.

mod implementations;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use implementations::{IMPLEMENTATIONS, Implementation};

use crate::arguments::{Common, Count, Size, parse_duration, show_byte_size};
use crate::measure::figures::CHECKSUM_RATE;
use crate::measure::{Plan, Sample, in_turn, payload, pin_to_processor, processors};
use crate::report::{Chart, Label, Making, Output, Row, Section};
use crate::terminal::{Interrupt, Progress};

/// More would only measure how long memory takes to be had.
const MOST_MEMORY_BYTES: u64 = 4 << 30;
/// What threads compute over, each its own: what a pool computes over at once.
const PIECE_BYTES: u64 = 1 << 20;

/// How fast checksums are computed
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Sizes of the pieces that are read over and over, so that they stay in the caches where they fit
    #[arg(long, value_delimiter = ',', default_value = "4KiB,64KiB,1MiB", value_name = "SIZE,…")]
    sizes: Vec<Size>,
    /// Memory that is read from end to end, so that nothing of it is in the caches; best many times their size
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    memory: Size,
    /// Threads at once [default: 1 and all processors]
    #[arg(long, value_delimiter = ',', value_name = "N,…")]
    threads: Option<Vec<Count>>,
    /// Length of a run
    #[arg(long, default_value = "0.1", value_parser = parse_duration, value_name = "SECONDS")]
    seconds: Duration,
    #[command(flatten)]
    common: Common,
}

/// One implementation under one circumstance.
struct Case<'a> {
    implementation: &'static Implementation,
    circumstance: Label,
    run: Box<dyn Fn(&Implementation) -> f64 + 'a>,
}

/// Measures and reports.
pub fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    for size in options.sizes.iter().chain([&options.memory]) {
        anyhow::ensure!(
            size.0 <= MOST_MEMORY_BYTES,
            "{size} is more than {}",
            show_byte_size(MOST_MEMORY_BYTES)
        );
    }
    let threads = options.threads.clone().unwrap_or_else(|| {
        let all = Count(u32::try_from(processors().len()).unwrap_or(1));
        if all.0 > 1 { vec![Count(1), all] } else { vec![Count(1)] }
    });
    let output = Output::prepare(&options.common)?;
    let mut report = Making::begin("checksum");
    report.setting("length of a run", format!("{} s", options.seconds.as_secs_f64()));
    report.setting("runs", options.common.runs);

    let largest = options.sizes.iter().map(|size| size.0).max().unwrap_or(1).max(options.memory.0);
    // MOST_MEMORY_BYTES fits wherever a pool runs.
    let data = payload(largest as usize);
    let seconds = options.seconds;
    let mut hot = Vec::new();
    for implementation in &IMPLEMENTATIONS {
        for size in &options.sizes {
            let piece = &data[..size.0 as usize];
            let circumstance = Label::bytes("piece_bytes", "piece", size.0);
            let run = Box::new(move |implementation: &Implementation| {
                rate(implementation, piece, piece.len(), seconds)
            });
            hot.push(Case { implementation, circumstance, run });
        }
    }
    let memory = &data[..options.memory.0 as usize];
    let mut cold = Vec::new();
    let mut parallel = Vec::new();
    for implementation in &IMPLEMENTATIONS {
        let circumstance = Label::bytes("memory_bytes", "memory", options.memory.0);
        let run = Box::new(move |implementation: &Implementation| {
            rate(implementation, memory, PIECE_BYTES as usize, seconds)
        });
        cold.push(Case { implementation, circumstance, run });
        for count in &threads {
            let circumstance = Label::count("threads", "threads", count.0);
            let (count, piece) = (count.0, &data[..data.len().min(PIECE_BYTES as usize)]);
            let run = Box::new(move |implementation: &Implementation| {
                together(implementation, piece, count, seconds)
            });
            parallel.push(Case { implementation, circumstance, run });
        }
    }

    let plan = Plan::of(&options.common);
    let cases = hot.len() + cold.len() + parallel.len();
    let progress = Progress::new(cases as u64 * u64::from(plan.rounds()));
    let sections = [
        (
            "hot",
            "One thread, pieces that stay in the caches",
            "10⁹ bytes per second; the same piece over and over",
            vec![Chart::Lines { figure: &CHECKSUM_RATE, along: "piece_bytes" }],
            hot,
        ),
        (
            "cold",
            "One thread, bytes from memory",
            "pieces of 1 MiB, one after the other, as a pool meets them",
            vec![Chart::Bars(&CHECKSUM_RATE)],
            cold,
        ),
        (
            "threads",
            "Threads beside each other",
            "each over 1 MiB of its own, on a processor of its own as far as there are",
            vec![Chart::Bars(&CHECKSUM_RATE)],
            parallel,
        ),
    ];
    for (name, title, about, charts, cases) in sections {
        let named = |case: &Case| {
            let (algorithm, implementation) = (case.implementation.algorithm, case.implementation.name);
            format!("{algorithm} ({implementation}), {}", case.circumstance.value.shown())
        };
        let measured = in_turn(plan, &progress, interrupt, &cases, named, |case| {
            Ok(Sample {
                figures: vec![(&CHECKSUM_RATE, (case.run)(case.implementation))],
                ..Default::default()
            })
        })?;
        let rows = cases.into_iter().zip(measured).map(|(case, measurement)| {
            let labels = vec![
                Label::text("algorithm", "checksum", case.implementation.algorithm),
                Label::text("implementation", "crate", case.implementation.name),
                case.circumstance,
            ];
            let mut row = Row::new(labels, measurement);
            row.remark = (!case.implementation.ours).then(|| "not used by the pool".to_owned());
            row
        });
        let rows = rows.collect();
        report.sections.push(Section { name, title: title.into(), about: about.into(), charts, rows });
    }
    drop(progress);
    output.write(&report.finish())
}

/// One run: pieces one after the other until the time is up. Bytes per nanosecond are GB per second.
fn rate(implementation: &Implementation, data: &[u8], piece_bytes: usize, seconds: Duration) -> f64 {
    let start = Instant::now();
    let mut done = 0usize;
    loop {
        for piece in data.chunks(piece_bytes) {
            (implementation.compute)(piece);
            done += piece.len();
            let elapsed = start.elapsed();
            if elapsed >= seconds {
                return done as f64 / elapsed.as_nanos().max(1) as f64;
            }
        }
    }
}

/// One run of several threads, each over its own copy of the piece: the sum of their rates.
fn together(implementation: &Implementation, piece: &[u8], threads: u32, seconds: Duration) -> f64 {
    let ready = Barrier::new(threads as usize);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads as usize)
            .map(|place| {
                let ready = &ready;
                scope.spawn(move || {
                    // Unpinned it measures as well, only less steadily.
                    let _ = pin_to_processor(place);
                    let own = piece.to_vec();
                    ready.wait();
                    rate(implementation, &own, own.len(), seconds)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap_or(0.0)).sum()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use penstock_pool::checksum::Algorithm;

    use super::*;

    #[test]
    fn every_algorithm_of_the_pool_is_measured() {
        let measured: BTreeSet<&str> =
            IMPLEMENTATIONS.iter().filter(|one| one.ours).map(|one| one.algorithm).collect();
        for algorithm in Algorithm::ALL {
            assert!(measured.contains(algorithm.name()), "{}", algorithm.name());
        }
    }

    #[test]
    fn every_implementation_gives_a_rate_whatever_the_piece() {
        let data = payload(100_000);
        for implementation in &IMPLEMENTATIONS {
            for piece_bytes in [1, 4096, data.len()] {
                assert!(rate(implementation, &data, piece_bytes, Duration::from_micros(200)) > 0.0);
            }
            assert!(together(implementation, &data, 2, Duration::from_micros(200)) > 0.0);
        }
    }
}
