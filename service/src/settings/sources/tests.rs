//! A small daemon's settings, from all places.

use std::collections::BTreeMap;

use super::super::Setting;
use super::*;
use crate::reference::Default::{Otherwise, Required, Value as AsWritten};
use crate::reference::{Key, Reference};

/// A daemon with what real ones have: required keys, a table, a list of tables, a table of names.
#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    name: String,
    #[serde(default)]
    count: u8,
    #[serde(default)]
    words: Vec<String>,
    tls: Option<Tls>,
    #[serde(default)]
    pools: Vec<Pool>,
    #[serde(default)]
    doors: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Tls {
    cert: String,
    key: String,
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Pool {
    name: String,
}

impl Configuration for Example {
    type File = Self;
    const REFERENCE: Reference = Reference {
        keys: &[&[
            Key::new("name", Form::Text, Required, "\"p\"", "Its name.", "It has one."),
            Key::new("count", Form::Count, AsWritten, "0", "How many.", "None."),
            Key::new("words", Form::List, AsWritten, "[]", "What it says.", "Nothing."),
            Key::new("pools", Form::Table, Otherwise("none"), "[]", "Pools.", "None."),
            Key::new("doors", Form::Table, AsWritten, "{}", "Doors.", "None."),
            Key::new("tls.cert", Form::Path, Required, "\"/c\"", "The certificate.", "To be believed."),
            Key::new("tls.key", Form::Path, Required, "\"/k\"", "The key.", "To be safe."),
            Key::new("pools.name", Form::Text, Required, "\"p\"", "Its name.", "It has one."),
        ]],
        lists: &["pools"],
        named: &[("doors", "door1 = \"url\"")],
        environment_prefix: "EXAMPLE_",
        file_preface: "",
        page_preface: "",
    };

    fn validate(file: Self) -> Result<Self, Wrong> {
        if file.count > 9 { Err(Wrong::new("count", "must be at most 9")) } else { Ok(file) }
    }
}

/// Names and values in the environment.
type Said<'a> = &'a [(&'a str, &'a str)];

fn sources(file: &str, environment: Said, flags: &[&str]) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("example.toml");
    std::fs::write(&path, file).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let flags = flags.iter().map(|flag| (*flag).into()).collect();
    (dir, Sources { file: Some(path), environment, flags, ..Sources::default() })
}

fn load(file: &str, environment: Said, flags: &[&str]) -> Result<Effective<Example>, String> {
    let (dir, sources) = sources(file, environment, flags);
    let error = |error: ConfigError| error.to_string().replace(&format!("{}/", dir.path().display()), "");
    sources.load().map_err(error)
}

fn setting(effective: &Effective<Example>, key: &str) -> (String, Origin) {
    let found = effective.settings().into_iter().find(|setting| setting.key == key);
    let Setting { value, origin, .. } = found.unwrap();
    (value, origin)
}

#[test]
fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
    let environment = [("EXAMPLE_COUNT", "3"), ("EXAMPLE_NAME", "second")];
    let file = "name = \"first\"\ncount = 2\nwords = [\"a\"]\n";
    let effective = load(file, &environment, &["name=third", "doors.a.b=url"]).unwrap();
    let environment = Origin::Environment("EXAMPLE_COUNT".into());
    assert_eq!((effective.config.name.as_str(), effective.config.count), ("third", 3));
    assert_eq!(setting(&effective, "name"), ("\"third\"".into(), Origin::Flag));
    assert_eq!(setting(&effective, "count"), ("3".into(), environment));
    assert_eq!(setting(&effective, "words"), ("[\"a\"]".into(), Origin::File));
    assert_eq!(setting(&effective, "pools"), ("(none)".into(), Origin::Default));
    assert_eq!(setting(&effective, "doors.a.b"), ("\"url\"".into(), Origin::Flag));
}

