//! `penstock-bench tpc`: what third-party copies a running pool can do.
//!
//! Orders pulls and pushes by the contract, as a door does for a COPY. The other side is an HTTP server of this program
//! ([`far`]), so that no other site and no disk but the pool's is measured; or a URL. Everything that is made at the pool
//! has an id of its own kind and is removed at the end.

mod case;
mod crew;
mod far;
mod options;
mod side;

use std::sync::Arc;

use anyhow::Context as _;
use case::{Case, Direction, Scheme};
use crew::Crew;
pub use options::Options;
use side::FarSide;
use tokio::runtime::Runtime;

use crate::arguments::show_byte_size;
use crate::measure::figures::{COPIES, FAILED, FAR_CPU, POOL_CPU, THROUGHPUT};
use crate::measure::{CpuTime, MIB, Plan, Sample, in_turn, process_cpu};
use crate::orders::{self, Door};
use crate::report::{Chart, Making, Output, Row, Section};
use crate::terminal::{Interrupt, Progress};

/// Measures and reports.
pub fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let output = Output::prepare(&options.common)?;
    let far = FarSide::of(options)?;
    let (client, pid) = runtime.block_on(orders::connect(&options.access))?;
    let cpu = match options.pid {
        Some(pid) => Some(CpuTime::of(pid).with_context(|| format!("--pid: cannot look at process {pid}"))?),
        None => pid.and_then(|pid| CpuTime::of(pid).ok()),
    };
    let mut report = Making::begin("tpc");
    let (door, status) = runtime.block_on(Door::meet(client))?;
    orders::must_take_files(&status)?;
    let space_bytes = orders::space_bytes(options.space, &status)?;
    report.setting("pool", &status.pool_name);
    report.setting("pool version", &status.version);
    report.setting("other side", far.shown());
    report.setting("length of a run", format!("{} s", options.seconds.as_secs_f64()));
    report.setting("runs", options.common.runs);
    report.setting("space for files", show_byte_size(space_bytes));
    report.notes.extend(far.notes(cpu.is_some()));
    if cpu.is_some() {
        report.over_loopback();
    }
    let mut bench =
        Bench { options, interrupt, runtime: &runtime, door, far, cpu, space_bytes, samples: vec![] };
    let measured = bench.measure(&mut report);
    // Also when it failed: what could not be removed is told besides.
    let cleaned = bench.clean();
    report.sections.extend(measured?);
    cleaned?;
    output.write(&report.finish())
}

/// A pool that is measured. Removes everything when it is dropped.
struct Bench<'a> {
    options: &'a Options,
    interrupt: &'a Interrupt,
    runtime: &'a Runtime,
    door: Door,
    far: FarSide,
    cpu: Option<CpuTime>,
    space_bytes: u64,
    /// A replica of each size, which is kept and pushed.
    samples: Vec<(u64, String)>,
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            eprintln!("warning: {error}");
        }
    }
}

