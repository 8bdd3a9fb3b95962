//! Configuration files, good and bad, and what is said of them.

use super::*;
use crate::auth::Anonymous;
use penstock_service::settings::Sources;

const GOOD: &str = r#"
name = "door01"
listen = "[::1]:2880"
url = "https://door.example.org"
namespace = "/var/lib/penstock/namespace.db"
macaroon_keys = "/etc/penstock/macaroon.keys"
anonymous = "read"
create_parents = false

[redirect]
write = false

[limits]
head_bytes = "8 KiB"

[timeouts]
pool_start = "5s"

[[pools]]
name = "pool01"
socket = "/run/penstock/pool.sock"

[[pools]]
name = "pool02"
address = "pool02.example.org:2883"
tls = { ca = "ca.pem", cert = "door.pem", key = "door.key" }
"#;

fn error(text: &str) -> String {
    Config::parse(text, Path::new("door.toml")).unwrap_err().to_string()
}

#[test]
fn the_example_is_good_and_says_the_defaults() {
    let example = Config::parse(include_str!("../../door.example.toml"), Path::new("example")).unwrap();
    let defaults = Config::new(example.namespace.clone(), example.macaroon_keys.clone(), Vec::new());
    assert_eq!(
        (&example.name, example.plain_listen(), example.anonymous),
        (&defaults.name, defaults.plain_listen(), defaults.anonymous)
    );
    assert_eq!((example.redirect, example.create_parents), (defaults.redirect, defaults.create_parents));
    assert_eq!((example.limits, example.timeouts), (defaults.limits, defaults.timeouts));
    assert_eq!(example.copy, defaults.copy);
}

#[test]
fn a_full_configuration_is_read() {
    let config = Config::parse(GOOD, Path::new("door.toml")).unwrap();
    assert_eq!(config.name.as_str(), "door01");
    assert_eq!(config.anonymous, Anonymous::Read);
    assert_eq!(config.redirect, Redirect { write: false, ..Redirect::default() });
    assert!(!config.redirect.suits(b"Cadaver/0.24 neon/0.32") && config.redirect.suits(b"curl/8 cadaver/"));
    assert_eq!(config.limits.head_bytes.0, 8192);
    assert_eq!(config.timeouts.pool_start.0.as_secs(), 5);
    assert!(matches!(&config.pools[0].access, PoolAccess::Socket(path) if path.ends_with("pool.sock")));
    assert!(matches!(&config.pools[1].access, PoolAccess::Tls { address, .. } if address.ends_with(":2883")));
}

#[test]
fn an_error_names_file_line_key_and_what_to_do() {
    let cases = [
        (
            "name = \"door01\"",
            "nam = \"door01\"",
            "door.toml:2: nam: there is no such key; did you mean \"name\"?",
        ),
        (
            "write = false",
            "wirte = false",
            "door.toml:11: redirect.wirte: there is no such key; did you mean \"write\"?",
        ),
        ("write = false", "write = 1", "door.toml:11: redirect.write: "),
        ("\"[::1]:2880\"", "\"everywhere\"", "door.toml:3: listen: "),
        ("\"read\"", "\"some\"", "door.toml:7: anonymous: "),
        ("\"5s\"", "5", "door.toml:17: timeouts.pool_start: "),
        ("\"5s\"", "\"soon\"", "door.toml:17: timeouts.pool_start: \"soon\" is no length of time"),
        ("\"8 KiB\"", "\"big\"", "door.toml:14: limits.head_bytes: \"big\" is no size"),
        ("socket = \"/run/penstock/pool.sock\"", "", "door.toml:19: pools: pool \"pool01\" has neither"),
        ("\"pool02\"", "\"pool01\"", "door.toml:19: pools: two have the name \"pool01\": rename one"),
        ("namespace = \"/var/lib/penstock/namespace.db\"", "", ": namespace: is missing"),
        (
            "namespace = \"/var/lib/penstock/namespace.db\"",
            "namespace = \"postgres://door@db\"",
            "door.toml:5: namespace: the URL names no database",
        ),
        (
            "anonymous = \"read\"",
            "namespace_password_file = \"/etc/penstock/password\"",
            "door.toml:7: namespace_password_file: an SQLite file has no password",
        ),
        (
            "anonymous = \"read\"",
            "namespace_ca = \"/etc/penstock/db-ca.pem\"",
            "door.toml:7: namespace_ca: an SQLite file has no server",
        ),
        ("key = \"door.key\" }", "}", ".key: is missing"),
    ];
    for (good, bad, expected) in cases {
        assert!(GOOD.contains(good), "{good}");
        let error = error(&GOOD.replacen(good, bad, 1));
        assert!(error.contains(expected) && !error.contains('\n'), "{bad}: {error}");
    }
}

#[test]
fn a_door_without_pools_is_refused() {
    let text = "namespace = \"n\"\nmacaroon_keys = \"k\"\npools = []";
    assert!(error(text).contains("pools: there is none"), "{}", error(text));
}

#[test]
fn every_kind_of_key_can_be_set_from_outside() {
    let environment = [
        ("PENSTOCK_DOOR_NAMESPACE", "/n"),
        ("PENSTOCK_DOOR_POOLS", "[{ name = \"p\", socket = \"/s\" }]"),
        ("PENSTOCK_DOOR_TLS_LISTEN", "[::1]:2443"),
        ("PENSTOCK_DOOR_TLS_CERT", "/c"),
        ("PENSTOCK_DOOR_TLS_KEY", "/k"),
        ("PENSTOCK_DOOR_CREATE_PARENTS", "false"),
        ("PENSTOCK_DOOR_COPY_MARKER_PERIOD", "7s"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let flags = ["macaroon_keys=/k", "limits.connections=5", "copy.marker_period=9s"];
    let sources =
        Sources { file: None, environment, flags: flags.map(str::to_owned).to_vec(), ..Sources::default() };
    let config = sources.load::<Config>().unwrap().config;
    assert_eq!((config.pools[0].name.as_str(), config.create_parents), ("p", false));
    assert_eq!(config.tls.unwrap().listen.port(), 2443);
    assert_eq!((config.limits.connections, config.copy.marker_period.0.as_secs()), (5, 9));
}
