//! What doors learn of transfers that ended before this life of the daemon.

use std::time::Duration;

use penstock_door_proto::v1;
use tonic::Code;
use v1::acknowledge_request::Disposition;
use v1::transfer_event::Event;

use super::pool::{Follower, Stage};
use super::{get, put};
use crate::store::{ReplicaId, ReplicaState};
use crate::transfer::{ClaimMethod, Failure};

async fn listed(stage: &Stage, door_name: &str) -> Vec<v1::TransferInfo> {
    let request = v1::ListRequest { door_name: door_name.into(), unacknowledged_only: true };
    let mut stream = stage.client.clone().list(request).await.unwrap().into_inner();
    let mut infos = Vec::new();
    while let Some(info) = stream.message().await.unwrap() {
        infos.push(info);
    }
    infos
}

async fn failed(mut door: Follower) -> v1::Failed {
    match door.next().await {
        Some(Event::Failed(failed)) => failed,
        other => panic!("not failed but {other:?}"),
    }
}

/// An upload whose door was away when it ended, and whose pool ended then.
async fn uploaded_and_restarted() -> Stage {
    let stage = Stage::new().await;
    let url = stage.start(put("t1", "r1")).await.unwrap().ready().await;
    drop(stage.upload(&url, "r1").await);
    stage.restart().await
}

fn state(stage: &Stage, id: &str) -> ReplicaState {
    stage.store.stat(&ReplicaId::new(id).unwrap()).unwrap().attributes.state
}

#[tokio::test]
async fn an_upload_that_no_door_acknowledged_is_told_again_after_a_restart() {
    let stage = uploaded_and_restarted().await;
    let finished = stage.watch("t1").await.unwrap().finished().await;
    assert_eq!((finished.size, finished.bytes_moved, finished.orphaned), (3, 3, false));
    assert_eq!(finished.connections.len(), 1, "all of it is kept");

    let infos = listed(&stage, "door1").await;
    assert_eq!(infos.len(), 1);
    assert_eq!(infos[0].request, Some(put("t1", "r1")));
    assert!(matches!(infos[0].outcome.as_ref().unwrap().event, Some(Event::Finished(_))));
    assert_eq!(infos[0].progress.as_ref().unwrap().state(), v1::TransferState::Done);
    assert!(listed(&stage, "door2").await.is_empty());
}

