//! Configuration files, good and bad, and what is said of them.

use std::path::Path;
use std::time::Duration;

use penstock_service::settings::Sources;

use super::*;

const GOOD: &str = "name = \"pool01\"\nroot = \"/srv/penstock\"\n[data]\nlisten = \"127.0.0.1:2881\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("pool.toml"))
}

#[test]
fn a_short_file_gets_every_default() {
    let config = parse(GOOD).unwrap();
    let mut expected = Config::new("pool01", "/srv/penstock");
    expected.data_listen = "127.0.0.1:2881".parse().unwrap();
    assert_eq!(config, expected);
    assert_eq!(config.grpc, GrpcEndpoint::Socket("/srv/penstock/grpc.sock".into()));
    assert_eq!(config.timeouts.client, Duration::from_secs(120));
}

#[test]
fn every_key_is_understood() {
    let config = parse(
        r#"
name = "pool01"
root = "/srv/penstock"
capacity = "10 TiB"
reserve = "5 GiB"
max_file_size = 1000000
shards = 4
buffer_memory = "128 MiB"
disk_depth = 8
io_mode = "buffered"
checksums = ["md5", "sha256"]
records = "/var/log/penstock/records"
queues = [{ name = "default", max_running = 10, max_waiting = 20 }, { name = "tpc" }]

[data]
listen = "0.0.0.0:2881"
advertise = "pool01.example.org:2881"
cert = "/etc/penstock/data.pem"
key = "/etc/penstock/data.key"
tls_listen = "0.0.0.0:443"
tls_advertise = "pool01.example.org:443"
[admin]
listen = "127.0.0.1:9000"
[grpc]
listen = "[::]:2883"
cert = "/etc/penstock/cert.pem"
key = "/etc/penstock/key.pem"
client_ca = "/etc/penstock/doors.pem"
[timeouts]
client = 60
head = "5 s"
idle = "2 min"
keep_alive = "30 s"
claim = "10 s"
linger = 0
drain = "1 h"
[limits]
connections = 100
transfers = 50
[scrub]
rate = "10 MiB"
period = "7 d"
[doors]
door1 = "https://door1.example.org:2880"
[tpc]
connect_timeout = "5 s"
first_byte_timeout = "6 s"
idle_timeout = "7 s"
minimum_rate = 0
rate_window = "8 s"
deadline = "1 h"
verification_timeout = "9 s"
retries = 0
max_streams = 4
connections_per_host = 10
keep_alive = 0
ca = "/etc/ca.pem"
cert = "/etc/pool.pem"
key = "/etc/pool.key"
allow_loopback = true
allow_link_local = true
allow_private = false
ports = [443, "8000-8999"]
"#,
    )
    .unwrap();
    assert_eq!(config.capacity, Some(10 << 40));
    assert_eq!(config.max_file_size, Some(1_000_000));
    assert_eq!(config.disk_depth.map(NonZeroUsize::get), Some(8));
    assert_eq!(config.io_mode, IoMode::Buffered);
    assert_eq!(config.checksums.len(), 2);
    assert_eq!(config.records, Some(RecordTarget::File("/var/log/penstock/records".into())));
    assert_eq!((config.queues[0].max_running, config.queues[1].max_waiting), (10, DEFAULT_MAX_WAITING));
    assert!(matches!(config.grpc, GrpcEndpoint::Tls { .. }));
    let tls = config.data_tls.clone().unwrap();
    assert_eq!((tls.listen.port(), tls.advertise.as_deref()), (443, Some("pool01.example.org:443")));
    assert_eq!(config.timeouts.idle, Duration::from_secs(120));
    assert_eq!(config.timeouts.linger, Duration::ZERO);
    assert_eq!((config.limits.connections, config.limits.transfers), (100, 50));
    assert_eq!(config.scrub.rate_bytes_per_second.map(NonZeroU64::get), Some(10 << 20));
    assert_eq!(config.scrub.period, Duration::from_secs(7 * 86_400));
    assert_eq!(config.doors["door1"], "https://door1.example.org:2880");
    let tpc = &config.tpc;
    assert_eq!((tpc.connect_timeout.as_secs(), tpc.first_byte_timeout.as_secs()), (5, 6));
    assert_eq!((tpc.idle_timeout.as_secs(), tpc.rate_window.as_secs()), (7, 8));
    assert_eq!((tpc.deadline.as_secs(), tpc.verification_timeout.as_secs()), (3600, 9));
    assert_eq!((tpc.minimum_rate_bytes_per_second, tpc.retries, tpc.max_streams), (0, 0, 4));
    assert_eq!((tpc.connections_per_host, tpc.keep_alive), (10, Duration::ZERO));
    assert_eq!(tpc.authorities.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert_eq!(tpc.identity.as_ref().unwrap().key, Path::new("/etc/pool.key"));
    assert!(tpc.rules.loopback && tpc.rules.link_local && !tpc.rules.private);
    assert_eq!(tpc.rules.ports.to_string(), "443, 8000-8999");
    let shown = config.to_string();
    assert!(shown.contains("10 TiB") && shown.contains("pool01.example.org:2881"), "{shown}");
}

#[test]
fn whatever_is_wrong_is_named_with_file_line_and_key() {
    let with = |lines: &str| format!("{GOOD}{lines}\n");
    let before = |lines: &str| format!("{lines}\n{GOOD}");
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "pool.toml: name: is missing: every pool needs a name"),
        ("name = \"p\"".into(), "pool.toml: root: is missing: the directory of the pool's replicas"),
        ("name = \"a b\"".into(), "pool.toml:1: name: must be 1 to 64 of [A-Za-z0-9_.-]"),
        ("name = \"p\"\nroot = \"srv\"".into(), "pool.toml:2: root: must be an absolute path"),
        ("name = 5".into(), "pool.toml:1: name: invalid type: integer `5`, expected a string"),
        (before("nmae = 1"), "pool.toml:1: nmae: there is no such key; did you mean \"name\"?"),
        (
            before("xyzzyxyzzy = 1"),
            "pool.toml:1: xyzzyxyzzy: there is no such key here; there are name, root, ",
        ),
        (with("lisen = 1"), "pool.toml:5: data.lisen: there is no such key; did you mean \"listen\"?"),
        (
            before("capacity = \"10 gigs\""),
            "pool.toml:1: capacity: \"10 gigs\" is not a size: an integer of bytes",
        ),
        (before("capacity = -1"), "pool.toml:1: capacity: a size must not be negative"),
        (before("capacity = 0"), "pool.toml:1: capacity: must not be 0"),
        (before("capacity = true"), "pool.toml:1: capacity: invalid type: boolean `true`, expected a size"),
        (before("shards = 5000"), "pool.toml:1: shards: must be at most 1024"),
        (before("buffer_memory = \"1 MiB\""), "pool.toml:1: buffer_memory: must be at least 8 MiB"),
        (before("disk_depth = 100000"), "pool.toml:1: disk_depth: must be at most 65536; 0 is no limit"),
        (
            before("io_mode = \"fast\""),
            "pool.toml:1: io_mode: unknown variant `fast`, expected one of `direct`",
        ),
        (
            before("checksums = [\"md4\"]"),
            "pool.toml:1: checksums: \"md4\" is no checksum; there are adler32, md5,",
        ),
        (before("records = \"log\""), "pool.toml:1: records: must be an absolute path, \"journal\" or"),
        (with("advertise = \"http://x:1/\""), "pool.toml:5: data.advertise: must be \"host:port\""),
        (with("advertise = \"x\""), "pool.toml:5: data.advertise: must be \"host:port\""),
        (
            "name = \"p\"\nroot = \"/r\"\n\n[data]\nlisten = \"0.0.0.0:1\"".into(),
            "pool.toml:4: data.advertise: is missing: clients cannot be sent to 0.0.0.0:1",
        ),
        (
            "name = \"p\"\nroot = \"/r\"\n[data]\nlisten = \"localhost\"".into(),
            "pool.toml:4: data.listen: invalid socket address syntax",
        ),
        (with("cert = \"/c\""), "pool.toml:3: data.key: is missing"),
        (with("key = \"/k\""), "pool.toml:3: data.cert: is missing"),
        (
            with("tls_listen = \"127.0.0.1:1\""),
            "pool.toml:5: data.tls_listen: is for data.cert and data.key, which are not set",
        ),
        (
            with("cert = \"/c\"\nkey = \"/k\"\ntls_listen = \"127.0.0.1:2881\""),
            "pool.toml:7: data.tls_listen: is the same as data.listen",
        ),
        (
            with("cert = \"/c\"\nkey = \"/k\"\ntls_listen = \"0.0.0.0:1\""),
            "pool.toml:3: data.tls_advertise: is missing: clients cannot be sent to 0.0.0.0:1",
        ),
        (
            with("cert = \"/c\"\nkey = \"/k\"\ntls_advertise = \"https://x\""),
            "pool.toml:7: data.tls_advertise: must be \"host:port\"",
        ),
        (
            with("cert = \"/c\"\nkey = \"/k\"\n[admin]\nlisten = \"127.0.0.1:2884\""),
            "pool.toml:8: admin.listen: is the same as data.tls_listen",
        ),
        (
            with("[admin]\nlisten = \"127.0.0.1:2881\""),
            "pool.toml:6: admin.listen: is the same as data.listen",
        ),
        (
            with("[grpc]\nsocket = \"/s\"\nlisten = \"127.0.0.1:1\""),
            "pool.toml:6: grpc.socket: and grpc.listen exclude each other",
        ),
        (with("[grpc]\nsocket = \"s\""), "pool.toml:6: grpc.socket: must be an absolute path"),
        (with("[grpc]\ncert = \"/c\""), "pool.toml:6: grpc.cert: is for grpc.listen, which is not set"),
        (with("[grpc]\ninsecure = true"), "pool.toml:6: grpc.insecure: is for grpc.listen, which is not set"),
        (
            with("[grpc]\nlisten = \"127.0.0.1:1\"\ncert = \"/c\""),
            "pool.toml:5: grpc.key: is missing: grpc.listen needs cert, key and client_ca",
        ),
        (
            with("[grpc]\nlisten = \"192.0.2.1:1\"\ninsecure = true"),
            "pool.toml:7: grpc.insecure: is allowed on loopback only, and 192.0.2.1:1 is not",
        ),
        (with("[[queues]]\nname = \"fast\""), "pool.toml:5: queues: one of them must be named \"default\""),
        (
            with("[[queues]]\nname = \"default\"\n[[queues]]\nname = \"default\""),
            "pool.toml:6: queues.name: \"default\" is there twice",
        ),
        (
            with("[[queues]]\nname = \"default\"\nmax_running = 0"),
            "pool.toml:7: queues.max_running: of \"default\" is 0",
        ),
        (with("[[queues]]\nmax_running = 1"), "pool.toml:5: queues.name: is missing"),
        (with("[timeouts]\nidle = 0"), "pool.toml:6: timeouts.idle: must not be 0"),
        (with("[timeouts]\nidle = \"soon\""), "pool.toml:6: timeouts.idle: \"soon\" is not a length of time"),
        (with("[tpc]\nidle_timeout = 0"), "pool.toml:6: tpc.idle_timeout: must not be 0"),
        (with("[tpc]\nmax_streams = 101"), "pool.toml:6: tpc.max_streams: must be from 1 to 100"),
        (with("[tpc]\nconnections_per_host = 0"), "pool.toml:6: tpc.connections_per_host: must be from 1 to"),
        (with("[tpc]\ncert = \"/c\""), "pool.toml:5: tpc.key: is missing: tpc.cert needs it"),
        (with("[tpc]\nretries = 101"), "pool.toml:6: tpc.retries: must be at most 100"),
        (with("[tpc]\nports = [0]"), "pool.toml:6: tpc.ports: a port is a number from 1 to 65535"),
        (with("[tpc]\nports = [\"90-80\"]"), "pool.toml:6: tpc.ports: a port is a number from 1 to 65535"),
        (with("[marking]\npolicy = \"all\""), "pool.toml:6: marking.policy: unknown variant `all`"),
        (with("[marking]\nports = \"9-8\""), "pool.toml:6: marking.ports: ports are a range like"),
        (with("[marking]\nports = 1025"), "pool.toml:6: marking.ports: ports are a range like"),
        (
            with("[marking]\nports = \"2800-2900\""),
            "pool.toml:6: marking.ports: holds port 2881, which is in use for 127.0.0.1:2881",
        ),
        (
            with("[marking]\ncollectors = [\"a b\"]"),
            "pool.toml:6: marking.collectors: \"a b\" is no collector",
        ),
        (with("[marking]\nperiod = 0"), "pool.toml:6: marking.period: must not be 0"),
        (
            with("[marking]\nlocal = [\"10.0.0.0/33\"]"),
            "pool.toml:6: marking.local: \"10.0.0.0/33\" is no subnet",
        ),
        (with("[marking]\ndefault_tag = 64"), "pool.toml:6: marking.default_tag: 64 is no SciTag"),
        (
            with("[[marking.override]]\nsubnet = \"10.0.0.0/8\"\npolicy = \"none\""),
            "pool.toml:7: marking.override.policy: unknown variant `none`",
        ),
        (with("[limits]\ntransfers = 0"), "pool.toml:6: limits.transfers: must not be 0"),
        (with("[limits]\ntransfers = -5"), "pool.toml:6: limits.transfers: invalid value: integer `-5`"),
        (
            with("[scrub]\nperiod = 0"),
            "pool.toml:6: scrub.period: must not be 0; to switch scrubbing off, set scrub.rate to 0",
        ),
        (with("[doors]\nd = \"door:2880\""), "pool.toml:6: doors.d: door.url: must be http:// or https://"),
        ("name = ".into(), "pool.toml:1: name: "),
        ("name = \"a\"\nname = \"b\"".into(), "pool.toml:2: name: duplicate key"),
    ];
    for (text, expected) in cases {
        let error = parse(&text).expect_err(&text).to_string();
        assert!(error.starts_with(expected), "\n  said     {error}\n  expected {expected}\n  of\n{text}");
        assert!(!error.contains('\n'), "{error:?} is more than one line");
    }
}

