//! Transfers as doors see them, over the real socket.

use std::time::Duration;

use penstock_door_proto::v1;
use tonic::Code;
use v1::acknowledge_request::Disposition;
use v1::transfer_event::Event;
use v1::transfer_request::Kind;

use super::pool::{Stage, connection};
use super::{get, put, request};
use crate::config::QueueLimits;
use crate::store::{ReplicaId, ReplicaState};
use crate::transfer::{ClaimMethod, Failure, Outcome, Refusal, Verdict};

fn replica(id: &str) -> ReplicaId {
    ReplicaId::new(id).unwrap()
}

#[tokio::test]
async fn a_download_is_ready_starts_and_finishes() {
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await;
    let mut door = stage.start(get("t1", "r1")).await.unwrap();
    let url = door.ready().await;

    let mut claim = stage.come(&url, ClaimMethod::Get).unwrap();
    claim.started(connection()).unwrap();
    let Some(Event::Started(started)) = door.next().await else { panic!("not started") };
    assert_eq!(started.connections[0].remote.as_ref().unwrap().address, "192.0.2.1");
    claim.moved(3);
    claim.finish(Outcome::Sent { whole: true, size: 3, checksums: vec![] }).unwrap();
    drop(claim);

    let finished = door.finished().await;
    assert_eq!((finished.size, finished.bytes_moved), (3, 3));
    assert_eq!(door.next().await, None, "nothing comes after the last event");
    assert!(stage.acknowledge("t1").await.unwrap());
    assert!(!stage.acknowledge("t1").await.unwrap());
}

#[tokio::test]
async fn the_uploading_client_hears_what_the_door_decides() {
    let stage = Stage::new().await;
    let mut door = stage.start(put("t1", "r1")).await.unwrap();
    let claim = stage.upload(&door.ready().await, "r1").await;
    let (verdict, known) = tokio::join!(claim.await_verdict(), stage.acknowledge("t1"));
    assert_eq!(verdict, Verdict::Keep);
    assert!(known.unwrap());
    assert_eq!(stage.store.stat(&replica("r1")).unwrap().attributes.state, ReplicaState::Ready);
}

#[tokio::test]
async fn a_discarded_upload_is_gone_before_its_client_hears_of_it() {
    let stage = Stage::new().await;
    let mut door = stage.start(put("t1", "r1")).await.unwrap();
    let claim = stage.upload(&door.ready().await, "r1").await;
    let discard = v1::AcknowledgeRequest {
        transfer_id: "t1".into(),
        disposition: Disposition::Discard.into(),
        reason: "the directory has gone".into(),
        http_status: 409,
    };
    let (verdict, known) = tokio::join!(claim.await_verdict(), stage.settle(discard));
    assert_eq!(verdict, Verdict::Discard { status: 409, reason: "the directory has gone".into() });
    assert!(known.unwrap());
    assert!(stage.store.stat(&replica("r1")).is_err());
}