impl Bench<'_> {
    /// Removes all that was made. Nothing happens the second time, unless something is left.
    fn clean(&self) -> anyhow::Result<()> {
        if !self.door.is_clean() {
            self.runtime.block_on(self.door.clean()).map_err(|left| anyhow::anyhow!("{left}"))?;
        }
        Ok(())
    }

    fn measure(&mut self, report: &mut Making) -> anyhow::Result<Vec<Section>> {
        let (schemes, directions) = match &self.far {
            FarSide::Own { schemes, .. } => (schemes.clone(), self.options.direction.clone()),
            FarSide::Url { scheme, .. } => (vec![*scheme], vec![Direction::Pull]),
        };
        let sizes = self.try_out(&schemes)?;
        let cases = Case::all(self.options, &schemes, &sizes);
        let kept: u64 = sizes.iter().sum();
        let (fit, too_large): (Vec<Case>, Vec<Case>) =
            cases.into_iter().partition(|case| case.space_bytes().saturating_add(kept) <= self.space_bytes);
        for case in too_large.iter().filter(|case| directions.contains(&case.direction)) {
            report.notes.push(format!(
                "{case}: not measured, it does not fit into {} (--space).",
                show_byte_size(self.space_bytes)
            ));
        }
        let mut sections = Vec::new();
        for direction in directions {
            for scheme in &schemes {
                let of_it = fit.iter().filter(|case| case.direction == direction && case.scheme == *scheme);
                let cases: Vec<Case> = of_it.copied().collect();
                if !cases.is_empty() {
                    sections.push(self.section(direction, *scheme, &cases)?);
                }
            }
        }
        anyhow::ensure!(
            !sections.is_empty(),
            "the files do not fit into {}: choose a smaller --size, or more --space",
            show_byte_size(self.space_bytes)
        );
        Ok(sections)
    }

    /// Pulls a file of each size, by each scheme: what does not work at all is found here. They are kept, to be pushed.
    /// Gives the sizes.
    fn try_out(&mut self, schemes: &[Scheme]) -> anyhow::Result<Vec<u64>> {
        let progress = Progress::new(0);
        progress.doing("pulling the first files");
        let asked = match &self.far {
            FarSide::Own { sizes, .. } => sizes.clone(),
            // It is seen when it is there.
            FarSide::Url { .. } => vec![0],
        };
        let mut sizes = Vec::new();
        for size_bytes in asked {
            anyhow::ensure!(
                size_bytes <= self.space_bytes,
                "files of {} do not fit into {}: choose a smaller --size, or more --space",
                show_byte_size(size_bytes),
                show_byte_size(self.space_bytes)
            );
            for scheme in schemes {
                self.interrupt.check()?;
                let case =
                    Case { direction: Direction::Pull, scheme: *scheme, size_bytes, parallel: 1, streams: 1 };
                let crew = self.crew(&case)?;
                let pulled = self.runtime.block_on(async {
                    let copy = crew.door.pull(crew.pull(), size_bytes);
                    tokio::select! {
                        pulled = copy => Some(pulled),
                        () = interrupted(self.interrupt) => None,
                    }
                });
                self.interrupt.check()?;
                let (replica, copied) = pulled.context("interrupted")?.map_err(|refused| {
                    let advice = self.far.advice(&refused);
                    anyhow::anyhow!(
                        "the pool cannot pull from {} by {scheme}: {refused}{advice}",
                        self.far.shown()
                    )
                })?;
                if !sizes.contains(&copied.bytes) {
                    sizes.push(copied.bytes);
                    self.samples.push((copied.bytes, replica));
                }
            }
        }
        Ok(sizes)
    }

    fn section(&self, direction: Direction, scheme: Scheme, cases: &[Case]) -> anyhow::Result<Section> {
        let plan = Plan::of(&self.options.common);
        let progress = Progress::new(cases.len() as u64 * u64::from(plan.rounds()));
        let measured =
            in_turn(plan, &progress, self.interrupt, cases, Case::to_string, |case| self.one_run(case))?;
        drop(progress);
        let rows = cases.iter().zip(measured).map(|(case, measurement)| Row::new(case.labels(), measurement));
        let mut charts = vec![Chart::Lines { figure: &THROUGHPUT, along: "parallel" }, Chart::Latencies];
        if self.cpu.is_some() {
            charts.insert(1, Chart::Bars(&POOL_CPU));
        }
        let (name, title) = match (direction, scheme) {
            (Direction::Pull, Scheme::Http) => ("pull-http", "Pull by http"),
            (Direction::Pull, Scheme::Https) => ("pull-https", "Pull by https"),
            (Direction::Push, Scheme::Http) => ("push-http", "Push by http"),
            (Direction::Push, Scheme::Https) => ("push-https", "Push by https"),
        };
        let about = match direction {
            Direction::Pull => {
                "a copy is all of it: HEAD, GET, the bytes, their checksums, the sync; its checksum agreed with the source's"
            }
            Direction::Push => {
                "a copy is all of it: the PUT, the bytes, the answer; its checksum agreed with the destination's"
            }
        };
        Ok(Section { name, title: title.to_owned(), about: about.to_owned(), charts, rows: rows.collect() })
    }

    fn crew(&self, case: &Case) -> anyhow::Result<Arc<Crew>> {
        let sample = self.samples.iter().find(|(size, _)| *size == case.size_bytes);
        Ok(Arc::new(Crew {
            door: self.door.clone(),
            case: *case,
            url: self.far.url(case.scheme, case.size_bytes, case.direction.name())?,
            headers: self.far.headers(),
            replica: sample.map_or(String::new(), |(_, replica)| replica.clone()),
            // Each task looks before it begins its next copy, when the others may have begun theirs.
            space_bytes: self
                .space_bytes
                .saturating_sub(case.size_bytes.saturating_mul(case.parallel.into())),
        }))
    }

    fn one_run(&self, case: &Case) -> anyhow::Result<Sample> {
        let crew = self.crew(case)?;
        let used = || self.cpu.as_ref().and_then(|cpu| cpu.used().ok());
        let (before, far_before) = (used(), process_cpu());
        let work = self.runtime.block_on(crew.work(self.options.seconds, self.interrupt))?;
        let cpu = before.zip(used()).map(|(before, after)| after.saturating_sub(before).as_secs_f64());
        let far_cpu = process_cpu().saturating_sub(far_before).as_secs_f64();
        // The next run has the space that this one had.
        let kept: Vec<String> = self.samples.iter().map(|(_, replica)| replica.clone()).collect();
        self.runtime.block_on(self.door.remove_all_but(&kept))?;

        let (mib, seconds) = (work.bytes as f64 / MIB, work.elapsed.as_secs_f64().max(1e-9));
        let gib = (mib / 1024.0).max(1e-9);
        let mut figures = vec![(&THROUGHPUT, mib / seconds), (&COPIES, work.copies as f64 / seconds)];
        if let Some(cpu) = cpu {
            figures.push((&POOL_CPU, cpu / gib));
        }
        if matches!(self.far, FarSide::Own { .. }) {
            figures.push((&FAR_CPU, far_cpu / gib));
        }
        figures.push((&FAILED, work.failures.total() as f64));
        let told = [work.limits.shown(case.direction.far()), work.failures.shown()];
        let told: Vec<String> = told.into_iter().flatten().collect();
        let remark = (!told.is_empty()).then(|| told.join("; "));
        Ok(Sample { figures, latencies: Some(work.latencies), remark })
    }
}

/// Completes when a signal came.
async fn interrupted(interrupt: &Interrupt) {
    while !interrupt.came() {
        tokio::time::sleep(crew::LOOK).await;
    }
}