#[test]
fn tls_is_reached_at_the_plain_ports_host_unless_told_otherwise() {
    let tls = |text: &str| parse(text).unwrap().data_tls.unwrap();
    let cert = "cert = \"/c\"\nkey = \"/k\"\n";
    let alone = tls(&format!("{GOOD}{cert}"));
    assert_eq!((alone.listen.to_string().as_str(), alone.advertise), ("127.0.0.1:2884", None));
    let named = tls(&format!(
        "name = \"p\"\nroot = \"/r\"\n[data]\nlisten = \"[::]:1\"\nadvertise = \"pool1:1\"\n{cert}"
    ));
    assert_eq!(named.advertise.as_deref(), Some("pool1:2884"));
}

#[test]
fn marking_is_read_as_it_is_written() {
    use crate::marking::Policy;
    use crate::marking::settings::Ports;
    let marking = |text: &str| parse(&format!("{GOOD}{text}")).unwrap().marking;
    assert_eq!(marking(""), crate::marking::Settings::default());
    let full = marking(
        "[marking]\npolicy = \"firefly\"\nports = \"24000-24063\"\ncollectors = [\"collector.example.org\"]\n\
         to_peers = false\nperiod = \"30 s\"\nlocal = [\"2001:db8::/32\"]\nregistry = \"/r.json\"\ndefault_tag = 129\n\
         [[marking.override]]\nsubnet = \"192.0.2.0/24\"\npolicy = \"off\"\n",
    );
    assert_eq!((full.rules.policy, full.ports), (Policy::Firefly, Ports::Range(24_000, 24_063)));
    assert_eq!(
        (full.collectors[0].to_string().as_str(), full.to_peers),
        ("collector.example.org:10514", false)
    );
    assert_eq!((full.period.as_secs(), full.default_tag.unwrap().number()), (30, 129));
    assert_eq!((full.rules.local.len(), full.rules.overrides[0].policy), (1, Policy::Off));
    assert_eq!(marking("[marking]\nports = 16").ports, Ports::Any(16));
}

