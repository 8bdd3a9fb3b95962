//! What can be asked of `penstock-bench engine`.

use std::path::PathBuf;

use crate::arguments::{Common, Count, Size};

/// The same job by four kinds of servers: the pool's ring, tokio-uring, hyper, and blocking threads
#[derive(Debug, clap::Args)]
pub struct Options {
    /// An empty directory on a disk
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Which servers
    #[arg(
        long,
        value_delimiter = ',',
        value_enum,
        default_value = "ring,tokio-uring,hyper,threads",
        value_name = "ENGINE,…"
    )]
    pub engine: Vec<Engine>,
    /// Which jobs
    #[arg(long, value_delimiter = ',', value_enum, default_value = "hot,cold,put", value_name = "JOB,…")]
    pub job: Vec<Job>,
    /// Clients at once, each with its own file
    #[arg(long, value_delimiter = ',', default_value = "1,4", value_name = "N,…")]
    pub clients: Vec<Count>,
    /// Size of each file
    #[arg(long, default_value = "256MiB", value_name = "SIZE")]
    pub size: Size,
    #[command(flatten)]
    pub common: Common,
}

/// A way to build a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// The pool's own engine
    Ring,
    /// The crate tokio-uring
    TokioUring,
    /// tokio and hyper, with pooled buffers
    Hyper,
    /// A thread for each connection, with sendfile, recv and pwrite
    Threads,
}

/// What a server has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Job {
    /// GET of a file that is in the page cache
    Hot,
    /// GET of a file that is not
    Cold,
    /// PUT of a new file
    Put,
}

impl Engine {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Ring => "ring",
            Engine::TokioUring => "tokio-uring",
            Engine::Hyper => "hyper",
            Engine::Threads => "threads",
        }
    }
}

impl Job {
    /// In JSON, and in the path of its requests.
    pub fn key(self) -> &'static str {
        match self {
            Job::Hot => "hot",
            Job::Cold => "cold",
            Job::Put => "put",
        }
    }

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Job::Hot => "GET, hot",
            Job::Cold => "GET, cold",
            Job::Put => "PUT",
        }
    }

    /// What holds for all engines.
    pub fn about(self) -> &'static str {
        match self {
            Job::Hot => "all of each file is in the page cache",
            Job::Cold => "nothing of any file is in the page cache",
            Job::Put => "each client sends a new file, which is durable when it is answered",
        }
    }
}
