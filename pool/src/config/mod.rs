//! The pool's configuration: one TOML file, read and validated whole before any port is bound.
//!
//! [`file`] is what may stand in the file, key by key; [`Config`] is what the pool works with; [`units`] reads sizes and
//! times. [`reference`] is every key in words. The file, the environment and the command line are put together by
//! [`penstock_service::settings`].
#![forbid(unsafe_code)]

pub mod file;
mod marking;
pub mod reference;
mod tpc;
pub mod units;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use penstock_service::reference::Reference;
use penstock_service::settings::{Configuration, Wrong};
use penstock_service::{LogFilter, trace};

pub use penstock_service::records::RecordTarget;
pub use penstock_service::settings::ConfigError;

pub use self::marking::MarkingTable;
use self::units::ByteSize;
use crate::checksum::AlgorithmSet;
use crate::engine::file::IoMode;
use crate::store::StoreConfig;
use crate::tls::server::ServerFiles;
use crate::transfer::source::VerifyReads;

/// A validated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The pool's name in the site.
    pub name: String,
    /// Where its replicas lie.
    pub root: PathBuf,
    /// The most that replicas may take on the disk; `None`: all that the file system has.
    pub capacity: Option<u64>,
    /// Bytes of the file system that uploads never take.
    pub reserve_bytes: u64,
    /// The largest replica; `None`: what fits.
    pub max_file_size: Option<u64>,
    /// Shards; 0: as many as the machine has processors.
    pub shards: usize,
    /// I/O buffers of all shards together, in bytes; `None`: [`DEFAULT_BUFFER_MEMORY_BYTES`], or more with many shards.
    pub buffer_memory_bytes: Option<u64>,
    /// Reads and writes of transfers at the disk at once, of all shards together; `None`: as many as there are buffers.
    pub disk_depth: Option<NonZeroUsize>,
    /// How bytes come to the disk.
    pub io_mode: IoMode,
    /// What is checked before it is sent.
    pub verify_reads: VerifyReads,
    /// Computed for every upload beside adler32.
    pub checksums: AlgorithmSet,
    /// What is logged; `None`: the usual.
    pub log: Option<LogFilter>,
    /// Where clients come to.
    pub data_listen: SocketAddr,
    /// "host:port" as it stands in the URLs that clients are sent to; `None`: the address that was bound.
    pub data_advertise: Option<String>,
    /// The data port with TLS beside the plain one.
    pub data_tls: Option<DataTls>,
    /// Where people and Prometheus look.
    pub admin_listen: SocketAddr,
    /// Where doors come to.
    pub grpc: GrpcEndpoint,
    /// The queues.
    pub queues: Vec<QueueLimits>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How many there may be.
    pub limits: Limits,
    /// The background verification of all replicas.
    pub scrub: Scrub,
    /// Where a line is written for each transfer that has ended; `None`: nowhere.
    pub records: Option<RecordTarget>,
    /// URLs of doors by their names.
    pub doors: BTreeMap<String, String>,
    /// Remote servers of third-party copies.
    pub tpc: crate::remote::Settings,
    /// Packet marking.
    pub marking: crate::marking::Settings,
    /// Where traces go.
    pub tracing: trace::Settings,
}

/// The data port with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataTls {
    /// Address and port.
    pub listen: SocketAddr,
    /// "host:port" in `https` URLs; `None`: the address that was bound.
    pub advertise: Option<String>,
    /// PEM files.
    pub files: ServerFiles,
}

/// What one queue may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLimits {
    /// Its name, as doors ask for it.
    pub name: String,
    /// Transfers that are ready or run at once.
    pub max_running: usize,
    /// Transfers that wait for their turn.
    pub max_waiting: usize,
}

/// Where doors come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcEndpoint {
    /// A Unix socket that only the pool's own user may use.
    Socket(PathBuf),
    /// TCP with mutual TLS.
    Tls {
        /// Address and port.
        listen: SocketAddr,
        /// PEM files.
        files: TlsFiles,
    },
    /// TCP without any protection; loopback only.
    Insecure {
        /// Address and port.
        listen: SocketAddr,
    },
}

/// PEM files of a TLS server that asks its clients for certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who may sign the doors' certificates.
    pub client_ca: PathBuf,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From a transfer's being ready to its client's coming.
    pub client: Duration,
    /// From the first byte of a request's head to its last.
    pub head: Duration,
    /// Within a transfer, without a byte moved.
    pub idle: Duration,
    /// Between two requests on one connection.
    pub keep_alive: Duration,
    /// From an upload's end to its door's Acknowledge.
    pub claim: Duration,
    /// A download stays open for further range requests.
    pub linger: Duration,
    /// From SIGTERM to the end, whatever still runs.
    pub drain: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            client: Duration::from_secs(120),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            keep_alive: Duration::from_secs(60),
            claim: Duration::from_secs(30),
            linger: Duration::from_secs(10),
            drain: Duration::from_secs(300),
        }
    }
}

/// How many there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the data port at once.
    pub connections: usize,
    /// Transfers that wait, run, or have ended and were not acknowledged.
    pub transfers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 16_384, transfers: 10_000 }
    }
}

/// The background verification of all replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrub {
    /// The most that it reads; `None`: it never starts by itself.
    pub rate_bytes_per_second: Option<NonZeroU64>,
    /// From the start of one pass to the start of the next.
    pub period: Duration,
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            rate_bytes_per_second: NonZeroU64::new(50 << 20),
            period: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

