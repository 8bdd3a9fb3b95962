//! `cargo run -p penstock-tests --bin crash -- --cycles 200`: crashes a site at random instants and shows whether
//! anything that was promised is lost, extra or wrong. Ends with 1 at the first cycle in which it is.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use penstock_tests::crash::arrangement::Arrangement;
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
    /// Door and pool in one process (`penstock serve`); else each in its own, of which one or both are killed
    #[arg(long)]
    together: bool,
    /// An empty directory on the disk to be tested, which is kept; by default a temporary one
    #[arg(long)]
    data: Option<PathBuf>,
}

/// What all cycles amount to.
#[derive(Default)]
struct Sum {
    answered: BTreeMap<&'static str, u64>,
    unanswered: u64,
    made: u64,
    victims: BTreeMap<String, u64>,
    killed_starts: u64,
    indexes_deleted: u64,
    clean_stops: u64,
    without_blocks: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(seed_of_the_clock);
    let room = Room::new();
    let data = options.data.unwrap_or_else(|| room.join("data"));
    let arrangement = if options.together { Arrangement::Together } else { Arrangement::Apart };
    println!(
        "seed {seed}, {} cycles, {} clients, {arrangement:?}, data in {}",
        options.cycles,
        options.clients,
        data.display()
    );
    let start = Instant::now();
    let mut campaign = Campaign::start(&data, arrangement, seed, usize::from(options.clients));
    let mut sum = Sum::default();
    for _ in 0..options.cycles {
        let cycle = campaign.cycle();
        sum.add(&cycle);
        println!("{}", line(&cycle));
        if cycle.findings().next().is_some() {
            cycle.findings().for_each(|finding| println!("  {finding}"));
            println!("--- the log since the kill\n{}", last_lines(&campaign.log()));
            let together = if options.together { " --together" } else { "" };
            println!(
                "FAILED in cycle {}; again: crash --cycles {} --clients {} --seed {seed}{together}",
                cycle.number, options.cycles, options.clients
            );
            return ExitCode::FAILURE;
        }
    }
    sum.print(options.cycles, start.elapsed().as_secs());
    ExitCode::SUCCESS
}

/// What to look at first, of each daemon.
fn last_lines(log: &str) -> String {
    log.split("-- ")
        .map(|part| {
            let lines: Vec<_> = part.lines().collect();
            lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
        })
        .collect::<Vec<_>>()
        .join("\n-- ")
}

impl Sum {
    fn add(&mut self, cycle: &Cycle) {
        for (name, count) in &cycle.tally.answered {
            *self.answered.entry(name).or_default() += count;
        }
        self.unanswered += cycle.tally.unanswered;
        self.made += cycle.audit.made;
        *self.victims.entry(format!("{:?}", cycle.victim)).or_default() += 1;
        self.killed_starts += cycle.killed_starts;
        self.indexes_deleted += u64::from(cycle.index_deleted);
        self.clean_stops += u64::from(cycle.clean_stop);
        self.without_blocks = cycle.audit.without_blocks;
    }

    fn print(&self, cycles: u64, seconds: u64) {
        let list = |counts: Vec<String>| counts.join(", ");
        println!("all well after {cycles} kills in {seconds} s");
        println!(
            "  killed: {}",
            list(self.victims.iter().map(|(who, count)| format!("{who} {count}")).collect())
        );
        println!(
            "  starts killed: {}; indexes deleted: {}; clean stops: {}",
            self.killed_starts, self.indexes_deleted, self.clean_stops
        );
        println!(
            "  answered and right: {}",
            list(self.answered.iter().map(|(what, count)| format!("{count} {what}")).collect())
        );
        println!(
            "  changes without an answer: {} made, {} not",
            self.made,
            self.unanswered.saturating_sub(self.made)
        );
        println!("  replicas at the end whose blocks have no checksums: {}", self.without_blocks);
    }
}

fn line(cycle: &Cycle) -> String {
    let (tally, audit) = (&cycle.tally, &cycle.audit);
    let mut also = String::new();
    if cycle.killed_starts > 0 {
        also += &format!("; {} starts killed", cycle.killed_starts);
    }
    if cycle.index_deleted {
        also += "; index deleted";
    }
    if cycle.clean_stop {
        also += "; stopped and started";
    }
    format!(
        "cycle {:4}: {:?} killed after {:3} ms{also}; {:4} answers, {} changes without one ({} made); {:3} names: {}",
        cycle.number,
        cycle.victim,
        cycle.work_time.as_millis(),
        tally.answered.values().sum::<u64>(),
        tally.unanswered,
        audit.made,
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
