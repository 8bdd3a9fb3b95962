//! The registry: queues, idempotency, cancelling, forgetting, draining.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{get, put};
use crate::control::metrics::Metrics;
use crate::control::queue::QueueLimits;
use crate::control::registry::entry::Entry;
use crate::control::registry::{Registry, RegistrySettings, StartError};
use crate::transfer::state::StateName;
use crate::transfer::{
    Capability, Claim, ClaimMethod, ConnectionInfo, Desk, FailureCode, ManualClock, Outcome, Refusal, State,
    Timeouts, TransferId, Verdict,
};

struct Scene {
    registry: Arc<Registry>,
    clock: Arc<ManualClock>,
}

impl Scene {
    /// Two at once, two waiting, five in all.
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let seconds = Duration::from_secs;
        let settings = RegistrySettings {
            queues: vec![QueueLimits { name: "default".into(), max_running: 2, max_waiting: 2 }],
            max_transfers: 5,
            timeouts: Timeouts { client: seconds(120), linger: seconds(10), claim: seconds(30) },
            doors: HashMap::new(),
        };
        let registry = Registry::new(settings, clock.clone(), Arc::new(Metrics::new()));
        registry.redirects().set_plain("http://pool1:2881".into());
        Self { registry, clock }
    }

    fn start(&self, request: penstock_door_proto::v1::TransferRequest) -> Arc<Entry> {
        self.registry.start(request).unwrap()
    }

    fn after(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.registry.tick();
    }

    fn claim(&self, entry: &Entry, method: ClaimMethod) -> Result<Claim, Refusal> {
        let transfer = entry.transfer().unwrap();
        self.registry.claim(transfer.capability(), method, &transfer.request().path, None, peer())
    }

    fn running(&self) -> usize {
        self.registry.queues()[0].running
    }
}

fn peer() -> std::net::SocketAddr {
    "192.0.2.1:40000".parse().unwrap()
}

fn connection() -> ConnectionInfo {
    ConnectionInfo { local: "192.0.2.9:2881".parse().unwrap(), remote: peer(), tls: false, flow_label: 0 }
}

fn state(entry: &Entry) -> StateName {
    entry.transfer().unwrap().state().name()
}

fn failure_code(entry: &Entry) -> FailureCode {
    match entry.transfer().unwrap().state() {
        State::Failed(failed) => failed.failure.code,
        other => panic!("not failed but {}", other.name()),
    }
}

fn upload(claim: &mut Claim) {
    claim.started(connection()).unwrap();
    claim.finish(Outcome::Stored { size: 3, checksums: vec![] }).unwrap();
}

fn id(text: &str) -> TransferId {
    TransferId::new(text).unwrap()
}

#[test]
fn as_many_run_as_may_and_the_next_is_admitted_when_one_ends() {
    let scene = Scene::new();
    let entries: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| scene.start(get(name, "r"))).collect();
    let states: Vec<_> = entries.iter().map(|entry| state(entry)).collect();
    assert_eq!(states, [StateName::Ready, StateName::Ready, StateName::Queued, StateName::Queued]);
    assert_eq!(scene.registry.ahead(&id("d")), Some(1));

    entries[0].transfer().unwrap().cancel("enough");

    assert_eq!(state(&entries[2]), StateName::Ready);
    assert_eq!(scene.registry.ahead(&id("d")), Some(0));
    assert_eq!(scene.running(), 2);
}

#[test]
fn a_clock_that_jumps_ends_no_transfer_and_keeps_none_alive() {
    for jump in [Duration::from_secs(0), Duration::from_secs(4_000_000_000)] {
        let scene = Scene::new();
        let entry = scene.start(get("a", "r"));
        scene.after(60);

        scene.clock.set_wall(std::time::UNIX_EPOCH + jump);
        scene.after(59);
        assert_eq!(state(&entry), StateName::Ready, "its client has a second left");

        scene.after(2);
        assert_eq!(failure_code(&entry), FailureCode::ClientAbsent, "whatever the time of day");
    }
}

