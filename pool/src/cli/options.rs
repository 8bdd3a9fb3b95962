//! The command line.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use penstock_door_proto::v1;
use penstock_pool::checksum::Algorithm;
use penstock_pool::config::reference::REFERENCE;
use penstock_pool::config::units::{ByteSize, Period};
use penstock_pool::store::import::DEFAULT_SAMPLE_EVERY;
use penstock_service::manual::Manual;
use penstock_service::settings::Sources;
use penstock_service::settings::options::SettingsOptions;
use penstock_service::settings::wish::ConfigWish;

use super::reach::USUAL_CONFIG;

/// Of so many files to be imported whose checksums are known, one is read.
const USUAL_SAMPLE: NonZeroU64 = NonZeroU64::new(DEFAULT_SAMPLE_EVERY).unwrap();

/// Holds replicas on this disk server and moves their bytes, on the word of doors.
///
/// Without a command it is the daemon. With one it asks a pool that runs: the one of --config (by default of
/// /etc/penstock/pool.toml, where that is there), or of --socket or --address.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Options {
    /// What to do; nothing: be the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Where settings come from.
    #[command(flatten)]
    pub settings: SettingsOptions,
    /// Validates the configuration, prints it and ends. The command "check" looks at the machine too.
    #[arg(long)]
    pub check: bool,
    /// Where the pool is.
    #[command(flatten)]
    pub reach: Reach,
    /// JSON instead of text; lists give one object on each line.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Options {
    /// What the file, the environment and the command line say.
    #[must_use]
    pub fn sources(&self) -> Sources {
        self.settings.sources(&REFERENCE)
    }

    /// The same for commands, with the file that the service has where none is named.
    #[must_use]
    pub fn usual_sources(&self) -> Sources {
        self.settings.usual_sources(&REFERENCE, USUAL_CONFIG)
    }
}

/// Where a pool is reached, if not as its configuration says.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Where the pool is, if not as --config says")]
pub struct Reach {
    /// Its Unix socket.
    #[arg(long, value_name = "PATH", global = true, conflicts_with = "address")]
    pub socket: Option<PathBuf>,
    /// Its gRPC port: "https://host:port", or "http://127.0.0.1:port" where it is unprotected.
    #[arg(long, value_name = "URL", global = true)]
    pub address: Option<String>,
    /// PEM file of the authority that signed the pool's certificate.
    #[arg(long, value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// PEM file of the certificate to show the pool.
    #[arg(long, value_name = "FILE", global = true)]
    pub cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long, value_name = "FILE", global = true)]
    pub key: Option<PathBuf>,
}