#[test]
fn a_table_that_needs_all_its_keys_can_come_from_several_places() {
    let environment = [("EXAMPLE_TLS_CERT", "/c"), ("EXAMPLE_TLS_KEY", "/k"), ("EXAMPLE_NAME", "2024")];
    let whole = load("", &environment, &[]).unwrap().config;
    assert_eq!((whole.name.as_str(), whole.tls.unwrap().key.as_str()), ("2024", "/k"));
    let shared = load("[tls]\ncert = \"/c\"\n", &[("EXAMPLE_TLS_KEY", "/k")], &["name=p"]).unwrap();
    assert_eq!(setting(&shared, "tls.cert").1, Origin::File);
}

#[test]
fn lists_and_lists_of_tables_are_set_as_a_whole() {
    let environment = [("EXAMPLE_POOLS", "[{ name = \"p1\" }, { name = \"p2\" }]")];
    let config =
        load("name = \"e\"\n[[pools]]\nname = \"old\"\n", &environment, &["words=[\"x\"]"]).unwrap().config;
    assert_eq!((config.pools.len(), config.words), (2, vec!["x".to_owned()]));
}

#[test]
fn no_file_is_needed_where_the_rest_says_enough() {
    let flags = vec!["name=p".to_owned()];
    assert_eq!(Sources { flags, ..Sources::default() }.load::<Example>().unwrap().config.name, "p");
    let error = Sources::default().load::<Example>().unwrap_err().to_string();
    assert_eq!(error, "(no file): name: is missing");
}

#[test]
fn whatever_is_wrong_is_named_with_its_place() {
    let good = "name = \"e\"\n";
    let cases: [(&str, Said, &[&str], &str); 14] = [
        (
            good,
            &[("EXAMPLE_CONT", "1")],
            &[],
            "environment: EXAMPLE_CONT: there is no such key; did you mean \"EXAMPLE_COUNT\"?",
        ),
        (good, &[], &["cont=1"], "--set: cont: there is no such key; did you mean \"count\"?"),
        (good, &[], &["count"], "--set: count: is not KEY=VALUE"),
        (good, &[], &["count=many"], "--set: count: invalid type"),
        (good, &[("EXAMPLE_COUNT", "10")], &[], "environment EXAMPLE_COUNT: count: must be at most 9"),
        (good, &[], &["pools.name=x"], "--set: pools.name: there is no such key"),
        (good, &[], &["doors.=x"], "--set: doors.: there is no such key"),
        (
            good,
            &[("EXAMPLE_POOLS", "[{ nam = \"p\" }]")],
            &[],
            "environment EXAMPLE_POOLS: pools.nam: there is no such key; did you mean \"name\"?",
        ),
        (good, &[], &["tls.cert=/c"], "--set: tls.key: is missing"),
        // What stands in the file keeps its line, whatever else is said.
        (
            "name = \"e\"\n\n[tls]\ncret = 1\n",
            &[],
            &["count=1"],
            "example.toml:4: tls.cret: there is no such key; did you mean \"cert\"?",
        ),
        ("name = \"e\"\n[tls]\nkey = \"/k\"\n", &[], &["count=1"], "example.toml:2: tls.cert: is missing"),
        ("name = \"e\"\ncount = 10\n", &[], &["words=[]"], "example.toml:2: count: must be at most 9"),
        ("count = 1\n", &[], &["words=[]"], "example.toml:1: name: is missing"),
        ("name = \"e\"\ntls = 5\n", &[], &["tls.cert=/c"], "example.toml:2: tls: invalid type"),
    ];
    for (file, environment, flags, expected) in cases {
        let error = load(file, environment, flags).unwrap_err();
        assert!(error.starts_with(expected), "\n  said     {error}\n  expected {expected}");
        assert!(!error.contains('\n'), "{error:?}");
    }
}

#[test]
fn what_another_place_says_mends_the_file() {
    let config = load("name = \"e\"\ncount = 300\n", &[], &["count=1"]).unwrap().config;
    assert_eq!(config.count, 1);
}
