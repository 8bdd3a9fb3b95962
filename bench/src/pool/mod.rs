//! `penstock-bench pool`: what a running pool does for a door and its clients.
//!
//! Orders transfers by the contract and makes the clients' requests on the data port: more and more of them at once,
//! until more gain nothing. Everything that is made has an id of its own kind and is removed at the end.

mod case;
mod crew;
mod options;

use std::sync::atomic::AtomicU64;

use anyhow::Context as _;
use case::{Case, Kind};
use crew::Crew;
pub use options::Options;
use penstock_door_proto::v1 as proto;
use tokio::runtime::Runtime;

use crate::arguments::show_byte_size;
use crate::http::Client;
use crate::measure::figures::{CPU, CPU_PER_REQUEST, REQUESTS, THROUGHPUT};
use crate::measure::{CpuTime, Figure, MIB, Plan, Sample, in_turn, payload};
use crate::orders::{self, Door};
use crate::report::{Chart, Label, Making, Output, Row, Section};
use crate::terminal::{Interrupt, Progress};

/// More clients have to gain at least this share, or the pool is saturated.
const LEAST_GAIN: f64 = 0.05;
/// What is sent over and over.
const PAYLOAD_BYTES: usize = 1 << 20;
/// What was not measured where no transfer had a label.
const NO_LABELS: &str = "Marked transfers had fireflies and no flow label: labels need a data port on IPv6, and free ports for \
                         them (marking.ports of the pool).";

/// Measures and reports.
pub fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let (client, pid) = runtime.block_on(orders::connect(&options.access))?;
    let (door, status) = runtime.block_on(Door::meet(client))?;
    if options.remove_leftovers {
        let removed = runtime.block_on(door.remove_leftovers())?;
        println!("{removed} replicas removed");
        return Ok(());
    }
    let output = Output::prepare(&options.common)?;
    let mut report = Making::begin("pool");
    orders::must_take_files(&status)?;
    let bench = Bench::new(options, interrupt, &runtime, door, &status, pid, &mut report)?;
    for case in Case::all(options) {
        report.sections.push(bench.ramp(case).with_context(|| case.title())?);
    }
    if options.scitag.is_some() && !bench.door.is_labelled() {
        report.notes.push(NO_LABELS.to_owned());
    }
    bench.clean()?;
    output.write(&report.finish())
}

/// A pool that is measured. Removes everything when it is dropped.
struct Bench<'a> {
    options: &'a Options,
    interrupt: &'a Interrupt,
    runtime: &'a Runtime,
    door: Door,
    cpu: Option<CpuTime>,
    space_bytes: u64,
    payload: Vec<u8>,
    cleaned: std::cell::Cell<bool>,
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.clean() {
            eprintln!("warning: {error}");
        }
    }
}

impl<'a> Bench<'a> {
    fn new(
        options: &'a Options,
        interrupt: &'a Interrupt,
        runtime: &'a Runtime,
        door: Door,
        status: &proto::PoolStatus,
        pid: Option<u32>,
        report: &mut Making,
    ) -> anyhow::Result<Self> {
        let space_bytes = orders::space_bytes(options.space, status)?;
        let cpu = match options.pid {
            Some(pid) => {
                Some(CpuTime::of(pid).with_context(|| format!("--pid: cannot look at process {pid}"))?)
            }
            None => pid.and_then(|pid| CpuTime::of(pid).ok()),
        };
        report.setting("pool", &status.pool_name);
        report.setting("pool version", &status.version);
        report.setting("length of a run", format!("{} s", options.seconds.as_secs_f64()));
        report.setting("runs", options.common.runs);
        report.setting("space for files", show_byte_size(space_bytes));
        if cpu.is_some() {
            report.over_loopback();
        }
        match &cpu {
            Some(_) => report.notes.push(
                "Processor time is that of the pool's whole process, its gRPC included; the kernel counts it in steps of \
                 10 ms."
                    .to_owned(),
            ),
            None => report.notes.push(
                "The pool's processor time is not known: give --pid where it runs on this machine.".to_owned(),
            ),
        }
        let payload = payload(PAYLOAD_BYTES);
        let cleaned = std::cell::Cell::new(false);
        Ok(Self { options, interrupt, runtime, door, cpu, space_bytes, payload, cleaned })
    }

    /// Removes all that was made.
    fn clean(&self) -> anyhow::Result<()> {
        if !self.cleaned.replace(true) {
            self.runtime.block_on(self.door.clean()).map_err(|left| anyhow::anyhow!("{left}"))?;
        }
        Ok(())
    }