impl Reach {
    /// Whether anything is given; the daemon has no use for it.
    #[must_use]
    pub fn is_given(&self) -> bool {
        let Self { socket, address, ca, cert, key } = self;
        socket.is_some() || address.is_some() || ca.is_some() || cert.is_some() || key.is_some()
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// With a pool that runs.
    #[command(flatten)]
    Running(Running),
    /// The index of a pool that does not run.
    #[command(subcommand)]
    Index(Index),
    /// Makes replicas of the files below a directory, in place, for a pool that does not run.
    ///
    /// The directory must be in the pool's file system: a file gets a second name there, and its bytes stay where they
    /// are. Checksums that XRootD or StoRM left are believed, after a sample; of other files they are computed. The
    /// replicas are orphans until a door claims them. What is there already is passed by, so a second run goes on
    /// where the first was cut short. Ends with 1 when files were left alone.
    Import(Import),
    /// Packet marking.
    #[command(subcommand)]
    Marking(Marking),
    /// Prints the configuration in effect, and where each value comes from.
    ///
    /// The file's values go before the defaults, those of the environment (PENSTOCK_POOL_DATA_LISTEN for data.listen) before
    /// the file's, and those of --set before all. There is nothing secret in it: keys and certificates are files, of which
    /// it holds the paths.
    Config(ConfigWish),
    /// Looks whether a pool can run here with this configuration, without binding or changing anything.
    ///
    /// Files, certificates and their dates, names, space, direct I/O, io_uring, limits, clock, IPv6: a line for each, with
    /// what to do where something is not well. Ends with 1 when something failed; warnings do not count.
    Check,
    #[command(flatten)]
    Manual(Manual),
}

/// What to do with a pool that runs.
#[derive(Debug, Subcommand)]
pub enum Running {
    /// Tells how the pool is. Ends with 1 when it is not well.
    Status,
    /// Takes no new transfers; those that run go on.
    Drain(Drain),
    /// Takes new transfers again.
    Resume,
    /// Leaves the read-only state after the disk was repaired: writes and reads back a file first.
    Recover {
        /// For the pool's log.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// The verification of all replicas, in the background.
    #[command(subcommand)]
    Scrub(Scrub),
    /// What the pool does now: every transfer that waits or runs.
    Transfers(Transfers),
    /// One transfer.
    #[command(subcommand)]
    Transfer(Transfer),
    /// The replicas of the pool.
    #[command(subcommand)]
    Replicas(Replicas),
}

/// What to do about packet marking.
#[derive(Debug, Subcommand)]
pub enum Marking {
    /// Says what of packet marking will work on this host with this configuration, what will not, and why: flow labels,
    /// ports for clients, collectors. Ends with 1 when something that is asked for will not work.
    Check,
}

/// Which transfers to show, and how.
#[derive(Debug, Args)]
pub struct Transfers {
    /// Shows them again and again, every 2 s or as often as told ("500 ms"); Ctrl-C ends it. Rates are those since the
    /// last look then, and not the means since the start.
    #[arg(long, value_name = "TIME", value_parser = watch_period, num_args = 0..=1, default_missing_value = "2 s",
        require_equals = true)]
    pub watch: Option<Duration>,
    /// Those that have ended too, as long as their door has not acknowledged them.
    #[arg(long)]
    pub all: bool,
    /// What comes first: the oldest (age), or the highest rate, most bytes …
    #[arg(long, value_name = "BY", value_enum, default_value_t = SortKey::Age)]
    pub sort: SortKey,
    /// The other way round.
    #[arg(long)]
    pub reverse: bool,
    /// Only those of which this holds: "state=running", "path=/atlas", "limited-by=disk" …; several must all hold.
    /// kind, state, limited-by, queue, experiment and activity are compared as they are; transfer, replica, path, subject,
    /// issuer, client, door, remote-url and user-agent have to contain it.
    #[arg(long, value_name = "WHAT=TEXT", value_parser = filter)]
    pub filter: Vec<Filter>,
    /// At most so many rows of the table.
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<usize>,
}

/// What to do with one transfer.
#[derive(Debug, Subcommand)]
pub enum Transfer {
    /// Tells all that is known of it.
    Show {
        /// Its id.
        id: String,
    },
    /// Ends it. Nothing is left of an upload. Ends with 1 when it had ended, or is not known.
    Cancel {
        /// Its id.
        id: String,
        /// Why: for its record, its door and its client.
        #[arg(long, value_name = "TEXT", default_value = "cancelled by an administrator")]
        reason: String,
    },
}

/// By what transfers are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SortKey {
    /// The oldest first.
    Age,
    /// The fastest first.
    Rate,
    /// Those first that have moved most.
    Bytes,
    /// By state.
    State,
    /// By kind.
    Kind,
    /// By user.
    Who,
    /// By path.
    Path,
}

/// What has to hold of a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// A field of its JSON.
    pub field: &'static str,
    /// What it has to be, or to contain.
    pub text: String,
}

/// Fields that can be filtered by.
const FILTERED: [&str; 15] = [
    "transfer",
    "replica",
    "path",
    "kind",
    "state",
    "limited_by",
    "queue",
    "subject",
    "issuer",
    "client",
    "door",
    "remote_url",
    "user_agent",
    "experiment",
    "activity",
];

/// What to do with the index.
#[derive(Debug, Subcommand)]
pub enum Index {
    /// Makes it anew from the files. Reads all of them, and marks as broken what is not as it was stored. Ends with 1
    /// when something was found.
    Rebuild {
        /// Looks at the files' attributes only. The scrub reads them later.
        #[arg(long)]
        quick: bool,
    },
}

