//! `penstock-bench engine`: the same job by four ways to build a server.
//!
//! The pool's ring, tokio-uring, hyper and blocking threads each serve a hot file, a cold one, and take a new one, over
//! loopback, in one run and in turn. Each is a process of its own on one processor; the clients are on the others.

mod options;
mod serve;

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
pub use options::Options;
use options::{Engine, Job};
pub use serve::{Options as ServerOptions, run as serve};

use crate::arguments::show_byte_size;
use crate::child::Child;
use crate::http::{Client, Location};
use crate::measure::figures::{CPU, THROUGHPUT};
use crate::measure::{MIB, Plan, Sample, in_turn, payload, pin_to_processor, processors};
use crate::report::{Chart, Label, Making, Output, Row, Section};
use crate::target::Target;
use crate::terminal::{Interrupt, Progress};

/// What is written at once when files are made, and what clients send over and over.
const PIECE_BYTES: usize = 1 << 20;
/// A page cache with more of a file than this share of it has not been emptied.
const EMPTY_SHARE: f64 = 0.01;

/// One engine doing one job for so many clients.
struct Case {
    engine: Engine,
    job: Job,
    clients: u32,
}

/// A running engine.
struct Running {
    engine: Engine,
    address: String,
    child: std::cell::RefCell<Child>,
}

/// Measures and reports.
pub fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    let target = Target::open(&options.directory)?;
    let output = Output::prepare(&options.common)?;
    let mut report = Making::begin("engine");
    let most = options.clients.iter().map(|count| count.0).max().unwrap_or(1);
    // Files to read, and as many new ones at once.
    target.need(options.size.0.saturating_mul(u64::from(most)).saturating_mul(2))?;
    let named = target.named().context("cannot make a directory for the files")?;
    let progress = Progress::new(0);
    progress.doing("writing the files that are read");
    let files = make_files(named.path(), most, options.size.0, interrupt)?;

    let running = options.engine.iter().map(|engine| start(*engine, named.path(), most));
    let running = running.collect::<anyhow::Result<Vec<_>>>()?;
    report.setting("directory", target.path().display());
    report.setting("file size", show_byte_size(options.size.0));
    report.setting("runs", options.common.runs);
    report.notes.extend([
        "A server has one processor, the clients the others; its processor time is that of its whole process.".to_owned(),
        "ring: sendfile of cached pages; O_DIRECT reads 4 × 1 MiB ahead; O_DIRECT writes 6 × 1 MiB into allocated space. \
         tokio-uring: 512 KiB reads and 1 MiB writes through the page cache. hyper: pooled buffers of 256 KiB read by \
         pread, uploads gathered to 1 MiB. threads: sendfile; recv and pwrite of 1 MiB."
            .to_owned(),
        "Every upload is synced (fdatasync) before its 201; none is checksummed.".to_owned(),
    ]);
    report.over_loopback();
    if target.is_in_memory() {
        report
            .notes
            .push(format!("{} is a file system in memory: nothing is ever cold.", target.path().display()));
    }

    let plan = Plan::of(&options.common);
    let payload = payload(PIECE_BYTES);
    progress
        .more((options.job.len() * options.clients.len() * running.len()) as u64 * u64::from(plan.rounds()));
    for job in &options.job {
        let mut cases = Vec::new();
        for clients in &options.clients {
            cases.extend(running.iter().map(|one| Case {
                engine: one.engine,
                job: *job,
                clients: clients.0,
            }));
        }
        let name =
            |case: &Case| format!("{}: {}, {} clients", case.job.title(), case.engine.name(), case.clients);
        let measured = in_turn(plan, &progress, interrupt, &cases, name, |case| {
            let server = running.iter().find(|one| one.engine == case.engine).context("every engine runs")?;
            one_run(case, server, &files, options.size.0, &payload, interrupt)
        })?;
        let rows = cases.iter().zip(measured).map(|(case, measurement)| {
            let labels = vec![
                Label::text("engine", "engine", case.engine.name()),
                Label::count("clients", "clients", case.clients),
            ];
            Row::new(labels, measurement)
        });
        report.sections.push(Section {
            name: job.key(),
            title: job.title().to_owned(),
            about: job.about().to_owned(),
            charts: vec![Chart::Bars(&THROUGHPUT), Chart::Bars(&CPU)],
            rows: rows.collect(),
        });
    }
    drop(progress);
    drop(running);
    output.write(&report.finish())
}

