//! Clients that die, daemons that are told to stop, and what is left then.

use std::io::Write;
use std::time::{Duration, Instant};

use penstock_tests::cluster::Cluster;
use penstock_tests::curl::{Curl, Running};
use penstock_tests::files::{self, MIB};
use penstock_tests::metrics::Metrics;
use penstock_tests::patience::eventually;
use penstock_tests::site::{DIRECTORIES_BYTES, Plan, Site};

fn ended(metrics: &Metrics, labels: &str) -> f64 {
    metrics.sum_where("penstock_transfers_total", labels)
}

/// An upload that has begun and waits for more from the pipe.
fn upload_under_way(site: &Site, path: &str) -> (Running, std::io::PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let upload = site.curl(path).follow().upload_stdin(reader.into()).start();
    writer.write_all(&files::bytes(4 * MIB, 1)).unwrap();
    eventually("the upload has reserved space", || (site.space("reserved") > 0.0).then_some(()));
    (upload, writer)
}

#[test]
fn a_client_killed_in_the_middle_of_an_upload_leaves_nothing() {
    let site = Site::start();
    let file = files::file(site.room(), "in", 2 * MIB, 1);
    let _ = site.put("/before", &file).expect(201);
    let used = site.space("used");
    let (upload, _writer) = upload_under_way(&site, "/killed");

    upload.kill();

    eventually("the space is given back", || (site.space("reserved") == 0.0).then_some(()));
    assert_eq!(site.get("/killed").status, 404);
    assert_eq!(files::replicas(site.data()).len(), 1, "only the file from before");
    assert!(site.space("used") - used < DIRECTORIES_BYTES);
    let metrics = site.metrics();
    assert_eq!(ended(&metrics, "outcome=\"failed\""), 1.0);
    assert_eq!(metrics.sum("penstock_transfers_running"), 0.0);
}

#[test]
fn a_client_killed_while_the_door_passes_its_body_on_leaves_nothing() {
    let site = Site::start();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let upload = site.curl("/killed").header("Expect", "").upload_stdin(reader.into()).start();
    writer.write_all(&files::bytes(4 * MIB, 1)).unwrap();
    eventually("the upload has reserved space", || (site.space("reserved") > 0.0).then_some(()));

    upload.kill();

    eventually("the space is given back", || (site.space("reserved") == 0.0).then_some(()));
    assert_eq!(site.get("/killed").status, 404);
    assert!(files::replicas(site.data()).is_empty());
}

#[test]
fn a_client_killed_in_the_middle_of_a_download_frees_its_transfer() {
    // For so long the client may come back for the rest.
    let cluster = Cluster::start_with(1, "[timeouts]\nlinger = \"1 s\"\n");
    let file = files::file(cluster.room(), "in", 32 * MIB, 1);
    let _ = cluster.curl("/file").follow().upload(&file).run().expect(201);
    let running = || cluster.pools[0].metrics().sum("penstock_transfers_running");
    let download = cluster.curl("/file").follow().arg("--limit-rate").arg("1M").start();
    eventually("the download runs", || (running() > 0.0).then_some(()));
    std::thread::sleep(Duration::from_millis(300));

    download.kill();

    eventually("the transfer has ended", || (running() == 0.0).then_some(()));
    assert_eq!(cluster.curl("/file").follow().run().expect(200).body.len() as u64, 32 * MIB);
}

#[test]
fn sigterm_lets_a_download_end_and_takes_no_new_ones() {
    let mut site = Site::start();
    let file = files::file(site.room(), "in", 48 * MIB, 1);
    let _ = site.put("/file", &file).expect(201);
    let promised = site.download_url("/file");
    let download = site.curl("/file").follow().arg("--limit-rate").arg("16M").start();
    eventually("the download runs", || (site.metrics().sum("penstock_sent_bytes_total") > 0.0).then_some(()));

    site.daemon.terminate();

    std::thread::sleep(Duration::from_millis(500));
    assert!(site.daemon.runs(), "a transfer that runs is waited for");
    let refused = site.curl("/file").run();
    assert!(
        refused.status == 503 || refused.exit != 0,
        "a draining site takes nothing new: {}",
        refused.status
    );
    let kept = Curl::new(&promised).run().expect(200);
    assert_eq!(kept.body.len() as u64, 48 * MIB, "what the door has promised is kept");
    assert!(download.wait().expect(200).body == std::fs::read(&file).unwrap());
    let status = site.daemon.ended();
    assert_eq!(status.code(), Some(0), "{}", site.daemon.stderr());
}

#[test]
fn sigterm_lets_an_upload_end_and_its_name_is_there_after_the_next_start() {
    let mut site = Site::start();
    let (upload, mut writer) = upload_under_way(&site, "/during");

    site.daemon.terminate();

    std::thread::sleep(Duration::from_millis(500));
    assert!(site.daemon.runs(), "an upload that runs is waited for");
    writer.write_all(b"the end").unwrap();
    drop(writer);
    let _ = upload.wait().expect(201);
    assert_eq!(site.daemon.ended().code(), Some(0), "{}", site.daemon.stderr());
    let site = site.restart();
    assert!(site.get("/during").expect(200).body.ends_with(b"the end"));
}

#[test]
fn a_second_sigterm_ends_at_once() {
    let mut site = Site::start();
    let (_upload, _writer) = upload_under_way(&site, "/stalled");
    site.daemon.terminate();
    std::thread::sleep(Duration::from_millis(500));
    assert!(site.daemon.runs(), "the first one waits");
    let start = Instant::now();

    site.daemon.terminate();

    let _ = site.daemon.ended();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    let site = site.restart();
    assert_eq!(site.get("/stalled").status, 404);
    assert!(files::replicas(site.data()).is_empty());
}

#[test]
fn the_drain_ends_at_its_deadline() {
    let mut site = Plan::new().config("drain = \"1 s\"\n").start();
    let (_upload, _writer) = upload_under_way(&site, "/stalled");
    let start = Instant::now();

    site.daemon.terminate();

    let _ = site.daemon.ended();
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn without_transfers_sigterm_and_sigint_end_at_once() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut site = Site::start();
        let start = Instant::now();

        site.daemon.signal(signal);

        assert_eq!(site.daemon.ended().code(), Some(0), "{}", site.daemon.stderr());
        assert!(start.elapsed() < Duration::from_secs(3), "{signal:?}: {:?}", start.elapsed());
    }
}
