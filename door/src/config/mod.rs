//! The door's configuration: made in code by an embedding program, or read from a TOML file, the environment and the command
//! line by [`penstock_service::settings`].
//!
//! All of it is checked before anything is opened or bound.
#![forbid(unsafe_code)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use penstock_service::reference::Reference;
pub use penstock_service::settings::ConfigError;
use penstock_service::settings::{Configuration, Wrong};
use penstock_service::{LogFilter, trace};
use serde::Deserialize;

use crate::auth::Anonymous;
use crate::marking::MarkingRules;

pub mod authentication;
pub mod copy;
pub mod delegation;
pub mod namespace;
pub mod pool;
pub mod reference;
pub mod tls;
pub mod value;

pub use authentication::Authentication;
pub use copy::{CopyRules, PortRange};
pub use delegation::{DelegationRules, ExchangeRules};
pub use namespace::{NamespaceFiles, NamespacePlace, PostgresUrl};
pub use pool::{PoolAccess, PoolConfig, TlsFiles};
pub use tls::TlsConfig;
pub use value::SiteName;

use value::{ByteSize, Period, PublicUrl};

/// Everything that a door needs to know. Each field is a key of the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Unique in the site, stable over restarts: pools keep what they owe a door under this name.
    #[serde(default = "default_name")]
    pub name: SiteName,
    /// Where clients are served by plain HTTP. Default `127.0.0.1:2880`, and nowhere when there is `[tls]`.
    pub listen: Option<SocketAddr>,
    /// What clients call this door: pools send lost clients back there. Default `http://` and the listening address,
    /// or nothing when that is every address.
    pub url: Option<PublicUrl>,
    /// The namespace's SQLite file, or for several doors a database of PostgreSQL: `postgres://USER@HOST/DATABASE`.
    pub namespace: NamespacePlace,
    /// The file with that database's password. Default: as for its own clients (`PGPASSFILE`, `~/.pgpass`).
    pub namespace_password_file: Option<PathBuf>,
    /// The authority of that database's server, PEM: the connection is by TLS then, and the server has to show a
    /// certificate for its name. Default: as the URL says.
    pub namespace_ca: Option<PathBuf>,
    /// The file with the macaroon keys.
    pub macaroon_keys: PathBuf,
    /// Where admins and Prometheus come to. Default: nowhere.
    pub admin_listen: Option<SocketAddr>,
    /// What is logged: a level, or levels by module. Default `info`.
    pub log: Option<LogFilter>,
    /// What those may do who show no token: `none` (default), `read` or `write`.
    #[serde(default)]
    pub anonymous: Anonymous,
    /// An upload makes the directories above it that are missing. Default true.
    #[serde(default = "yes")]
    pub create_parents: bool,
    /// https.
    pub tls: Option<TlsConfig>,
    /// Who clients are.
    #[serde(default)]
    pub authentication: Authentication,
    /// Which clients are sent to the pools.
    #[serde(default)]
    pub redirect: Redirect,
    /// Third-party copies.
    #[serde(default)]
    pub copy: CopyRules,
    /// How users lend this door credentials for third-party copies.
    #[serde(default)]
    pub delegation: DelegationRules,
    /// How transfers without a SciTag are marked.
    #[serde(default)]
    pub marking: MarkingRules,
    /// The pools that this door gives work to.
    pub pools: Vec<PoolConfig>,
    /// How much is accepted.
    #[serde(default)]
    pub limits: Limits,
    /// How long things may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Traces for OpenTelemetry.
    #[serde(default)]
    pub tracing: trace::Settings,
}

/// Whether clients get a redirect to the pool where the protocol allows it; all else goes through the door.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redirect {
    /// Downloads. Default true.
    pub read: bool,
    /// Uploads. Default true.
    pub write: bool,
    /// How the User-Agent of clients begins that do not follow redirects: never them. Default: WebDAV clients of which
    /// that is known.
    pub not_for: Vec<String>,
    /// The authorities of the pools' https data ports, a PEM file or a directory: with it, bytes of https clients that go
    /// through the door go on by https to every pool that speaks it. Default: by plain HTTP.
    pub pool_authorities: Option<PathBuf>,
}

/// Clients that take a redirect for an error. (davix, too, names neon in its User-Agent, and follows.)
const NOT_REDIRECTED: [&str; 6] =
    ["cadaver/", "davfs2/", "litmus/", "Microsoft-WebDAV-MiniRedir/", "WebDAVFS/", "WebDAVLib/"];

impl Default for Redirect {
    fn default() -> Self {
        Self {
            read: true,
            write: true,
            not_for: NOT_REDIRECTED.map(str::to_owned).to_vec(),
            pool_authorities: None,
        }
    }
}

impl Redirect {
    /// Whether a client can be sent elsewhere, as far as it tells who it is.
    pub fn suits(&self, user_agent: &[u8]) -> bool {
        !self.not_for.iter().any(|prefix| {
            user_agent.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix.as_bytes()))
        })
    }
}

