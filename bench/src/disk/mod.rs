//! `penstock-bench disk`: what the pool's own write and read path gets out of a directory.
//!
//! The same shards, registered buffers and ring operations as in the daemon, without a network: writes into allocated
//! space, reads of what was written; one thing varied at a time around what a pool does, or what the options say.

mod case;
mod fio;
mod job;
mod options;
mod stage;

use anyhow::Context as _;
use case::{Case, sweeps};
pub use options::Options;
use stage::Stage;

use crate::measure::figures::{CPU, THROUGHPUT};
use crate::measure::{Plan, in_turn};
use crate::report::{Chart, Making, Output, Row, Section};
use crate::target::Target;
use crate::terminal::{Interrupt, Progress};

/// Measures and reports.
pub fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    let target = Target::open(&options.directory)?;
    let output = Output::prepare(&options.common)?;
    let mut report = Making::begin("disk");
    let sweeps = sweeps(options)?;
    let most_jobs = sweeps.iter().flat_map(|sweep| &sweep.cases).map(|case| case.jobs).max().unwrap_or(1);
    let size_bytes = options.size_bytes(&target, most_jobs)?;
    // Files to read and files to write are there at the same time.
    target.need(size_bytes.saturating_mul(u64::from(most_jobs)).saturating_mul(2))?;

    report.setting("directory", target.path().display());
    report.setting("file size", crate::arguments::show_byte_size(size_bytes));
    report.setting("longest run", format!("{} s", options.seconds.as_secs_f64()));
    report.setting("runs", options.common.runs);
    if target.is_in_memory() {
        report.notes.push(format!(
            "{} is a file system in memory: what is measured is this machine's memory, not a disk.",
            target.path().display()
        ));
    }
    let cases: Vec<&Case> = sweeps.iter().flat_map(|sweep| &sweep.cases).collect();
    let plan = Plan::of(&options.common);
    let progress = Progress::new(cases.len() as u64 * u64::from(plan.rounds()));
    progress.doing("writing the files that are read");
    let mut stage = Stage::new(&target, &cases, size_bytes, options.seconds, interrupt)?;
    report.setting("io_uring", stage.abilities());
    report.notes.extend(stage.notes());

    for sweep in sweeps {
        let (able, unable): (Vec<Case>, Vec<Case>) =
            sweep.cases.into_iter().partition(|case| stage.cannot(case).is_none());
        for case in &unable {
            let reason = stage.cannot(case).unwrap_or_default();
            report.notes.push(format!("left out: {case}: {reason}"));
        }
        if able.is_empty() {
            continue;
        }
        let measured =
            in_turn(plan, &progress, interrupt, &able, Case::to_string, |case| stage.measure(case))?;
        let rows = able.iter().zip(measured).map(|(case, measurement)| Row::new(case.labels(), measurement));
        let mut charts = vec![match sweep.along {
            Some(along) => Chart::Lines { figure: &THROUGHPUT, along },
            None => Chart::Bars(&THROUGHPUT),
        }];
        charts.extend([Chart::Bars(&CPU), Chart::Latencies]);
        report.sections.push(Section {
            name: sweep.name,
            title: sweep.title,
            about: sweep.about,
            charts,
            rows: rows.collect(),
        });
    }
    drop(progress);

    for direction in options.directions() {
        let case = Case::usual(direction);
        let command = fio::Command::new(&case, size_bytes);
        report.notes.push(format!("the same with fio: {}", command.shown(target.path())));
    }
    if options.fio {
        let cases: Vec<Case> = options.directions().into_iter().map(Case::usual).collect();
        let section = beside_fio(&mut stage, &target, &cases, size_bytes, plan, interrupt)
            .context("the comparison with fio failed")?;
        report.sections.push(section);
    }
    drop(stage);
    output.write(&report.finish())
}

/// fio and the pool's own path in turn, doing the same.
fn beside_fio(
    stage: &mut Stage<'_>,
    target: &Target,
    cases: &[Case],
    size_bytes: u64,
    plan: Plan,
    interrupt: &Interrupt,
) -> anyhow::Result<Section> {
    let both: Vec<(&'static str, &Case)> =
        cases.iter().flat_map(|case| [("penstock", case), ("fio", case)]).collect();
    let progress = Progress::new(both.len() as u64 * u64::from(plan.rounds()));
    let name = |(program, case): &(&'static str, &Case)| format!("{program}: {case}");
    let measured = in_turn(plan, &progress, interrupt, &both, name, |(program, case)| match *program {
        "fio" => fio::Command::new(case, size_bytes).measure(target, interrupt),
        _ => stage.measure(case),
    })?;
    let rows = both.iter().zip(measured).map(|((program, case), measurement)| {
        let mut labels = vec![crate::report::Label::text("program", "program", program)];
        labels.extend(case.labels());
        Row::new(labels, measurement)
    });
    Ok(Section {
        name: "fio",
        title: "Beside fio".to_owned(),
        about: "the same block size, depth and file size, in turn; fio's processor time is what it says of itself"
            .to_owned(),
        charts: vec![Chart::Bars(&THROUGHPUT), Chart::Bars(&CPU)],
        rows: rows.collect(),
    })
}