#[tokio::test]
async fn an_upload_that_no_door_claims_is_kept_as_an_orphan_until_its_door_comes_back() {
    let stage = Stage::with(|config| config.timeouts.claim = Duration::from_millis(1)).await;
    let mut door = stage.start(put("t1", "r1")).await.unwrap();
    let claim = stage.upload(&door.ready().await, "r1").await;
    assert_eq!(claim.await_verdict().await, Verdict::Timeout);
    let state = || stage.store.stat(&replica("r1")).unwrap().attributes.state;
    while state() != ReplicaState::Orphaned {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The door was away and attaches again.
    let finished = stage.watch("t1").await.unwrap().finished().await;
    assert!(finished.orphaned);
    assert!(stage.acknowledge("t1").await.unwrap());
    assert_eq!(state(), ReplicaState::Ready);
}

#[tokio::test]
async fn a_door_that_comes_back_finds_the_transfer_where_it_is() {
    let stage = Stage::new().await;
    let first = stage.start(put("t1", "r1")).await.unwrap();
    drop(first);
    let url = stage.watch("t1").await.unwrap().ready().await;
    let mut again = stage.start(put("t1", "r1")).await.unwrap();
    assert_eq!(again.ready().await, url);
    let _claim = stage.upload(&url, "r1").await;
    assert_eq!(stage.watch("t1").await.unwrap().finished().await.size, 3);
    // Its own result, not "the replica exists".
    assert_eq!(stage.start(put("t1", "r1")).await.unwrap().finished().await.size, 3);
}

#[tokio::test]
async fn a_failure_reaches_the_door_with_code_side_and_text() {
    let stage = Stage::new().await;
    let mut door = stage.start(put("t1", "r1")).await.unwrap();
    let mut claim = stage.come(&door.ready().await, ClaimMethod::Put).unwrap();
    claim.fail(Failure::checksum_mismatch("Checksum mismatch (expected=[1:00000001], actual=[1:024d0127])"));
    drop(claim);
    let Some(Event::Failed(failed)) = door.next().await else { panic!("not failed") };
    assert_eq!(failed.code(), v1::FailureCode::ChecksumMismatch);
    assert_eq!(failed.side(), v1::failed::Side::Client);
    assert_eq!(failed.http_status, 400);
    assert_eq!(failed.text, "Checksum mismatch (expected=[1:00000001], actual=[1:024d0127])");
}

#[tokio::test]
async fn a_door_may_cancel_at_any_point_and_as_often_as_it_likes() {
    let stage = Stage::new().await;
    let mut door = stage.start(put("t1", "r1")).await.unwrap();
    let claim = stage.come(&door.ready().await, ClaimMethod::Put).unwrap();
    let cancel = v1::CancelRequest { transfer_id: "t1".into(), reason: "the user pressed Ctrl-C".into() };
    let cancelled = |request: v1::CancelRequest| async {
        stage.client.clone().cancel(request).await.unwrap().into_inner().cancelled
    };
    assert!(cancelled(cancel.clone()).await);
    claim.until_stopped().await;
    assert!(!cancelled(cancel.clone()).await);
    assert!(!cancelled(v1::CancelRequest { transfer_id: "unknown".into(), ..cancel }).await);
    let Some(Event::Cancelled(event)) = door.next().await else { panic!("not cancelled") };
    assert_eq!(event.reason, "the user pressed Ctrl-C");
}

#[tokio::test]
async fn a_transfer_ends_with_its_stream_only_if_the_door_wishes_so() {
    let stage = Stage::new().await;
    let request = |id: &str, cancel_on_disconnect| v1::StartTransferRequest {
        transfer: Some(put(id, id)),
        cancel_on_disconnect,
        ..Default::default()
    };
    let mut bound = stage.start_with(request("bound", true)).await.unwrap();
    let mut free = stage.start_with(request("free", false)).await.unwrap();
    let claim = stage.come(&bound.ready().await, ClaimMethod::Put).unwrap();
    let url = free.ready().await;
    drop((bound, free));
    claim.until_stopped().await;
    assert!(stage.come(&url, ClaimMethod::Put).is_ok());
}

#[tokio::test]
async fn waiting_transfers_hear_how_many_are_ahead() {
    let one_at_once = QueueLimits { name: "default".into(), max_running: 1, max_waiting: 10 };
    let stage = Stage::with(|config| config.queues = vec![one_at_once]).await;
    stage.start(put("t1", "r1")).await.unwrap();
    stage.start(put("t2", "r2")).await.unwrap();
    let mut third = stage.start(put("t3", "r3")).await.unwrap();
    let queued = |ahead| Some(Event::Queued(v1::Queued { queue: "default".into(), ahead }));
    assert_eq!(third.next().await, queued(1));
    for id in ["t2", "t1"] {
        let request = v1::CancelRequest { transfer_id: id.into(), ..Default::default() };
        stage.client.clone().cancel(request).await.unwrap();
        if id == "t2" {
            assert_eq!(third.next().await, queued(0));
        }
    }
    third.ready().await;
}

#[tokio::test]
async fn progress_comes_at_the_period_that_the_door_asked_for() {
    let stage = Stage::new().await;
    let mut door = stage
        .start_with(v1::StartTransferRequest {
            transfer: Some(put("t1", "r1")),
            progress_period: Some(Duration::from_millis(1).try_into().unwrap()),
            ..Default::default()
        })
        .await
        .unwrap();
    let mut claim = stage.come(&door.ready().await, ClaimMethod::Put).unwrap();
    claim.started(connection()).unwrap();
    claim.moved(2);
    let progress = loop {
        if let Some(Event::Progress(progress)) = door.next().await
            && progress.bytes_moved > 0
        {
            break progress;
        }
    };
    assert_eq!(progress.state(), v1::TransferState::Running);
    assert_eq!((progress.bytes_moved, progress.bytes_requested), (2, Some(3)));
    assert_eq!(progress.description, "moving bytes; waiting for the client");
    assert_eq!(progress.limits.unwrap().now(), v1::limits::Limit::Source);
}

#[tokio::test]
async fn what_cannot_succeed_is_refused_before_the_client_is_sent() {
    let stage = Stage::with(|config| {
        config.capacity = Some(1 << 20);
        config.max_file_size = Some(1 << 30);
    })
    .await;
    stage.store("here", b"abc").await;
    let sized = |size| Kind::Put(v1::Put { size: Some(size), ..Default::default() });
    let limited = Kind::Put(v1::Put { size: Some(5), maximum_size: 4, ..Default::default() });
    let queue = v1::TransferRequest { queue: "fast".into(), ..get("t", "here") };
    let cases = [
        (get("t", "missing"), Code::NotFound, "FAILURE_CODE_NOT_FOUND: replica missing is not in this pool"),
        (put("t", "here"), Code::AlreadyExists, "FAILURE_CODE_EXISTS: replica here exists already"),
        (
            request("t", "new", sized(2 << 30)),
            Code::ResourceExhausted,
            "FAILURE_CODE_TOO_LARGE: replica new is too large",
        ),
        (
            request("t", "new", limited),
            Code::ResourceExhausted,
            "FAILURE_CODE_TOO_LARGE: replica new is too large",
        ),
        (
            request("t", "new", sized(2 << 20)),
            Code::ResourceExhausted,
            "FAILURE_CODE_NO_SPACE: 2097152 bytes are needed",
        ),
        (
            request("t", "new", Kind::PoolToPool(v1::PoolToPool::default())),
            Code::Unimplemented,
            "this pool cannot do pool-to-pool transfers",
        ),
        (
            request("t", "new", Kind::Pull(v1::Pull::default())),
            Code::InvalidArgument,
            "pull.remote: is missing",
        ),
        (get("bad id", "here"), Code::InvalidArgument, "transfer_id: must be 1 to 64 of"),
        (queue, Code::InvalidArgument, "queue: there is no queue \"fast\" here; there are \"default\""),
    ];
    for (transfer, code, text) in cases {
        let Err(status) = stage.start(transfer).await else { panic!("accepted instead of {text}") };
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().starts_with(text), "{:?} does not start with {text:?}", status.message());
    }
    let missing = stage.start_with(v1::StartTransferRequest::default()).await.err().unwrap();
    assert_eq!((missing.code(), missing.message()), (Code::InvalidArgument, "transfer: is missing"));
    assert_eq!(stage.watch("unknown").await.err().unwrap().code(), Code::NotFound);
}