/// What to import, and how.
#[derive(Debug, Args)]
pub struct Import {
    /// The directory.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Put before each file's path below the directory ("/atlas").
    #[arg(long, value_name = "PATH", default_value = "", value_parser = prefix)]
    pub prefix: String,
    /// The storage class of all of them.
    #[arg(long, value_name = "CLASS", default_value = "")]
    pub class: String,
    /// Of so many files with believable checksums one is read all the same; 1 reads all.
    #[arg(long, value_name = "NUMBER", default_value_t = USUAL_SAMPLE)]
    pub sample_every: NonZeroU64,
    /// Computes these checksums of files that are read, beside adler32 and the configured ones.
    #[arg(long, value_name = "ALGORITHM", value_delimiter = ',', value_parser = checksum)]
    pub checksums: Vec<Algorithm>,
    /// Takes a file's name in the directory away once it is a replica.
    #[arg(long)]
    pub remove_names: bool,
    /// Changes nothing and tells what would be done.
    #[arg(long)]
    pub dry_run: bool,
    /// Writes a line of JSON for each replica (path, id, size, checksums), for doors; "-": to the standard output.
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
}

/// How to drain.
#[derive(Debug, Args)]
pub struct Drain {
    /// Transfers that still run then are ended ("5 min").
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub deadline: Option<Duration>,
    /// For the pool's log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Waits until no transfer is left.
    #[arg(long)]
    pub wait: bool,
}

/// What to do with the scrub.
#[derive(Debug, Subcommand)]
pub enum Scrub {
    /// Tells how it stands.
    Status,
    /// Goes on where it was, or begins a new pass over all replicas.
    Start {
        /// Begins with the first replica, wherever it was.
        #[arg(long)]
        restart: bool,
        /// Bytes per second of this pass ("100 MiB"); as configured, if not given.
        #[arg(long, value_name = "SIZE", value_parser = size)]
        rate: Option<u64>,
    },
    /// Stops it until it is started again. The place is kept.
    Stop,
}

/// What to do with replicas.
#[derive(Debug, Subcommand)]
pub enum Replicas {
    /// Lists them in the order of their ids.
    List(List),
    /// Tells all that is known of some.
    Show {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Reads some from the disk and compares all their checksums. Ends with 1 when one is not good.
    Verify {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Computes these checksums too, and keeps them.
        #[arg(long, value_name = "ALGORITHM", value_delimiter = ',', value_parser = algorithm)]
        compute: Vec<v1::ChecksumAlgorithm>,
    },
    /// Deletes some. Doors are not asked: a name that points to one is dead then.
    Delete {
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
        /// One that is not there is no error.
        #[arg(long)]
        missing_ok: bool,
    },
}

/// Which replicas to list.
#[derive(Debug, Args)]
pub struct List {
    /// Only those of these states.
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub state: Vec<StateWord>,
    /// Only those that could not be read since they were last verified.
    #[arg(long)]
    pub suspect: bool,
    /// At most so many.
    #[arg(long, value_name = "NUMBER")]
    pub limit: Option<u64>,
    /// Those behind this id.
    #[arg(long, value_name = "ID")]
    pub after: Option<String>,
}

/// A state of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateWord {
    /// Being written.
    Uploading,
    /// Whole, and served.
    Ready,
    /// Its bytes are not those that were stored.
    Broken,
    /// An upload that no door has claimed.
    Orphaned,
    /// Being removed.
    Removing,
}

impl From<StateWord> for v1::ReplicaState {
    fn from(word: StateWord) -> Self {
        match word {
            StateWord::Uploading => Self::Uploading,
            StateWord::Ready => Self::Ready,
            StateWord::Broken => Self::Broken,
            StateWord::Orphaned => Self::Orphaned,
            StateWord::Removing => Self::Removing,
        }
    }
}

fn size(text: &str) -> Result<u64, String> {
    let bytes = text.parse().ok().or_else(|| ByteSize::parse(text).map(|size| size.0));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "not a size: bytes, or text like \"100 MiB\", and more than 0".into())
}

fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds
        .or_else(|| Period::parse(text).map(|period| period.0))
        .ok_or_else(|| "not a length of time: seconds, or text like \"5 min\"".into())
}

