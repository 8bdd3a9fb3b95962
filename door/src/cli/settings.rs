//! `config`: the configuration in effect, or the reference of all keys.

use std::path::Path;

use anyhow::Context as _;
use penstock_door::Config;
use penstock_door::config::reference::{Default, Key, REFERENCE};
use penstock_service::check::plain;
use serde_json::json;
use toml::{Table, Value};

use super::options::ConfigWish;

/// A key, its value, and where that comes from.
type Setting = (&'static str, String, &'static str);

/// Carries it out.
pub fn run(path: &Path, wish: &ConfigWish) -> anyhow::Result<()> {
    let text = if wish.default {
        REFERENCE.commented()
    } else if wish.markdown {
        REFERENCE.markdown()
    } else {
        // The errors of this one have lines.
        Config::load(path)?;
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let settings = settings(&toml::from_str(&text).context("the configuration has changed meanwhile")?);
        if wish.json { lines(&settings) } else { table(&settings) }
    };
    penstock_service::manual::print(text.as_bytes())
}

/// Keys of tables of which there can be several stand with their list.
fn settings(file: &Table) -> Vec<Setting> {
    let keys = REFERENCE.keys.iter().filter(|key| REFERENCE.can_be_set(key));
    keys.filter_map(|key| setting(key, file)).collect()
}

fn setting(key: &Key, file: &Table) -> Option<Setting> {
    let mut tables = key.name.split('.');
    let first = tables.next().and_then(|name| file.get(name));
    let found: Option<&Value> = tables.fold(first, |value, name| value?.as_table()?.get(name));
    match (found, key.default) {
        (Some(value), _) => Some((key.name, value.to_string(), "file")),
        (None, Default::Value) => Some((key.name, key.example.to_owned(), "default")),
        (None, Default::Otherwise(words)) => Some((key.name, format!("({words})"), "default")),
        (None, Default::Required) => None,
    }
}

fn lines(settings: &[Setting]) -> String {
    let line = |(key, value, origin): &Setting| {
        format!("{}\n", json!({ "key": key, "value": value, "origin": origin }))
    };
    settings.iter().map(line).collect()
}

fn table(settings: &[Setting]) -> String {
    let width = settings.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
    let line = |(key, value, origin): &Setting| format!("{key:width$}  {origin:7}  {}\n", plain(value));
    settings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "namespace = \"/n\"\nmacaroon_keys = \"/k\"\nlimits.connections = 5\n\
                        [[pools]]\nname = \"p\"\nsocket = \"/s\"\n";

    #[test]
    fn what_is_in_effect_is_told_with_where_it_comes_from() {
        let settings = settings(&toml::from_str(FILE).unwrap());
        let of = |key| settings.iter().find(|(name, ..)| *name == key).unwrap();
        assert_eq!(*of("limits.connections"), ("limits.connections", "5".into(), "file"));
        assert_eq!(*of("limits.transfers"), ("limits.transfers", "16384".into(), "default"));
        assert_eq!(*of("admin_listen"), ("admin_listen", "(nowhere)".into(), "default"));
        assert!(of("pools").1.contains("\"/s\""), "a list of tables is told as a whole");
        assert!(!settings.iter().any(|(name, ..)| name.starts_with("pools.")));
    }

    #[test]
    fn both_forms_have_a_line_for_each() {
        let settings = settings(&toml::from_str(FILE).unwrap());
        assert_eq!(table(&settings).lines().count(), settings.len());
        for line in lines(&settings).lines() {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(object["key"].is_string() && object["origin"].is_string());
        }
    }
}