#[tokio::test]
async fn a_broken_replica_is_served_only_to_those_who_ask_for_what_is_left() {
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await;
    stage.store.set_state(&replica("r1"), ReplicaState::Broken, Some("adler32 differs")).unwrap();
    let status = stage.start(get("t1", "r1")).await.err().unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "FAILURE_CODE_REPLICA_BROKEN: replica r1 is broken: adler32 differs");
    let rescue = Kind::Get(v1::Get { allow_broken: true, ..Default::default() });
    stage.start(request("t2", "r1", rescue)).await.unwrap().ready().await;
}

#[tokio::test]
async fn transfers_are_listed_by_door_and_by_what_waits_for_its_word() {
    let stage = Stage::new().await;
    let mut first = stage.start(put("t1", "r1")).await.unwrap();
    let _claim = stage.upload(&first.ready().await, "r1").await;
    let other = v1::DoorIdentity { name: "door2".into(), ..Default::default() };
    stage.start(v1::TransferRequest { door: Some(other), ..put("t2", "r2") }).await.unwrap();
    let list = |door_name: &str, unacknowledged_only| {
        let request = v1::ListRequest { door_name: door_name.into(), unacknowledged_only };
        let mut client = stage.client.clone();
        async move {
            let mut stream = client.list(request).await.unwrap().into_inner();
            let mut ids = Vec::new();
            while let Some(info) = stream.message().await.unwrap() {
                assert_eq!(info.outcome.is_some(), info.request.as_ref().unwrap().transfer_id == "t1");
                ids.push(info.request.unwrap().transfer_id);
            }
            ids
        }
    };
    assert_eq!(list("", false).await, ["t1", "t2"]);
    assert_eq!(list("door2", false).await, ["t2"]);
    assert_eq!(list("", true).await, ["t1"]);
}

