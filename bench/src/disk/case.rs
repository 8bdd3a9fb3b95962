//! The cases of `penstock-bench disk`: which way, how, how much at once.

use std::fmt;

use penstock_pool::engine::arena::SLOT_BYTES;
use penstock_pool::engine::file::DIRECT_ALIGNMENT;

use super::options::Options;
use crate::arguments::show_byte_size;
use crate::report::Label;

/// What a pool has in flight for an upload, and what it reads ahead for a download.
const USUAL_WRITES: u32 = 6;
const USUAL_READS: u32 = 4;
/// More cases than that are a slip of the pen.
const MOST_CASES: usize = 256;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// To the disk, a sync at the end included.
    Write,
    /// From the disk.
    Read,
}

/// How bytes come to the disk and from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Past the page cache (O_DIRECT)
    Direct,
    /// Through the page cache, and out of it at once (RWF_DONTCACHE, Linux 6.14)
    Dontcache,
    /// Through the page cache, which has nothing of the file before
    Buffered,
    /// Only reading: from the page cache, which has all of the file
    Cached,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Which way.
    pub direction: Direction,
    /// How.
    pub mode: Mode,
    /// Operations in flight for each file.
    pub depth: u32,
    /// Bytes of an operation.
    pub block_bytes: usize,
    /// Files at once.
    pub jobs: u32,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Direction::Write => "write",
            Direction::Read => "read",
        }
    }
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Direct => "direct",
            Mode::Dontcache => "dontcache",
            Mode::Buffered => "buffered",
            Mode::Cached => "cached",
        }
    }
}

impl Case {
    /// As a pool does it.
    pub fn usual(direction: Direction) -> Self {
        let depth = match direction {
            Direction::Write => USUAL_WRITES,
            Direction::Read => USUAL_READS,
        };
        Self { direction, mode: Mode::Direct, depth, block_bytes: SLOT_BYTES, jobs: 1 }
    }

    /// What it is, for a report.
    pub fn labels(&self) -> Vec<Label> {
        vec![
            Label::text("direction", "direction", self.direction.name()),
            Label::text("mode", "mode", self.mode.name()),
            Label::count("depth", "in flight", self.depth),
            Label::bytes("block_bytes", "block", self.block_bytes as u64),
            Label::count("jobs", "files", self.jobs),
        ]
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { direction, mode, depth, block_bytes, jobs } = self;
        let (direction, mode, block) = (direction.name(), mode.name(), show_byte_size(*block_bytes as u64));
        write!(f, "{direction} {mode}, {depth} × {block}, {jobs} file{}", if *jobs == 1 { "" } else { "s" })
    }
}

/// Cases that are compared with each other.
#[derive(Debug)]
pub struct Sweep {
    /// In JSON.
    pub name: &'static str,
    /// The heading.
    pub title: String,
    /// What holds for all of them.
    pub about: String,
    /// The label that is varied, if it is a number.
    pub along: Option<&'static str>,
    /// The cases.
    pub cases: Vec<Case>,
}

/// What is measured: everything the user has chosen, or one thing at a time around what a pool does.
pub fn sweeps(options: &Options) -> anyhow::Result<Vec<Sweep>> {
    let mut sweeps = Vec::new();
    for direction in options.directions() {
        if options.chosen() {
            sweeps.push(chosen(options, direction)?);
        } else {
            sweeps.extend(around_the_usual(direction));
        }
    }
    let count: usize = sweeps.iter().map(|sweep| sweep.cases.len()).sum();
    anyhow::ensure!(count > 0, "nothing to measure: the mode \"cached\" is for reading only");
    anyhow::ensure!(count <= MOST_CASES, "{count} cases are more than {MOST_CASES}: give shorter lists");
    Ok(sweeps)
}

fn chosen(options: &Options, direction: Direction) -> anyhow::Result<Sweep> {
    let usual = Case::usual(direction);
    let modes = options.mode.clone().unwrap_or_else(|| vec![usual.mode]);
    let depths =
        options.depth.as_ref().map_or(vec![usual.depth], |list| list.iter().map(|one| one.0).collect());
    let jobs = options.jobs.as_ref().map_or(vec![usual.jobs], |list| list.iter().map(|one| one.0).collect());
    let mut blocks = vec![usual.block_bytes];
    if let Some(list) = &options.block {
        blocks.clear();
        for size in list {
            let bytes = usize::try_from(size.0).unwrap_or(usize::MAX);
            anyhow::ensure!(
                bytes <= SLOT_BYTES
                    && SLOT_BYTES.is_multiple_of(bytes)
                    && bytes.is_multiple_of(DIRECT_ALIGNMENT),
                "--block: {size} is not 4 KiB, 8 KiB, 16 KiB and so on up to 1 MiB, the size of the pool's buffers"
            );
            blocks.push(bytes);
        }
    }
    let mut cases = Vec::new();
    for mode in modes.into_iter().filter(|mode| direction == Direction::Read || *mode != Mode::Cached) {
        for block_bytes in &blocks {
            for jobs in &jobs {
                for depth in &depths {
                    let (block_bytes, jobs, depth) = (*block_bytes, *jobs, *depth);
                    cases.push(Case { direction, mode, depth, block_bytes, jobs });
                }
            }
        }
    }
    let longest = [(depths.len(), "depth"), (blocks.len(), "block_bytes"), (jobs.len(), "jobs")];
    let along = longest.into_iter().filter(|(length, _)| *length > 1).max_by_key(|(length, _)| *length);
    Ok(Sweep {
        name: direction.name(),
        title: heading(direction, ""),
        about: about(direction, ""),
        along: along.map(|(_, key)| key),
        cases,
    })
}