/// More often would only keep the pool busy with telling.
const SHORTEST_WATCH: Duration = Duration::from_millis(100);

fn watch_period(text: &str) -> Result<Duration, String> {
    time(text).map(|period| period.max(SHORTEST_WATCH))
}

fn filter(text: &str) -> Result<Filter, String> {
    let (name, text) = text.split_once('=').ok_or("write WHAT=TEXT, as in \"state=running\"")?;
    let name = name.trim().replace('-', "_");
    match FILTERED.iter().find(|field| **field == name) {
        Some(field) => Ok(Filter { field, text: text.trim().to_owned() }),
        None => Err(format!("there is no \"{name}\" to choose by; there are {}", FILTERED.join(", "))),
    }
}

fn checksum(name: &str) -> Result<Algorithm, String> {
    let known = || Algorithm::ALL.map(Algorithm::name).join(", ");
    Algorithm::from_name(name).ok_or_else(|| format!("no such checksum; there are {}", known()))
}

fn algorithm(name: &str) -> Result<v1::ChecksumAlgorithm, String> {
    checksum(name).map(Into::into)
}

fn prefix(path: &str) -> Result<String, String> {
    if path.is_empty() || path.starts_with('/') {
        Ok(path.to_owned())
    } else {
        Err("must begin with \"/\"".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("penstock-pool").chain(words.iter().copied()))
    }

    #[test]
    fn the_daemon_is_what_there_is_without_a_command() {
        let options = parse(&["--config", "/etc/p.toml", "--check"]).unwrap();
        assert!(options.command.is_none() && options.check);
        assert_eq!(options.settings.config, Some("/etc/p.toml".into()));
    }

    #[test]
    fn where_the_pool_is_may_be_said_anywhere() {
        for words in [
            &["--socket", "/s", "scrub", "status", "--json"][..],
            &["scrub", "--socket", "/s", "--json", "status"],
            &["--json", "scrub", "status", "--socket", "/s"],
        ] {
            let options = parse(words).unwrap();
            assert!(
                matches!(options.command, Some(Command::Running(Running::Scrub(Scrub::Status)))),
                "{words:?}"
            );
            assert_eq!(options.reach.socket, Some("/s".into()), "{words:?}");
            assert!(options.json, "{words:?}");
        }
    }

    #[test]
    fn sizes_times_and_algorithms_are_read_as_people_write_them() {
        let options = parse(&["scrub", "start", "--restart", "--rate", "100MiB"]).unwrap();
        assert!(matches!(
            options.command,
            Some(Command::Running(Running::Scrub(Scrub::Start { restart: true, rate: Some(104_857_600) })))
        ));
        let options = parse(&["drain", "--deadline", "5 min"]).unwrap();
        assert!(
            matches!(options.command, Some(Command::Running(Running::Drain(Drain { deadline: Some(d), .. }))) if d.as_secs() == 300)
        );
        let options = parse(&["replicas", "verify", "a", "b", "--compute", "md5,sha256"]).unwrap();
        let Some(Command::Running(Running::Replicas(Replicas::Verify { ids, compute }))) = options.command
        else {
            panic!("not verify")
        };
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(compute, [v1::ChecksumAlgorithm::Md5, v1::ChecksumAlgorithm::Sha256]);
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [
            &["scrub"][..],
            &["scrub", "start", "--rate", "fast"],
            &["scrub", "start", "--rate", "0"],
            &["drain", "--deadline", "soon"],
            &["replicas", "show"],
            &["replicas", "list", "--state", "good"],
            &["replicas", "verify", "a", "--compute", "md4"],
            &["--socket", "/s", "--address", "http://x:1", "status"],
            &["statsu"],
            &["transfers", "--filter", "colour=red"],
            &["transfers", "--filter", "state"],
            &["transfers", "--sort", "colour"],
            &["transfers", "--watch=soon"],
            &["transfer", "cancel"],
            &["completions", "cmd"],
            &["import"],
            &["import", "/d", "--prefix", "atlas"],
            &["import", "/d", "--sample-every", "0"],
            &["index"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn the_command_line_holds_together() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
    }
}
