//! Every key of the configuration: its form, its default, what it does, and why the default is what it is.
//!
//! The one source of `penstock-pool config --default`, of docs/configuration.md, and of what may be set in the environment
//! and by --set. Tests hold it against the keys that [`super::file`] takes and the defaults that it gives.

mod keys;
mod page;

pub use keys::KEYS;
pub use page::{commented, markdown};

/// Before the name of a key in the environment.
pub const ENVIRONMENT_PREFIX: &str = "PENSTOCK_POOL_";

/// Lists of tables.
pub(super) const LISTS: [&str; 2] = ["queues", "marking.override"];

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// With its tables, as in `data.listen`.
    pub name: &'static str,
    /// What stands behind it.
    pub form: Form,
    /// Without it.
    pub default: Default,
    /// As TOML: the default where that is a value, else an example.
    pub example: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Why the default is what it is, or when another value is better.
    pub why: &'static str,
}

/// What stands behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text.
    Text,
    /// An absolute path.
    Path,
    /// `"address:port"`.
    Address,
    /// `"host:port"`.
    Authority,
    /// Bytes, or text with a unit.
    Size,
    /// Seconds, or text with a unit.
    Time,
    /// A whole number.
    Count,
    /// `true` or `false`.
    Flag,
    /// A list.
    List,
    /// A table, or a list of them.
    Table,
}

/// Without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The value of the example.
    Value,
    /// Something else, in words.
    Otherwise(&'static str),
    /// The daemon does not start.
    Required,
}

impl Form {
    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Form::Text => "text",
            Form::Path => "path",
            Form::Address => "address:port",
            Form::Authority => "host:port",
            Form::Size => "size",
            Form::Time => "time",
            Form::Count => "number",
            Form::Flag => "true or false",
            Form::List => "list",
            Form::Table => "table",
        }
    }

    /// Whether its value is text in TOML, and so needs no quotes where nothing else can be meant.
    #[must_use]
    pub(super) fn is_text(self) -> bool {
        match self {
            Form::Text | Form::Path | Form::Address | Form::Authority => true,
            Form::Size | Form::Time | Form::Count | Form::Flag | Form::List | Form::Table => false,
        }
    }
}

impl Key {
    /// The tables before its own name; empty at the top.
    #[must_use]
    pub fn table(&self) -> &'static str {
        self.name.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// Its own name.
    #[must_use]
    pub fn own_name(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, name)| name)
    }

    /// Whether it can be set from outside the file. Of a list of tables, only the whole list can.
    #[must_use]
    pub fn can_be_set(&self) -> bool {
        !self.in_list()
    }

    /// Whether its table is one of a list of them.
    #[must_use]
    pub(super) fn in_list(&self) -> bool {
        LISTS.contains(&self.table())
    }

    /// Its name in the environment.
    #[must_use]
    pub fn environment_name(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.replace('.', "_").to_ascii_uppercase())
    }
}

/// A key by its name; `doors.NAME` is one for any name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::{Config, file};

    const LEAST: &str = "name = \"p\"\nroot = \"/r\"\ndata.listen = \"127.0.0.1:1\"\n";

    /// The keys that the file takes in a table: what serde says that there are, to one that there is not.
    fn taken(header: &str) -> BTreeSet<String> {
        let error = toml::from_str::<file::File>(&format!("{header}\nzzzzzz = 1\n")).unwrap_err();
        error.message().split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_reference_has_every_key_of_the_file_and_no_other() {
        let tables: BTreeSet<&str> = KEYS.iter().map(Key::table).collect();
        let mut keys = BTreeSet::new();
        for table in &tables {
            let header = match *table {
                "" => String::new(),
                "queues" => "[[queues]]\nname = \"x\"".to_owned(),
                "marking.override" => "[[marking.override]]".to_owned(),
                table => format!("[{table}]"),
            };
            let taken = taken(&header);
            assert!(!taken.is_empty(), "{table}");
            keys.extend(taken.into_iter().map(|key| match *table {
                "" => key,
                table => format!("{table}.{key}"),
            }));
        }
        // Tables are named at the top, too; here they stand for their keys, but for those that have none of their own.
        for table in tables.iter().filter(|table| !LISTS.contains(*table)) {
            keys.remove(*table);
        }
        let documented: BTreeSet<String> = KEYS.iter().map(|key| key.name.to_owned()).collect();
        assert_eq!(keys, documented, "on the left what the file takes, on the right the reference");
    }

    #[test]
    fn every_default_is_what_the_daemon_does_without_the_key() {
        let plain = Config::parse(LEAST, Path::new("pool.toml")).unwrap();
        for key in KEYS.iter().filter(|key| key.default == Default::Value && key.name != "data.listen") {
            let text = match key.table() {
                // A queue's keys need their queue.
                table if LISTS.contains(&table) => continue,
                _ => format!("{} = {}\n{LEAST}", key.name, key.example),
            };
            match Config::parse(&text, Path::new("pool.toml")) {
                Ok(config) => assert_eq!(config, plain, "{}", key.name),
                Err(error) => panic!("{}: {error}", key.name),
            }
        }
    }

    #[test]
    fn names_in_the_environment_are_unique() {
        let names: BTreeSet<String> = KEYS.iter().map(Key::environment_name).collect();
        assert_eq!(names.len(), KEYS.len());
        assert_eq!(find("data.tls_listen").unwrap().environment_name(), "PENSTOCK_POOL_DATA_TLS_LISTEN");
    }

    #[test]
    fn every_key_says_what_it_does_and_why() {
        for key in KEYS {
            assert!(key.what.ends_with('.') && key.why.ends_with('.'), "{}", key.name);
        }
    }
}