fn around_the_usual(direction: Direction) -> [Sweep; 4] {
    let usual = || Case::usual(direction);
    let modes: &[Mode] = match direction {
        Direction::Write => &[Mode::Direct, Mode::Dontcache, Mode::Buffered],
        Direction::Read => &[Mode::Direct, Mode::Dontcache, Mode::Buffered, Mode::Cached],
    };
    let names = match direction {
        Direction::Write => ["write-modes", "write-depths", "write-blocks", "write-jobs"],
        Direction::Read => ["read-modes", "read-depths", "read-blocks", "read-jobs"],
    };
    let sweep = |place: usize, what: &str, along, cases| Sweep {
        name: names[place],
        title: heading(direction, what),
        about: if place == 0 { about(direction, "") } else { String::new() },
        along,
        cases,
    };
    let depths = [1, 2, usual().depth, 16].map(|depth| Case { depth, ..usual() });
    let blocks = [64 << 10, 256 << 10, SLOT_BYTES].map(|block_bytes| Case { block_bytes, ..usual() });
    let jobs = [1, 2, 4].map(|jobs| Case { jobs, ..usual() });
    [
        sweep(
            0,
            "ways through or past the page cache",
            None,
            modes.iter().map(|mode| Case { mode: *mode, ..usual() }).collect(),
        ),
        sweep(1, "operations in flight", Some("depth"), depths.to_vec()),
        sweep(2, "sizes of an operation", Some("block_bytes"), blocks.to_vec()),
        sweep(3, "files at once", Some("jobs"), jobs.to_vec()),
    ]
}

fn heading(direction: Direction, what: &str) -> String {
    let verb = match direction {
        Direction::Write => "Writing",
        Direction::Read => "Reading",
    };
    if what.is_empty() { verb.to_owned() } else { format!("{verb}: {what}") }
}

fn about(direction: Direction, more: &str) -> String {
    let text = match direction {
        Direction::Write => {
            "new files in allocated space, as uploads come; the time includes the final fdatasync"
        }
        Direction::Read => "files of random bytes, each read once from its beginning to its end",
    };
    format!("{text}{more}")
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

    fn given(arguments: &str) -> anyhow::Result<Vec<Sweep>> {
        let arguments = format!("disk /data {arguments}");
        sweeps(&Alone::try_parse_from(arguments.split_ascii_whitespace())?.options)
    }

    #[test]
    fn without_a_choice_one_thing_is_varied_at_a_time_around_the_pools_own_way() {
        let sweeps = given("").unwrap();
        assert_eq!(sweeps.len(), 8);
        for sweep in sweeps {
            let usual = Case::usual(sweep.cases[0].direction);
            assert!(sweep.cases.contains(&usual), "{}", sweep.name);
            let differing = |case: &Case| {
                [
                    case.mode != usual.mode,
                    case.depth != usual.depth,
                    case.block_bytes != usual.block_bytes,
                    case.jobs != usual.jobs,
                ]
                .into_iter()
                .filter(|differs| *differs)
                .count()
            };
            assert!(sweep.cases.iter().all(|case| differing(case) <= 1), "{}", sweep.name);
        }
    }

    #[test]
    fn lists_are_combined_with_each_other() {
        let sweeps = given("--direction read --depth 1,8 --block 4KiB,1MiB --mode direct,cached").unwrap();
        assert_eq!(sweeps.len(), 1);
        assert_eq!(sweeps[0].cases.len(), 8);
        assert_eq!(sweeps[0].cases[0].to_string(), "read direct, 1 × 4 KiB, 1 file");
    }

    #[test]
    fn nothing_is_written_from_the_cache() {
        let sweeps = given("--mode cached,direct").unwrap();
        assert_eq!((sweeps[0].cases.len(), sweeps[1].cases.len()), (1, 2));
        assert!(
            given("--mode cached --direction write").unwrap_err().to_string().contains("nothing to measure")
        );
    }

    #[test]
    fn what_the_pools_buffers_cannot_hold_is_refused() {
        for block in ["2MiB", "1000", "12KiB", "2KiB"] {
            let error = given(&format!("--block {block}")).unwrap_err().to_string();
            assert!(error.starts_with("--block: "), "{error}");
        }
        let error =
            given("--depth 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17 --jobs 1,2,3,4,5,6,7,8").unwrap_err();
        assert!(error.to_string().contains("shorter lists"), "{error}");
    }
}