/// Port of the data port with TLS unless configured.
pub const DEFAULT_DATA_TLS_PORT: u16 = 2884;
/// I/O buffers unless configured.
pub const DEFAULT_BUFFER_MEMORY_BYTES: u64 = 32 << 20;
/// Space that is never used unless configured: a file system that is full to the brim becomes slow and fails strangely.
pub const DEFAULT_RESERVE_BYTES: u64 = 256 << 20;
/// Of the queue "default", which is there when none is configured.
pub const DEFAULT_MAX_RUNNING: usize = 1000;
/// Of the queue "default", which is there when none is configured.
pub const DEFAULT_MAX_WAITING: usize = 5000;

impl Config {
    /// The defaults, for a pool of that name at `root`, reached by doors over the socket `root/grpc.sock`.
    #[must_use]
    pub fn new(name: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            name: name.into(),
            capacity: None,
            reserve_bytes: DEFAULT_RESERVE_BYTES,
            max_file_size: None,
            shards: 0,
            buffer_memory_bytes: None,
            disk_depth: None,
            io_mode: IoMode::Direct,
            verify_reads: VerifyReads::FromDisk,
            checksums: AlgorithmSet::EMPTY,
            log: None,
            data_listen: SocketAddr::from(([0, 0, 0, 0], 2881)),
            data_advertise: None,
            data_tls: None,
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 2882)),
            grpc: GrpcEndpoint::Socket(root.join("grpc.sock")),
            queues: vec![QueueLimits {
                name: crate::transfer::request::DEFAULT_QUEUE.to_owned(),
                max_running: DEFAULT_MAX_RUNNING,
                max_waiting: DEFAULT_MAX_WAITING,
            }],
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            scrub: Scrub::default(),
            records: None,
            doors: BTreeMap::new(),
            tpc: crate::remote::Settings::default(),
            marking: crate::marking::Settings::default(),
            tracing: trace::Settings::default(),
            root,
        }
    }

    /// How the pool keeps its replicas.
    #[must_use]
    pub fn store(&self) -> StoreConfig {
        StoreConfig {
            root: self.root.clone(),
            pool_name: self.name.clone(),
            capacity: self.capacity,
            reserve_bytes: self.reserve_bytes,
            max_file_size: self.max_file_size,
            direct: self.io_mode == IoMode::Direct,
        }
    }

    /// Validates the text of a file; `path` is for the error.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Configuration::parse(text, path)
    }
}

impl Configuration for Config {
    type File = file::File;
    const REFERENCE: Reference = reference::REFERENCE;

    fn validate(file: file::File) -> Result<Self, Wrong> {
        file.validate()
    }
}

/// What `--check` prints: the configuration as the pool understands it.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size =
            |bytes: Option<u64>, none: &str| bytes.map_or(none.to_owned(), |b| ByteSize(b).to_string());
        writeln!(f, "pool {} at {}", self.name, self.root.display())?;
        writeln!(f, "  capacity       {}", size(self.capacity, "the whole file system"))?;
        writeln!(f, "  reserve        {}", ByteSize(self.reserve_bytes))?;
        writeln!(f, "  max_file_size  {}", size(self.max_file_size, "what fits"))?;
        let advertise = self.data_advertise.as_deref().unwrap_or("the bound address");
        writeln!(f, "  data           {} (clients are sent to {advertise})", self.data_listen)?;
        if let Some(tls) = &self.data_tls {
            let advertise = tls.advertise.as_deref().unwrap_or("the bound address");
            writeln!(f, "  data, TLS      {} (clients are sent to {advertise})", tls.listen)?;
        }
        writeln!(f, "  admin          {}", self.admin_listen)?;
        match &self.grpc {
            GrpcEndpoint::Socket(path) => writeln!(f, "  grpc           socket {}", path.display())?,
            GrpcEndpoint::Tls { listen, .. } => writeln!(f, "  grpc           {listen}, mutual TLS")?,
            GrpcEndpoint::Insecure { listen } => writeln!(f, "  grpc           {listen}, unprotected")?,
        }
        let shards =
            if self.shards == 0 { "one for each processor".to_owned() } else { self.shards.to_string() };
        writeln!(f, "  shards         {shards}")?;
        writeln!(
            f,
            "  buffer_memory  {}",
            size(self.buffer_memory_bytes, "32 MiB, or 8 MiB for each shard")
        )?;
        let depth = self.disk_depth.map_or("no limit but the buffers".to_owned(), |depth| depth.to_string());
        writeln!(f, "  disk_depth     {depth}")?;
        writeln!(f, "  io_mode        {}", self.io_mode)?;
        writeln!(f, "  verify_reads   {}", self.verify_reads)?;
        for queue in &self.queues {
            let QueueLimits { name, max_running, max_waiting } = queue;
            writeln!(f, "  queue          {name}: {max_running} at once, {max_waiting} waiting")?;
        }
        if let Some(target) = &self.records {
            writeln!(f, "  records        {target}")?;
        }
        match self.scrub.rate_bytes_per_second {
            Some(rate) => {
                let (rate, days) = (ByteSize(rate.get()), self.scrub.period.as_secs_f64() / 86_400.0);
                writeln!(f, "  scrub          {rate}/s, a pass every {days} d")?;
            }
            None => writeln!(f, "  scrub          on request only")?,
        }
        writeln!(
            f,
            "  marking        {} (labelled ports: {})",
            self.marking.rules.policy, self.marking.ports
        )?;
        for collector in &self.marking.collectors {
            writeln!(f, "  collector      {collector}")?;
        }
        for (name, url) in &self.doors {
            writeln!(f, "  door           {name}: {url}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
