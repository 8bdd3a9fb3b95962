//! What the site runs with: command line over configuration file over defaults, validated as a whole.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use penstock_door::Anonymous;
use penstock_door::config::value::PublicUrl;
use penstock_pool::config::DEFAULT_RESERVE_BYTES;
use penstock_pool::config::file::{ChecksumName, is_authority};
use penstock_pool::config::units::{ByteSize, Period};
use penstock_service::LogFilter;
use penstock_service::settings::{ConfigError, Wrong, parse_toml, read_text};
use serde::Deserialize;

use crate::marking::Marking;
use crate::options::ServeOptions;

/// Where everything is kept unless told otherwise.
const DEFAULT_DATA: &str = "penstock-data";

/// The configuration file, key by key. Command-line options of the same name go first.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Where files, names, keys and the first token are kept. Default: `"penstock-data"`, in the current directory.
    data: Option<PathBuf>,
    /// Where users come to. Default: `"127.0.0.1:2880"`.
    listen: Option<SocketAddr>,
    /// What users call the door (`"https://storage.example.org"`). Default: `http://` and `listen`.
    url: Option<PublicUrl>,
    /// Where the door sends them for the bytes. Default: `"127.0.0.1:2881"`.
    pool_listen: Option<SocketAddr>,
    /// `"host:port"` of the pool as users reach it. Default: `pool_listen`.
    pool_advertise: Option<String>,
    /// Where admins and Prometheus come to. Default: `"127.0.0.1:2882"`.
    admin_listen: Option<SocketAddr>,
    /// What those may do who show no token: `"none"`, `"read"` or `"write"`. Default: `"none"`.
    anonymous: Option<Anonymous>,
    /// An upload makes the directories above it that are missing. Default: true.
    create_parents: Option<bool>,
    /// The most that files may take on the disk. Default: all that the file system has, less `reserve`.
    capacity: Option<ByteSize>,
    /// Space of the file system that uploads never take. Default: 256 MiB.
    reserve: Option<ByteSize>,
    /// The largest file. Default: what fits.
    max_file_size: Option<ByteSize>,
    /// Checksums computed for every upload beside adler32. Default: none.
    #[serde(default)]
    checksums: Vec<ChecksumName>,
    /// What is logged: `"error"`, `"warn"`, `"info"`, `"debug"`, `"trace"`, or levels by module. `RUST_LOG` goes first.
    /// Default: `"info"`.
    log: Option<LogFilter>,
    /// From SIGTERM to the end, whatever still runs. Default: 30 s.
    drain: Option<Period>,
    /// Packet marking. Default: what carries a SciTag is marked, ports for clients' flow labels are none.
    #[serde(default)]
    marking: Marking,
}

/// What the site runs with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// As it was given, for the ready line.
    pub data: PathBuf,
    /// The door's address.
    pub listen: SocketAddr,
    /// What users call the door.
    pub url: Option<PublicUrl>,
    /// The pool's address.
    pub pool_listen: SocketAddr,
    /// "host:port" of the pool as users reach it.
    pub pool_advertise: Option<String>,
    /// The admin port's address.
    pub admin_listen: SocketAddr,
    /// What those may do who show no token.
    pub anonymous: Anonymous,
    /// An upload makes the directories above it.
    pub create_parents: bool,
    /// Bytes that files may take.
    pub capacity: Option<u64>,
    /// Bytes of the file system that are never used.
    pub reserve_bytes: u64,
    /// The largest file.
    pub max_file_size: Option<u64>,
    /// Computed beside adler32.
    pub checksums: Vec<ChecksumName>,
    /// What is logged; `None`: the usual.
    pub log: Option<LogFilter>,
    /// From SIGTERM to the end.
    pub drain: Duration,
    /// Packet marking.
    pub marking: Marking,
}

impl Settings {
    /// Reads the file, if there is one, and puts the options over it.
    pub fn from_options(options: ServeOptions) -> anyhow::Result<Self> {
        match options.config.clone() {
            Some(path) => {
                let text = read_text(&path)?;
                Self::merge(options, &text, &path)
            }
            None => Self::merge(options, "", Path::new("(no file)")),
        }
    }

    fn merge(options: ServeOptions, text: &str, path: &Path) -> anyhow::Result<Self> {
        let file: File = parse_toml(text, path)?;
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let settings = Self {
            data: options.data.or(file.data).unwrap_or_else(|| PathBuf::from(DEFAULT_DATA)),
            listen: options.listen.or(file.listen).unwrap_or(loopback(2880)),
            url: file.url,
            pool_listen: options.pool_listen.or(file.pool_listen).unwrap_or(loopback(2881)),
            pool_advertise: file.pool_advertise,
            admin_listen: options.admin_listen.or(file.admin_listen).unwrap_or(loopback(2882)),
            anonymous: options.anonymous.map(Into::into).or(file.anonymous).unwrap_or_default(),
            create_parents: file.create_parents.unwrap_or(true),
            capacity: file.capacity.map(|size| size.0),
            reserve_bytes: file.reserve.map_or(DEFAULT_RESERVE_BYTES, |size| size.0),
            max_file_size: file.max_file_size.map(|size| size.0),
            checksums: file.checksums,
            log: file.log,
            drain: file.drain.map_or(Duration::from_secs(30), |period| period.0),
            marking: file.marking,
        };
        if let Some(advertise) = &settings.pool_advertise
            && !is_authority(advertise)
        {
            let problem = "must be \"host:port\" or \"[IPv6]:port\", without a scheme or path";
            return Err(ConfigError::at(path, text, Wrong::new("pool_advertise", problem)).into());
        }
        settings.check()?;
        Ok(settings)
    }