#[test]
fn other_limits_count_at_once_and_those_who_wait_are_let_in() {
    let scene = Scene::new();
    let entries: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| scene.start(get(name, "r"))).collect();
    let seconds = Duration::from_secs;
    let settings = |max_running| RegistrySettings {
        queues: vec![QueueLimits { name: "default".into(), max_running, max_waiting: 2 }],
        max_transfers: 4,
        timeouts: Timeouts { client: seconds(5), linger: seconds(10), claim: seconds(30) },
        doors: HashMap::new(),
    };

    scene.registry.set_limits(&settings(4));

    assert!(entries.iter().all(|entry| state(entry) == StateName::Ready));
    assert!(matches!(scene.registry.start(get("e", "r")), Err(StartError::TooMany { limit: 4 })));
    scene.registry.set_limits(&settings(1));
    assert_eq!(scene.running(), 4, "what runs goes on");
    scene.after(6);
    assert_eq!(failure_code(&entries[0]), FailureCode::ClientAbsent);
}

#[test]
fn a_waiting_transfer_that_is_cancelled_never_runs() {
    let scene = Scene::new();
    let entries: Vec<_> = ["a", "b", "c", "d"].iter().map(|name| scene.start(get(name, "r"))).collect();
    entries[2].transfer().unwrap().cancel("enough");
    entries[0].transfer().unwrap().cancel("enough");
    assert_eq!(state(&entries[2]), StateName::Cancelled);
    assert_eq!(state(&entries[3]), StateName::Ready);
    assert_eq!(scene.running(), 2);
}

#[test]
fn priority_overtakes_those_who_came_before() {
    let scene = Scene::new();
    let running: Vec<_> = ["a", "b"].iter().map(|name| scene.start(get(name, "r"))).collect();
    let patient = scene.start(get("c", "r"));
    let urgent = scene.start(penstock_door_proto::v1::TransferRequest { priority: 1, ..get("d", "r") });
    running[0].transfer().unwrap().cancel("enough");
    assert_eq!((state(&urgent), state(&patient)), (StateName::Ready, StateName::Queued));
}

#[test]
fn a_full_queue_refuses_and_leaves_no_trace() {
    let scene = Scene::new();
    for name in ["a", "b", "c", "d"] {
        scene.start(get(name, "r"));
    }
    let error = scene.registry.start(put("e", "new")).unwrap_err();
    assert!(matches!(error, StartError::Queue(_)), "{error}");
    assert_eq!(scene.registry.list().len(), 4);
    scene.registry.find(&id("a")).unwrap().transfer().unwrap().cancel("enough");
    assert!(
        scene.registry.start(put("e", "new")).is_ok(),
        "the refused upload does not hold its replica's id"
    );
}

#[test]
fn the_same_request_again_finds_the_same_transfer() {
    let scene = Scene::new();
    let first = scene.start(get("a", "r"));
    let again = scene.start(get("a", "r"));
    assert!(Arc::ptr_eq(&first, &again));
    first.transfer().unwrap().cancel("enough");
    assert!(Arc::ptr_eq(&first, &scene.start(get("a", "r"))), "an ended one too, until it is acknowledged");
}

#[test]
fn another_request_under_the_same_id_is_refused() {
    let scene = Scene::new();
    scene.start(get("a", "r"));
    let error = scene.registry.start(get("a", "other")).unwrap_err();
    assert!(matches!(error, StartError::OtherRequest { .. }), "{error}");
}

#[test]
fn one_replica_is_uploaded_by_one_transfer_at_a_time() {
    let scene = Scene::new();
    let first = scene.start(put("a", "r"));
    let error = scene.registry.start(put("b", "r")).unwrap_err().to_string();
    assert_eq!(error, "replica r is being uploaded by transfer a");
    first.transfer().unwrap().cancel("enough");
    assert!(scene.registry.start(put("b", "r")).is_ok());
}

