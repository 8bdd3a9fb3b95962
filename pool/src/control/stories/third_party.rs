//! Third-party copies as doors see them: over the real socket, with the real data path.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use penstock_door_proto::v1;
use tonic::Code;
use v1::transfer_event::Event;
use v1::transfer_request::Kind;

use super::pool::{Follower, Stage};
use super::request;
use crate::store::{ReplicaId, ReplicaState};
use crate::transfer::third_party::stories::far::{Far, Then};
use crate::transfer::third_party::stories::{adler32, bytes};

fn remote(far: &Far) -> Option<v1::Remote> {
    Some(v1::Remote { url: far.url(), require_checksum_verification: true, ..Default::default() })
}

fn pull(id: &str, replica: &str, far: &Far) -> v1::TransferRequest {
    request(id, replica, Kind::Pull(v1::Pull { remote: remote(far), ..Default::default() }))
}

fn push(id: &str, replica: &str, far: &Far) -> v1::TransferRequest {
    request(id, replica, Kind::Push(v1::Push { remote: remote(far) }))
}

/// Every event to the end.
async fn all(mut door: Follower) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = door.next().await {
        events.push(event);
    }
    events
}

fn state(stage: &Stage, replica: &str) -> Option<ReplicaState> {
    stage.store.stat(&ReplicaId::new(replica).unwrap()).ok().map(|stat| stat.attributes.state)
}