    /// What holds between settings, wherever they came from.
    fn check(&self) -> anyhow::Result<()> {
        if self.pool_advertise.is_none() && self.pool_listen.ip().is_unspecified() {
            anyhow::bail!(
                "--pool-listen {}: users cannot be sent to every address; give one address, or set \
                 pool_advertise = \"host:port\" in the file of --config",
                self.pool_listen
            );
        }
        if let Some(wrong) = self.marking.rules.contradiction() {
            anyhow::bail!("{wrong}");
        }
        let ports = [
            ("--listen", self.listen),
            ("--pool-listen", self.pool_listen),
            ("--admin-listen", self.admin_listen),
        ];
        for (index, (name, address)) in ports.iter().enumerate() {
            if self.marking.pool.ports.contains(address.port()) {
                anyhow::bail!("{name} {address}: is among marking.ports; each needs its own port");
            }
            if let Some((other, _)) = ports[..index].iter().find(|(_, a)| a == address && a.port() != 0) {
                anyhow::bail!("{name} {address}: is the same as {other}; each needs its own port");
            }
        }
        Ok(())
    }

    /// The directory as an absolute path.
    pub fn absolute_data(&self) -> anyhow::Result<PathBuf> {
        std::path::absolute(&self.data).with_context(|| format!("--data {}", self.data.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(options: ServeOptions, text: &str) -> anyhow::Result<Settings> {
        Settings::merge(options, text, Path::new("penstock.toml"))
    }

    #[test]
    fn without_anything_said_all_is_on_loopback_and_nothing_is_open() {
        let settings = merge(ServeOptions::default(), "").unwrap();
        assert_eq!(settings.data, Path::new("penstock-data"));
        assert_eq!(settings.listen.to_string(), "127.0.0.1:2880");
        assert_eq!(settings.pool_listen.to_string(), "127.0.0.1:2881");
        assert_eq!(settings.admin_listen.to_string(), "127.0.0.1:2882");
        assert_eq!(settings.anonymous, Anonymous::None);
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let text = "data = \"/from/file\"\nlisten = \"127.0.0.1:1\"\nanonymous = \"read\"\ndrain = \"5 s\"\n";
        let options = ServeOptions { data: Some("/from/options".into()), ..Default::default() };
        let settings = merge(options, text).unwrap();
        assert_eq!(settings.data, Path::new("/from/options"));
        assert_eq!(settings.listen.to_string(), "127.0.0.1:1");
        assert_eq!(settings.anonymous, Anonymous::Read);
        assert_eq!(settings.drain, Duration::from_secs(5));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let every = "0.0.0.0:2881".parse().ok();
        let cases = [
            (
                ServeOptions::default(),
                "lisen = 1",
                "penstock.toml:1: lisen: there is no such key; did you mean \"listen\"?",
            ),
            (ServeOptions::default(), "\nlisten = 1", "penstock.toml:2: listen: "),
            (
                ServeOptions::default(),
                "capacity = \"much\"",
                "penstock.toml:1: capacity: \"much\" is not a size",
            ),
            (
                ServeOptions::default(),
                "pool_advertise = \"x\"",
                "penstock.toml:1: pool_advertise: must be \"host:port\"",
            ),
            (ServeOptions::default(), "anonymous = \"all\"", "penstock.toml:1: anonymous: "),
            (
                ServeOptions::default(),
                "[marking]\npolcy = \"off\"",
                "penstock.toml:1: marking.polcy: there is no such key; did you mean \"policy\"?",
            ),
            (
                ServeOptions::default(),
                "[marking]\nports = \"2800-2899\"",
                "--listen 127.0.0.1:2880: is among marking.ports",
            ),
            (
                ServeOptions::default(),
                "[[marking.experiments]]\nexperiment = 2",
                "marking.experiments: one has neither vo nor issuer nor path",
            ),
            (
                ServeOptions { pool_listen: every, ..Default::default() },
                "",
                "--pool-listen 0.0.0.0:2881: users cannot",
            ),
            (
                ServeOptions { admin_listen: "127.0.0.1:2880".parse().ok(), ..Default::default() },
                "",
                "--admin-listen 127.0.0.1:2880: is the same as --listen",
            ),
        ];
        for (options, text, expected) in cases {
            let error = merge(options, text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error:?} does not start with {expected:?}");
        }
    }
}