    /// More and more clients, until more gain nothing.
    fn ramp(&self, case: Case) -> anyhow::Result<Section> {
        let steps = match &self.options.parallel {
            Some(steps) => steps.iter().map(|count| count.0).collect(),
            None => doubling(self.options.most_parallel.0),
        };
        let most = steps.iter().copied().max().unwrap_or(1);
        let needed = case.file_bytes.saturating_mul(case.files_needed(1, 0).max(1) + 1);
        anyhow::ensure!(
            needed <= self.space_bytes,
            "files of {} do not fit into {}: choose a smaller --size, or more --space",
            show_byte_size(case.file_bytes),
            show_byte_size(self.space_bytes)
        );
        let main: &Figure = if case.is_small() { &REQUESTS } else { &THROUGHPUT };
        let plan = Plan::of(&self.options.common);
        let progress = Progress::new(0);
        // Each of these is read again and again; files that are read once are made for each run.
        let files = match case.kind {
            Kind::FirstGet => Vec::new(),
            _ => {
                progress.doing(&format!("{}: uploading files", case.title()));
                self.upload(case, case.files_needed(most, self.space_bytes / 2))?
            }
        };
        let mut rows: Vec<Row> = Vec::new();
        let (mut best, mut saturated) = (0.0f64, false);
        let marked = self.options.scitag.map(|tag| self.door.marked(tag));
        for clients in steps {
            // In turn, so that both meet the same machine.
            let doors: &[Option<&Door>] = match &marked {
                None => &[None],
                Some(marked) => &[None, Some(marked)],
            };
            progress.more(u64::from(plan.rounds()) * doors.len() as u64);
            let name = |marked: &Option<&Door>| {
                format!(
                    "{}, {clients} clients{}",
                    case.title(),
                    if marked.is_some() { ", marked" } else { "" }
                )
            };
            let measured = in_turn(plan, &progress, self.interrupt, doors, name, |marked| {
                self.measure(case, clients, &files, marked.unwrap_or(&self.door))
            })?;
            let least = rows.len();
            for (measurement, door) in measured.into_iter().zip(doors) {
                let mut labels = vec![Label::count("clients", "clients", clients)];
                if marked.is_some() {
                    labels.push(Label::text("marked", "marked", if door.is_some() { "yes" } else { "no" }));
                }
                rows.push(Row::new(labels, measurement));
            }
            // Of the unmarked ones, which are always there.
            let reached =
                rows.get(least).and_then(|row| row.figure(main)).map_or(0.0, |spread| spread.median);
            if self.options.parallel.is_none() && reached < best * (1.0 + LEAST_GAIN) {
                saturated = true;
                break;
            }
            best = best.max(reached);
        }
        self.runtime.block_on(self.door.end_transfers());
        self.runtime.block_on(self.door.remove_all_but(&[]))?;
        let mut charts = vec![Chart::Lines { figure: main, along: "clients" }, Chart::Latencies];
        if self.cpu.is_some() {
            charts.insert(1, Chart::Bars(if case.is_small() { &CPU_PER_REQUEST } else { &CPU }));
        }
        let about = match saturated {
            true => format!("{}; it was saturated where more clients gained less than 5 %", case.about()),
            false => case.about().to_owned(),
        };
        Ok(Section { name: case.name(), title: case.title(), about, charts, rows })
    }

    /// One run.
    fn measure(&self, case: Case, clients: u32, files: &[String], door: &Door) -> anyhow::Result<Sample> {
        let fresh = match case.kind {
            Kind::FirstGet => self.upload(case, case.files_needed(clients, self.space_bytes / 2))?,
            _ => Vec::new(),
        };
        let kept = if fresh.is_empty() { files } else { &fresh };
        let crew = Crew { door, ..self.crew(case, kept) };
        let used = || self.cpu.as_ref().and_then(|cpu| cpu.used().ok());
        let before = used();
        let work = crew.work(clients, self.options.seconds)?;
        let cpu = before.zip(used()).map(|(before, after)| after.saturating_sub(before).as_secs_f64());

        let limits = self.runtime.block_on(self.door.take_limits());
        // The next run begins with a pool that has nothing open, and the space that this one had.
        self.runtime.block_on(self.door.end_transfers());
        self.runtime.block_on(self.door.remove_all_but(files))?;

        let (mib, seconds) = (work.bytes as f64 / MIB, work.elapsed.as_secs_f64().max(1e-9));
        let requests = work.requests as f64;
        let mut figures = if case.is_small() {
            vec![(&REQUESTS, requests / seconds)]
        } else {
            vec![(&THROUGHPUT, mib / seconds), (&REQUESTS, requests / seconds)]
        };
        if let Some(cpu) = cpu {
            figures.push(if case.is_small() {
                (&CPU_PER_REQUEST, cpu * 1e6 / requests)
            } else {
                (&CPU, cpu / (mib / 1024.0))
            });
        }
        Ok(Sample { figures, latencies: Some(work.latencies), remark: limits.shown("client") })
    }

    fn crew<'b>(&'b self, case: Case, files: &'b [String]) -> Crew<'b> {
        Crew {
            door: &self.door,
            runtime: self.runtime.handle(),
            interrupt: self.interrupt,
            case,
            files,
            payload: &self.payload,
            space_bytes: self.space_bytes,
            taken: AtomicU64::new(0),
        }
    }

    /// Uploads files that are to be read.
    fn upload(&self, case: Case, count: u64) -> anyhow::Result<Vec<String>> {
        let crew = self.crew(case, &[]);
        let mut client = Client::new(self.interrupt);
        let mut files = Vec::new();
        for _ in 0..count {
            self.interrupt.check()?;
            crew.put(&mut client, &mut files).context("cannot make files to read")?;
        }
        Ok(files)
    }
}

/// 1, 2, 4 and so on up to `most`.
fn doubling(most: u32) -> Vec<u32> {
    let mut steps: Vec<u32> = std::iter::successors(Some(1u32), |step| step.checked_mul(2))
        .take_while(|step| *step < most)
        .collect();
    steps.push(most);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_doubles_and_ends_at_its_top() {
        assert_eq!(doubling(1), [1]);
        assert_eq!(doubling(6), [1, 2, 4, 6]);
        assert_eq!(doubling(8), [1, 2, 4, 8]);
    }
}
