//! Reading the configuration file, with errors that an admin can act on: file, line, key, what is wrong, what to do.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::Config;

/// Below this similarity (Jaro-Winkler, 0 to 1) a key is not suggested.
const SUGGESTED_SIMILARITY: f64 = 0.75;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key or value is wrong.
    #[error("{path}:{line}: {text}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The key, and what is wrong with it.
        text: String,
    },
    /// Keys contradict each other.
    #[error("{place}{text}")]
    Contradiction {
        /// The file and a colon; empty for a configuration made in code.
        place: String,
        /// The key, and what is wrong with it.
        text: String,
    },
}

impl Config {
    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Reads and checks a configuration; `path` is for the errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Config = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            ConfigError::Wrong {
                path: path.to_owned(),
                line: line_of(text, span.start),
                text: explain(error.message(), text, span),
            }
        })?;
        config.check().map_err(|error| match error {
            ConfigError::Contradiction { text, .. } => {
                ConfigError::Contradiction { place: format!("{}: ", path.display()), text }
            }
            other => other,
        })?;
        Ok(config)
    }

    /// Checks what holds between fields.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self.contradiction() {
            Some(text) => Err(ConfigError::Contradiction { place: String::new(), text }),
            None => Ok(()),
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// Puts the key before the parser's message, and a suggestion behind it. One line.
fn explain(message: &str, text: &str, span: Range<usize>) -> String {
    let message = message.lines().map(str::trim).collect::<Vec<_>>().join("; ");
    // "unknown field `x`, expected one of `a`, `b`": every second piece is a name.
    let mut names = message.split('`').skip(1).step_by(2);
    if message.starts_with("unknown field") {
        let unknown = names.next().unwrap_or_default();
        let nearest = names
            .map(|name| (strsim::jaro_winkler(unknown, name), name))
            .max_by(|left, right| left.0.total_cmp(&right.0))
            .filter(|(similarity, _)| *similarity >= SUGGESTED_SIMILARITY);
        return match nearest {
            Some((_, name)) => format!("{unknown}: there is no such key; did you mean \"{name}\"?"),
            None => format!("{unknown}: there is no such key ({message})"),
        };
    }
    match key_at(text, span.start) {
        Some(key) => format!("{key}: {message}"),
        None => message,
    }
}

/// The key whose value stands at an offset: its own line's, below the last table header before it.
fn key_at(text: &str, offset: usize) -> Option<String> {
    let start = text.get(..offset)?.rfind('\n').map_or(0, |at| at + 1);
    let line = text[start..].lines().next()?.trim();
    if line.starts_with('[') {
        return Some(line.trim_matches(['[', ']']).to_owned());
    }
    let (key, _) = line.split_once('=')?;
    let table = text[..start]
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| line.starts_with('['))
        .map(|line| line.trim_matches(['[', ']']).to_owned());
    let key = key.trim();
    Some(table.map_or(key.to_owned(), |table| format!("{table}.{key}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Anonymous;
    use crate::config::{PoolAccess, Redirect};

    const GOOD: &str = r#"
name = "door01"
listen = "[::1]:2880"
url = "https://door.example.org"
namespace = "/var/lib/penstock/namespace.db"
macaroon_keys = "/etc/penstock/macaroon.keys"
anonymous = "read"
create_parents = false

[redirect]
write = false

[limits]
head_bytes = "8 KiB"

[timeouts]
pool_start = "5s"

[[pools]]
name = "pool01"
socket = "/run/penstock/pool.sock"

[[pools]]
name = "pool02"
address = "pool02.example.org:2883"
tls = { ca = "ca.pem", cert = "door.pem", key = "door.key" }
"#;

    fn error(text: &str) -> String {
        Config::parse(text, Path::new("door.toml")).unwrap_err().to_string()
    }

    #[test]
    fn the_example_is_good_and_says_the_defaults() {
        let example = Config::parse(include_str!("../../door.example.toml"), Path::new("example")).unwrap();
        let defaults = Config::new(example.namespace.clone(), example.macaroon_keys.clone(), Vec::new());
        assert_eq!(
            (&example.name, example.plain_listen(), example.anonymous),
            (&defaults.name, defaults.plain_listen(), defaults.anonymous)
        );
        assert_eq!((example.redirect, example.create_parents), (defaults.redirect, defaults.create_parents));
        assert_eq!((example.limits, example.timeouts), (defaults.limits, defaults.timeouts));
        assert_eq!(example.copy, defaults.copy);
    }

    #[test]
    fn a_full_configuration_is_read() {
        let config = Config::parse(GOOD, Path::new("door.toml")).unwrap();
        assert_eq!(config.name.as_str(), "door01");
        assert_eq!(config.anonymous, Anonymous::Read);
        assert_eq!(config.redirect, Redirect { write: false, ..Redirect::default() });
        assert!(
            !config.redirect.suits(b"Cadaver/0.24 neon/0.32") && config.redirect.suits(b"curl/8 cadaver/")
        );
        assert_eq!(config.limits.head_bytes.0, 8192);
        assert_eq!(config.timeouts.pool_start.0.as_secs(), 5);
        assert!(matches!(&config.pools[0].access, PoolAccess::Socket(path) if path.ends_with("pool.sock")));
        assert!(
            matches!(&config.pools[1].access, PoolAccess::Tls { address, .. } if address.ends_with(":2883"))
        );
    }

    #[test]
    fn an_error_names_file_line_key_and_what_to_do() {
        let cases = [
            (
                "name = \"door01\"",
                "nam = \"door01\"",
                "door.toml:2: nam: there is no such key; did you mean \"name\"?",
            ),
            (
                "write = false",
                "wirte = false",
                "door.toml:11: wirte: there is no such key; did you mean \"write\"?",
            ),
            ("write = false", "write = 1", "door.toml:11: redirect.write: "),
            ("\"[::1]:2880\"", "\"everywhere\"", "door.toml:3: listen: "),
            ("\"read\"", "\"some\"", "door.toml:7: anonymous: "),
            ("\"5s\"", "5", "door.toml:17: timeouts.pool_start: "),
            ("\"5s\"", "\"soon\"", "door.toml:17: timeouts.pool_start: \"soon\" is no length of time"),
            ("\"8 KiB\"", "\"big\"", "door.toml:14: limits.head_bytes: \"big\" is no size"),
            ("socket = \"/run/penstock/pool.sock\"", "", "door.toml:19: pools: pool \"pool01\" has neither"),
            ("\"pool02\"", "\"pool01\"", "door.toml: pools: two have the name \"pool01\": rename one"),
            ("namespace = \"/var/lib/penstock/namespace.db\"", "", "missing field `namespace`"),
            (
                "namespace = \"/var/lib/penstock/namespace.db\"",
                "namespace = \"postgres://door@db\"",
                "door.toml:5: namespace: the URL names no database",
            ),
            (
                "anonymous = \"read\"",
                "namespace_password_file = \"/etc/penstock/password\"",
                "door.toml: namespace_password_file: an SQLite file has no password",
            ),
            ("key = \"door.key\" }", "}", "missing field `key`"),
        ];
        for (good, bad, expected) in cases {
            assert!(GOOD.contains(good), "{good}");
            let error = error(&GOOD.replacen(good, bad, 1));
            assert!(error.contains(expected) && !error.contains('\n'), "{bad}: {error}");
        }
    }

    #[test]
    fn a_door_without_pools_is_refused() {
        let text = "namespace = \"n\"\nmacaroon_keys = \"k\"\npools = []";
        assert!(error(text).contains("pools: there is none"), "{}", error(text));
    }
}
