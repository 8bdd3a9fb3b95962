//! What may stand in the configuration file, key by key. Unknown keys are errors.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use penstock_door_proto::v1;
use penstock_service::settings::Wrong;
use penstock_service::{LogFilter, trace};
use serde::Deserialize;

use super::marking::MarkingKeys;
use super::tpc::TpcKeys;
use super::units::{ByteSize, Period};
use super::{
    Config, DEFAULT_DATA_TLS_PORT, DEFAULT_MAX_RUNNING, DEFAULT_MAX_WAITING, DataTls, GrpcEndpoint, Limits,
    QueueLimits, RecordTarget, Scrub, Timeouts, TlsFiles,
};
use crate::checksum::Algorithm;
use crate::engine::file::IoMode;
use crate::tls::server::ServerFiles;
use crate::transfer::request::{DEFAULT_QUEUE, Door};
use crate::transfer::source::VerifyReads;

/// Least I/O buffer memory: every shard needs a few slots of 1 MiB.
const LEAST_BUFFER_MEMORY_BYTES: u64 = 8 << 20;
/// Most shards: beyond it, the number is a slip of the pen.
const MOST_SHARDS: usize = 1024;
/// Most operations at the disk: each has a buffer of 1 MiB, so that more would be a slip of the pen.
const MOST_DISK_DEPTH: usize = 65_536;
/// Longest path of a Unix socket (sun_path, with its NUL).
const LONGEST_SOCKET_PATH_BYTES: usize = 107;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The pool's name in the site: 1 to 64 of `[A-Za-z0-9_.-]`. Required. It is written into `root`, which belongs
    /// to this pool from then on.
    name: Option<String>,
    /// The directory of the pool's replicas. Required. Best a file system of its own.
    root: Option<PathBuf>,
    /// The most that replicas may take on the disk. Default: all that the file system has, less `reserve`.
    capacity: Option<ByteSize>,
    /// Space of the file system that uploads never take. Default: 256 MiB.
    reserve: Option<ByteSize>,
    /// The largest replica; larger uploads are refused with 413. Default: what fits.
    max_file_size: Option<ByteSize>,
    /// Threads that move bytes. Default: 0, which is one for each processor.
    shards: Option<usize>,
    /// Memory of all I/O buffers together, pinned when first used; at least 8 MiB. Default: 32 MiB, or 8 MiB for each
    /// shard where that is more.
    buffer_memory: Option<ByteSize>,
    /// Reads and writes of transfers that are at the disk at once, of all shards together; at least one for each shard.
    /// Default: 0, which is as many as there are buffers.
    disk_depth: Option<usize>,
    /// `"direct"`: past the page cache, where the file system can. `"dontcache"`: through it, but not kept in it.
    /// `"buffered"`: through it. Default: `"direct"`.
    io_mode: Option<IoMode>,
    /// What is held against the checksums of its blocks before it is sent. `"from-disk"`: what comes from the disk,
    /// each time it does; `"always"`: every byte each time; `"never"`: nothing. Default: `"from-disk"`.
    verify_reads: Option<VerifyReads>,
    /// Checksums computed for every upload beside adler32: `"md5"`, `"crc32"`, `"crc32c"`, `"sha1"`, `"sha256"`,
    /// `"sha512"`. md5 and sha cost a processor for every 0.6 to 2 GB/s. Default: none.
    #[serde(default)]
    checksums: Vec<ChecksumName>,
    /// Where a line of JSON is written for each transfer that has ended: an absolute path, `"journal"` or `"stderr"`.
    records: Option<String>,
    /// What is logged: `"error"`, `"warn"`, `"info"`, `"debug"`, `"trace"`, or levels by module
    /// (`"info,penstock_pool::remote=debug"`). `RUST_LOG` goes first. Default: `"info"`.
    log: Option<LogFilter>,
    /// The port that clients come to.
    #[serde(default)]
    data: Data,
    /// The port for people and Prometheus.
    #[serde(default)]
    admin: Admin,
    /// The port, or socket, that doors come to.
    #[serde(default)]
    grpc: Grpc,
    /// Queues. Default: one, `"default"`, of 1000 running and 5000 waiting transfers.
    queues: Option<Vec<Queue>>,
    /// How long things may take.
    #[serde(default)]
    timeouts: TimeoutKeys,
    /// How many there may be.
    #[serde(default)]
    limits: LimitKeys,
    /// The background verification of all replicas.
    #[serde(default)]
    scrub: ScrubKeys,
    /// URLs of doors by name (`door1 = "https://door1.example.org:2880"`): where clients with an old or unknown URL
    /// are sent back to. Doors that connect are learned by themselves. Default: none.
    #[serde(default)]
    doors: BTreeMap<String, String>,
    /// Third-party copies: the pool as a client of remote servers.
    #[serde(default)]
    tpc: TpcKeys,
    /// Packet marking: whose traffic a flow is, told to networks.
    #[serde(default)]
    marking: MarkingKeys,
    /// Traces for OpenTelemetry.
    #[serde(default)]
    tracing: trace::Settings,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Data {
    /// Address and port. Default: `"0.0.0.0:2881"`.
    listen: Option<SocketAddr>,
    /// `"host:port"` in the URLs that clients are sent to: what they can reach and, with TLS, what the certificate
    /// names. Default: `listen`, which therefore must be one address then.
    advertise: Option<String>,
    /// PEM file of the data port's certificate chain: with it, the pool speaks TLS on a port of its own beside the
    /// plain one. Read again when it changes. Default: no TLS.
    cert: Option<PathBuf>,
    /// PEM file of its private key, without a passphrase.
    key: Option<PathBuf>,
    /// Address and port for TLS. Default: the address of `listen`, port 2884.
    tls_listen: Option<SocketAddr>,
    /// `"host:port"` in the `https` URLs that clients are sent to: a name that the certificate holds. Default: the host
    /// of `advertise` with the port of `tls_listen`.
    tls_advertise: Option<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Admin {
    /// Address and port. Default: `"127.0.0.1:2882"`. Whoever reaches it sees all transfers; nothing can be changed.
    listen: Option<SocketAddr>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Grpc {
    /// A Unix socket, for doors on this machine. Default, without `listen`: `root/grpc.sock`.
    socket: Option<PathBuf>,
    /// Address and port, for doors elsewhere. Needs `cert`, `key` and `client_ca`.
    listen: Option<SocketAddr>,
    /// PEM file of the pool's certificate chain.
    cert: Option<PathBuf>,
    /// PEM file of its private key.
    key: Option<PathBuf>,
    /// PEM file of the authority that signs the doors' certificates: whoever it signs for may command this pool.
    client_ca: Option<PathBuf>,
    /// Without TLS: anybody on this machine may command the pool. Only with a loopback address. Default: false.
    #[serde(default)]
    insecure: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Queue {
    /// As doors ask for it. One of them must be `"default"`.
    name: String,
    /// Transfers that are ready or run at once. Default: 1000.
    max_running: Option<usize>,
    /// Transfers that wait for their turn. Default: 5000.
    max_waiting: Option<usize>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TimeoutKeys {
    /// From a transfer's being ready to its client's coming. Default: 120 s.
    client: Option<Period>,
    /// From the first byte of a request's head to its last. Default: 10 s.
    head: Option<Period>,
    /// Within a transfer, without a byte moved. Default: 60 s.
    idle: Option<Period>,
    /// Between two requests on one connection. Default: 60 s.
    keep_alive: Option<Period>,
    /// From an upload's end to its door's confirmation; the uploading client waits that long. Default: 30 s.
    claim: Option<Period>,
    /// A download stays open for further range requests. Default: 10 s.
    linger: Option<Period>,
    /// From SIGTERM to the end, whatever still runs. Default: 5 min.
    drain: Option<Period>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LimitKeys {
    /// Connections of the data port at once; further ones are closed. Default: 16384.
    connections: Option<usize>,
    /// Transfers that wait, run, or have ended and were not acknowledged by their door. Default: 10000.
    transfers: Option<usize>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ScrubKeys {
    /// Bytes per second that it reads at most; 0: it never starts by itself. Default: 50 MiB.
    rate: Option<ByteSize>,
    /// From the start of one pass over all replicas to the start of the next. Default: 30 d.
    period: Option<Period>,
}

/// A checksum algorithm by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChecksumName(pub Algorithm);

impl<'de> Deserialize<'de> for ChecksumName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = || Algorithm::ALL.map(Algorithm::name).join(", ");
        Algorithm::from_name(&name).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("\"{name}\" is no checksum; there are {}", known()))
        })
    }
}

pub(super) fn wrong<T>(key: impl Into<String>, problem: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::new(key, problem))
}

