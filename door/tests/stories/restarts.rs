//! Stories of doors and pools that go away and come back: nothing lost, nothing there twice.

use std::time::Duration;

use crate::site::pool::Faults;
use crate::site::{PATIENCE, Site, send_to};
use hyper::StatusCode;
use penstock_door::Door;
use penstock_door_proto::v1 as proto;
use proto::acknowledge_request::Disposition;

/// A redirected upload that ends while the door is away; the client waits for its answer.
async fn upload_without_a_door(site: &mut Site, path: &str) -> tokio::task::JoinHandle<crate::site::Reply> {
    let redirect = site.put_expecting(path, "", 5).await;
    let url = redirect.location().to_owned();
    site.stop_door().await;
    let upload = tokio::spawn(async move { send_to(&url, "PUT", &[], b"hello").await });
    site.eventually("the pool has the file", async |site| !site.pool.replicas().is_empty()).await;
    upload
}

#[tokio::test]
async fn who_comes_right_after_a_start_is_not_told_that_there_are_no_pools() {
    let mut site = Site::open().await;
    site.put("/file", b"hello").await;
    for _ in 0..20 {
        site.stop_door().await;
        site.door = Some(Door::start(site.config().clone()).await.unwrap());
        let reply = site.get("/file").await;
        assert_eq!(reply.status, StatusCode::TEMPORARY_REDIRECT, "{}", reply.text());
    }
}

#[tokio::test]
async fn an_upload_that_ends_while_the_door_is_away_gets_its_name_at_the_next_start() {
    let mut site = Site::open().await;
    let upload = upload_without_a_door(&mut site, "/data/file").await;
    site.start_door().await;
    assert_eq!(upload.await.unwrap().status, StatusCode::CREATED);
    assert_eq!(site.head("/data/file").await.header("content-length"), Some("5"));
    site.eventually("it is settled", async |site| site.pool.unsettled() == 0).await;
}

#[tokio::test]
async fn an_upload_that_still_waits_for_its_client_is_followed_again() {
    let mut site = Site::open().await;
    let redirect = site.put_expecting("/file", "", 5).await;
    site.stop_door().await;
    site.start_door().await;
    let stored = send_to(redirect.location(), "PUT", &[], b"hello").await;
    assert_eq!(stored.status, StatusCode::CREATED);
    assert_eq!(site.head("/file").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_late_upload_does_not_replace_a_younger_file() {
    let mut site = Site::open().await;
    let old = site.put_expecting("/file", "", 5).await;
    let old_transfer = site.pool.last_request().transfer_id;
    site.put("/file", b"younger").await;
    site.stop_door().await;
    let url = old.location().to_owned();
    let upload = tokio::spawn(async move { send_to(&url, "PUT", &[], b"older").await });
    site.eventually("the pool has both", async |site| site.pool.replicas().len() == 2).await;
    site.start_door().await;
    assert_eq!(upload.await.unwrap().status, StatusCode::CONFLICT);
    assert_eq!(site.pool.settled(&old_transfer).unwrap().disposition, Disposition::Discard);
    assert_eq!(site.head("/file").await.header("content-length"), Some("7"));
}

#[tokio::test]
async fn an_upload_of_a_stranger_is_neither_named_nor_deleted() {
    let mut site = Site::open().await;
    let upload = upload_without_a_door(&mut site, "/file").await;
    // Given a namespace that was lost
    for name in ["namespace.db", "namespace.db-wal", "namespace.db-shm"] {
        let _ = std::fs::remove_file(site.directory.path().join(name));
    }
    site.start_door().await;
    // When the door has settled with the pool (which it has when another upload went through and some time has passed)
    assert_eq!(site.put("/other", b"x").await.status, StatusCode::CREATED);
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Then the file is still at the pool, without a name
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.pool.replicas().len(), 2);
    assert_eq!(site.pool.unsettled(), 1);
    upload.abort();
}

#[tokio::test]
async fn a_pool_that_goes_away_in_the_middle_of_an_upload_is_followed_again() {
    let mut site = Site::open().await;
    let redirect = site.put_expecting("/file", "", 5).await;
    site.pool.stop_grpc();
    let url = redirect.location().to_owned();
    let upload = tokio::spawn(async move { send_to(&url, "PUT", &[], b"hello").await });
    site.eventually("the pool has the file", async |site| !site.pool.replicas().is_empty()).await;
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
    site.pool.start_grpc();
    let stored = tokio::time::timeout(PATIENCE, upload).await.unwrap().unwrap();
    assert_eq!(stored.status, StatusCode::CREATED);
    assert_eq!(site.head("/file").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_lost_acknowledgement_is_said_again() {
    let site = Site::open().await;
    site.pool.fail(Faults { lose_acknowledgements: 2, ..Faults::default() });
    assert_eq!(site.put("/file", b"hello").await.status, StatusCode::CREATED);
    assert_eq!(site.pool.unsettled(), 0);
}

#[tokio::test]
async fn a_deletion_that_the_pool_did_not_hear_is_owed_until_it_did() {
    let mut site = Site::open().await;
    site.put("/file", b"hello").await;
    let replica = site.pool.last_request().replica_id;
    site.pool.stop_grpc();
    assert_eq!(site.send("DELETE", "/file", &[], b"").await.status, StatusCode::NO_CONTENT);
    assert_eq!(site.head("/file").await.status, StatusCode::NOT_FOUND);
    site.stop_door().await;
    site.start_door().await;
    assert_eq!(site.pool.deleted(), [""; 0]);
    site.pool.start_grpc();
    site.eventually("the replica is deleted", async |site| site.pool.deleted() == [replica.as_str()]).await;
}

#[tokio::test]
async fn a_door_starts_without_its_pools_and_finds_them_later() {
    let mut site = Site::prepare(|_| ()).await;
    site.pool.stop_grpc();
    site.start_door().await;
    let reply = site.put("/file", b"hello").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!site.door.as_ref().unwrap().wait_for_pools(Duration::from_millis(50)).await);
    site.pool.start_grpc();
    assert!(site.door.as_ref().unwrap().wait_for_pools(PATIENCE).await);
    assert_eq!(site.put("/file", b"hello").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_draining_door_lets_its_transfers_end_and_takes_no_more() {
    let mut site = Site::open().await;
    let redirect = site.put_expecting("/file", "", 5).await;
    let address = site.address();
    let door = site.door.take().unwrap();
    let url = redirect.location().to_owned();
    let upload = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        send_to(&url, "PUT", &[], b"hello").await
    };
    let (left, stored) = tokio::join!(door.drain(PATIENCE), upload);
    assert_eq!((left, stored.status), (0, StatusCode::CREATED));
    door.stop().await;
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline_and_tells_what_is_left() {
    let mut site = Site::open().await;
    let redirect = site.put_expecting("/file", "", 5).await;
    let door = site.door.take().unwrap();
    assert_eq!(door.drain(Duration::from_millis(100)).await, 1);
    door.stop().await;
    // What was left is taken up at the next start.
    site.start_door().await;
    assert_eq!(send_to(redirect.location(), "PUT", &[], b"hello").await.status, StatusCode::CREATED);
}