#[test]
fn scrubbing_is_switched_off_by_a_rate_of_nothing() {
    let config = parse(&format!("{GOOD}[scrub]\nrate = 0\n")).unwrap();
    assert_eq!(config.scrub, Scrub { rate_bytes_per_second: None, ..Scrub::default() });
    assert!(config.to_string().contains("scrub          on request only"), "{config}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let sources = Sources { file: Some("/nonexistent/pool.toml".into()), ..Default::default() };
    let error = sources.load::<Config>().unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/pool.toml: cannot be read: "), "{error}");
}

#[test]
fn every_kind_of_key_can_be_set_from_outside() {
    let environment = [
        ("PENSTOCK_POOL_CHECKSUMS", "[\"md5\"]"),
        ("PENSTOCK_POOL_QUEUES", "[{ name = \"default\", max_running = 7 }]"),
        ("PENSTOCK_POOL_TIMEOUTS_IDLE", "2 min"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let flags = ["name=2024", "root=/r", "data.listen=127.0.0.1:1", "doors.door1=https://door1:2880"];
    let sources =
        Sources { file: None, environment, flags: flags.map(str::to_owned).to_vec(), ..Sources::default() };
    let config = sources.load::<Config>().unwrap().config;
    assert_eq!((config.name.as_str(), config.checksums.len(), config.queues[0].max_running), ("2024", 1, 7));
    assert_eq!((config.timeouts.idle.as_secs(), config.doors["door1"].as_str()), (120, "https://door1:2880"));
}
