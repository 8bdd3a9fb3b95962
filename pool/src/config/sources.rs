//! Where a configuration comes from: the file, the environment, the command line. The later goes before the earlier, and
//! each value is remembered with the place that it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::error::{self, ConfigError};
use super::file::File;
use super::reference::{self, ENVIRONMENT_PREFIX, Form, REFERENCE, settable};
use super::{Config, read_text};

/// What errors call a file that there is not.
const NO_FILE: &str = "(no file)";
/// What errors call the command line.
const FLAG: &str = "--set";
/// The one table whose keys are names of the admin's own.
const NAMED: &str = "doors";

/// Everything that says something.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables whose names begin with [`ENVIRONMENT_PREFIX`].
    pub environment: Vec<(String, String)>,
    /// "key=value", as on the command line.
    pub flags: Vec<String>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has said anything.
    Default,
    /// The file.
    File,
    /// A variable of the environment, by its name.
    Environment(String),
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File => f.write_str("file"),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag => f.write_str(FLAG),
        }
    }
}

/// One key as it is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub key: String,
    /// As TOML; in words where the default is no value.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// A configuration, and where it comes from.
#[derive(Debug, Clone)]
pub struct Effective {
    /// What the pool works with.
    pub config: Config,
    table: Table,
    /// Of values from outside the file.
    origins: BTreeMap<String, Origin>,
}

/// A value from outside the file.
struct Override {
    key: String,
    value: Value,
    origin: Origin,
}

impl Sources {
    /// Those of this process.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, flags: Vec<String>) -> Self {
        let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
        let environment = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
            .collect();
        Self { file, environment, flags }
    }

    /// Nobody says anything.
    #[must_use]
    pub fn are_empty(&self) -> bool {
        self.file.is_none() && self.environment.is_empty() && self.flags.is_empty()
    }

    /// Reads and validates all of it.
    pub fn load(&self) -> Result<Effective, ConfigError> {
        let (path, text) = match &self.file {
            Some(path) => (path.as_path(), read_text(path)?),
            None => (Path::new(NO_FILE), String::new()),
        };
        // First the file alone, as its errors have lines.
        let file: File = toml::from_str(&text).map_err(|error| ConfigError::parse(path, &text, &error))?;
        let mut table: Table =
            toml::from_str(&text).map_err(|error| ConfigError::parse(path, &text, &error))?;
        let overrides = self.overrides()?;
        let mut origins = BTreeMap::new();
        let mut merged = file;
        for Override { key, value, origin } in overrides {
            put(&mut table, &key, value);
            // One after the other, so that what is wrong is known by its name.
            merged = table.clone().try_into().map_err(|error: toml::de::Error| {
                let problem = error.message().lines().next().unwrap_or_default().trim().to_owned();
                ConfigError::elsewhere(&place(&origin), &key, problem)
            })?;
            origins.insert(key, origin);
        }
        let config = merged.validate().map_err(|wrong| match origins.get(&wrong.key) {
            Some(origin) => ConfigError::elsewhere(&place(origin), &wrong.key, wrong.problem),
            None => ConfigError::at(path, &text, &wrong.key, wrong.problem),
        })?;
        Ok(Effective { config, table, origins })
    }

    /// Values from outside the file, those first that others go before.
    fn overrides(&self) -> Result<Vec<Override>, ConfigError> {
        let mut overrides = Vec::new();
        let mut environment = self.environment.clone();
        environment.sort();
        for (name, text) in &environment {
            let Some((key, _)) = settable().find(|(_, own)| own == name) else {
                let names: Vec<String> = settable().map(|(_, name)| name).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                return Err(ConfigError::elsewhere(
                    "environment",
                    name,
                    error::unknown_problem(name, &names),
                ));
            };
            let value = value_of(key.form, text);
            overrides.push(Override {
                key: key.name.to_owned(),
                value,
                origin: Origin::Environment(name.clone()),
            });
        }
        for flag in &self.flags {
            let Some((key, text)) = flag.split_once('=') else {
                return Err(ConfigError::elsewhere(FLAG, flag, "is not KEY=VALUE (data.listen=[::]:2881)"));
            };
            let (key, text) = (key.trim(), text.trim());
            let named = key.strip_prefix(NAMED).and_then(|rest| rest.strip_prefix('.'));
            let form = match REFERENCE.find(key).filter(|key| REFERENCE.can_be_set(key)) {
                Some(key) => key.form,
                None if named.is_some_and(|name| !name.is_empty()) => Form::Text,
                None => {
                    let names: Vec<&str> = settable().map(|(key, _)| key.name).collect();
                    return Err(ConfigError::elsewhere(FLAG, key, error::unknown_problem(key, &names)));
                }
            };
            overrides.push(Override {
                key: key.to_owned(),
                value: value_of(form, text),
                origin: Origin::Flag,
            });
        }
        Ok(overrides)
    }
}

