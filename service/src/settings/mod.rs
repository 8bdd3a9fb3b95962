//! The settings of a daemon: read from a file, the environment and the command line, checked, and told with their origins.
//!
//! * [`sources`]: the three places, and which goes before which. [`error`]: what is wrong, and where.
//! * [`effective`]: what is in effect. [`wish`]: the command `config`, which prints it. [`options`]: `--config` and `--set`.
//!
//! What the keys are is the daemon's own: its type is a [`Configuration`], which names the keys in words
//! ([`Reference`]) and as serde reads them, and says what holds between them.
#![forbid(unsafe_code)]

pub mod effective;
pub mod error;
pub mod options;
pub mod sources;
pub mod wish;

use std::path::Path;

use serde::de::DeserializeOwned;

pub use self::effective::{Effective, Origin, Setting};
pub use self::error::{ConfigError, Wrong};
pub use self::sources::Sources;
use crate::reference::Reference;

/// What a daemon works with, made from keys.
pub trait Configuration: Sized {
    /// The keys as they stand in a file. Unknown ones are to be errors (`deny_unknown_fields`).
    type File: DeserializeOwned;
    /// The same keys in words.
    const REFERENCE: Reference;

    /// Checks what holds between the keys.
    fn validate(file: Self::File) -> Result<Self, Wrong>;

    /// Checks the text of a file; `path` is for the error.
    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file = parse_toml(text, path)?;
        Self::validate(file).map_err(|wrong| ConfigError::at(path, text, wrong))
    }
}

/// Reads keys from a text; an error names file, line and key.
pub fn parse_toml<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::parse(path, text, &error))
}

/// Reads a file.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))
}