#[tokio::test]
async fn a_pull_starts_by_itself_moves_and_finishes_and_its_replica_is_the_doors_to_keep() {
    let stage = Stage::with_shards(|_| {}).await;
    let file = bytes(3_000_000);
    let sent = file.clone();
    let far = Far::new(move |request, line| {
        let digest = format!("Digest: adler32={}\r\n", adler32(&sent).hex());
        line.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{digest}\r\n", sent.len()));
        if request.method == "GET" {
            for piece in sent.chunks(500_000) {
                line.say(piece);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Then::Keep
    });
    let start = v1::StartTransferRequest {
        transfer: Some(pull("t1", "r1", &far)),
        progress_period: Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 }),
        ..Default::default()
    };

    let events = all(stage.start_with(start).await.unwrap()).await;

    assert!(!events.iter().any(|event| matches!(event, Event::Ready(_))), "nobody is to come: {events:?}");
    assert!(events.iter().any(|event| matches!(event, Event::Started(_))), "{events:?}");
    let moving = events.iter().any(|event| {
        matches!(event, Event::Progress(progress)
            if progress.bytes_requested == Some(3_000_000) && progress.description.contains("waiting for the source"))
    });
    assert!(moving, "{events:?}");
    let Some(Event::Finished(finished)) = events.last() else { panic!("{events:?}") };
    assert_eq!((finished.size, finished.bytes_moved), (3_000_000, 3_000_000));
    let remote = finished.connections.last().unwrap().remote.as_ref().unwrap();
    assert_eq!((remote.address.as_str(), remote.port), ("127.0.0.1", far.address().port().into()));
    assert!(stage.acknowledge("t1").await.unwrap());
    assert_eq!(state(&stage, "r1"), Some(ReplicaState::Ready));
    let taken = stage.start(pull("t2", "r1", &far)).await.err().unwrap();
    assert_eq!(taken.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn a_token_that_the_door_renews_goes_with_the_requests_from_then_on() {
    let stage = Stage::with_shards(|_| {}).await;
    let renewed = Arc::new(AtomicBool::new(false));
    let (may_go_on, asked) = (Arc::clone(&renewed), Arc::new(AtomicBool::new(false)));
    let heard = Arc::clone(&asked);
    let far = Far::new(move |request, line| {
        if request.method == "HEAD" {
            heard.store(true, Ordering::SeqCst);
            while !may_go_on.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            line.say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n");
        } else {
            line.answer("200 OK", "", b"abc");
        }
        Then::Keep
    });
    let token = |text: &str| v1::OidcToken { access_token: text.into(), expires_at: None };
    let credential = v1::Credential { kind: Some(v1::credential::Kind::Oidc(token("FIRST"))) };
    let remote = v1::Remote { url: far.url(), credential: Some(credential), ..Default::default() };
    let start = request("t1", "r1", Kind::Pull(v1::Pull { remote: Some(remote), ..Default::default() }));
    let events = stage.start(start).await.unwrap();
    while !asked.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let later =
        |id: &str, text: &str| v1::RenewTokenRequest { transfer_id: id.into(), token: Some(token(text)) };
    let wrong = stage.renew_token(later("t1", "SECOND\r\nHost: elsewhere")).await;
    assert_eq!(wrong.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(stage.renew_token(later("t2", "SECOND")).await.unwrap_err().code(), Code::NotFound);
    stage.renew_token(later("t1", "SECOND")).await.unwrap();
    renewed.store(true, Ordering::SeqCst);

    let events = all(events).await;
    assert!(matches!(events.last(), Some(Event::Finished(_))), "{events:?}");
    let shown: Vec<_> =
        far.requests().iter().map(|asked| asked.header("Authorization").map(str::to_owned)).collect();
    let expected = ["Bearer FIRST", "Bearer SECOND"].map(|value| Some(value.to_owned()));
    assert_eq!(shown, expected);
    stage.renew_token(later("t1", "THIRD")).await.unwrap();
    let bare = start_bare(&stage).await;
    assert_eq!(stage.renew_token(later(bare, "THIRD")).await.unwrap_err().code(), Code::FailedPrecondition);
}

/// A pull without a token, by its id.
async fn start_bare(stage: &Stage) -> &'static str {
    let far = Far::serving(bytes(10));
    let _ = all(stage.start(pull("bare", "r2", &far)).await.unwrap()).await;
    "bare"
}

#[tokio::test]
async fn a_pull_that_no_door_claims_is_kept_as_an_orphan_and_one_that_it_discards_is_gone() {
    let stage = Stage::with_shards(|config| config.timeouts.claim = Duration::from_millis(500)).await;
    let far = Far::serving(bytes(1000));
    let events = all(stage.start(pull("t1", "r1", &far)).await.unwrap()).await;
    assert!(matches!(events.last(), Some(Event::Finished(_))), "{events:?}");
    while state(&stage, "r1") != Some(ReplicaState::Orphaned) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let discard = v1::AcknowledgeRequest {
        transfer_id: "t1".into(),
        disposition: v1::acknowledge_request::Disposition::Discard.into(),
        ..Default::default()
    };
    assert!(stage.settle(discard).await.unwrap());
    assert_eq!(state(&stage, "r1"), None);
}

#[tokio::test]
async fn a_push_sends_a_replica_and_one_that_is_not_there_is_refused() {
    let stage = Stage::with_shards(|_| {}).await;
    stage.store("r1", b"abc").await;
    let far = Far::new(|request, line| {
        match request.method.as_str() {
            "PUT" => {
                line.say("HTTP/1.1 100 Continue\r\n\r\n");
                assert_eq!(line.take(3), b"abc");
                line.answer("201 Created", "Digest: adler32=024d0127\r\n", b"");
            }
            other => panic!("{other}"),
        }
        Then::Keep
    });
    let events = all(stage.start(push("t1", "r1", &far)).await.unwrap()).await;
    let Some(Event::Finished(finished)) = events.last() else { panic!("{events:?}") };
    assert_eq!((finished.size, finished.bytes_moved), (3, 3));
    let missing = stage.start(push("t2", "r2", &far)).await.err().unwrap();
    assert_eq!(missing.code(), Code::NotFound);
}

#[tokio::test]
async fn a_failure_reaches_the_door_and_leaves_no_replica() {
    let stage = Stage::with_shards(|_| {}).await;
    let far = Far::new(|_, line| {
        line.say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        Then::Keep
    });
    let events = all(stage.start(pull("t1", "r1", &far)).await.unwrap()).await;
    let Some(Event::Failed(failed)) = events.last() else { panic!("{events:?}") };
    assert_eq!(failed.text, "rejected GET: 404 Not Found");
    assert_eq!((failed.code(), failed.side()), (v1::FailureCode::RemoteRefused, v1::failed::Side::Source));
    assert_eq!(state(&stage, "r1"), None);
    // The name is free for the next attempt.
    let again = Far::serving(bytes(10));
    let events = all(stage.start(pull("t2", "r1", &again)).await.unwrap()).await;
    assert!(matches!(events.last(), Some(Event::Finished(_))), "{events:?}");
}

#[tokio::test]
async fn a_door_that_goes_away_takes_its_copy_with_it_if_it_said_so() {
    let stage = Stage::with_shards(|_| {}).await;
    let far = Far::new(|request, line| {
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        if request.method == "GET" {
            line.wait_until_gone();
        }
        Then::Keep
    });
    let start = v1::StartTransferRequest {
        transfer: Some(pull("t1", "r1", &far)),
        cancel_on_disconnect: true,
        ..Default::default()
    };
    let mut door = stage.start_with(start).await.unwrap();
    while !matches!(door.next().await, Some(Event::Started(_))) {}
    drop(door);
    let events = all(stage.watch("t1").await.unwrap()).await;
    assert!(matches!(events.last(), Some(Event::Cancelled(_))), "{events:?}");
    assert_eq!(state(&stage, "r1"), None);
}

#[tokio::test]
async fn a_local_copy_is_made_of_what_is_there_under_an_id_that_is_free() {
    let stage = Stage::with_shards(|_| {}).await;
    stage.store("r0", b"abc").await;
    let copy = |id: &str, replica: &str, source: &str| {
        let copy = v1::LocalCopy { source_replica_id: source.into(), ..Default::default() };
        request(id, replica, Kind::LocalCopy(copy))
    };

    let events = all(stage.start(copy("t1", "r1", "r0")).await.unwrap()).await;

    let Some(Event::Finished(finished)) = events.last() else { panic!("{events:?}") };
    assert_eq!((finished.size, finished.bytes_moved), (3, 3));
    assert_eq!(finished.checksums[0].value, [0x02, 0x4d, 0x01, 0x27]);
    assert!(stage.acknowledge("t1").await.unwrap());
    assert_eq!(state(&stage, "r1"), Some(ReplicaState::Ready));
    let refused =
        async |id, replica, source| stage.start(copy(id, replica, source)).await.err().unwrap().code();
    assert_eq!(refused("t2", "r1", "r0").await, Code::AlreadyExists);
    assert_eq!(refused("t3", "r2", "none").await, Code::NotFound);
    assert_eq!(refused("t4", "r2", "no/id").await, Code::InvalidArgument);
}