impl File {
    /// The configuration, if it makes sense as a whole.
    pub(super) fn validate(self) -> Result<Config, Wrong> {
        let Some(name) = self.name else { return wrong("name", "is missing: every pool needs a name") };
        if !is_name(&name) {
            return wrong("name", "must be 1 to 64 of [A-Za-z0-9_.-]");
        }
        let Some(root) = self.root else {
            return wrong("root", "is missing: the directory of the pool's replicas");
        };
        if !root.is_absolute() {
            return wrong("root", "must be an absolute path (begin with \"/\")");
        }
        let mut config = Config::new(name, root);
        config.capacity = self.capacity.map(|size| size.0);
        if config.capacity == Some(0) {
            return wrong("capacity", "must not be 0; leave it out to use the whole file system");
        }
        config.reserve_bytes = self.reserve.map_or(config.reserve_bytes, |size| size.0);
        config.max_file_size = self.max_file_size.map(|size| size.0);
        config.shards = self.shards.unwrap_or(config.shards);
        if config.shards > MOST_SHARDS {
            return wrong("shards", format!("must be at most {MOST_SHARDS}; 0 is one for each processor"));
        }
        config.buffer_memory_bytes = self.buffer_memory.map(|size| size.0);
        if config.buffer_memory_bytes.is_some_and(|bytes| bytes < LEAST_BUFFER_MEMORY_BYTES) {
            return wrong(
                "buffer_memory",
                format!("must be at least {}", ByteSize(LEAST_BUFFER_MEMORY_BYTES)),
            );
        }
        config.disk_depth = NonZeroUsize::new(self.disk_depth.unwrap_or(0));
        if config.disk_depth.is_some_and(|depth| depth.get() > MOST_DISK_DEPTH) {
            return wrong("disk_depth", format!("must be at most {MOST_DISK_DEPTH}; 0 is no limit"));
        }
        config.io_mode = self.io_mode.unwrap_or(config.io_mode);
        config.verify_reads = self.verify_reads.unwrap_or(config.verify_reads);
        config.log = self.log;
        config.checksums = self.checksums.iter().map(|name| name.0).collect();
        config.records = self.records.map(record_target).transpose()?;
        config.data_listen = self.data.listen.unwrap_or(config.data_listen);
        config.data_tls = self.data.validate_tls(config.data_listen)?;
        config.data_advertise = advertise(self.data.advertise, config.data_listen)?;
        config.admin_listen = self.admin.listen.unwrap_or(config.admin_listen);
        if config.admin_listen == config.data_listen && config.data_listen.port() != 0 {
            return wrong("admin.listen", "is the same as data.listen; every port needs its own address");
        }
        if config
            .data_tls
            .as_ref()
            .is_some_and(|tls| tls.listen == config.admin_listen && tls.listen.port() != 0)
        {
            return wrong("admin.listen", "is the same as data.tls_listen; every port needs its own address");
        }
        if let Some(endpoint) = self.grpc.validate()? {
            config.grpc = endpoint;
        }
        if let GrpcEndpoint::Socket(path) = &config.grpc
            && path.as_os_str().len() > LONGEST_SOCKET_PATH_BYTES
        {
            let longest =
                format!("the path is longer than a Unix socket's may be ({LONGEST_SOCKET_PATH_BYTES} bytes)");
            return wrong("grpc.socket", longest);
        }
        if let Some(queues) = self.queues {
            config.queues = validate_queues(queues)?;
        }
        config.timeouts = self.timeouts.validate()?;
        config.limits = self.limits.validate()?;
        config.scrub = self.scrub.validate()?;
        for (name, url) in &self.doors {
            let door = v1::DoorIdentity { name: name.clone(), url: url.clone() };
            if let Err(error) = Door::try_from(door) {
                return wrong(format!("doors.{name}"), error.to_string());
            }
        }
        config.doors = self.doors;
        config.tpc = self.tpc.validate()?;
        config.marking = self.marking.validate()?;
        let ports = [
            Some(config.data_listen),
            Some(config.admin_listen),
            config.data_tls.as_ref().map(|tls| tls.listen),
        ];
        if let Some(taken) = ports.into_iter().flatten().find(|at| config.marking.ports.contains(at.port())) {
            return wrong(
                "marking.ports",
                format!("holds port {}, which is in use for {taken}", taken.port()),
            );
        }
        config.tracing = self.tracing;
        Ok(config)
    }
}