/// As errors call it.
fn place(origin: &Origin) -> String {
    match origin {
        Origin::Default | Origin::File => NO_FILE.to_owned(),
        Origin::Environment(name) => format!("environment {name}"),
        Origin::Flag => FLAG.to_owned(),
    }
}

/// TOML or, where that is none, text. Of what is text, only what is quoted is read as TOML: a pool may be called 2024.
fn value_of(form: Form, text: &str) -> Value {
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok();
    let parsed = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    match parsed {
        Some(value) if value.is_str() || !form.is_text() => value,
        Some(_) | None => Value::String(text.to_owned()),
    }
}

/// Where a key stands in nested tables. Names of doors may have dots in them.
fn path_of(key: &str) -> (Option<&str>, &str) {
    match key.split_once('.') {
        Some((table, name)) => (Some(table), name),
        None => (None, key),
    }
}

/// The file alone was read before, so what has the name of a table is one.
fn put(table: &mut Table, key: &str, value: Value) {
    let (outer, name) = path_of(key);
    let table = match outer {
        None => table,
        Some(outer) => {
            let inner = table.entry(outer).or_insert_with(|| Value::Table(Table::new()));
            match inner {
                Value::Table(inner) => inner,
                _ => return,
            }
        }
    };
    table.insert(name.to_owned(), value);
}

fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (outer, name) = path_of(key);
    match outer {
        None => table.get(name),
        Some(outer) => table.get(outer)?.as_table()?.get(name),
    }
}