fn start(engine: Engine, directory: &Path, clients: u32) -> anyhow::Result<Running> {
    let directory = directory.to_str().context("the directory's name is not UTF-8")?;
    let clients = clients.to_string();
    let mut child = Child::start(&[
        "engine-server",
        "--engine",
        engine.name(),
        "--directory",
        directory,
        "--clients",
        &clients,
    ])?;
    let address = child
        .line("listening on ")
        .with_context(|| format!("the engine {} does not start", engine.name()))?;
    Ok(Running { engine, address, child: child.into() })
}

/// The files that are read, one for each client.
fn make_files(
    directory: &Path,
    count: u32,
    size_bytes: u64,
    interrupt: &Interrupt,
) -> anyhow::Result<Vec<PathBuf>> {
    use std::io::Write as _;
    let piece = payload(PIECE_BYTES);
    let mut paths = Vec::new();
    for number in 0..count {
        let path = directory.join(number.to_string());
        let make = || -> anyhow::Result<()> {
            let mut file = std::fs::File::create_new(&path)?;
            let mut left = size_bytes;
            while left > 0 {
                interrupt.check()?;
                let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                file.write_all(&piece[..length])?;
                left -= length as u64;
            }
            Ok(file.sync_data()?)
        };
        make().with_context(|| format!("cannot write {}", path.display()))?;
        paths.push(path);
    }
    Ok(paths)
}

/// Brings the page cache into the state that a job needs. Gives a remark where it could not.
fn prepare(job: Job, files: &[PathBuf], size_bytes: u64) -> anyhow::Result<Option<String>> {
    use penstock_pool::engine::disk::{Disk, KernelDisk, ReadMode};
    let mut remark = None;
    for path in files {
        match job {
            Job::Put => {}
            Job::Hot => {
                let mut file = std::fs::File::open(path)?;
                std::io::copy(&mut file, &mut std::io::sink())?;
            }
            Job::Cold => {
                let file = std::fs::File::open(path)?;
                rustix::fs::fadvise(file.as_fd(), 0, None, rustix::fs::Advice::DontNeed)?;
                let file = KernelDisk.open(path, ReadMode::Buffered)?;
                if let Some(cached) = KernelDisk.cached(&file, 0, size_bytes)?
                    && cached.cached as f64 > EMPTY_SHARE * size_bytes as f64
                {
                    remark = Some(format!("{} of a file were cached", show_byte_size(cached.cached)));
                }
            }
        }
    }
    Ok(remark)
}

/// One run: every client makes one request.
fn one_run(
    case: &Case,
    server: &Running,
    files: &[PathBuf],
    size_bytes: u64,
    payload: &[u8],
    interrupt: &Interrupt,
) -> anyhow::Result<Sample> {
    let used = &files[..(case.clients as usize).min(files.len())];
    let remark = prepare(case.job, used, size_bytes).context("cannot prepare the page cache")?;
    let cpu = || -> anyhow::Result<u64> {
        let said = server.child.borrow_mut().ask("cpu", "cpu ")?;
        said.parse().context("the server does not tell its processor time")
    };
    let before = cpu()?;
    let began_at = Instant::now();
    let moved = std::thread::scope(|scope| -> anyhow::Result<u64> {
        let mut clients = Vec::new();
        for number in 0..case.clients {
            let url = format!("http://{}/{}/{number}", server.address, case.job.key());
            let at = Location::parse(&url).map_err(|reason| anyhow::anyhow!("{reason}"))?;
            clients.push(scope.spawn(move || {
                // The first processor is the server's. Unpinned it measures as well, only less steadily.
                let others = processors().len().saturating_sub(1);
                let _ = pin_to_processor(if others == 0 { 0 } else { 1 + number as usize % others });
                let mut client = Client::new(interrupt);
                match case.job {
                    Job::Hot | Job::Cold => client.get(&at, None),
                    Job::Put => client.put(&at, size_bytes, payload).map(|()| size_bytes),
                }
            }));
        }
        let mut moved = 0;
        for client in clients {
            moved += client.join().map_err(|_| anyhow::anyhow!("a client's thread panicked"))??;
        }
        Ok(moved)
    })?;
    let elapsed = began_at.elapsed().as_secs_f64();
    let cpu_seconds = cpu()?.saturating_sub(before) as f64 / 1e9;
    anyhow::ensure!(
        moved == size_bytes * u64::from(case.clients),
        "{moved} bytes came through, which is not what was asked for"
    );
    let mib = moved as f64 / MIB;
    let figures = vec![(&THROUGHPUT, mib / elapsed), (&CPU, cpu_seconds / (mib / 1024.0))];
    Ok(Sample { figures, remark, ..Default::default() })
}
