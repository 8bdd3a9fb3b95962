//! What a replica is besides its bytes: one line of text in one extended attribute of its file, the truth about it.
//!
//! ```text
//! $ getfattr --only-values -n user.penstock.replica 0000A1
//! v=1 size=1048576 state=ready transfer=door1:7 path=/atlas/a%20b created=2026-01-31T08:30:00Z adler32=03da0195
//! ```
//!
//! Version first, then `key=value` pairs with a space between; a value is percent-encoded (RFC 3986 §2.1) except
//! for visible ASCII. Whoever rewrites the line keeps the keys that it does not know.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

use super::replica::ReplicaState;

/// The extended attribute that holds the line.
pub const ATTRIBUTE_NAME: &str = "user.penstock.replica";

/// The longest line that is written. ext4 gives all attributes of a file one block of 4096 bytes together; the rest
/// of it is left to the checksum attributes of other systems.
pub const ATTRIBUTE_MAX_BYTES: usize = 3072;

/// The version of the line that this release writes and reads.
const VERSION: &str = "1";

/// The longest storage class and the longest reason that are kept, in bytes before encoding.
const TEXT_MAX_BYTES: usize = 200;

/// Stands for what was cut off a text.
const ELLIPSIS: char = '…';

/// Keys that hold a whole-file checksum in lower-case hex.
pub const CHECKSUM_KEYS: [&str; 7] = ["adler32", "crc32", "crc32c", "md5", "sha1", "sha256", "sha512"];

/// Everything but visible ASCII, and the sign of the coding itself.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The attributes of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Length in bytes.
    pub size: u64,
    /// Whether it may be served.
    pub state: ReplicaState,
    /// The transfer that made it.
    pub transfer: String,
    /// The path that it was made under; cut at its front where it is too long to be kept.
    pub path: String,
    /// Its storage class; empty where it has none.
    pub class: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the whole replica was last compared with its checksums.
    pub verified_at: Option<Timestamp>,
    /// Why it is broken, in one line.
    pub broken_because: Option<String>,
    /// Why it should be looked at soon, in one line: a read of it failed. A good verification takes it away.
    pub suspect_because: Option<String>,
    /// Checksums of the whole file: lower-case hex by the algorithm's name (one of [`CHECKSUM_KEYS`]).
    pub checksums: BTreeMap<String, String>,
    /// What a later release wrote: kept, not understood.
    pub unknown: BTreeMap<String, String>,
}

