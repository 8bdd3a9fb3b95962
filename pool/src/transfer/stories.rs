//! Stories of a transfer's life as control and shards drive it, with a clock turned by hand.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use penstock_door_proto::v1;

use super::lifecycle::MAX_OPEN_CLAIMS;
use super::state::StateName;
use super::*;
use crate::checksum::Checksum;

const TIMEOUTS: Timeouts = Timeouts {
    client: Duration::from_secs(120),
    linger: Duration::from_secs(10),
    claim: Duration::from_secs(30),
};
const PATH: &str = "/atlas/run 7.root";

#[derive(Debug, Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Observer for Count {
    fn changed(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Scene {
    transfer: Arc<Transfer>,
    clock: Arc<ManualClock>,
    changes: Arc<Count>,
}

impl Scene {
    fn new(kind: v1::transfer_request::Kind) -> Self {
        let request = v1::TransferRequest {
            transfer_id: "door-1:7".into(),
            replica_id: "0000AB".into(),
            transfer_path: PATH.into(),
            door: Some(v1::DoorIdentity {
                name: "door-1".into(),
                url: "https://door.example.org:2880".into(),
            }),
            kind: Some(kind),
            ..Default::default()
        };
        Self::of(request)
    }

    fn of(request: v1::TransferRequest) -> Self {
        let clock = Arc::new(ManualClock::default());
        let changes = Arc::new(Count::default());
        let capability = Capability::random().unwrap();
        let request = TransferRequest::try_from(request).unwrap();
        let transfer = Arc::new(Transfer::new(request, capability, clock.clone(), changes.clone()));
        Self { transfer, clock, changes }
    }

    fn get() -> Self {
        let scene = Self::new(v1::transfer_request::Kind::Get(v1::Get::default()));
        scene.transfer.admit().unwrap();
        scene
    }

    fn put() -> Self {
        let scene =
            Self::new(v1::transfer_request::Kind::Put(v1::Put { size: Some(3), ..Default::default() }));
        scene.transfer.admit().unwrap();
        scene
    }

    fn claim(&self, method: ClaimMethod) -> Result<Claim, Refusal> {
        self.transfer.claim(method, PATH)
    }

    fn after(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.transfer.tick(&TIMEOUTS, false);
    }

    fn state(&self) -> StateName {
        self.transfer.state().name()
    }

    fn failure(&self) -> Failure {
        match self.transfer.state() {
            State::Failed(failed) => failed.failure.clone(),
            other => panic!("not failed but {}", other.name()),
        }
    }
}

fn connection(port: u16) -> ConnectionInfo {
    let local = "192.0.2.9:2881".parse().unwrap();
    ConnectionInfo { local, remote: ([192, 0, 2, 1], port).into(), tls: false, flow_label: 0 }
}

fn stored() -> Outcome {
    Outcome::Stored { size: 3, checksums: vec![Checksum::adler32(7)] }
}

fn sent(whole: bool) -> Outcome {
    Outcome::Sent { whole, size: 3, checksums: vec![] }
}

fn upload_to_the_end(scene: &Scene) -> Claim {
    let mut claim = scene.claim(ClaimMethod::Put).unwrap();
    claim.started(connection(1)).unwrap();
    claim.moved(3);
    claim.finishing().unwrap();
    claim.finish(stored()).unwrap();
    claim
}

fn answer(scene: &Scene, whole: bool) {
    let mut claim = scene.claim(ClaimMethod::Get).unwrap();
    claim.started(connection(1)).unwrap();
    claim.finish(sent(whole)).unwrap();
}

#[test]
fn an_upload_goes_through_every_state_and_keeps_its_result() {
    let scene = Scene::put();
    assert_eq!(scene.state(), StateName::Ready);
    let mut claim = scene.claim(ClaimMethod::Put).unwrap();
    claim.started(connection(1)).unwrap();
    assert_eq!(scene.state(), StateName::Running);
    claim.moved(3);
    claim.finishing().unwrap();
    assert_eq!(scene.state(), StateName::Finishing);
    claim.finish(stored()).unwrap();
    let State::Done(finished) = scene.transfer.state() else { panic!("not done") };
    assert_eq!(finished.size, 3);
    assert_eq!(finished.checksums, [Checksum::adler32(7)]);
    assert_eq!(finished.summary.bytes_moved, 3);
    assert_eq!(finished.summary.connections[0].info, connection(1));
    // Admitted, started, all moved, finished: each told once.
    assert_eq!(scene.changes.get(), 4);
}

#[test]
fn an_uploads_url_is_good_for_one_request() {
    let scene = Scene::put();
    let claim = scene.claim(ClaimMethod::Put).unwrap();
    assert_eq!(scene.claim(ClaimMethod::Put).unwrap_err(), Refusal::AlreadyUsed);
    drop(claim);
    assert_eq!(scene.claim(ClaimMethod::Put).unwrap_err(), Refusal::AlreadyUsed);
}

#[test]
fn an_upload_whose_client_goes_away_has_failed() {
    let scene = Scene::put();
    let mut claim = scene.claim(ClaimMethod::Put).unwrap();
    claim.started(connection(1)).unwrap();
    claim.moved(2);
    drop(claim);
    let failure = scene.failure();
    assert_eq!(failure.code, FailureCode::ConnectionLost);
    assert_eq!(failure.text(), "the upload of 0000AB broke off after 2 bytes: the client's connection ended");
}

#[test]
fn an_upload_that_fails_keeps_the_first_reason() {
    let scene = Scene::put();
    let mut claim = scene.claim(ClaimMethod::Put).unwrap();
    claim.fail(Failure::no_space("no room for 3 bytes"));
    drop(claim);
    assert_eq!(scene.failure().code, FailureCode::NoSpace);
}

#[test]
fn a_url_is_bound_to_method_and_path() {
    let (get, put) = (Scene::get(), Scene::put());
    let refused = |scene: &Scene, method| scene.claim(method).unwrap_err();
    assert_eq!(refused(&get, ClaimMethod::Put), Refusal::WrongMethod { allowed: "GET, HEAD, OPTIONS" });
    assert_eq!(refused(&put, ClaimMethod::Get), Refusal::WrongMethod { allowed: "PUT, OPTIONS" });
    assert_eq!(refused(&put, ClaimMethod::Head), Refusal::WrongMethod { allowed: "PUT, OPTIONS" });
    assert_eq!(get.transfer.claim(ClaimMethod::Get, "/other").unwrap_err(), Refusal::WrongPath);
    // A refused request uses nothing up.
    assert!(put.claim(ClaimMethod::Options).is_ok());
    assert!(put.claim(ClaimMethod::Put).is_ok());
}

#[test]
fn nobody_can_claim_a_transfer_that_waits_in_the_queue() {
    let scene = Scene::new(v1::transfer_request::Kind::Get(v1::Get::default()));
    assert_eq!(scene.claim(ClaimMethod::Get).unwrap_err(), Refusal::Unknown { back_to: None });
}

#[test]
fn a_download_is_done_as_soon_as_the_whole_replica_was_sent() {
    let scene = Scene::get();
    answer(&scene, true);
    assert_eq!(scene.state(), StateName::Done);
    let back_to = Some("https://door.example.org:2880".to_owned());
    assert_eq!(scene.claim(ClaimMethod::Get).unwrap_err(), Refusal::Expired { back_to });
}

#[test]
fn a_whole_response_waits_for_the_requests_beside_it() {
    let scene = Scene::get();
    let mut beside = scene.claim(ClaimMethod::Get).unwrap();
    beside.started(connection(2)).unwrap();
    answer(&scene, true);
    assert_eq!(scene.state(), StateName::Running);
    beside.finish(sent(false)).unwrap();
    drop(beside);
    assert_eq!(scene.state(), StateName::Done);
}

#[test]
fn range_requests_may_go_on_until_none_came_for_the_linger_time() {
    let scene = Scene::get();
    for _ in 0..3 {
        answer(&scene, false);
        scene.after(9);
        assert_eq!(scene.state(), StateName::Running);
    }
    scene.after(1);
    assert_eq!(scene.state(), StateName::Done);
}

#[test]
fn a_pool_in_a_hurry_does_not_let_downloads_linger() {
    let scene = Scene::get();
    answer(&scene, false);
    scene.transfer.tick(&TIMEOUTS, true);
    assert_eq!(scene.state(), StateName::Done);
}

#[test]
fn an_open_download_outlives_every_idle_time() {
    let scene = Scene::get();
    let mut claim = scene.claim(ClaimMethod::Get).unwrap();
    claim.started(connection(1)).unwrap();
    scene.after(3600);
    assert_eq!(scene.state(), StateName::Running);
}

#[test]
fn a_broken_download_may_be_resumed_while_it_lingers() {
    let scene = Scene::get();
    let mut claim = scene.claim(ClaimMethod::Get).unwrap();
    claim.started(connection(1)).unwrap();
    claim.fail(Failure::connection_lost("the client closed after 2 of 3 bytes"));
    drop(claim);
    assert_eq!(scene.state(), StateName::Running);
    answer(&scene, false);
    scene.after(10);
    assert_eq!(scene.state(), StateName::Done);
}

#[test]
fn a_broken_download_that_nobody_resumes_fails_with_its_own_reason() {
    let scene = Scene::get();
    let mut claim = scene.claim(ClaimMethod::Get).unwrap();
    claim.started(connection(1)).unwrap();
    claim.fail(Failure::connection_lost("the client closed after 2 of 3 bytes"));
    drop(claim);
    scene.after(10);
    assert_eq!(scene.failure().text(), "the client closed after 2 of 3 bytes");
}

#[test]
fn a_download_dropped_without_a_word_fails_after_the_linger_time() {
    let scene = Scene::get();
    let mut claim = scene.claim(ClaimMethod::Get).unwrap();
    claim.started(connection(1)).unwrap();
    drop(claim);
    scene.after(10);
    assert_eq!(scene.failure().code, FailureCode::ConnectionLost);
}

#[test]
fn a_fault_of_the_pool_ends_a_download_at_once() {
    let scene = Scene::get();
    let mut claim = scene.claim(ClaimMethod::Get).unwrap();
    claim.started(connection(1)).unwrap();
    claim.fail(Failure::disk("read of 0000AB at byte 0 failed: Input/output error"));
    drop(claim);
    assert_eq!(scene.failure().code, FailureCode::DiskError);
}

#[test]
fn a_client_that_never_comes_is_given_up() {
    for scene in [Scene::get(), Scene::put()] {
        scene.after(119);
        assert_eq!(scene.state(), StateName::Ready);
        scene.after(1);
        assert_eq!(scene.failure().code, FailureCode::ClientAbsent);
    }
}

#[test]
fn a_head_request_is_a_sign_of_life_but_no_start() {
    let scene = Scene::get();
    scene.after(100);
    let mut claim = scene.claim(ClaimMethod::Head).unwrap();
    claim.started(connection(1)).unwrap();
    claim.finish(sent(false)).unwrap();
    drop(claim);
    scene.after(100);
    assert_eq!(scene.state(), StateName::Ready);
    scene.after(20);
    assert_eq!(scene.failure().code, FailureCode::ClientAbsent);
}

#[test]
fn a_deadline_ends_a_transfer_that_moves() {
    let start = ManualClock::default().now().wall();
    let scene = Scene::of(v1::TransferRequest {
        transfer_id: "t".into(),
        replica_id: "r".into(),
        transfer_path: PATH.into(),
        deadline_at: Some((start + Duration::from_secs(60)).into()),
        kind: Some(v1::transfer_request::Kind::Put(v1::Put::default())),
        ..Default::default()
    });
    scene.transfer.admit().unwrap();
    let mut claim = scene.claim(ClaimMethod::Put).unwrap();
    claim.started(connection(1)).unwrap();
    scene.after(59);
    assert!(!claim.stopped());
    scene.after(1);
    assert!(claim.stopped());
    assert_eq!(scene.failure().code, FailureCode::Deadline);
}

#[test]
fn cancelling_wakes_everyone_who_works_on_the_transfer() {
    let scene = Scene::get();
    let claims: Vec<Claim> = (0..3).map(|_| scene.claim(ClaimMethod::Get).unwrap()).collect();
    let woken = Arc::new(Count::default());
    let waker = Waker::from(woken.clone());
    for claim in &claims {
        assert!(claim.poll_stopped(&mut Context::from_waker(&waker)).is_pending());
        assert!(pin!(claim.until_stopped()).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert!(scene.transfer.cancel("the user pressed Ctrl-C"));
    assert_eq!(woken.get(), 3);
    for claim in &claims {
        assert!(claim.stopped());
        assert!(pin!(claim.until_stopped()).poll(&mut Context::from_waker(&waker)).is_ready());
    }
}

#[test]
fn a_transfer_can_be_cancelled_in_every_state_but_only_once() {
    let queued = Scene::new(v1::transfer_request::Kind::Get(v1::Get::default()));
    let ready = Scene::get();
    let running = Scene::put();
    let mut claim = running.claim(ClaimMethod::Put).unwrap();
    claim.started(connection(1)).unwrap();
    for scene in [&queued, &ready, &running] {
        assert!(scene.transfer.cancel("why not\nindeed"));
        assert!(!scene.transfer.cancel("again"));
        let State::Cancelled(cancelled) = scene.transfer.state() else { panic!("not cancelled") };
        assert_eq!(cancelled.reason, "why not indeed");
    }
}

#[test]
fn an_upload_cancelled_during_its_commit_is_told_so_and_must_remove_the_replica() {
    let scene = Scene::put();
    let mut claim = scene.claim(ClaimMethod::Put).unwrap();
    claim.started(connection(1)).unwrap();
    claim.finishing().unwrap();
    scene.transfer.cancel("too late?");
    assert_eq!(claim.finish(stored()).unwrap_err().to_string(), "a cancelled transfer cannot finish");
    drop(claim);
    assert_eq!(scene.state(), StateName::Cancelled);
}

#[test]
fn a_transfer_ended_before_its_client_starts_tells_the_client_so() {
    let scene = Scene::put();
    let mut claim = scene.claim(ClaimMethod::Put).unwrap();
    scene.transfer.cancel("changed my mind");
    assert!(claim.started(connection(1)).is_err());
}

#[test]
fn the_uploading_client_waits_for_the_doors_verdict() {
    let verdicts = [Verdict::Keep, Verdict::Discard { status: 409, reason: "the directory has gone".into() }];
    for verdict in verdicts {
        let scene = Scene::put();
        let claim = upload_to_the_end(&scene);
        let woken = Arc::new(Count::default());
        let waker = Waker::from(woken.clone());
        let mut waiting = pin!(claim.await_verdict());
        assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(scene.transfer.decide(verdict.clone()));
        assert_eq!(woken.get(), 1);
        assert_eq!(waiting.poll(&mut Context::from_waker(&waker)), Poll::Ready(verdict));
        assert!(!scene.transfer.decide(Verdict::Timeout), "a verdict is final");
    }
}

#[test]
fn an_upload_that_no_door_claims_in_time_is_an_orphan() {
    let scene = Scene::put();
    let _claim = upload_to_the_end(&scene);
    scene.after(29);
    assert_eq!(scene.transfer.verdict(), None);
    scene.after(1);
    assert_eq!(scene.transfer.verdict(), Some(Verdict::Timeout));
    assert_eq!(scene.state(), StateName::Done);
}

#[test]
fn the_last_claim_of_an_ended_transfer_is_told_when_it_goes() {
    let scene = Scene::get();
    let claims = [scene.claim(ClaimMethod::Get).unwrap(), scene.claim(ClaimMethod::Get).unwrap()];
    scene.transfer.cancel("enough");
    let told = scene.changes.get();
    drop(claims);
    assert_eq!(scene.changes.get(), told + 1);
    assert_eq!(scene.transfer.open_claims(), 0);
}

#[test]
fn open_requests_on_one_transfer_are_bounded() {
    let scene = Scene::get();
    let claims: Vec<_> = (0..MAX_OPEN_CLAIMS).map(|_| scene.claim(ClaimMethod::Get).unwrap()).collect();
    assert_eq!(scene.claim(ClaimMethod::Get).unwrap_err(), Refusal::TooMany { limit: MAX_OPEN_CLAIMS });
    drop(claims);
    assert!(scene.claim(ClaimMethod::Get).is_ok());
}

#[test]
fn what_held_a_transfer_back_adds_up_over_queue_client_and_connection() {
    let scene = Scene::new(v1::transfer_request::Kind::Put(v1::Put::default()));
    scene.clock.advance(Duration::from_secs(1)); // in the queue
    assert_eq!(scene.transfer.limits().now, Some(Limit::Queue));
    scene.transfer.admit().unwrap();
    scene.clock.advance(Duration::from_secs(2)); // waiting for the client
    let mut claim = scene.claim(ClaimMethod::Put).unwrap();
    claim.started(connection(1)).unwrap();
    scene.clock.advance(Duration::from_secs(3)); // waiting for its bytes
    claim.enter(Limit::Disk);
    scene.clock.advance(Duration::from_secs(4));

    let limits = scene.transfer.limits();
    assert_eq!(limits.now, Some(Limit::Disk));
    assert_eq!(limits.shares, [0.5, 0.0, 0.4, 0.0, 0.1]);
}

#[test]
fn a_result_of_the_wrong_kind_fails_the_transfer_instead_of_leaving_it_running() {
    let scene = Scene::put();
    let mut claim = scene.claim(ClaimMethod::Put).unwrap();
    claim.started(connection(1)).unwrap();
    assert!(claim.finish(sent(true)).is_err());
    assert_eq!(scene.failure().code, FailureCode::Internal);
}