impl Effective {
    /// Every key, with its value and where that comes from.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for (key, _) in settable() {
            let found = get(&self.table, key.name);
            let (value, origin) = match (found, key.default) {
                (Some(value), _) => (value.to_string(), self.origin(key.name)),
                (None, reference::Default::Value) => (key.example.to_owned(), Origin::Default),
                (None, reference::Default::Otherwise(words)) => (format!("({words})"), Origin::Default),
                (None, reference::Default::Required) => continue,
            };
            // A door each, as each may come from elsewhere.
            if let (NAMED, Some(Value::Table(doors))) = (key.name, found) {
                settings.extend(doors.iter().map(|(name, url)| {
                    let key = format!("{NAMED}.{name}");
                    let origin = self.origin(&key);
                    Setting { key, value: url.to_string(), origin }
                }));
                continue;
            }
            settings.push(Setting { key: key.name.to_owned(), value, origin });
        }
        settings
    }

    fn origin(&self, key: &str) -> Origin {
        let whole = path_of(key).0.and_then(|table| self.origins.get(table));
        self.origins.get(key).or(whole).cloned().unwrap_or(Origin::File)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "name = \"pool01\"\nroot = \"/srv\"\nshards = 2\n[data]\nlisten = \"127.0.0.1:2881\"\n";

    fn sources(environment: &[(&str, &str)], flags: &[&str]) -> (tempfile::TempDir, Sources) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.toml");
        std::fs::write(&path, FILE).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let flags = flags.iter().map(|flag| (*flag).into()).collect();
        (dir, Sources { file: Some(path), environment, flags })
    }

    fn setting(effective: &Effective, key: &str) -> (String, Origin) {
        let found = effective.settings().into_iter().find(|setting| setting.key == key).unwrap();
        (found.value, found.origin)
    }

    #[test]
    fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
        let environment = [("PENSTOCK_POOL_SHARDS", "3"), ("PENSTOCK_POOL_DATA_LISTEN", "127.0.0.1:1")];
        let (_dir, sources) = sources(&environment, &["data.listen=[::1]:7", "timeouts.idle=2 min"]);
        let effective = sources.load().unwrap();
        let config = &effective.config;
        assert_eq!((config.shards, config.data_listen.to_string().as_str()), (3, "[::1]:7"));
        assert_eq!(config.timeouts.idle.as_secs(), 120);
        let shards = Origin::Environment("PENSTOCK_POOL_SHARDS".into());
        assert_eq!(setting(&effective, "shards"), ("3".into(), shards));
        assert_eq!(setting(&effective, "data.listen"), ("\"[::1]:7\"".into(), Origin::Flag));
        assert_eq!(setting(&effective, "name"), ("\"pool01\"".into(), Origin::File));
        assert_eq!(setting(&effective, "reserve"), ("\"256 MiB\"".into(), Origin::Default));
    }

    #[test]
    fn lists_tables_and_doors_can_be_set_too() {
        let environment = [
            ("PENSTOCK_POOL_CHECKSUMS", "[\"md5\"]"),
            ("PENSTOCK_POOL_QUEUES", "[{ name = \"default\", max_running = 7 }]"),
        ];
        let (_dir, sources) = sources(&environment, &["doors.door1=https://door1:2880", "name=2024"]);
        let effective = sources.load().unwrap();
        let config = &effective.config;
        assert_eq!((config.checksums.len(), config.queues[0].max_running), (1, 7));
        assert_eq!((config.doors["door1"].as_str(), config.name.as_str()), ("https://door1:2880", "2024"));
        assert_eq!(setting(&effective, "doors.door1").1, Origin::Flag);
    }

    #[test]
    fn no_file_is_needed_where_the_rest_says_enough() {
        let flags = ["name=p", "root=/r", "data.listen=127.0.0.1:1"].map(str::to_owned).to_vec();
        let sources = Sources { flags, ..Sources::default() };
        assert_eq!(sources.load().unwrap().config.name, "p");
        let error = Sources::default().load().unwrap_err().to_string();
        assert!(error.starts_with("(no file): name: is missing"), "{error}");
    }

    /// Names and values in the environment.
    type Said<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn whatever_is_wrong_is_named_with_its_place() {
        let cases: [(Said, &[&str], &str); 7] = [
            (
                &[("PENSTOCK_POOL_DATA_LISEN", "x")],
                &[],
                "environment: PENSTOCK_POOL_DATA_LISEN: there is no such key; did you mean \
                 \"PENSTOCK_POOL_DATA_LISTEN\"?",
            ),
            (
                &[],
                &["data.lisen=x"],
                "--set: data.lisen: there is no such key; did you mean \"data.listen\"?",
            ),
            (&[], &["shards"], "--set: shards: is not KEY=VALUE"),
            (&[], &["capacity=much"], "--set: capacity: \"much\" is not a size"),
            (
                &[("PENSTOCK_POOL_SHARDS", "5000")],
                &[],
                "environment PENSTOCK_POOL_SHARDS: shards: must be at most 1024",
            ),
            (&[], &["queues.max_running=1"], "--set: queues.max_running: there is no such key"),
            (&[], &["doors.=x"], "--set: doors.: there is no such key"),
        ];
        for (environment, flags, expected) in cases {
            let (_dir, sources) = sources(environment, flags);
            let error = sources.load().unwrap_err().to_string();
            assert!(error.starts_with(expected), "\n  said     {error}\n  expected {expected}");
            assert!(!error.contains('\n'), "{error:?}");
        }
    }

    #[test]
    fn what_is_wrong_in_the_file_keeps_its_line() {
        let (dir, sources) = sources(&[], &["shards=1"]);
        let path = dir.path().join("pool.toml");
        std::fs::write(&path, format!("{FILE}lisen = 1\n")).unwrap();
        let error = sources.load().unwrap_err().to_string();
        assert!(error.contains("pool.toml:6: data.lisen: there is no such key"), "{error}");
    }
}