/// What is wrong with an attribute line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidAttributes {
    /// The file has no such attribute.
    #[error("the file has no attribute {ATTRIBUTE_NAME}")]
    Absent,
    /// It is not text.
    #[error("{ATTRIBUTE_NAME} is not UTF-8 text")]
    NotText,
    /// It does not begin with its version.
    #[error("{ATTRIBUTE_NAME} does not begin with v=")]
    NoVersion,
    /// A later release changed its meaning.
    #[error("{ATTRIBUTE_NAME} has version {0:?}, this release knows version {VERSION}")]
    OtherVersion(String),
    /// A part of it is no `key=value`.
    #[error("{ATTRIBUTE_NAME} has {0:?}, which is not key=value")]
    NotAPair(String),
    /// A key is there twice.
    #[error("{ATTRIBUTE_NAME} has {0} more than once")]
    Twice(String),
    /// A key is missing.
    #[error("{ATTRIBUTE_NAME} has no {0}")]
    Missing(&'static str),
    /// A value cannot be read.
    #[error("{ATTRIBUTE_NAME} has {key}={value:?}, which is not {expected}")]
    Value {
        /// The key.
        key: String,
        /// The value, decoded as far as it could be.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl Attributes {
    /// Reads a line.
    pub fn parse(line: &[u8]) -> Result<Self, InvalidAttributes> {
        let line = std::str::from_utf8(line).map_err(|_| InvalidAttributes::NotText)?;
        let mut pairs = line.trim_end_matches(['\n', '\0']).split(' ');
        let version = pairs.next().and_then(|first| first.strip_prefix("v="));
        match version.ok_or(InvalidAttributes::NoVersion)? {
            VERSION => {}
            other => return Err(InvalidAttributes::OtherVersion(other.to_owned())),
        }
        let mut values = BTreeMap::new();
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let not_a_pair = || InvalidAttributes::NotAPair(pair.to_owned());
            let (key, encoded) = pair.split_once('=').ok_or_else(not_a_pair)?;
            if !is_key(key) {
                return Err(not_a_pair());
            }
            let value = percent_decode_str(encoded).decode_utf8().map_err(|_| InvalidAttributes::Value {
                key: key.to_owned(),
                value: encoded.to_owned(),
                expected: "percent-encoded UTF-8",
            })?;
            if values.insert(key.to_owned(), value.into_owned()).is_some() {
                return Err(InvalidAttributes::Twice(key.to_owned()));
            }
        }
        Self::from_values(values)
    }

    fn from_values(mut values: BTreeMap<String, String>) -> Result<Self, InvalidAttributes> {
        fn required<T>(
            key: &'static str,
            value: Option<String>,
            read: fn(&str, String) -> Result<T, InvalidAttributes>,
        ) -> Result<T, InvalidAttributes> {
            read(key, value.ok_or(InvalidAttributes::Missing(key))?)
        }
        let size = required("size", values.remove("size"), read_size)?;
        let state = required("state", values.remove("state"), read_state)?;
        let created_at = required("created", values.remove("created"), read_time)?;
        let verified_at = values.remove("verified").map(|value| read_time("verified", value)).transpose()?;
        let transfer = values.remove("transfer").unwrap_or_default();
        let path = values.remove("path").unwrap_or_default();
        let class = values.remove("class").unwrap_or_default();
        let broken_because = values.remove("broken");
        let suspect_because = values.remove("suspect");
        let mut checksums = BTreeMap::new();
        for key in CHECKSUM_KEYS {
            if let Some(value) = values.remove(key) {
                checksums.insert(key.to_owned(), read_hex(key, value)?);
            }
        }
        let unknown = values;
        Ok(Self {
            size,
            state,
            transfer,
            path,
            class,
            created_at,
            verified_at,
            broken_because,
            suspect_because,
            checksums,
            unknown,
        })
    }

    /// Writes the line.
    pub fn format(&self) -> String {
        let mut line = format!("v={VERSION} size={} state={}", self.size, self.state);
        let mut add = |key: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = write!(line, " {key}={}", utf8_percent_encode(value, ENCODED));
        };
        for (key, value) in [("transfer", &self.transfer), ("path", &self.path), ("class", &self.class)] {
            if !value.is_empty() {
                add(key, value);
            }
        }
        add("created", &self.created_at.to_string());
        if let Some(verified_at) = self.verified_at {
            add("verified", &verified_at.to_string());
        }
        for (key, because) in [("broken", &self.broken_because), ("suspect", &self.suspect_because)] {
            if let Some(because) = because {
                add(key, because);
            }
        }
        for (key, value) in self.checksums.iter().chain(&self.unknown) {
            add(key, value);
        }
        line
    }

    /// Writes the line, if it is one that will be read back: nothing may be stored under attributes that cannot.
    pub(super) fn checked_line(&self) -> Result<String, InvalidAttributes> {
        let line = self.format();
        Self::parse(line.as_bytes()).map(|_| line)
    }

    /// Cuts the texts that are only for people, so that the line has at most [`ATTRIBUTE_MAX_BYTES`]. Of a path, the
    /// end stays: it holds the file's name.
    pub fn fit(&mut self) {
        cut_end(&mut self.class, TEXT_MAX_BYTES);
        for because in [&mut self.broken_because, &mut self.suspect_because].into_iter().flatten() {
            cut_end(because, TEXT_MAX_BYTES);
        }
        let excess = self.format().len().saturating_sub(ATTRIBUTE_MAX_BYTES);
        if excess == 0 {
            return;
        }
        let encoded_length = |text: &str| utf8_percent_encode(text, ENCODED).map(str::len).sum::<usize>();
        let room = encoded_length(&self.path)
            .saturating_sub(excess)
            .saturating_sub(encoded_length(ELLIPSIS.encode_utf8(&mut [0; 4])));
        let mut kept_bytes = 0;
        let start = self
            .path
            .char_indices()
            .rev()
            .take_while(|(_, character)| {
                kept_bytes += encoded_length(character.encode_utf8(&mut [0; 4]));
                kept_bytes <= room
            })
            .last()
            .map_or(self.path.len(), |(position, _)| position);
        self.path.replace_range(..start, ELLIPSIS.encode_utf8(&mut [0; 4]));
    }
}

fn cut_end(text: &mut String, max_bytes: usize) {
    if text.len() > max_bytes {
        let room = max_bytes.saturating_sub(ELLIPSIS.len_utf8());
        let end = (0..=room).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push(ELLIPSIS);
    }
}

fn is_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    !key.is_empty() && key != "v" && key.bytes().all(allowed)
}

fn read_size(key: &str, value: String) -> Result<u64, InvalidAttributes> {
    value.parse().map_err(|_| invalid(key, value, "a number of bytes"))
}

fn read_state(key: &str, value: String) -> Result<ReplicaState, InvalidAttributes> {
    ReplicaState::from_name(&value).ok_or_else(|| invalid(key, value, "a replica's state"))
}

fn read_time(key: &str, value: String) -> Result<Timestamp, InvalidAttributes> {
    value.parse().map_err(|_| invalid(key, value, "a time (RFC 3339)"))
}

fn read_hex(key: &str, value: String) -> Result<String, InvalidAttributes> {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if value.is_empty() || !value.len().is_multiple_of(2) || !value.bytes().all(hex) {
        return Err(invalid(key, value, "a checksum in lower-case hex"));
    }
    Ok(value)
}

fn invalid(key: &str, value: String, expected: &'static str) -> InvalidAttributes {
    InvalidAttributes::Value { key: key.to_owned(), value, expected }
}

#[cfg(test)]
mod tests;
