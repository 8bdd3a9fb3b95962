//! What the site runs with: put together from its file, the environment and the command line by
//! [`penstock_service::settings`], validated as a whole.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use penstock_door::Anonymous;
use penstock_door::config::value::PublicUrl;
use penstock_pool::config::DEFAULT_RESERVE_BYTES;
use penstock_pool::config::file::{ChecksumName, is_authority};
use penstock_pool::config::units::{ByteSize, Period};
use penstock_service::LogFilter;
use penstock_service::reference::Reference;
use penstock_service::settings::{Configuration, Wrong};
use serde::Deserialize;

use crate::marking::Marking;
use crate::reference::REFERENCE;

/// Where everything is kept unless told otherwise.
const DEFAULT_DATA: &str = "penstock-data";

/// From SIGTERM to the end unless told otherwise.
const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// The configuration, key by key, as TOML has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
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
#[derive(Debug, Clone, PartialEq)]
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

impl Configuration for Settings {
    type File = File;
    const REFERENCE: Reference = REFERENCE;

    fn validate(file: File) -> Result<Self, Wrong> {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let settings = Self {
            data: file.data.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA)),
            listen: file.listen.unwrap_or(loopback(2880)),
            url: file.url,
            pool_listen: file.pool_listen.unwrap_or(loopback(2881)),
            pool_advertise: file.pool_advertise,
            admin_listen: file.admin_listen.unwrap_or(loopback(2882)),
            anonymous: file.anonymous.unwrap_or_default(),
            create_parents: file.create_parents.unwrap_or(true),
            capacity: file.capacity.map(|size| size.0),
            reserve_bytes: file.reserve.map_or(DEFAULT_RESERVE_BYTES, |size| size.0),
            max_file_size: file.max_file_size.map(|size| size.0),
            checksums: file.checksums,
            log: file.log,
            drain: file.drain.map_or(DEFAULT_DRAIN, |period| period.0),
            marking: file.marking,
        };
        settings.contradiction().map_or(Ok(settings), Err)
    }
}

impl Settings {
    /// What holds between keys. `None` when all is well, else what to change.
    fn contradiction(&self) -> Option<Wrong> {
        match &self.pool_advertise {
            Some(advertise) if !is_authority(advertise) => {
                let problem = "must be \"host:port\" or \"[IPv6]:port\", without a scheme or path";
                return Some(Wrong::new("pool_advertise", problem));
            }
            None if self.pool_listen.ip().is_unspecified() => {
                let problem = format!(
                    "users cannot be sent to every address ({}): give one address, or set pool_advertise to the \
                     \"host:port\" that they reach",
                    self.pool_listen
                );
                return Some(Wrong::new("pool_listen", problem));
            }
            _ => {}
        }
        if let Some(wrong) = self.marking.rules.contradiction() {
            return Some(wrong);
        }
        let ports =
            [("listen", self.listen), ("pool_listen", self.pool_listen), ("admin_listen", self.admin_listen)];
        for (index, (key, address)) in ports.iter().enumerate() {
            if self.marking.pool.ports.contains(address.port()) {
                let problem = format!("{address} is among marking.ports; each needs its own port");
                return Some(Wrong::new(*key, problem));
            }
            if let Some((other, _)) = ports[..index].iter().find(|(_, a)| a == address && a.port() != 0) {
                let problem = format!("{address} is the same as {other}; each needs its own port");
                return Some(Wrong::new(*key, problem));
            }
        }
        None
    }

    /// The directory as an absolute path.
    pub fn absolute_data(&self) -> anyhow::Result<PathBuf> {
        std::path::absolute(&self.data).with_context(|| format!("--data {}", self.data.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(text, Path::new("penstock.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn without_anything_said_all_is_on_loopback_and_nothing_is_open() {
        let settings = parse("").unwrap();
        assert_eq!(settings.data, Path::new("penstock-data"));
        assert_eq!(settings.listen.to_string(), "127.0.0.1:2880");
        assert_eq!(settings.pool_listen.to_string(), "127.0.0.1:2881");
        assert_eq!(settings.admin_listen.to_string(), "127.0.0.1:2882");
        assert_eq!(settings.anonymous, Anonymous::None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("lisen = 1", "penstock.toml:1: lisen: there is no such key; did you mean \"listen\"?"),
            ("\nlisten = 1", "penstock.toml:2: listen: "),
            ("capacity = \"much\"", "penstock.toml:1: capacity: \"much\" is not a size"),
            ("pool_advertise = \"x\"", "penstock.toml:1: pool_advertise: must be \"host:port\""),
            ("anonymous = \"all\"", "penstock.toml:1: anonymous: "),
            (
                "[marking]\npolcy = \"off\"",
                "penstock.toml:1: marking.polcy: there is no such key; did you mean \"policy\"?",
            ),
            (
                "[marking]\nports = \"2800-2899\"",
                "penstock.toml: listen: 127.0.0.1:2880 is among marking.ports",
            ),
            (
                "[[marking.experiments]]\nexperiment = 2",
                "penstock.toml:1: marking.experiments: one has neither vo nor issuer nor path",
            ),
            ("pool_listen = \"0.0.0.0:2881\"", "penstock.toml:1: pool_listen: users cannot"),
            (
                "\nadmin_listen = \"127.0.0.1:2880\"",
                "penstock.toml:2: admin_listen: 127.0.0.1:2880 is the same as listen",
            ),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{error:?} does not start with {expected:?}");
        }
    }
}
