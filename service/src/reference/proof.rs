//! What the tests of every daemon hold its reference to: it has every key of the file and no other, says of each what the
//! daemon does without it, and is the page in docs/.
//!
//! Not for daemons that run: each of these panics with what is wrong.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use toml::Table;

use super::{Default, Reference};
use crate::settings::{Configuration, parse_toml};

/// A key that no daemon has.
const UNKNOWN: &str = "zzzzzz";

/// The reference has every key that the file takes, and no other.
///
/// # Panics
/// Where they differ, with what to write where.
pub fn every_key_is_told<C: Configuration>()
where
    C::File: Debug,
{
    let reference = C::REFERENCE;
    let tables = reference.tables();
    let mut keys = BTreeSet::new();
    for table in &tables {
        let taken = taken::<C>(table);
        assert!(!taken.is_empty(), "[{table}] takes no keys");
        keys.extend(taken.into_iter().map(|key| match *table {
            "" => key,
            table => format!("{table}.{key}"),
        }));
    }
    // A table stands for its keys, but for lists of them, which are told of as such, too.
    for table in tables.iter().filter(|table| !reference.lists.contains(*table)) {
        keys.remove(*table);
    }
    let told: BTreeSet<String> = reference.keys().map(|key| key.name.to_owned()).collect();
    let missing: Vec<_> = keys.difference(&told).collect();
    let unknown: Vec<_> = told.difference(&keys).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "the reference lacks {missing:?} (a table: its keys, as in \"tls.cert\"; a list of tables: its name in \
         REFERENCE.lists, too), and has {unknown:?}, which the file does not take"
    );
}

/// The keys that the file takes in a table: what serde says that there are, to one that there is not.
fn taken<C: Configuration>(table: &str) -> BTreeSet<String>
where
    C::File: Debug,
{
    let reference = C::REFERENCE;
    // A table in a list of tables needs an entry to be in.
    let above = reference.lists.iter().filter(|list| table.starts_with(&format!("{list}.")));
    let above: String = above.map(|list| format!("[[{list}]]\n")).collect();
    let text = format!("{above}{}\n{UNKNOWN} = 1\n", reference.header(table));
    let error = toml::from_str::<C::File>(&text).expect_err("there is no such key");
    let message = error.message();
    assert!(message.starts_with(&format!("unknown field `{UNKNOWN}`")), "[{table}]: {message}");
    message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

/// Every default that is a value is what the daemon does without the key. `least`: what a file cannot be without.
///
/// # Panics
/// Where one is not.
pub fn every_default_holds<C: Configuration + PartialEq + Debug>(least: &str) {
    let reference = C::REFERENCE;
    let parse = |text: String| C::parse(&text, Path::new("least.toml"));
    let said: Table = toml::from_str(least).expect("the least is TOML");
    for key in reference.keys().filter(|key| key.default == Default::Value && reference.can_be_set(key)) {
        if is_in(&said, key.name) {
            continue;
        }
        // A table may need other keys to stand at all.
        let needed = reference.keys().filter(|other| {
            other.default == Default::Required
                && other.table() == key.table()
                && !key.table().is_empty()
                && !is_in(&said, other.name)
        });
        let needed: String = needed.map(|other| format!("{} = {}\n", other.name, other.example)).collect();
        let plain = parse(format!("{needed}{least}")).expect("the least is enough");
        match parse(format!("{} = {}\n{needed}{least}", key.name, key.example)) {
            Ok(config) => assert_eq!(config, plain, "{}", key.name),
            Err(error) => panic!("{}: {error}", key.name),
        }
    }
}

/// Every example of a key that can be set alone is taken.
///
/// # Panics
/// Where one is not.
pub fn every_example_is_taken<C: Configuration>(least: &str)
where
    C::File: Debug,
{
    let reference = C::REFERENCE;
    let said: Table = toml::from_str(least).expect("the least is TOML");
    for key in reference.keys().filter(|key| reference.can_be_set(key) && !is_in(&said, key.name)) {
        let text = format!("{} = {}\n{least}", key.name, key.example);
        if let Err(error) = parse_toml::<C::File>(&text, Path::new("example.toml")) {
            // One alone may miss its company (a certificate its key); it must be read all the same.
            assert!(error.to_string().ends_with("is missing"), "{}: {error}", key.name);
        }
    }
}

/// Every key says in sentences what it does, and why so; and no two have one name in the environment.
///
/// # Panics
/// Where one does not.
pub fn every_key_speaks(reference: &Reference) {
    for key in reference.keys() {
        assert!(key.what.ends_with('.') && key.why.ends_with('.'), "{}", key.name);
    }
    let names: BTreeSet<String> = reference.settable().map(|(_, name)| name).collect();
    assert_eq!(names.len(), reference.settable().count(), "two keys have one name in the environment");
}

/// A page of the documentation is this reference. `program` makes it.
///
/// # Panics
/// Where it is not, with how to make it.
pub fn page_is_made_of(reference: &Reference, page: &Path, program: &str) {
    let name = page.file_name().unwrap_or_default().to_string_lossy();
    assert!(
        std::fs::read_to_string(page).unwrap_or_default() == reference.markdown(),
        "docs/{name} is not as the code has it; make it again: {program} config --markdown > docs/{name}"
    );
}

fn is_in(table: &Table, key: &str) -> bool {
    match key.split_once('.') {
        None => table.contains_key(key),
        Some((outer, rest)) => {
            table.get(outer).and_then(toml::Value::as_table).is_some_and(|inner| is_in(inner, rest))
        }
    }
}
