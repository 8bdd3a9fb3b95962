//! Every key of the configuration: its form, its default, what it does, and why the default is what it is.
//!
//! The one source of `penstock-pool config --default`, of docs/configuration.md, and of what may be set in the environment
//! and by --set. Tests hold it against the keys that [`super::file`] takes and the defaults that it gives.

pub mod keys;
mod page;

pub use keys::KEYS;
pub use penstock_service::reference::{Default, Form, Key, Reference};

/// Before the name of a key in the environment.
pub const ENVIRONMENT_PREFIX: &str = "PENSTOCK_POOL_";

/// All that there is to say.
pub const REFERENCE: Reference = Reference {
    keys: KEYS,
    lists: &["queues", "marking.override"],
    named: &[("doors", "door1 = \"https://door1.example.org:2880\"")],
    environment_prefix: ENVIRONMENT_PREFIX,
    file_preface: page::FILE_PREFACE,
    page_preface: page::PAGE_PREFACE,
};

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
        let tables: BTreeSet<&str> = REFERENCE.keys().map(Key::table).collect();
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
        for table in tables.iter().filter(|table| !REFERENCE.lists.contains(*table)) {
            keys.remove(*table);
        }
        let documented: BTreeSet<String> = REFERENCE.keys().map(|key| key.name.to_owned()).collect();
        assert_eq!(keys, documented, "on the left what the file takes, on the right the reference");
    }

    #[test]
    fn every_default_is_what_the_daemon_does_without_the_key() {
        let plain = Config::parse(LEAST, Path::new("pool.toml")).unwrap();
        for key in REFERENCE.keys().filter(|key| key.default == Default::Value && key.name != "data.listen") {
            let text = match key.table() {
                // A queue's keys need their queue.
                table if REFERENCE.lists.contains(&table) => continue,
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
        let names: BTreeSet<String> = REFERENCE.settable().map(|(_, name)| name).collect();
        assert_eq!(names.len(), REFERENCE.settable().count());
        assert!(names.contains("PENSTOCK_POOL_DATA_TLS_LISTEN"));
    }

    #[test]
    fn every_key_says_what_it_does_and_why() {
        for key in REFERENCE.keys() {
            assert!(key.what.ends_with('.') && key.why.ends_with('.'), "{}", key.name);
        }
    }
}
