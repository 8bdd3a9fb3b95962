//! Two machines and a wire between them that is slow, and is cut in the middle of a copy.

use std::path::PathBuf;
use std::time::Duration;

use penstock_tests::files::{self, MIB};
use penstock_tests::network::{FAR, NEAR, Network};
use penstock_tests::patience::eventually;
use penstock_tests::remote::{Scheme, WebServer, nginx};

use super::{Here, failed, succeeded};

/// What the wire carries: a copy of [`SIZE`] takes about four seconds.
const MEGABITS_PER_SECOND: u32 = 80;
const SIZE: u64 = 40 * MIB;
/// In the middle.
const CUT_AFTER: u64 = 8 * MIB;
/// How long the pool waits for a byte, and for a connection.
const TIMES: &str = "tpc.idle_timeout = \"3 s\"\ntpc.connect_timeout = \"2 s\"\n";

/// A near side and nginx on the far one.
struct Stage<'a> {
    network: &'a Network,
    here: Here,
    far: WebServer,
    original: PathBuf,
}

impl<'a> Stage<'a> {
    /// To be called on the near side.
    fn set(network: &'a Network, pool: &str) -> Stage<'a> {
        let here = Here::with(&format!("{TIMES}{pool}"));
        let identity = here.authority.issue("nginx");
        let far = network.far(|| nginx::start(FAR, &identity));
        let original = far.offer("theirs", SIZE, 1);
        Stage { network, here, far, original }
    }

    /// Where the pull's file is, with the checksum that it is told to have.
    fn source(&self) -> String {
        let adler32 = files::adler32_hex(&std::fs::read(&self.original).unwrap());
        self.far.url(Scheme::Http, &format!("/digested/{adler32}/theirs"))
    }

    fn wait_for_the_middle(&self) {
        let (got, sent) = self.network.carried();
        eventually("the copy is in the middle", || {
            let (got_now, sent_now) = self.network.carried();
            ((got_now - got) + (sent_now - sent) > CUT_AFTER).then_some(())
        });
    }

    /// Nobody on the far side holds a connection, or a part of a file.
    fn far_is_at_rest(&self) {
        let port = self.far.address(Scheme::Http).port();
        eventually("the far side has let go", || {
            (self.network.far_connections(port) == 0 && self.far.has_no_parts()).then_some(())
        });
    }
}

/// A story on the near side of a slow wire.
fn on_a_slow_wire(story: impl FnOnce(&Network) + Send) {
    let Some(network) = Network::new_or_skip() else { return };
    if network.limit_or_skip(MEGABITS_PER_SECOND) {
        network.near(|| story(&network));
    }
}

/// The whole number behind `before` in a text.
fn number(text: &str, before: &str) -> u64 {
    let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("no {before:?}: {text}"));
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no number behind {before:?}: {text}"))
}

/// The whole number before `behind`.
fn number_before(text: &str, behind: &str) -> u64 {
    let rest = text.split(behind).next().unwrap_or_default();
    let digits = rest.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no number before {behind:?}: {text}"))
}

#[test]
fn a_pull_whose_wire_is_cut_says_where_when_and_with_whom_it_stalled_and_leaves_nothing() {
    on_a_slow_wire(|network| {
        let stage = Stage::set(network, "tpc.retries = 0\n");
        let copying = stage.here.pull("/new", &stage.source()).start();
        stage.wait_for_the_middle();

        network.cut();

        let text = failed(copying.wait());
        let begins = "socket timeout on GET: the source sent nothing for 3 s, at byte ";
        assert!(text.starts_with(begins), "{text}");
        let byte = number(&text, "at byte ");
        assert!((CUT_AFTER / 2..SIZE).contains(&byte), "{text}");
        assert_eq!(number(&text, &format!("at byte {byte} of ")), SIZE, "{text}");
        assert!((3..60).contains(&number(&text, ", after ")), "{text}");
        assert!(text.contains(&format!(", source {}, rtt ", stage.far.address(Scheme::Http))), "{text}");
        assert!(text.contains(" ms, ") && text.ends_with(" retransmits"), "{text}");
        stage.here.has_nothing_of("/new");
        network.mend();
        stage.far_is_at_rest();
    });
}