#[test]
fn a_failed_transfer_keeps_its_place_until_the_shards_have_let_go() {
    let scene = Scene::new();
    let entry = scene.start(get("a", "r"));
    let claim = scene.claim(&entry, ClaimMethod::Get).unwrap();
    entry.transfer().unwrap().cancel("enough");
    assert_eq!(scene.running(), 1);
    drop(claim);
    assert_eq!(scene.running(), 0);
}

#[test]
fn an_upload_that_waits_for_its_doors_word_lets_the_next_run() {
    let scene = Scene::new();
    let entry = scene.start(put("a", "r"));
    let mut claim = scene.claim(&entry, ClaimMethod::Put).unwrap();
    upload(&mut claim);
    assert_eq!(scene.running(), 0);
    assert_eq!(scene.registry.remaining(), 1, "but a draining pool waits for it");
    entry.transfer().unwrap().decide(Verdict::Keep);
    drop(claim);
    assert_eq!(scene.registry.remaining(), 0);
}

#[test]
fn an_acknowledged_transfer_is_forgotten_with_its_url() {
    let scene = Scene::new();
    let entry = scene.start(get("a", "r"));
    assert!(scene.registry.acknowledge(&id("a")).is_err(), "it has not ended");
    entry.transfer().unwrap().cancel("enough");
    assert_eq!(scene.registry.unacknowledged(), 1);
    assert_eq!(scene.registry.acknowledge(&id("a")), Ok(true));
    assert_eq!(scene.registry.acknowledge(&id("a")), Ok(false));
    assert_eq!(scene.registry.unacknowledged(), 0);
    assert!(matches!(scene.claim(&entry, ClaimMethod::Get), Err(Refusal::Unknown { .. })));
}

#[test]
fn an_acknowledgement_in_front_of_the_last_claim_frees_the_place_when_that_goes() {
    let scene = Scene::new();
    let entry = scene.start(get("a", "r"));
    let claim = scene.claim(&entry, ClaimMethod::Get).unwrap();
    entry.transfer().unwrap().cancel("enough");
    assert_eq!(scene.registry.acknowledge(&id("a")), Ok(true));
    assert_eq!((scene.running(), scene.registry.unacknowledged()), (1, 0));
    drop(claim);
    assert_eq!((scene.running(), scene.registry.list().len()), (0, 0));
}

#[test]
fn a_lost_client_is_sent_back_to_a_door_that_was_seen() {
    let scene = Scene::new();
    scene.start(get("a", "r"));
    let made_up = Capability::random().unwrap();
    let lost = |door| scene.registry.claim(&made_up, ClaimMethod::Get, "/x", door, peer()).unwrap_err();
    let back_to = Some("https://door1.example.org:2880".to_owned());
    assert_eq!(lost(Some("door1")), Refusal::Unknown { back_to });
    assert_eq!(lost(Some("door2")), Refusal::Unknown { back_to: None });
    assert_eq!(lost(None), Refusal::Unknown { back_to: None });
}

#[test]
fn the_url_leads_back_to_path_capability_and_door() {
    let scene = Scene::new();
    let entry = scene.start(get("a", "r"));
    let url = scene.registry.redirect_url(entry.transfer().unwrap());
    let capability = entry.transfer().unwrap().capability().expose();
    assert_eq!(
        url,
        format!(
            "http://pool1:2881/data/a%20%2B%C3%A9.root?penstock-transfer={capability}&penstock-door=door1"
        )
    );
}

#[test]
fn a_client_that_never_comes_makes_room_for_the_next() {
    let scene = Scene::new();
    let entries: Vec<_> = ["a", "b", "c"].iter().map(|name| scene.start(get(name, "r"))).collect();
    scene.after(120);
    assert_eq!(failure_code(&entries[0]), FailureCode::ClientAbsent);
    assert_eq!(state(&entries[2]), StateName::Ready);
    scene.after(120);
    assert_eq!(failure_code(&entries[2]), FailureCode::ClientAbsent);
}

