//! Names committed in a second, with more or fewer uploads in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use penstock_door::namespace::upload::{Commit, CommitRules, Expectation, FinishedUpload, PendingUpload};
use penstock_door::namespace::{Namespace, NsPath, Shown};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// An SQLite file, a PostgreSQL URL, or "postgres"
    place: String,
    /// Uploads in flight
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,64")]
    parallel: Vec<u64>,
    /// Length of a run, in seconds
    #[arg(long, default_value = "3")]
    seconds: u64,
    /// Directories that they go to
    #[arg(long, default_value = "1")]
    directories: u64,
    /// Runs of each; the median counts
    #[arg(long, default_value = "3")]
    runs: usize,
}

pub async fn run(options: &Options) -> anyhow::Result<()> {
    let place = super::place(&options.place)?;
    let namespace = super::open(&place).await?;
    let next = Arc::new(AtomicU64::new(0));
    println!("in flight   names/s   own CPU us/name");
    for parallel in &options.parallel {
        let mut rates = Vec::new();
        for _ in 0..options.runs {
            rates.push(one_run(&namespace, &next, *parallel, options).await?);
        }
        rates.sort_by(|left, right| left.0.total_cmp(&right.0));
        let (rate, cpu) = rates[rates.len() / 2];
        println!("{parallel:9} {rate:9.0} {cpu:17.0}");
    }
    namespace.close().await;
    Ok(())
}

async fn one_run(
    namespace: &Namespace,
    next: &Arc<AtomicU64>,
    parallel: u64,
    options: &Options,
) -> anyhow::Result<(f64, f64)> {
    let (began_at, cpu) = (Instant::now(), super::cpu_time()?);
    let length = Duration::from_secs(options.seconds);
    let mut tasks = Vec::new();
    for _ in 0..parallel {
        let (namespace, next, directories) = (namespace.clone(), Arc::clone(next), options.directories);
        tasks.push(tokio::spawn(async move {
            let mut done = 0u64;
            while began_at.elapsed() < length {
                one(&namespace, next.fetch_add(1, Ordering::Relaxed), directories).await?;
                done += 1;
            }
            anyhow::Ok(done)
        }));
    }
    let mut done = 0;
    for task in tasks {
        done += task.await??;
    }
    let cpu = super::cpu_time()?.saturating_sub(cpu);
    Ok((done as f64 / began_at.elapsed().as_secs_f64(), cpu.as_secs_f64() * 1e6 / done as f64))
}

/// What a small upload asks of the namespace.
async fn one(namespace: &Namespace, number: u64, directories: u64) -> anyhow::Result<()> {
    let run = std::process::id();
    let upload = PendingUpload {
        // Ids of transfers do not follow each other, those of replicas do.
        transfer: format!("{:016x}{run:08x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        replica: format!("{run:08x}{number:016x}"),
        pool: "pool01".into(),
        path: NsPath::parse(&format!("/{run}/{}/file{number}", number % directories))?,
        expects: Expectation::Anything,
        may_overwrite: true,
        shown: Shown::default(),
        copy_of: None,
        started_at: Timestamp::now(),
        refused: None,
    };
    namespace.begin_upload(&upload).await?;
    let rules = CommitRules { create_parents: true, late: false };
    let finished = FinishedUpload { size: 4096, checksums: Vec::new() };
    let commit = namespace.commit_upload(&upload.transfer, &upload.replica, &finished, rules).await?;
    anyhow::ensure!(matches!(commit, Commit::Named(_)), "{commit:?}");
    Ok(())
}
