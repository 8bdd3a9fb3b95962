//! Settings in effect: each key with its value, and where that comes from.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::json;
use toml::{Table, Value};

use super::Configuration;
use super::sources::{FLAG, path_of};
use crate::check::plain;
use crate::reference::Default;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has said anything.
    Default,
    /// The file.
    File,
    /// A variable of the environment, by its name.
    Environment(String),
    /// The command line, by the name of the key.
    Flag,
    /// An option of its own on the command line: `--listen`.
    Option(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File => f.write_str("file"),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag => f.write_str(FLAG),
            Origin::Option(option) => f.write_str(option),
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
pub struct Effective<C> {
    /// What the daemon works with.
    pub config: C,
    table: Table,
    /// Of values from outside the file.
    origins: BTreeMap<String, Origin>,
}

impl<C: Configuration> Effective<C> {
    pub(super) fn new(config: C, table: Table, origins: BTreeMap<String, Origin>) -> Self {
        Self { config, table, origins }
    }

    /// Every key, with its value and where that comes from. Keys of tables of which there can be several stand with their
    /// list.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for (key, _) in C::REFERENCE.settable() {
            let found = get(&self.table, key.name);
            let (value, origin) = match (found, key.default) {
                (Some(value), _) => (value.to_string(), self.origin(key.name)),
                (None, Default::Value) => (key.example.to_owned(), Origin::Default),
                (None, Default::Otherwise(words)) => (format!("({words})"), Origin::Default),
                (None, Default::Required) => continue,
            };
            // One for each name, as each may come from elsewhere.
            let is_named = C::REFERENCE.named.iter().any(|(table, _)| *table == key.name);
            if let (true, Some(Value::Table(named))) = (is_named, found) {
                settings.extend(named.iter().map(|(name, value)| {
                    let key = format!("{}.{name}", key.name);
                    let origin = self.origin(&key);
                    Setting { key, value: value.to_string(), origin }
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

fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (outer, name) = path_of(key);
    match outer {
        None => table.get(name),
        Some(outer) => table.get(outer)?.as_table()?.get(name),
    }
}

fn origin(setting: &Setting, file: &str) -> String {
    match &setting.origin {
        Origin::File => file.to_owned(),
        other => other.to_string(),
    }
}

/// An object of JSON on a line for each, for programs. `file`: the file's name.
#[must_use]
pub fn lines(settings: &[Setting], file: &str) -> String {
    let line = |setting: &Setting| {
        let object = json!({ "key": setting.key, "value": setting.value, "origin": origin(setting, file) });
        format!("{object}\n")
    };
    settings.iter().map(line).collect()
}

/// A line for each, for people.
#[must_use]
pub fn table(settings: &[Setting], file: &str) -> String {
    let heading = ["KEY", "VALUE", "FROM"].map(str::to_owned);
    let row = |setting: &Setting| [setting.key.clone(), plain(&setting.value), origin(setting, file)];
    let rows: Vec<[String; 3]> = std::iter::once(heading).chain(settings.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (keys, values) = (width(0), width(1));
    rows.iter().map(|[key, value, from]| format!("{key:keys$}  {value:values$}  {from}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_a_line_for_each_and_name_the_file() {
        let setting =
            |key: &str, origin| Setting { key: key.to_owned(), value: "\"a\u{1b}\"".to_owned(), origin };
        let settings = [setting("name", Origin::File), setting("tls.key", Origin::Flag)];
        let expected = "KEY      VALUE  FROM\nname     \"a\u{fffd}\"   /f\ntls.key  \"a\u{fffd}\"   --set\n";
        assert_eq!(table(&settings, "/f"), expected);
        let lines = lines(&settings, "/f");
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), lines[0]["origin"].as_str()), (2, Some("/f")));
    }
}
