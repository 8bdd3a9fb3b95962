//! Every key of the door's configuration: its form, its default, what it does, and why the default is what it is.
//!
//! The one source of `penstock-door config --default`, of docs/door-configuration.md, and of what may be set in the
//! environment and by --set. A new key is one entry in [`keys`]; a test names those that are missing here.

pub mod keys;
mod page;

pub use keys::KEYS;
pub use penstock_service::reference::{Default, Form, Key, Reference};

/// All that there is to say.
pub const REFERENCE: Reference = Reference {
    keys: KEYS,
    lists: &[
        "pools",
        "marking.experiments",
        "marking.activities",
        "authentication.issuers",
        "delegation.exchange",
    ],
    named: &[],
    environment_prefix: "PENSTOCK_DOOR_",
    file_preface: page::FILE_PREFACE,
    page_preface: page::PAGE_PREFACE,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const LEAST: &str =
        "namespace = \"/n\"\nmacaroon_keys = \"/k\"\n[[pools]]\nname = \"p\"\nsocket = \"/s\"\n";

    /// The keys that the file takes in a table: what serde says that there are, to one that there is not.
    fn taken(table: &str) -> BTreeSet<String> {
        // A table in a list of tables needs an entry to be in.
        let above = REFERENCE.lists.iter().filter(|list| table.starts_with(&format!("{list}.")));
        let above: String = above.map(|list| format!("[[{list}]]\n")).collect();
        let text = format!("{above}{}\nzzzzzz = 1\n", REFERENCE.header(table));
        let error = toml::from_str::<Config>(&text).unwrap_err();
        let message = error.message();
        assert!(message.starts_with("unknown field `zzzzzz`"), "[{table}]: {message}");
        message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_reference_has_every_key_of_the_file_and_no_other() {
        let tables = REFERENCE.tables();
        let mut keys = BTreeSet::new();
        for table in &tables {
            keys.extend(taken(table).into_iter().map(|key| match *table {
                "" => key,
                table => format!("{table}.{key}"),
            }));
        }
        // A table stands for its keys, but for lists of them, which are told of as such, too.
        for table in tables.iter().filter(|table| !REFERENCE.lists.contains(*table)) {
            keys.remove(*table);
        }
        let documented: BTreeSet<String> = REFERENCE.keys().map(|key| key.name.to_owned()).collect();
        let missing: Vec<_> = keys.difference(&documented).collect();
        let unknown: Vec<_> = documented.difference(&keys).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "door/src/config/reference/keys lacks {missing:?} (a table: its keys, as in \"tls.cert\"; a list of tables: \
             its name in REFERENCE.lists, too), and has {unknown:?}, which the file does not take"
        );
    }

    #[test]
    fn every_default_is_what_the_door_does_without_the_key() {
        let parse = |text: String| Config::parse(&text, Path::new("door.toml"));
        let of_values =
            REFERENCE.keys().filter(|key| key.default == Default::Value && REFERENCE.can_be_set(key));
        for key in of_values {
            // A table may need other keys to stand at all.
            let needed = REFERENCE.keys().filter(|other| {
                other.default == Default::Required && other.table() == key.table() && !key.table().is_empty()
            });
            let needed: String =
                needed.map(|other| format!("{} = {}\n", other.name, other.example)).collect();
            let plain = parse(format!("{needed}{LEAST}")).unwrap();
            match parse(format!("{} = {}\n{needed}{LEAST}", key.name, key.example)) {
                Ok(config) => assert_eq!(config, plain, "{}", key.name),
                Err(error) => panic!("{}: {error}", key.name),
            }
        }
    }

    #[test]
    fn every_example_of_a_single_key_is_taken() {
        for key in
            REFERENCE.keys().filter(|key| REFERENCE.can_be_set(key) && key.default != Default::Required)
        {
            // One alone may miss its company (a certificate its key); it must be read all the same.
            let text = format!("{} = {}\n{LEAST}", key.name, key.example);
            if let Err(error) = toml::from_str::<Config>(&text) {
                assert!(error.message().starts_with("missing field"), "{}: {error}", key.name);
            }
        }
    }

    #[test]
    fn every_key_says_what_it_does_and_why() {
        for key in REFERENCE.keys() {
            assert!(key.what.ends_with('.') && key.why.ends_with('.'), "{}", key.name);
        }
    }
}
