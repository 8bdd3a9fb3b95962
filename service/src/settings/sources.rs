//! Where settings come from: the file, the environment, the command line. The later goes before the earlier, and each value
//! is remembered with the place that it came from.
//!
//! All three are put together before anything is read out of them, as one alone may lack what another has. Positions tell
//! them apart: values from outside the file are read from a text that begins where the file ends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::effective::{Effective, Origin};
use super::error::{Complaint, ConfigError, Wrong, unknown_problem};
use super::{Configuration, read_text};
use crate::reference::{Form, Reference};

/// What errors call a file that there is not.
const NO_FILE: &str = "(no file)";
/// What errors call the command line.
pub(super) const FLAG: &str = "--set";

/// Everything that says something.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables whose names begin as those of the daemon's keys do.
    pub environment: Vec<(String, String)>,
    /// "key=value", as on the command line.
    pub flags: Vec<String>,
    /// Keys that have an option of their own on the command line. They go before all else.
    pub options: Vec<Given>,
}

/// A key's value from an option of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// As on the command line: `--listen`.
    pub option: &'static str,
    /// The key that it sets, which the reference has.
    pub key: &'static str,
    /// As text.
    pub value: String,
}

/// A value from outside the file.
struct Override {
    key: String,
    form: Form,
    /// As TOML.
    value: String,
    origin: Origin,
}

impl Sources {
    /// Those of this process.
    #[must_use]
    pub fn of_process(reference: &Reference, file: Option<PathBuf>, flags: Vec<String>) -> Self {
        let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
        let environment = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .filter(|(name, _)| name.starts_with(reference.environment_prefix))
            .collect();
        Self { file, environment, flags, options: Vec::new() }
    }

    /// Nobody says anything.
    #[must_use]
    pub fn are_empty(&self) -> bool {
        self.file.is_none() && self.environment.is_empty() && self.flags.is_empty() && self.options.is_empty()
    }

    /// What errors and people call the file.
    #[must_use]
    pub fn file_name(&self) -> String {
        self.file.as_ref().map_or_else(|| NO_FILE.to_owned(), |file| file.display().to_string())
    }

    /// Reads and validates all of it.
    pub fn load<C: Configuration>(&self) -> Result<Effective<C>, ConfigError> {
        let (path, text) = match &self.file {
            Some(path) => (path.as_path(), read_text(path)?),
            None => (Path::new(NO_FILE), String::new()),
        };
        let in_file = |error: toml::de::Error| match &self.file {
            Some(_) => ConfigError::parse(path, &text, &error),
            None => ConfigError::elsewhere(NO_FILE, Complaint::of(error.message()).about("", "")),
        };
        let overrides = self.overrides(&C::REFERENCE)?;
        let (beyond, ranges) = written_behind(text.len(), &overrides);
        let mut document = DeTable::parse(&text).map_err(in_file)?;
        // Each was read alone before, so that together they are no less good.
        let mut values = DeTable::parse(&beyond).map_err(in_file)?.into_inner();
        for (index, one) in overrides.iter().enumerate() {
            if let Some(value) = values.remove(name_of(index).as_str()) {
                put(document.get_mut(), &one.key, value);
            }
        }
        let blamed = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            match ranges.iter().position(|range| range.contains(&at)) {
                Some(index) => {
                    let Override { key, form, origin, .. } = &overrides[index];
                    let table = if *form == Form::Table { key } else { path_of(key).0.unwrap_or_default() };
                    ConfigError::elsewhere(&place(origin), Complaint::of(error.message()).about(key, table))
                }
                None => in_file(error),
            }
        };
        let table = Table::deserialize(toml::Deserializer::from(document.clone())).map_err(blamed)?;
        let file = C::File::deserialize(toml::Deserializer::from(document)).map_err(blamed)?;
        let origins: BTreeMap<String, Origin> =
            overrides.into_iter().map(|Override { key, origin, .. }| (key, origin)).collect();
        let config = C::validate(file).map_err(|wrong| match origins.get(&wrong.key) {
            Some(origin) => ConfigError::elsewhere(&place(origin), wrong),
            None if self.file.is_none() => ConfigError::elsewhere(NO_FILE, wrong),
            None => ConfigError::at(path, &text, wrong),
        })?;
        Ok(Effective::new(config, table, origins))
    }

    /// Values from outside the file, those first that others go before.
    fn overrides(&self, reference: &Reference) -> Result<Vec<Override>, ConfigError> {
        let mut overrides = Vec::new();
        let mut environment = self.environment.clone();
        environment.sort();
        for (name, text) in &environment {
            let Some((key, _)) = reference.settable().find(|(_, own)| own == name) else {
                let names: Vec<String> = reference.settable().map(|(_, name)| name).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let wrong = Wrong::new(name, unknown_problem(name, &names));
                return Err(ConfigError::elsewhere("environment", wrong));
            };
            overrides.push(Override {
                key: key.name.to_owned(),
                form: key.form,
                value: value_of(key.form, text),
                origin: Origin::Environment(name.clone()),
            });
        }
        for flag in &self.flags {
            let Some((key, text)) = flag.split_once('=') else {
                return Err(ConfigError::elsewhere(FLAG, Wrong::new(flag, "is not KEY=VALUE (log=debug)")));
            };
            let (key, text) = (key.trim(), text.trim());
            let form = match reference.find(key).filter(|key| reference.can_be_set(key)) {
                Some(key) => key.form,
                None if reference.is_named(key) => Form::Text,
                None => {
                    let names: Vec<&str> = reference.settable().map(|(key, _)| key.name).collect();
                    let wrong = Wrong::new(key, unknown_problem(key, &names));
                    return Err(ConfigError::elsewhere(FLAG, wrong));
                }
            };
            let value = value_of(form, text);
            overrides.push(Override { key: key.to_owned(), form, value, origin: Origin::Flag });
        }
        overrides.extend(self.options.iter().map(|Given { option, key, value }| Override {
            key: (*key).to_owned(),
            form: reference.find(key).map_or(Form::Text, |key| key.form),
            // The shell has taken the quotes away: nothing but text can be meant.
            value: Value::String(value.clone()).to_string(),
            origin: Origin::Option(option),
        }));
        Ok(overrides)
    }
}

