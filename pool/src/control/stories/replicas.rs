//! Replicas and the pool's state, as doors ask for them.

use std::time::Duration;

use penstock_door_proto::v1;
use tonic::Code;

use super::pool::Stage;
use super::put;
use crate::store::{ReplicaId, ReplicaState};

async fn listed(stage: &Stage, request: v1::ListReplicasRequest) -> Vec<String> {
    let mut stream = stage.client.clone().list_replicas(request).await.unwrap().into_inner();
    let mut ids = Vec::new();
    while let Some(info) = stream.message().await.unwrap() {
        ids.push(info.replica_id);
    }
    ids
}

pub(super) async fn verified(stage: &Stage, request: v1::VerifyReplicaRequest) -> v1::VerifyResult {
    let mut stream = stage.client.clone().verify_replica(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(event) = stream.message().await.unwrap() {
        assert!(event.bytes_read <= event.bytes_total);
        last = Some(event);
    }
    last.and_then(|event| event.result).expect("the last event has the result")
}

#[tokio::test]
async fn replicas_are_listed_in_order_from_anywhere_by_state_and_number() {
    let stage = Stage::new().await;
    for id in ["c", "a", "d", "b"] {
        stage.store(id, b"abc").await;
    }
    stage.store.set_state(&ReplicaId::new("b").unwrap(), ReplicaState::Broken, Some("x")).unwrap();
    let all = v1::ListReplicasRequest::default();
    assert_eq!(listed(&stage, all.clone()).await, ["a", "b", "c", "d"]);
    assert_eq!(
        listed(&stage, v1::ListReplicasRequest { after_id: "b".into(), ..all.clone() }).await,
        ["c", "d"]
    );
    assert_eq!(listed(&stage, v1::ListReplicasRequest { limit: 2, ..all.clone() }).await, ["a", "b"]);
    let broken = vec![v1::ReplicaState::Broken.into()];
    assert_eq!(listed(&stage, v1::ListReplicasRequest { states: broken, ..all }).await, ["b"]);
}

#[tokio::test]
async fn a_replica_is_described_and_removed() {
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await;
    let mut client = stage.client.clone();
    let stat = v1::StatReplicaRequest { replica_id: "r1".into() };
    let info = client.stat_replica(stat.clone()).await.unwrap().into_inner();
    assert_eq!((info.size, info.state()), (3, v1::ReplicaState::Ready));
    assert_eq!(info.checksums[0].value, 0x024d_0127_u32.to_be_bytes());
    assert_eq!((info.transfer_id.as_str(), info.path.as_str()), ("t", "/p"));

    let delete = v1::DeleteReplicaRequest { replica_id: "r1".into(), missing_ok: false };
    assert!(client.delete_replica(delete.clone()).await.unwrap().into_inner().existed);
    assert_eq!(client.stat_replica(stat).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.delete_replica(delete.clone()).await.unwrap_err().code(), Code::NotFound);
    let again = v1::DeleteReplicaRequest { missing_ok: true, ..delete };
    assert!(!client.delete_replica(again).await.unwrap().into_inner().existed);
}

#[tokio::test]
async fn verification_computes_what_was_asked_for_and_keeps_it() {
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await;
    let md5 = vec![v1::ChecksumAlgorithm::Md5.into()];
    let result = verified(&stage, v1::VerifyReplicaRequest { replica_id: "r1".into(), compute: md5 }).await;
    assert!(result.good, "{:?}", result.problems);
    let kept = stage.store.stat(&ReplicaId::new("r1").unwrap()).unwrap().attributes.checksums;
    assert_eq!(kept["md5"], "900150983cd24fb0d6963f7d28e17f72"); // RFC 1321 §A.5
    assert_eq!(kept["adler32"], "024d0127");
}

#[tokio::test]
async fn a_flipped_bit_is_found_named_and_the_replica_broken() {
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await;
    let root = &stage.pool.config().root;
    flip_a_bit(&root.join("data"), "r1");
    let result =
        verified(&stage, v1::VerifyReplicaRequest { replica_id: "r1".into(), compute: vec![] }).await;
    assert!(!result.good);
    assert_eq!(result.problems, ["adler32 of the file is 024a0126, recorded 024d0127"]);
    let mut client = stage.client.clone();
    let info =
        client.stat_replica(v1::StatReplicaRequest { replica_id: "r1".into() }).await.unwrap().into_inner();
    assert_eq!(info.state(), v1::ReplicaState::Broken);
    assert_eq!(info.broken_because, "adler32 of the file is 024a0126, recorded 024d0127");
}

/// Makes "abc" of the file with that name somewhere below `dir` into "`bc".
pub(super) fn flip_a_bit(dir: &std::path::Path, name: &str) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            flip_a_bit(&entry.path(), name);
        } else if entry.file_name() == name {
            use std::os::unix::fs::FileExt;
            let file = std::fs::OpenOptions::new().write(true).open(entry.path()).unwrap();
            file.write_all_at(b"`", 0).unwrap();
        }
    }
}

#[tokio::test]
async fn a_watching_door_hears_the_pools_state_at_once_at_every_period_and_when_it_drains() {
    let stage = Stage::new().await;
    stage.store("r1", b"abc").await;
    stage.start(put("t1", "r2")).await.unwrap();
    let request = v1::WatchStatusRequest {
        period: Some(Duration::from_secs(3600).try_into().unwrap()),
        door: Some(v1::DoorIdentity { name: "door9".into(), url: "http://door9:2880".into() }),
    };
    let mut stream = stage.client.clone().watch_status(request).await.unwrap().into_inner();
    let status = stream.message().await.unwrap().unwrap();
    assert_eq!((status.pool_name.as_str(), status.health()), ("pool1", v1::pool_status::Health::Ok));
    assert_eq!(status.data_urls, ["http://pool1.example.org:2881"]);
    assert_eq!((status.replicas, status.broken_replicas, status.orphaned_replicas), (1, 0, 0));
    let load = status.load.unwrap();
    assert_eq!((load.running, load.waiting, load.buffers_used, load.busiest_shard), (1, 0, 0.25, 0.5));
    let space = status.space.unwrap();
    assert!(space.used > 0 && space.available > 0 && space.available <= space.total, "{space:?}");
    assert_eq!(status.queues[0].name, "default");
    assert!(status.features.contains(&"checksum:md5".to_owned()));
    assert_eq!(stage.desk.door_url("door9").as_deref(), Some("http://door9:2880"));

    stage.client.clone().drain(v1::DrainRequest::default()).await.unwrap();
    let status = stream.message().await.unwrap().unwrap();
    assert_eq!(status.health(), v1::pool_status::Health::Draining);
}