#[tokio::test]
async fn a_transfer_that_runs_cannot_be_acknowledged() {
    let stage = Stage::new().await;
    stage.start(put("t1", "r1")).await.unwrap();
    let status = stage.acknowledge("t1").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "transfer t1 has not ended: it is ready; cancel it first");
}

#[tokio::test]
async fn a_drained_pool_refuses_new_transfers_until_it_is_resumed() {
    let stage = Stage::new().await;
    let mut running = stage.start(put("t1", "r1")).await.unwrap();
    let url = running.ready().await;
    let remaining =
        stage.client.clone().drain(v1::DrainRequest::default()).await.unwrap().into_inner().remaining;
    assert_eq!(remaining, 1);
    assert_eq!(stage.start(put("t2", "r2")).await.err().unwrap().code(), Code::Unavailable);
    assert!(stage.come(&url, ClaimMethod::Put).is_ok(), "what was promised is kept");
    stage.client.clone().resume(v1::ResumeRequest::default()).await.unwrap();
    assert!(stage.start(put("t2", "r2")).await.is_ok());
}

#[tokio::test]
async fn stopping_ends_what_runs_with_a_text_that_says_so() {
    let stage = Stage::new().await;
    let mut door = stage.start(put("t1", "r1")).await.unwrap();
    let url = door.ready().await;
    let mut claim = stage.come(&url, ClaimMethod::Put).unwrap();
    claim.started(connection()).unwrap();
    assert!(matches!(door.next().await, Some(Event::Started(_))));
    assert_eq!(stage.pool.drain(Duration::from_millis(10)).await, 1);
    let desk = stage.desk.clone();
    let stopping = tokio::spawn(stage.pool.stop());
    claim.until_stopped().await;
    drop(claim);
    let Some(Event::Failed(failed)) = door.next().await else { panic!("not failed") };
    assert_eq!((failed.code(), failed.text.as_str()), (v1::FailureCode::Shutdown, "the pool is stopping"));
    stopping.await.unwrap();
    let made_up = crate::transfer::Capability::random().unwrap();
    let refused = desk.claim(&made_up, ClaimMethod::Get, "/", None, "192.0.2.1:1".parse().unwrap());
    assert_eq!(refused.unwrap_err(), Refusal::Draining);
}
