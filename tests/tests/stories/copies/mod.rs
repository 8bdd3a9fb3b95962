//! Third-party copies end to end: real servers on the far side, real clients in front, and wires that are cut.
//!
//! Each story has a pool and a door of its own, here called the near side; what it copies with is the far side.

use std::path::Path;

use penstock_tests::certificates::Authority;
use penstock_tests::curl::{Answer, Curl};
use penstock_tests::files;
use penstock_tests::pair::Pair;
use penstock_tests::patience::eventually;
use penstock_tests::process;
use penstock_tests::room::Room;

mod certificates;
mod client_certificates;
mod clients;
mod hostile;
mod many;
/// The strict reader of the door's own stories: one reader, so that both hold the door to the same.
#[path = "../../../../door/tests/stories/site/markers.rs"]
#[allow(dead_code, reason = "the door's stories need more of it")]
mod markers;
mod readers;
mod second_site;
mod servers;
mod wire;

use markers::Markers;

/// What every near pool is told: the far side is on this machine, and connections to it are not kept for long, so that
/// a story can see that none is left.
const POOL: &str = "tpc.allow_loopback = true\ntpc.keep_alive = \"500 ms\"\n";
/// Markers often, so that a short copy has some.
const DOOR: &str = "copy.marker_period = \"100ms\"\n";
/// A failure's line is shorter than that, its beginning included: longer ones break clients.
const MOST_LINE_BYTES: usize = 1000;

/// The near side.
struct Here {
    pair: Pair,
    /// Whom it believes, and who has signed the far side's certificates.
    authority: Authority,
    room: Room,
    /// The pool's open descriptors before the story's copies.
    descriptors: usize,
}

impl Here {
    fn start() -> Here {
        Self::with("")
    }

    /// With more lines in the pool's configuration.
    fn with(pool: &str) -> Here {
        Self::with_both(pool, DOOR)
    }

    fn with_both(pool: &str, door: &str) -> Here {
        let room = Room::new();
        let authority = Authority::new(room.path(), "site");
        Self::believing(room, authority, pool, door)
    }

    fn believing(room: Room, authority: Authority, pool: &str, door: &str) -> Here {
        let trust = authority.trust_directory();
        let pool = format!("{POOL}tpc.ca = \"{}\"\n{pool}", trust.display());
        let pair = Pair::start_with_door(&pool, door);
        let descriptors = process::open_descriptors(pair.pool.daemon.id());
        Here { pair, authority, room, descriptors }
    }

    /// `curl -X COPY -H 'Source: URL'`, still to be run.
    fn pull(&self, path: &str, source: &str) -> Curl {
        self.pair.curl(path).method("COPY").header("Source", source)
    }

    /// `curl -X COPY -H 'Destination: URL'`, likewise.
    fn push(&self, path: &str, destination: &str) -> Curl {
        self.pair.curl(path).method("COPY").header("Destination", destination)
    }

    /// Panics unless the file under a name is that one, in bytes and in the checksum that the door tells of it.
    fn has(&self, path: &str, original: &Path) {
        let bytes = std::fs::read(original).unwrap();
        assert!(self.pair.get(path).expect(200).body == bytes, "{path} is not {}", original.display());
        let told = self.pair.curl(path).head().header("Want-Digest", "adler32").run().expect(200);
        let digest = format!("adler32={}", files::adler32_hex(&bytes));
        assert_eq!(told.header("Digest"), Some(digest.as_str()), "{path}");
    }

    fn running(&self) -> f64 {
        self.pair.pool.metrics().sum("penstock_transfers_running")
    }

    /// Waits until the pool has nothing in use for copies: no transfer, no space, no connection, no descriptor.
    fn is_at_rest(&self) {
        eventually("nothing of the copies is in use any more", || {
            let metrics = self.pair.pool.metrics();
            let idle = metrics.sum("penstock_transfers_running") == 0.0
                && metrics.sum("penstock_transfers_waiting") == 0.0
                && metrics.sum_where("penstock_space_bytes", "part=\"reserved\"") == 0.0
                && metrics.sum("penstock_remote_connections") == 0.0;
            let descriptors = process::open_descriptors(self.pair.pool.daemon.id());
            (idle && descriptors <= self.descriptors).then_some(())
        });
    }

    /// The same, and there is no file under that name, nor one without a name.
    fn has_nothing_of(&self, path: &str) {
        self.is_at_rest();
        assert_eq!(self.pair.get(path).status, 404, "{path}");
        // One that was deleted by its name goes a moment later.
        let root = self.pair.pool.root();
        eventually("no file is left", || files::replicas(&root).is_empty().then_some(()));
    }
}

/// The markers of a copy that came to a good end.
fn succeeded(answer: Answer) -> Markers {
    let answer = answer.expect(202);
    assert_eq!(answer.header("Content-Type"), Some("text/perf-marker-stream"));
    let markers = Markers::parse(&answer.text());
    if let Err(why) = &markers.result {
        panic!("the copy failed: {why}");
    }
    assert_eq!(markers.last().get("Stripe Status"), Some("DONE"));
    markers
}

/// The text of a copy that did not: one line.
fn failed(answer: Answer) -> String {
    let answer = answer.expect(202);
    let text = answer.text();
    let line = text.lines().last().unwrap_or_default();
    assert!(line.len() < MOST_LINE_BYTES, "{} bytes: {line}", line.len());
    match Markers::parse(&text).result {
        Err(why) => why,
        Ok(()) => panic!("the copy did not fail:\n{text}"),
    }
}