/// As errors call it.
fn place(origin: &Origin) -> String {
    match origin {
        Origin::Default | Origin::File => NO_FILE.to_owned(),
        Origin::Environment(name) => format!("environment {name}"),
        Origin::Flag => FLAG.to_owned(),
        Origin::Option(option) => (*option).to_owned(),
    }
}

/// TOML or, where that is none, text. Of what is text, only what is quoted is read as TOML: a pool may be called 2024.
fn value_of(form: Form, text: &str) -> String {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    let parsed = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    match parsed {
        Some(value) if value.is_str() || !form.is_text() => value.to_string(),
        Some(_) | None => Value::String(text.to_owned()).to_string(),
    }
}

/// The key of a value in the text behind the file.
fn name_of(index: usize) -> String {
    format!("v{index}")
}

/// The values as a text of TOML that begins after so many bytes, and where each stands in it.
fn written_behind(bytes: usize, overrides: &[Override]) -> (String, Vec<Range<usize>>) {
    let mut text = " ".repeat(bytes);
    text.push('\n');
    let ranges = overrides.iter().enumerate().map(|(index, one)| {
        let start = text.len();
        text.push_str(&format!("{} = {}\n", name_of(index), one.value));
        start..text.len()
    });
    let ranges = ranges.collect();
    (text, ranges)
}

/// Where a key stands in nested tables: those that can be set are in one at most. Names of the admin's own may have dots.
pub(super) fn path_of(key: &str) -> (Option<&str>, &str) {
    match key.split_once('.') {
        Some((table, name)) => (Some(table), name),
        None => (None, key),
    }
}

/// Puts a value where its key belongs. What has the name of a table and is none is left for the parser to complain of.
fn put<'a>(document: &mut DeTable<'a>, key: &str, value: Spanned<DeValue<'a>>) {
    let spanned = |name: &str| Spanned::new(value.span(), Cow::Owned(name.to_owned()));
    let (outer, name) = path_of(key);
    let name = spanned(name);
    let Some(outer) = outer.map(spanned) else {
        document.insert(name, value);
        return;
    };
    let inner =
        document.entry(outer).or_insert_with(|| Spanned::new(value.span(), DeValue::Table(DeTable::new())));
    if let DeValue::Table(inner) = inner.get_mut() {
        inner.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