#[test]
fn a_push_whose_wire_is_cut_says_where_when_and_with_whom_it_stalled_and_leaves_nothing() {
    on_a_slow_wire(|network| {
        let stage = Stage::set(network, "tpc.retries = 0\n");
        let original = files::file(stage.here.room.path(), "ours", SIZE, 2);
        let _ = stage.here.pair.put("/ours", &original).expect(201);
        let copying = stage.here.push("/ours", &stage.far.url(Scheme::Http, "/new")).start();
        stage.wait_for_the_middle();

        network.cut();

        let text = failed(copying.wait());
        let begins = "socket timeout on PUT: the destination took nothing for 3 s, at byte ";
        assert!(text.starts_with(begins), "{text}");
        let byte = number(&text, "at byte ");
        assert!((CUT_AFTER / 2..SIZE).contains(&byte), "what was acknowledged, not what was sent: {text}");
        assert!(text.contains(&format!(", destination {}, rtt ", stage.far.address(Scheme::Http))), "{text}");
        assert!(number_before(&text, " retransmits") > 0, "{text}");
        assert!(text.contains("; what is there could not be removed: "), "{text}");
        stage.here.is_at_rest();
        network.mend();
        stage.far_is_at_rest();
        assert!(!stage.far.file("new").exists());
        stage.here.has("/ours", &original);
    });
}

#[test]
fn a_pull_over_a_wire_that_stays_cut_tells_of_the_cut_and_of_the_attempts_behind_it() {
    on_a_slow_wire(|network| {
        let stage = Stage::set(network, "tpc.retries = 2\n");
        let copying = stage.here.pull("/new", &stage.source()).start();
        stage.wait_for_the_middle();

        network.cut();

        let text = failed(copying.wait());
        let begins = "socket timeout on GET: the source sent nothing for 3 s, at byte ";
        assert!(text.starts_with(begins), "{text}");
        let last = format!("no connection to http://{}", stage.far.address(Scheme::Http));
        assert!(text.contains("; 2 retries, the last: connection failed for GET: "), "{text}");
        assert!(text.contains(&last), "{text}");
        stage.here.has_nothing_of("/new");
        network.mend();
        stage.far_is_at_rest();
    });
}

#[test]
fn a_copy_in_either_direction_outlives_a_cut_that_is_shorter_than_its_patience() {
    on_a_slow_wire(|network| {
        let stage = Stage::set(network, "");
        let original = files::file(stage.here.room.path(), "ours", SIZE, 2);
        let _ = stage.here.pair.put("/ours", &original).expect(201);
        let cut_and_mend = || {
            stage.wait_for_the_middle();
            network.cut();
            std::thread::sleep(Duration::from_millis(800));
            network.mend();
        };

        let pulling = stage.here.pull("/new", &stage.source()).start();
        cut_and_mend();
        let markers = succeeded(pulling.wait());
        assert_eq!(markers.last().number("Stripe Bytes Transferred"), SIZE);
        stage.here.has("/new", &stage.original);

        let push = stage.here.push("/ours", &stage.far.url(Scheme::Http, "/new"));
        let pushing = push.header("RequireChecksumVerification", "false").start();
        cut_and_mend();
        let markers = succeeded(pushing.wait());
        assert!(markers.last().number("Stripe Retransmits") > 0, "the cut was no cut");
        assert!(files::same(&stage.far.file("new"), &original));
        stage.here.is_at_rest();
        stage.far_is_at_rest();
        let near = format!("tcp:{NEAR}:");
        assert!(markers.last().get("Stripe Source").unwrap().starts_with(&near));
    });
}

#[test]
fn a_pull_whose_connection_is_reset_goes_on_where_it_broke() {
    on_a_slow_wire(|network| {
        let stage = Stage::set(network, "");
        let copying = stage.here.pull("/new", &stage.source()).header("X-Number-Of-Streams", "2").start();
        stage.wait_for_the_middle();
        let got_before = network.carried().0;

        if network.reset_far(stage.far.address(Scheme::Http).port()) == 0 {
            println!("skipped: this kernel ends no connections for others (CONFIG_INET_DIAG_DESTROY)");
            return;
        }

        let markers = succeeded(copying.wait());
        assert_eq!(markers.last().number("Stripe Bytes Transferred"), SIZE);
        stage.here.has("/new", &stage.original);
        let got_behind = network.carried().0 - got_before;
        // What was in flight is sent again, and every packet has its head; but not what had arrived.
        assert!(got_behind < SIZE - CUT_AFTER / 2, "{got_behind} bytes behind the reset");
        assert!(stage.here.pair.pool.metrics().sum("penstock_transfer_retries_total") >= 1.0);
        stage.here.is_at_rest();
        stage.far_is_at_rest();
    });
}
