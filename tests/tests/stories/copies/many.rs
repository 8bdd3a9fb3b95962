//! Many copies at once.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use penstock_tests::curl::Running;
use penstock_tests::files;
use penstock_tests::patience::within;
use penstock_tests::process;
use penstock_tests::remote::{Scheme, nginx};

use super::{Here, succeeded};

const COPIES: usize = 50;
/// So that no copy can have ended before the last one has begun.
const SECONDS_EACH: u64 = 5;
const TIME: Duration = Duration::from_secs(60);
/// What the pool promises; its own buffers are half of it by default.
const MOST_MEMORY_BYTES: u64 = 64 << 20;

#[test]
fn fifty_pulls_at_once_are_all_right_and_leave_nothing_in_use() {
    let here = Here::with("buffer_memory = \"32 MiB\"\n");
    let far = nginx::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &here.authority.issue("nginx"));
    let original = far.offer("file", SECONDS_EACH * nginx::PACE, 1);
    let adler32 = files::adler32_hex(&std::fs::read(&original).unwrap());
    let source = far.url(Scheme::Http, &format!("/paced/{adler32}/file"));

    let copies: Vec<Running> =
        (0..COPIES).map(|number| here.pull(&format!("/file{number}"), &source).start()).collect();
    let together = within(TIME, || (here.running() == COPIES as f64).then_some(()));
    assert!(together.is_some(), "{} of {COPIES} run", here.running());
    let answers: Vec<_> = copies.into_iter().map(Running::wait).collect();

    for answer in answers {
        let markers = succeeded(answer);
        assert_eq!(markers.last().number("Stripe Bytes Transferred"), SECONDS_EACH * nginx::PACE);
    }
    let replicas = files::replicas(&here.pair.pool.root());
    assert_eq!(replicas.len(), COPIES);
    assert!(replicas.iter().all(|replica| files::same(replica, &original)));
    here.is_at_rest();
    let peak = process::peak_memory_bytes(here.pair.pool.daemon.id());
    println!("the pool's peak of resident memory with {COPIES} pulls at once: {} KiB", peak >> 10);
    assert!(peak < MOST_MEMORY_BYTES, "{peak} bytes");
}
