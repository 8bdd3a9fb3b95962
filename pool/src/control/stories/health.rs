//! Scrub, read-only pools and recovery, as doors and admins see them.

use std::time::Duration;

use penstock_door_proto::v1;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use v1::pool_status::Health;
use v1::scrub_status::State;

use super::pool::Stage;
use super::{get, put};
use crate::store::{ReplicaId, ReplicaState};

/// The pool's state, now and at every change of its health alone.
async fn watch(stage: &Stage) -> tonic::Streaming<v1::PoolStatus> {
    let period = Some(Duration::from_secs(3600).try_into().unwrap());
    let request = v1::WatchStatusRequest { period, ..Default::default() };
    stage.client.clone().watch_status(request).await.unwrap().into_inner()
}

async fn next(stream: &mut tonic::Streaming<v1::PoolStatus>) -> v1::PoolStatus {
    tokio::time::timeout(Duration::from_secs(20), stream.message()).await.unwrap().unwrap().unwrap()
}

/// What the kernel says when a file system was remounted read-only.
fn read_only_error() -> std::io::Error {
    std::io::Error::from_raw_os_error(libc::EROFS)
}

#[tokio::test]
async fn a_pass_over_all_replicas_is_started_and_told_of() {
    let stage = Stage::new().await;
    stage.store("good", b"abc").await;
    stage.store("bad", b"abc").await;
    super::replicas::flip_a_bit(&stage.pool.config().root.join("data"), "bad");
    let mut changes = watch(&stage).await;
    assert_eq!(next(&mut changes).await.scrub.unwrap().state(), State::Idle);

    let mut client = stage.client.clone();
    let started = client.start_scrub(v1::StartScrubRequest::default()).await.unwrap().into_inner();
    assert_eq!(started.rate_bytes_per_second, 50 << 20);
    let status = loop {
        let status = client.get_scrub(v1::GetScrubRequest {}).await.unwrap().into_inner();
        if status.state() != State::Running {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((status.state(), status.passes, status.done), (State::Idle, 1, 1.0));
    assert_eq!((status.replicas_verified, status.replicas_found_broken), (2, 1));
    assert!(status.pass_finished_at.is_some() && status.next_pass_at.is_some());

    let told = next(&mut changes).await;
    assert_eq!((told.health(), told.broken_replicas), (Health::Ok, 1), "a door hears of it at once");
    assert!(told.problems[0].starts_with("1 replica is broken"), "{:?}", told.problems);
    let bad = v1::StatReplicaRequest { replica_id: "bad".into() };
    assert_eq!(client.stat_replica(bad).await.unwrap().into_inner().state(), v1::ReplicaState::Broken);
}

#[tokio::test]
async fn a_stopped_scrub_stays_so_until_it_is_started() {
    let stage = Stage::new().await;
    let mut client = stage.client.clone();
    let stopped = client.stop_scrub(v1::StopScrubRequest {}).await.unwrap().into_inner();
    assert_eq!((stopped.state(), stopped.next_pass_at), (State::Stopped, None));
    let stage = stage.restart().await;
    let mut client = stage.client.clone();
    assert_eq!(client.get_scrub(v1::GetScrubRequest {}).await.unwrap().into_inner().state(), State::Stopped);
    // Something to read, so that at this rate it is not done before it is asked.
    stage.store("r1", &[7; 4096]).await;
    let request = v1::StartScrubRequest { rate_bytes_per_second: 1, restart: true };
    assert_eq!(client.start_scrub(request).await.unwrap().into_inner().state(), State::Running);
}

#[tokio::test]
async fn without_a_rate_nothing_is_scrubbed() {
    let stage = Stage::with(|config| config.scrub.rate_bytes_per_second = None).await;
    let refused = stage.client.clone().start_scrub(v1::StartScrubRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("scrub.rate is 0"), "{}", refused.message());
}

#[tokio::test]
async fn a_pool_whose_disk_does_not_write_says_so_serves_what_it_has_and_recovers_when_told_to() {
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await;
    let mut changes = watch(&stage).await;
    assert_eq!(next(&mut changes).await.health(), Health::Ok);

    stage.store.note_write_error(&read_only_error());

    let status = next(&mut changes).await;
    assert_eq!(status.health(), Health::ReadOnly);
    assert!(status.problems[0].starts_with("writes fail ("), "{:?}", status.problems);
    let refused = stage.start(put("t1", "r2")).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unavailable);
    stage.start(get("t2", "r1")).await.unwrap().ready().await;
    let mut health = HealthClient::new(stage.channel.clone());
    let check = health.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(check.status(), ServingStatus::Serving, "reads are served");

    let recover = v1::RecoverRequest { reason: "new disk".into() };
    assert!(stage.client.clone().recover(recover.clone()).await.unwrap().into_inner().recovered);
    assert_eq!(next(&mut changes).await.health(), Health::Ok);
    stage.start(put("t3", "r2")).await.unwrap().ready().await;
    assert!(!stage.client.clone().recover(recover).await.unwrap().into_inner().recovered);
}

#[tokio::test]
async fn draining_outweighs_that_writes_fail_and_both_are_told() {
    let stage = Stage::new().await;
    stage.store.note_write_error(&read_only_error());
    stage.client.clone().drain(v1::DrainRequest::default()).await.unwrap();
    let status = next(&mut watch(&stage).await).await;
    assert_eq!(status.health(), Health::Draining);
    assert!(status.problems[0].starts_with("writes fail"), "{:?}", status.problems);
}

#[tokio::test]
async fn suspect_replicas_are_counted_described_and_cleared_by_a_verification() {
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await;
    let id = ReplicaId::new("r1").unwrap();
    stage.store.mark_suspect(&id, "cannot be read from byte 0 on: Input/output error").unwrap();
    let status = next(&mut watch(&stage).await).await;
    assert_eq!((status.suspect_replicas, status.health()), (1, Health::Ok));
    assert!(status.problems[0].starts_with("1 replica is suspect"), "{:?}", status.problems);
    let stat = v1::StatReplicaRequest { replica_id: "r1".into() };
    let info = stage.client.clone().stat_replica(stat.clone()).await.unwrap().into_inner();
    assert_eq!(info.suspect_because, "cannot be read from byte 0 on: Input/output error");
    assert_eq!(info.state(), v1::ReplicaState::Ready, "it is served still");

    super::replicas::verified(&stage, v1::VerifyReplicaRequest { replica_id: "r1".into(), compute: vec![] })
        .await;

    let info = stage.client.clone().stat_replica(stat).await.unwrap().into_inner();
    assert_eq!(info.suspect_because, "");
    assert!(info.verified_at.is_some());
    assert_eq!(stage.store.counts().suspect, 0);
}

#[tokio::test]
async fn replicas_tell_whether_their_blocks_can_be_checked() {
    let stage = Stage::new().await;
    stage.store("with", b"abc").await;
    let listed = |stage: &Stage| {
        let mut client = stage.client.clone();
        async move {
            let mut stream =
                client.list_replicas(v1::ListReplicasRequest::default()).await.unwrap().into_inner();
            let mut blocks = Vec::new();
            while let Some(info) = stream.message().await.unwrap() {
                let stat = v1::StatReplicaRequest { replica_id: info.replica_id };
                let alone = client.stat_replica(stat).await.unwrap().into_inner();
                assert_eq!(alone.block_checksums, info.block_checksums, "listed as described");
                blocks.push(info.block_checksums);
            }
            blocks
        }
    };
    assert_eq!(listed(&stage).await, [false], "the story's upload gave none");
    super::replicas::verified(
        &stage,
        v1::VerifyReplicaRequest { replica_id: "with".into(), compute: vec![] },
    )
    .await;
    assert_eq!(listed(&stage).await, [true]);
}

#[tokio::test]
async fn a_repaired_replica_is_served_again() {
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await;
    let id = ReplicaId::new("r1").unwrap();
    stage.store.set_state(&id, ReplicaState::Broken, Some("x")).unwrap();
    let refused = stage.start(get("t1", "r1")).await.err().unwrap();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    super::replicas::verified(&stage, v1::VerifyReplicaRequest { replica_id: "r1".into(), compute: vec![] })
        .await;
    stage.start(get("t1", "r1")).await.unwrap().ready().await;
}
