//! `penstock-bench door`: what a running door and its pools do with whole, redirected small files.
//!
//! What users' clients do: ask the door, follow its redirect to a pool, keep the connections. Here the requests are what
//! costs, at the door and between door and pool, so the times before and behind the redirect are told apart.

mod case;
mod crew;
mod options;
mod site;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use case::Kind;
use crew::{Crew, Hands, Trouble};
pub use options::Options;
use site::{Directory, Door};

use crate::arguments::show_byte_size;
use crate::measure::figures::{
    CPU_PER_REQUEST, DATA_P50, DATA_P99, FAILED, REDIRECT_P50, REDIRECT_P99, REQUESTS,
};
use crate::measure::{CpuTime, Latencies, Plan, Sample, in_turn, payload};
use crate::report::{Chart, Label, Making, Output, Row, Section};
use crate::terminal::{Interrupt, Progress};

/// Files of this size and below go out with their head; larger ones are `penstock-bench pool`'s.
const MOST_SIZE_BYTES: u64 = 16 << 20;

/// Measures and reports.
pub fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    anyhow::ensure!(
        options.size.0 <= MOST_SIZE_BYTES,
        "--size: {} is no small file; penstock-bench pool measures large ones",
        options.size
    );
    let most_files = options.space.0 / options.size.0;
    anyhow::ensure!(
        most_files > u64::from(options.files.0),
        "--files: {} files of {} do not fit into --space {}",
        options.files.0,
        options.size,
        options.space
    );
    let cpus: Vec<CpuTime> = options
        .pid
        .iter()
        .map(|pid| CpuTime::of(*pid).with_context(|| format!("--pid: cannot look at process {pid}")))
        .collect::<Result<_, _>>()?;
    let door = Door::of(options)?;
    let output = Output::prepare(&options.common)?;
    let mut report = Making::begin("door");
    report.setting("door", door.authority());
    report.setting("file size", options.size);
    report.setting("length of a run", format!("{} s", options.seconds.as_secs_f64()));
    report.setting("runs", options.common.runs);
    if cpus.is_empty() {
        report.notes.push(
            "The processor time of door and pool is not known: give --pid where they run on this machine."
                .to_owned(),
        );
    } else {
        report.over_loopback();
    }
    let directory = Directory::make(&door, interrupt)?;
    let (next, payload) = (AtomicU64::new(0), payload(usize::try_from(options.size.0)?));
    let crew = Crew {
        door: &door,
        interrupt,
        size_bytes: options.size.0,
        payload: &payload,
        files: options.files.0.into(),
        next: &next,
        most_files,
    };
    let bench = Bench { options, interrupt, crew, cpus };
    bench.make_files()?;
    for kind in &options.cases {
        report.sections.push(bench.measure(*kind)?);
    }
    directory.remove()?;
    output.write(&report.finish())
}

/// A door that is measured.
struct Bench<'a> {
    options: &'a Options,
    interrupt: &'a Interrupt,
    crew: Crew<'a>,
    cpus: Vec<CpuTime>,
}

impl Bench<'_> {
    /// Uploads the files that are read, and reads one: what does not work at all is found here.
    fn make_files(&self) -> anyhow::Result<()> {
        let progress = Progress::new(0);
        progress.doing("uploading files");
        let mut hands = Hands::new(self.interrupt);
        let first = |kind: Kind, trouble: Trouble| {
            self.interrupt.check()?;
            let what = match kind {
                Kind::Put => "the first uploads failed",
                Kind::Get => "the first download failed",
            };
            Err(anyhow::Error::from(trouble).context(what))
        };
        for _ in 0..self.options.files.0 {
            self.interrupt.check()?;
            let name = self.crew.new_name().context("the files do not fit into --space")?;
            if let Err(trouble) = self.crew.one(Kind::Put, &mut hands, &name.to_string()) {
                return first(Kind::Put, trouble);
            }
        }
        match self.crew.one(Kind::Get, &mut hands, "0") {
            Ok(_) => Ok(()),
            Err(trouble) => first(Kind::Get, trouble),
        }
    }

    fn measure(&self, kind: Kind) -> anyhow::Result<Section> {
        let clients: Vec<u32> = self.options.parallel.iter().map(|count| count.0).collect();
        let plan = Plan::of(&self.options.common);
        let progress = Progress::new(clients.len() as u64 * u64::from(plan.rounds()));
        let name = |clients: &u32| format!("{}, {clients} clients", kind.name());
        let measured =
            in_turn(plan, &progress, self.interrupt, &clients, name, |clients| self.one_run(kind, *clients))?;
        drop(progress);
        let rows = clients.iter().zip(measured);
        let rows = rows.map(|(clients, measurement)| {
            Row::new(vec![Label::count("clients", "clients", *clients)], measurement)
        });
        let mut charts = vec![Chart::Lines { figure: &REQUESTS, along: "clients" }, Chart::Latencies];
        if !self.cpus.is_empty() {
            charts.insert(1, Chart::Bars(&CPU_PER_REQUEST));
        }
        Ok(Section {
            name: kind.name(),
            title: format!("{}, {}", kind.title(), show_byte_size(self.options.size.0)),
            about: kind.about().to_owned(),
            charts,
            rows: rows.collect(),
        })
    }

    fn one_run(&self, kind: Kind, clients: u32) -> anyhow::Result<Sample> {
        let used = || self.cpus.iter().map(|cpu| cpu.used().ok()).sum::<Option<Duration>>();
        let before = used();
        let work = self.crew.work(kind, clients, self.options.seconds)?;
        let cpu = before.zip(used()).map(|(before, after)| after.saturating_sub(before).as_secs_f64());
        let done = work.done as f64;
        let mut figures = vec![
            (&REQUESTS, done / work.elapsed.as_secs_f64().max(1e-9)),
            (&FAILED, work.failures.total() as f64),
        ];
        if !self.cpus.is_empty()
            && let Some(cpu) = cpu
        {
            figures.push((&CPU_PER_REQUEST, cpu * 1e6 / done));
        }
        let mut parts = |latencies: &Latencies, p50, p99| {
            if let Some(found) = latencies.percentiles() {
                figures.push((p50, found.p50 as f64));
                figures.push((p99, found.p99 as f64));
            }
        };
        parts(&work.redirect, &REDIRECT_P50, &REDIRECT_P99);
        parts(&work.data, &DATA_P50, &DATA_P99);
        Ok(Sample { figures, latencies: Some(work.whole), remark: work.failures.shown() })
    }
}