fn record_target(text: String) -> Result<RecordTarget, Wrong> {
    text.parse().or_else(|_: String| wrong("records", "must be an absolute path, \"journal\" or \"stderr\""))
}

/// `host:port` as it may stand in URLs, in front of a path.
#[must_use]
pub fn is_authority(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let host_is_good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(plain),
    };
    host_is_good && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn advertise(advertise: Option<String>, listen: SocketAddr) -> Result<Option<String>, Wrong> {
    let Some(advertise) = advertise else {
        if listen.ip().is_unspecified() {
            let text = format!(
                "is missing: clients cannot be sent to {listen}; give \"host:port\" as they reach this pool, or one \
                 address in data.listen"
            );
            return wrong("data.advertise", text);
        }
        return Ok(None);
    };
    if !is_authority(&advertise) {
        return wrong("data.advertise", "must be \"host:port\" or \"[IPv6]:port\", without a scheme or path");
    }
    Ok(Some(advertise))
}

impl Data {
    fn validate_tls(&self, plain: SocketAddr) -> Result<Option<DataTls>, Wrong> {
        let (cert, key) = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => (cert.clone(), key.clone()),
            (Some(_), None) => return wrong("data.key", "is missing: data.cert is of no use without it"),
            (None, Some(_)) => return wrong("data.cert", "is missing: data.key is of no use without it"),
            (None, None) => {
                let keys = [
                    ("data.tls_listen", self.tls_listen.is_some()),
                    ("data.tls_advertise", self.tls_advertise.is_some()),
                ];
                return match keys.into_iter().find(|(_, set)| *set) {
                    Some((key, _)) => wrong(key, "is for data.cert and data.key, which are not set"),
                    None => Ok(None),
                };
            }
        };
        let listen = self.tls_listen.unwrap_or(SocketAddr::new(plain.ip(), DEFAULT_DATA_TLS_PORT));
        if listen == plain && listen.port() != 0 {
            return wrong("data.tls_listen", "is the same as data.listen; every port needs its own address");
        }
        let advertise = match (&self.tls_advertise, &self.advertise) {
            (Some(advertise), _) if is_authority(advertise) => Some(advertise.clone()),
            (Some(_), _) => {
                let text = "must be \"host:port\" or \"[IPv6]:port\", without a scheme or path";
                return wrong("data.tls_advertise", text);
            }
            (None, Some(plain)) if listen.port() != 0 => {
                plain.rsplit_once(':').map(|(host, _)| format!("{host}:{}", listen.port()))
            }
            (None, _) if listen.ip().is_unspecified() => {
                let text = format!(
                    "is missing: clients cannot be sent to {listen}; give \"host:port\" as they reach this pool, or one \
                     address in data.tls_listen"
                );
                return wrong("data.tls_advertise", text);
            }
            (None, _) => None,
        };
        Ok(Some(DataTls { listen, advertise, files: ServerFiles { cert, key } }))
    }
}

