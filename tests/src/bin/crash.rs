//! `cargo run -p penstock-tests --bin crash -- --cycles 200`: crashes a site at random instants and shows whether
//! anything that was promised is lost, extra or wrong. Ends with 1 at the first cycle in which it is.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use penstock_tests::crash::{Campaign, Cycle};
use penstock_tests::room::Room;

/// Lines of the daemon's log that are shown with what is wrong.
const LAST_LINES: usize = 40;

/// Crashes a site at random instants and compares what is there with what its clients were told.
#[derive(Debug, Parser)]
#[command(name = "crash")]
struct Options {
    /// Kills, each with an audit after it
    #[arg(long, default_value_t = 20)]
    cycles: u64,
    /// What the clients do, and when the kills come; another one each time when it is left out
    #[arg(long)]
    seed: Option<u64>,
    /// Clients that work at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    clients: u16,
    /// An empty directory on the disk to be tested, which is kept; by default a temporary one
    #[arg(long)]
    data: Option<PathBuf>,
}

/// What all cycles amount to.
#[derive(Default)]
struct Sum {
    uploads: u64,
    deletions: u64,
    downloads: u64,
    unanswered: u64,
    made: u64,
    killed_starts: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(seed_of_the_clock);
    let room = Room::new();
    let data = options.data.unwrap_or_else(|| room.join("data"));
    println!(
        "seed {seed}, {} cycles, {} clients, data in {}",
        options.cycles,
        options.clients,
        data.display()
    );
    let mut campaign = Campaign::start(&data, seed, usize::from(options.clients));
    let mut sum = Sum::default();
    for _ in 0..options.cycles {
        let cycle = campaign.cycle();
        sum.add(&cycle);
        println!("{}", line(&cycle));
        if cycle.findings().next().is_some() {
            cycle.findings().for_each(|finding| println!("  {finding}"));
            let log = campaign.log();
            let lines: Vec<_> = log.lines().collect();
            println!(
                "--- the log since the kill\n{}",
                lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
            );
            println!("FAILED in cycle {} with seed {seed}", cycle.number);
            return ExitCode::FAILURE;
        }
    }
    println!(
        "all well after {} kills ({} more in a start): {} uploads and {} deletions answered and kept, {} downloads \
         right; of {} changes without an answer {} made, the others not",
        options.cycles,
        sum.killed_starts,
        sum.uploads,
        sum.deletions,
        sum.downloads,
        sum.unanswered,
        sum.made
    );
    ExitCode::SUCCESS
}

impl Sum {
    fn add(&mut self, cycle: &Cycle) {
        self.uploads += cycle.tally.uploads;
        self.deletions += cycle.tally.deletions;
        self.downloads += cycle.tally.downloads;
        self.unanswered += cycle.tally.unanswered;
        self.made += cycle.audit.made;
        self.killed_starts += cycle.killed_starts;
    }
}

fn line(cycle: &Cycle) -> String {
    let (tally, audit) = (&cycle.tally, &cycle.audit);
    format!(
        "cycle {:4}: killed after {:4} ms; {:3} uploads, {:3} deletions, {:3} downloads, {} unanswered ({} made), \
         {} starts killed; {:3} names: {}",
        cycle.number,
        cycle.work_time.as_millis(),
        tally.uploads,
        tally.deletions,
        tally.downloads,
        tally.unanswered,
        audit.made,
        cycle.killed_starts,
        audit.names,
        match cycle.findings().count() {
            0 => "all well".to_owned(),
            count => format!("{count} WRONG"),
        }
    )
}

fn seed_of_the_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() ^ u64::from(since.subsec_nanos()) << 20
}
