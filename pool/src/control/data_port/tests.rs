use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::metrics::engine::{GAUGE_PERIOD, Gauges, watch};
use super::start::{share_of, start};
use super::*;
use crate::config::Config;
use crate::control::metrics::Metrics;
use crate::control::registry::{Registry, RegistrySettings};
use crate::engine::blocking::Blocking;
use crate::engine::disk::KernelDisk;
use crate::engine::net::listener;
use crate::engine::shard::Shard;
use crate::store::{Store, StoreConfig};
use crate::transfer::{SystemClock, Timeouts};

fn pool(dir: &std::path::Path) -> (Arc<Registry>, Arc<Store>, Arc<Metrics>) {
    let day = Duration::from_secs(86_400);
    let settings = RegistrySettings {
        queues: vec![],
        max_transfers: 1,
        timeouts: Timeouts { client: day, linger: day, claim: day },
        doors: Default::default(),
    };
    let metrics = Arc::new(Metrics::new());
    let registry = Registry::new(settings, Arc::new(SystemClock::new()), Arc::clone(&metrics));
    let config = StoreConfig {
        root: dir.to_owned(),
        pool_name: "p".into(),
        capacity: None,
        reserve_bytes: 0,
        max_file_size: None,
        direct: true,
    };
    (registry, Arc::new(Store::open_root(Arc::new(KernelDisk), &config).unwrap()), metrics)
}

#[test]
fn a_port_that_another_pool_uses_is_refused_although_the_kernel_would_share_it() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, store, metrics) = pool(dir.path());
    let other = listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut config = Config::new("p", dir.path());
    config.data_listen = listener::address(&other).unwrap();
    let error = start(registry, store, &config, &metrics).unwrap_err().to_string();
    assert!(error.starts_with(&format!("data.listen: cannot bind {}", config.data_listen)), "{error}");
}

#[test]
fn a_shard_whose_loop_is_held_up_is_found() {
    let shard = Shard::start(0, 4, Blocking::new(1)).unwrap();
    let gauges = Arc::new(Gauges::default());
    let theirs = Arc::clone(&gauges);
    shard.submit(|core| watch(core, theirs)).unwrap();
    let limit = 2 * GAUGE_PERIOD;
    std::thread::sleep(limit + GAUGE_PERIOD);
    assert!(!gauges.turned.silent_for(limit), "it turns by itself");

    let (let_go, held) = std::sync::mpsc::channel::<()>();
    // As a call of the kernel would that does not come back.
    shard.submit(move |_| async move { held.recv().unwrap() }).unwrap();
    std::thread::sleep(limit + GAUGE_PERIOD);
    assert!(gauges.turned.silent_for(limit), "it is held up");

    let_go.send(()).unwrap();
    std::thread::sleep(GAUGE_PERIOD);
    assert!(!gauges.turned.silent_for(limit), "it turns again");
}

#[test]
fn shards_that_would_starve_for_buffers_do_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, store, metrics) = pool(dir.path());
    let mut config = Config::new("p", dir.path());
    config.shards = 4;
    config.buffer_memory_bytes = Some(8 << 20);
    let error = start(registry, store, &config, &metrics).unwrap_err();
    assert!(matches!(error, DataPortError::TooFewBuffers { shards: 4, slots: 2 }), "{error}");
}

#[test]
fn the_depth_of_the_disk_is_shared_out_among_the_shards() {
    for (depth, shards, expected) in [(8, 2, &[4, 4][..]), (7, 3, &[3, 2, 2]), (3, 3, &[1, 1, 1])] {
        let depth = NonZeroUsize::new(depth).unwrap();
        let shares: Vec<usize> =
            (0..shards).map(|number| share_of(depth, shards, number).unwrap().get()).collect();
        assert_eq!(shares, expected);
    }
}

#[test]
fn a_disk_that_is_too_shallow_for_the_shards_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, store, metrics) = pool(dir.path());
    let mut config = Config::new("p", dir.path());
    (config.shards, config.disk_depth) = (4, NonZeroUsize::new(3));
    let error = start(registry, store, &config, &metrics).unwrap_err().to_string();
    assert!(error.contains("4 shards cannot share out: make it at least 4, or lower"), "{error}");
}

#[test]
fn a_started_port_answers_on_every_shard_tells_its_load_and_ends() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    let (registry, store, metrics) = pool(dir.path());
    let mut config = Config::new("p", dir.path());
    config.data_listen = "127.0.0.1:0".parse().unwrap();
    config.shards = 2;
    let port = start(registry, store, &config, &metrics).unwrap();
    // The kernel spreads connections over the shards' listeners.
    for _ in 0..16 {
        let mut client = std::net::TcpStream::connect(port.address()).unwrap();
        client.write_all(b"nonsense\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    let load = port.load();
    assert!(
        (0.0..=1.0).contains(&load.buffers_used) && (0.0..=1.0).contains(&load.busiest_shard),
        "{load:?}"
    );
    assert!(metrics.encode().unwrap().contains("penstock_data_requests_refused_total 16"));
    port.stop();
    assert!(std::net::TcpStream::connect(port.address()).is_err());
}

#[test]
fn a_pool_that_has_ended_lets_go_of_its_replicas() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, store, metrics) = pool(dir.path());
    let replicas = Arc::downgrade(&store);
    let mut config = Config::new("p", dir.path());
    config.data_listen = "127.0.0.1:0".parse().unwrap();
    let port = start(Arc::clone(&registry) as _, store, &config, &metrics).unwrap();

    port.stop();
    drop((port, registry, metrics));

    assert!(replicas.upgrade().is_none(), "who holds them keeps the index from being closed");
}