impl Grpc {
    fn validate(self) -> Result<Option<GrpcEndpoint>, Wrong> {
        let tls = [("grpc.cert", self.cert), ("grpc.key", self.key), ("grpc.client_ca", self.client_ca)];
        let Some(listen) = self.listen else {
            if let Some((key, _)) = tls.iter().find(|(_, path)| path.is_some()) {
                return wrong(*key, "is for grpc.listen, which is not set");
            }
            if self.insecure {
                return wrong("grpc.insecure", "is for grpc.listen, which is not set");
            }
            return match self.socket {
                Some(path) if !path.is_absolute() => wrong("grpc.socket", "must be an absolute path"),
                path => Ok(path.map(GrpcEndpoint::Socket)),
            };
        };
        if self.socket.is_some() {
            return wrong("grpc.socket", "and grpc.listen exclude each other; keep one");
        }
        if self.insecure {
            if let Some((key, _)) = tls.iter().find(|(_, path)| path.is_some()) {
                return wrong(*key, "makes no sense with grpc.insecure = true");
            }
            if !listen.ip().is_loopback() {
                let text =
                    format!("is allowed on loopback only, and {listen} is not; use cert, key and client_ca");
                return wrong("grpc.insecure", text);
            }
            return Ok(Some(GrpcEndpoint::Insecure { listen }));
        }
        match tls {
            [(_, Some(cert)), (_, Some(key)), (_, Some(client_ca))] => {
                Ok(Some(GrpcEndpoint::Tls { listen, files: TlsFiles { cert, key, client_ca } }))
            }
            missing => {
                let key = missing.iter().find(|(_, path)| path.is_none()).map_or("grpc", |(key, _)| key);
                wrong(key, "is missing: grpc.listen needs cert, key and client_ca (mutual TLS)")
            }
        }
    }
}