#[test]
fn when_the_table_is_full_the_oldest_result_without_data_goes_first() {
    let scene = Scene::new();
    for name in ["a", "b", "c", "d"] {
        scene.start(get(name, "r")).transfer().unwrap().cancel("enough");
    }
    let stored = scene.start(put("e", "r"));
    upload(&mut scene.claim(&stored, ClaimMethod::Put).unwrap());

    scene.start(get("f", "r"));

    assert!(scene.registry.find(&id("a")).is_none());
    assert!(scene.registry.find(&id("b")).is_some() && scene.registry.find(&id("e")).is_some());
}

#[test]
fn a_stored_upload_is_never_forgotten_unasked() {
    let scene = Scene::new();
    for name in ["a", "b", "c", "d", "e"] {
        let entry = scene.start(put(name, name));
        upload(&mut scene.claim(&entry, ClaimMethod::Put).unwrap());
    }
    let error = scene.registry.start(get("f", "r")).unwrap_err();
    assert!(matches!(error, StartError::TooMany { limit: 5 }), "{error}");
    scene.registry.acknowledge(&id("c")).unwrap();
    assert!(scene.registry.start(get("f", "r")).is_ok());
}

#[test]
fn an_unclaimed_upload_is_reported_as_an_orphan_once() {
    let scene = Scene::new();
    let entry = scene.start(put("a", "r"));
    let mut claim = scene.claim(&entry, ClaimMethod::Put).unwrap();
    upload(&mut claim);
    scene.after(29);
    assert!(scene.registry.take_new_orphans().is_empty());
    scene.after(1);
    assert_eq!(scene.registry.take_new_orphans().len(), 1);
    assert!(scene.registry.take_new_orphans().is_empty());
    assert!(scene.registry.find(&id("a")).is_some(), "its door may still come");
}

#[test]
fn a_draining_pool_takes_nothing_new_but_finishes_what_it_has() {
    let scene = Scene::new();
    let entry = scene.start(get("a", "r"));
    scene.registry.drain();
    assert!(matches!(scene.registry.start(get("b", "r")), Err(StartError::Draining)));
    assert!(scene.registry.start(get("a", "r")).is_ok(), "a known transfer is found again");

    let mut claim = scene.claim(&entry, ClaimMethod::Get).unwrap();
    claim.started(connection()).unwrap();
    claim.finish(Outcome::Sent { whole: false, size: 3, checksums: vec![] }).unwrap();
    drop(claim);
    scene.registry.tick();
    assert_eq!(state(&entry), StateName::Done, "without lingering");

    scene.registry.resume();
    assert!(scene.registry.start(get("b", "r")).is_ok());
}

#[test]
fn a_draining_pool_waits_only_a_moment_for_clients_on_their_way() {
    let scene = Scene::new();
    let entry = scene.start(get("a", "r"));
    scene.registry.drain();
    scene.after(9);
    assert_eq!(state(&entry), StateName::Ready);
    scene.after(1);
    assert_eq!(failure_code(&entry), FailureCode::ClientAbsent);
}

#[test]
fn a_drains_deadline_ends_what_still_runs_unless_it_was_resumed() {
    let scene = Scene::new();
    let entry = scene.start(get("a", "r"));
    let mut claim = scene.claim(&entry, ClaimMethod::Get).unwrap();
    claim.started(connection()).unwrap();
    scene.registry.drain();
    scene.registry.end_drain_at(scene.registry.clock().now(), Duration::from_secs(60));
    scene.after(59);
    scene.registry.resume();
    scene.after(1);
    assert_eq!(state(&entry), StateName::Running);

    scene.registry.drain();
    scene.registry.end_drain_at(scene.registry.clock().now(), Duration::from_secs(60));
    scene.after(60);
    assert_eq!(failure_code(&entry), FailureCode::Shutdown);
    assert!(claim.stopped());
}

#[test]
fn a_stopping_pool_gives_out_no_claims() {
    let scene = Scene::new();
    let entry = scene.start(get("a", "r"));
    scene.registry.stop();
    assert_eq!(scene.claim(&entry, ClaimMethod::Get).unwrap_err(), Refusal::Draining);
}