#[tokio::test]
async fn a_door_that_asks_for_it_again_gets_its_result_and_not_the_replicas_existence() {
    let stage = uploaded_and_restarted().await;
    assert_eq!(stage.start(put("t1", "r1")).await.unwrap().finished().await.size, 3);
    let other = stage.start(put("t1", "r2")).await.err().unwrap();
    assert_eq!(other.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn what_was_acknowledged_is_not_told_again() {
    let stage = uploaded_and_restarted().await;
    assert!(stage.acknowledge("t1").await.unwrap());
    assert!(!stage.acknowledge("t1").await.unwrap());
    let stage = stage.restart().await;
    assert_eq!(stage.watch("t1").await.err().unwrap().code(), Code::NotFound);
    assert!(listed(&stage, "").await.is_empty());
    assert_eq!(state(&stage, "r1"), ReplicaState::Ready);
}

#[tokio::test]
async fn a_result_survives_any_number_of_restarts() {
    let stage = uploaded_and_restarted().await.restart().await.restart().await;
    assert_eq!(stage.watch("t1").await.unwrap().finished().await.size, 3);
}

#[tokio::test]
async fn a_door_may_discard_what_an_earlier_life_stored() {
    let stage = uploaded_and_restarted().await;
    let discard = v1::AcknowledgeRequest {
        transfer_id: "t1".into(),
        disposition: Disposition::Discard.into(),
        ..Default::default()
    };
    assert!(stage.settle(discard).await.unwrap());
    assert!(stage.store.stat(&ReplicaId::new("r1").unwrap()).is_err());
}

#[tokio::test]
async fn an_upload_that_stays_unclaimed_becomes_an_orphan_and_its_door_can_still_come_for_it() {
    let stage = Stage::with(|config| config.timeouts.claim = Duration::from_millis(300)).await;
    let url = stage.start(put("t1", "r1")).await.unwrap().ready().await;
    drop(stage.upload(&url, "r1").await);
    let stage = stage.restart().await;
    while state(&stage, "r1") != ReplicaState::Orphaned {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Known as an orphan from the first moment of the next life.
    let stage = stage.restart().await;
    assert!(stage.watch("t1").await.unwrap().finished().await.orphaned);
    assert!(stage.acknowledge("t1").await.unwrap());
    assert_eq!(state(&stage, "r1"), ReplicaState::Ready);
}

#[tokio::test]
async fn a_failure_is_kept_with_its_text_until_it_is_acknowledged() {
    let stage = Stage::new().await;
    let url = stage.start(put("t1", "r1")).await.unwrap().ready().await;
    let mut claim = stage.come(&url, ClaimMethod::Put).unwrap();
    claim.fail(Failure::checksum_mismatch("Checksum mismatch (expected=[1:00000001], actual=[1:024d0127])"));
    drop(claim);
    let stage = stage.restart().await;
    let failure = failed(stage.watch("t1").await.unwrap()).await;
    assert_eq!(failure.code(), v1::FailureCode::ChecksumMismatch);
    assert_eq!(failure.text, "Checksum mismatch (expected=[1:00000001], actual=[1:024d0127])");
    assert!(stage.acknowledge("t1").await.unwrap());
    let stage = stage.restart().await;
    assert!(listed(&stage, "").await.is_empty());
}

#[tokio::test]
async fn an_upload_that_the_stop_cut_short_has_failed() {
    let stage = Stage::new().await;
    stage.start(put("t1", "r1")).await.unwrap().ready().await;
    let stage = stage.restart().await;
    let failure = failed(stage.watch("t1").await.unwrap()).await;
    assert_eq!((failure.code(), failure.text.as_str()), (v1::FailureCode::Shutdown, "the pool is stopping"));
    // Nothing stands against another attempt.
    stage.start(put("t2", "r1")).await.unwrap().ready().await;
}

#[tokio::test]
async fn nothing_hangs_on_a_download_and_nothing_is_kept_of_it() {
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await;
    stage.start(get("t1", "r1")).await.unwrap().ready().await;
    let stage = stage.restart().await;
    assert_eq!(stage.watch("t1").await.err().unwrap().code(), Code::NotFound);
}

/// A crash leaves the request without an outcome: what the file says decides.
#[tokio::test]
async fn after_a_crash_a_replica_that_is_there_was_stored_and_one_that_is_not_was_not() {
    use prost::Message;
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await; // by transfer "t"
    let cut_short = |transfer: &str, replica: &str| {
        let request = v1::TransferRequest { transfer_id: transfer.into(), ..put(transfer, replica) };
        let info = v1::TransferInfo { request: Some(request), ..Default::default() };
        stage.store.results().put_soon(transfer, None, info.encode_to_vec());
    };
    cut_short("t", "r1");
    cut_short("u", "r1"); // came too late for that replica
    cut_short("v", "r2");
    let stage = stage.restart().await;
    let finished = stage.watch("t").await.unwrap().finished().await;
    assert_eq!((finished.size, finished.checksums.len()), (3, 1));
    for id in ["u", "v"] {
        let failure = failed(stage.watch(id).await.unwrap()).await;
        assert_eq!(
            failure.text, "the pool ended in the middle of this transfer, and has started again",
            "{id}"
        );
        assert!(failure.retryable);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_given_up_and_disturbs_nobody() {
    let stage = uploaded_and_restarted().await;
    stage.store.results().put_soon("nonsense", None, vec![0xff; 40]);
    let stage = stage.restart().await;
    assert_eq!(listed(&stage, "").await.len(), 1);
}

#[tokio::test]
async fn a_replica_that_was_deleted_meanwhile_needs_no_word_any_more() {
    let stage = uploaded_and_restarted().await;
    stage.store.delete(&ReplicaId::new("r1").unwrap()).unwrap();
    let stage = stage.restart().await;
    assert!(listed(&stage, "").await.is_empty());
}