fn validate_queues(queues: Vec<Queue>) -> Result<Vec<QueueLimits>, Wrong> {
    let mut names = BTreeSet::new();
    for queue in &queues {
        if !is_name(&queue.name) {
            return wrong("queues.name", format!("\"{}\" must be 1 to 64 of [A-Za-z0-9_.-]", queue.name));
        }
        if !names.insert(queue.name.as_str()) {
            return wrong("queues.name", format!("\"{}\" is there twice", queue.name));
        }
        if queue.max_running == Some(0) {
            return wrong(
                "queues.max_running",
                format!("of \"{}\" is 0: nothing would ever run", queue.name),
            );
        }
    }
    if !names.contains(DEFAULT_QUEUE) {
        return wrong("queues", format!("one of them must be named \"{DEFAULT_QUEUE}\""));
    }
    let limits = queues.into_iter().map(|queue| QueueLimits {
        name: queue.name,
        max_running: queue.max_running.unwrap_or(DEFAULT_MAX_RUNNING),
        max_waiting: queue.max_waiting.unwrap_or(DEFAULT_MAX_WAITING),
    });
    Ok(limits.collect())
}

impl TimeoutKeys {
    fn validate(self) -> Result<Timeouts, Wrong> {
        let mut timeouts = Timeouts::default();
        let keys = [
            ("timeouts.client", self.client, &mut timeouts.client),
            ("timeouts.head", self.head, &mut timeouts.head),
            ("timeouts.idle", self.idle, &mut timeouts.idle),
            ("timeouts.keep_alive", self.keep_alive, &mut timeouts.keep_alive),
            ("timeouts.claim", self.claim, &mut timeouts.claim),
        ];
        for (key, set, value) in keys {
            *value = set.map_or(*value, |period| period.0);
            if value.is_zero() {
                return wrong(key, "must not be 0: nothing would ever succeed");
            }
        }
        timeouts.linger = self.linger.map_or(timeouts.linger, |period| period.0);
        timeouts.drain = self.drain.map_or(timeouts.drain, |period| period.0);
        Ok(timeouts)
    }
}

impl LimitKeys {
    fn validate(self) -> Result<Limits, Wrong> {
        let mut limits = Limits::default();
        let keys = [
            ("limits.connections", self.connections, &mut limits.connections),
            ("limits.transfers", self.transfers, &mut limits.transfers),
        ];
        for (key, set, value) in keys {
            *value = set.unwrap_or(*value);
            if *value == 0 {
                return wrong(key, "must not be 0: nothing would ever run");
            }
        }
        Ok(limits)
    }
}

impl ScrubKeys {
    fn validate(self) -> Result<Scrub, Wrong> {
        let mut scrub = Scrub::default();
        if let Some(rate) = self.rate {
            scrub.rate_bytes_per_second = NonZeroU64::new(rate.0);
        }
        if let Some(period) = self.period {
            scrub.period = period.0;
            if period.0.is_zero() {
                return wrong("scrub.period", "must not be 0; to switch scrubbing off, set scrub.rate to 0");
            }
        }
        Ok(scrub)
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(allowed)
}