/// Bounds of what is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// A request's head: request line and headers. Default 16 KiB.
    pub head_bytes: ByteSize,
    /// A body in XML (PROPFIND, PROPPATCH, LOCK). Default 64 KiB.
    pub xml_bytes: ByteSize,
    /// Connections at once; more wait to be accepted. Default 4096.
    pub connections: u32,
    /// Connections at once of one client (an address, or a network of IPv6); more get 429. Default 1024.
    pub connections_per_client: u32,
    /// Transfers at once that this door follows; more get 503. Default 16384.
    pub transfers: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: ByteSize(16 * 1024),
            xml_bytes: ByteSize(64 * 1024),
            connections: 4096,
            connections_per_client: 1024,
            transfers: 16 * 1024,
        }
    }
}

/// Bounds of how long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From the first byte of a request's head to its last, of a body in XML, JSON or a form, and the longest pause between
    /// requests. Default 30 s.
    pub head: Period,
    /// From asking a pool for a transfer to its being ready, its queue included. Default 60 s.
    pub pool_start: Period,
    /// How long a stopping door waits for transfers that run. Default 30 s.
    pub drain: Period,
    /// How long a request waits for a checksum that a pool has to compute. Default 15 s.
    pub digest: Period,
    /// The longest time of a WebDAV lock that is not refreshed. Default 1 h.
    pub lock: Period,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Period(Duration::from_secs(30)),
            pool_start: Period(Duration::from_secs(60)),
            drain: Period(Duration::from_secs(30)),
            digest: Period(Duration::from_secs(15)),
            lock: Period(Duration::from_secs(3600)),
        }
    }
}

impl Config {
    /// A configuration with the defaults, to be changed field by field.
    pub fn new(namespace: impl Into<NamespacePlace>, macaroon_keys: PathBuf, pools: Vec<PoolConfig>) -> Self {
        Self {
            name: default_name(),
            listen: None,
            url: None,
            namespace: namespace.into(),
            namespace_password_file: None,
            namespace_ca: None,
            macaroon_keys,
            admin_listen: None,
            log: None,
            anonymous: Anonymous::None,
            create_parents: true,
            tls: None,
            authentication: Authentication::default(),
            redirect: Redirect::default(),
            copy: CopyRules::default(),
            delegation: DelegationRules::default(),
            marking: MarkingRules::default(),
            pools,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            tracing: trace::Settings::default(),
        }
    }

    /// Where clients are served by plain HTTP, if anywhere.
    pub fn plain_listen(&self) -> Option<SocketAddr> {
        self.listen.or_else(|| self.tls.is_none().then_some(DEFAULT_LISTEN))
    }

    /// What clients call a door that has no name of its own: by the address of its first port.
    pub fn first_address(&self) -> String {
        match (self.plain_listen(), &self.tls) {
            (None, Some(tls)) => format!("https://{}", tls.listen),
            (plain, _) => format!("http://{}", plain.unwrap_or(DEFAULT_LISTEN)),
        }
    }

    /// Reads and checks a configuration; `path` is for the errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Configuration::parse(text, path)
    }

    /// Checks what holds between fields of a configuration that was made in code.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.contradiction().map_or(Ok(()), |wrong| Err(wrong.into()))
    }

    /// What it takes to enter the namespace's server.
    pub fn namespace_files(&self) -> NamespaceFiles<'_> {
        NamespaceFiles { password: self.namespace_password_file.as_deref(), ca: self.namespace_ca.as_deref() }
    }

    /// What holds between fields. `None` when all is well, else what to change.
    fn contradiction(&self) -> Option<Wrong> {
        if self.pools.is_empty() {
            return Some(Wrong::new(
                "pools",
                "there is none, so nothing could be stored: add a [[pools]] table",
            ));
        }
        for (index, pool) in self.pools.iter().enumerate() {
            if self.pools[..index].iter().any(|other| other.name == pool.name) {
                return Some(Wrong::new("pools", format!("two have the name \"{}\": rename one", pool.name)));
            }
        }
        if let Some(wrong) = self.delegation.contradiction() {
            return Some(wrong);
        }
        if let Some(wrong) = self.namespace.contradiction(self.namespace_files()) {
            return Some(wrong);
        }
        if let Some(wrong) = self.marking.contradiction() {
            return Some(wrong);
        }
        if let Some(wrong) = self.authentication.contradiction(self.url.as_ref()) {
            return Some(wrong);
        }
        let needs_tls = [
            ("authentication.authorities", self.authentication.authorities.is_some()),
            ("authentication.passwords", self.authentication.passwords.is_some()),
            ("authentication.kerberos", self.authentication.kerberos.is_some()),
        ];
        for (key, is_there) in needs_tls {
            if is_there && self.tls.is_none() {
                return Some(Wrong::new(key, "has no effect without https: add a [tls] table"));
            }
        }
        let zero = [
            ("tls.handshakes", self.tls.as_ref().map_or(1, |tls| tls.handshakes)),
            ("limits.connections", self.limits.connections),
            ("limits.connections_per_client", self.limits.connections_per_client),
            ("limits.transfers", self.limits.transfers),
            ("copy.transfers", self.copy.transfers),
        ];
        zero.into_iter().find(|(_, value)| *value == 0).map(|(key, _)| Wrong::new(key, "must be at least 1"))
    }
}

impl Configuration for Config {
    type File = Self;
    const REFERENCE: Reference = reference::REFERENCE;

    fn validate(config: Self) -> Result<Self, Wrong> {
        match config.contradiction() {
            Some(wrong) => Err(wrong),
            None => Ok(config),
        }
    }
}

fn default_name() -> SiteName {
    SiteName::DOOR
}

/// Where a door listens that is told nothing.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2880);

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests;
