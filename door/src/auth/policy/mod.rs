//! The site's policy: who may do what, and where. What no rule gives is not allowed.
//!
//! * [`rule`]: one rule, as it stands in the file. [`pattern`]: whom it names.
//!
//! The file is read at the start and again at a reload. Rules only ever add to each other; there is none that takes
//! away, so that their order means nothing.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::Path;

use penstock_service::settings::{ConfigError, parse_toml};

pub mod pattern;
pub mod rule;

pub use rule::Rule;

use super::identity::Identity;
use super::known::Granted;
use super::rights::Reach;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Rules of a file.
const MAX_RULES: usize = 10_000;

/// All rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    rules: Vec<Rule>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rules: Vec<toml::Spanned<Rule>>,
}

impl Policy {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |error| ConfigError::unreadable(path, &error);
        if fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
            return Err(failed(io::Error::other("it is larger than 4 MiB")));
        }
        Self::parse(&fs::read_to_string(path).map_err(failed)?, path)
    }

    /// Reads a text; `path` is for the errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let wrong = |at: usize, what: String| ConfigError::at_offset(path, text, at, what);
        let file: File = parse_toml(text, path)?;
        if file.rules.len() > MAX_RULES {
            return Err(wrong(0, format!("there are more than {MAX_RULES} rules: use groups")));
        }
        for rule in &file.rules {
            if let Some(what) = rule.get_ref().contradiction() {
                return Err(wrong(rule.span().start, what));
            }
        }
        Ok(Self { rules: file.rules.into_iter().map(toml::Spanned::into_inner).collect() })
    }

    /// What somebody is given. `capability`: they show a token that says what it is for, which takes nothing from
    /// groups.
    pub fn grants(&self, identity: &Identity, capability: bool) -> Vec<Granted> {
        let fitting = self.rules.iter().filter(|rule| rule.fits(identity, capability));
        let grants = fitting.flat_map(|rule| {
            rule.prefixes().map(|prefix| Granted {
                reach: Reach { prefix: prefix.clone(), rights: rule.rights().to_vec() },
                experiment: rule.experiment(),
            })
        });
        grants.collect()
    }

    /// Whether any rule names an issuer, so that its tokens can open anything.
    pub fn names_issuer(&self, url: &str) -> bool {
        self.rules.iter().any(|rule| rule.names_issuer(url))
    }
}

#[cfg(test)]
mod tests;
