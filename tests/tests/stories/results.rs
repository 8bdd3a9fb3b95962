//! What a door was not there to hear: kept over restarts and crashes of the pool until the door has heard it.

use std::time::Duration;

use penstock_door_proto::v1::transfer_event::Event;
use penstock_door_proto::v1::{self as proto, ListRequest, ReplicaState, WatchRequest};
use penstock_tests::curl::Curl;
use penstock_tests::files::{self, MIB};
use penstock_tests::lone_pool::LonePool;
use penstock_tests::pair::Pair;
use penstock_tests::patience::eventually;
use penstock_tests::pool_client::{self, Client, download, finished, keep, next, ready_url, start, upload};
use penstock_tests::raw::Raw;
use penstock_tests::site::{target, upload_url};
use proto::acknowledge_request::Disposition;
use rustix::process::Signal;

/// A pool ends in one of these ways.
const ENDINGS: [&str; 2] = ["killed", "stopped"];

fn end(pool: &mut LonePool, how: &str) {
    match how {
        "killed" => pool.kill(),
        _ => {
            // The upload's client waits for the door's word; the drain does not wait for a door that is not there.
            pool.daemon.terminate();
            // Two that come at once are one.
            std::thread::sleep(Duration::from_millis(300));
            pool.daemon.terminate();
            let _ = pool.daemon.ended();
        }
    }
}

async fn unacknowledged(client: &mut Client) -> Vec<proto::TransferInfo> {
    let request = ListRequest { unacknowledged_only: true, ..Default::default() };
    let mut list = client.list(request).await.unwrap().into_inner();
    let mut infos = Vec::new();
    while let Some(info) = list.message().await.unwrap() {
        infos.push(info);
    }
    infos
}

fn ids(infos: &[proto::TransferInfo]) -> Vec<String> {
    infos.iter().map(|info| info.request.as_ref().unwrap().transfer_id.clone()).collect()
}

/// A transfer that ends well, and to which no door says anything.
fn finish_upload(pool: &LonePool, id: &str, body: &[u8]) -> (Raw, proto::Finished) {
    pool.client().call(async |mut door: Client| {
        let mut events = start(&mut door, upload(id, "/file")).await.unwrap();
        let client = pool.send_upload(&ready_url(&mut events).await, body);
        let told = finished(&mut events).await;
        (client, told)
    })
}

/// A pool with such a transfer, `t1`.
fn pool_with_unacknowledged(more: &str, body: &[u8]) -> (LonePool, Raw, proto::Finished) {
    let pool = LonePool::start(more);
    let (client, told) = finish_upload(&pool, "t1", body);
    (pool, client, told)
}

#[test]
fn an_upload_that_no_door_has_acknowledged_is_told_again_after_a_restart() {
    for how in ENDINGS {
        let body = files::bytes(2 * MIB, 1);
        let (mut pool, mut client, told) = pool_with_unacknowledged("", &body);

        end(&mut pool, how);

        assert!(!client.rest().starts_with(b"HTTP/1.1 2"), "{how}: nobody has said that the name is there");
        pool.start_again();
        pool.client().call(async |mut door: Client| {
            let listed = unacknowledged(&mut door).await;
            assert_eq!(ids(&listed), ["t1"], "{how}");
            let request = listed[0].request.as_ref().unwrap();
            assert_eq!(
                (request.replica_id.as_str(), request.transfer_path.as_str()),
                ("replica-t1", "/file")
            );
            assert_eq!(request.door.as_ref().unwrap().name, "story", "{how}: else its door does not find it");
            let watch = WatchRequest { transfer_id: "t1".to_owned(), ..Default::default() };
            let mut events = door.watch(watch).await.unwrap().into_inner();
            let again = finished(&mut events).await;
            assert_eq!((again.size, &again.checksums), (told.size, &told.checksums), "{how}");
            // A door that does not know how far it came asks the same once more.
            let mut events = start(&mut door, upload("t1", "/file")).await.unwrap();
            assert_eq!(finished(&mut events).await.size, told.size, "{how}");
            let other = start(&mut door, upload("t1", "/another")).await;
            assert_eq!(other.unwrap_err().code(), tonic::Code::AlreadyExists, "{how}");

            assert!(keep(&mut door, "t1").await, "{how}");

            assert!(!keep(&mut door, "t1").await, "{how}: settled once");
            let mut events = start(&mut door, download("t2", "/file", "replica-t1")).await.unwrap();
            assert!(Curl::new(ready_url(&mut events).await).run().expect(200).body == body, "{how}");
        });
        assert_eq!(pool.replica("replica-t1").state(), ReplicaState::Ready);
    }
}

#[test]
fn what_a_door_has_acknowledged_is_not_told_again() {
    for how in ENDINGS {
        let body = files::bytes(MIB, 1);
        let (mut pool, ..) = pool_with_unacknowledged("", &body);
        assert!(pool.client().call(async |mut door: Client| keep(&mut door, "t1").await));
        // A crash in the very next moment may bring it back. Not once another upload is whole: that came after it.
        let _client = (how == "killed").then(|| finish_upload(&pool, "t2", &body));

        end(&mut pool, how);

        pool.start_again();
        let left = pool.client().call(async |mut door: Client| unacknowledged(&mut door).await);
        let expected = if how == "killed" { &["t2"][..] } else { &[] };
        assert_eq!(ids(&left), expected, "{how}");
        assert_eq!(pool.replica("replica-t1").state(), ReplicaState::Ready, "{how}");
    }
}

#[test]
fn a_door_that_was_away_may_still_say_that_it_does_not_want_the_upload() {
    let (mut pool, _client, _) = pool_with_unacknowledged("", &files::bytes(MIB, 1));
    pool.kill();
    pool.start_again();

    pool.client().call(async |mut door: Client| {
        let discard = proto::AcknowledgeRequest {
            transfer_id: "t1".to_owned(),
            disposition: Disposition::Discard.into(),
            reason: "its directory has gone".to_owned(),
            http_status: 409,
        };
        assert!(door.acknowledge(discard).await.unwrap().into_inner().known);
    });

    eventually("the replica is deleted", || files::replicas(&pool.root()).is_empty().then_some(()));
    assert!(pool.client().replicas().is_empty());
    pool.kill();
    pool.start_again();
    assert!(pool.client().replicas().is_empty());
    let left = pool.client().call(async |mut door: Client| unacknowledged(&mut door).await);
    assert_eq!(ids(&left), [""; 0]);
}

#[test]
fn an_upload_that_nobody_claims_after_a_crash_becomes_an_orphan_that_is_listed_and_can_be_adopted() {
    let body = files::bytes(MIB, 2);
    let (mut pool, _client, _) = pool_with_unacknowledged("timeouts.claim = \"1 s\"\n", &body);
    pool.kill();
    pool.start_again();

    eventually("it is an orphan", || {
        (pool.replica("replica-t1").state() == ReplicaState::Orphaned).then_some(())
    });
    assert_eq!(pool.client().status().orphaned_replicas, 1);
    pool.kill();
    pool.start_again();
    assert_eq!(pool.replica("replica-t1").state(), ReplicaState::Orphaned, "also after the next crash");

    pool.client().call(async |mut door: Client| {
        assert_eq!(ids(&unacknowledged(&mut door).await), ["t1"], "the door may come back after days");
        assert!(keep(&mut door, "t1").await);
    });

    assert_eq!(pool.replica("replica-t1").state(), ReplicaState::Ready);
    assert_eq!(pool.client().status().orphaned_replicas, 0);
}

#[test]
fn a_failed_upload_leaves_nothing_after_a_crash() {
    let mut pool = LonePool::start("");
    pool.client().call(async |mut door: Client| {
        let mut events = start(&mut door, upload("t1", "/file")).await.unwrap();
        let url = ready_url(&mut events).await;
        let mut client = Raw::connect(pool.data);
        client
            .send(format!("PUT {} HTTP/1.1\r\nHost: pool\r\nContent-Length: 4000000\r\n\r\n", target(&url)));
        client.send(files::bytes(2 * MIB, 1));
        drop(client);
        loop {
            match next(&mut events).await {
                Event::Failed(_) => break,
                Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        }
    });

    pool.kill();
    pool.start_again();

    assert!(files::replicas(&pool.root()).is_empty() && pool.client().replicas().is_empty());
    // What ended badly may be told or not; it is not told as anything else.
    let left = pool.client().call(async |mut door: Client| unacknowledged(&mut door).await);
    for info in left {
        let outcome = info.outcome.expect("it has ended").event.unwrap();
        assert!(matches!(outcome, Event::Failed(_)), "{outcome:?}");
    }
}

#[test]
fn the_name_appears_though_door_and_pool_both_died_before_it_was_written() {
    for first in ["pool", "door"] {
        let mut pair = Pair::start("");
        let data = files::bytes(4 * MIB, 4);
        let url = upload_url(pair.door_address(), "/file", data.len() as u64, Some(&pair.token));
        pair.door.signal(Signal::STOP);
        let mut client = pair.pool.send_upload(&url, &data);
        eventually("the pool keeps the outcome for the door", || {
            let left = pair.pool.client().call(async |mut door: Client| unacknowledged(&mut door).await);
            (left.len() == 1).then_some(())
        });

        pair.kill_door();
        pair.pool.kill();

        assert!(!client.rest().starts_with(b"HTTP/1.1 2"), "the name was not there");
        if first == "pool" {
            pair.pool.start_again();
            pair.start_door_again();
        } else {
            pair.start_door_again();
            std::thread::sleep(Duration::from_millis(300));
            pair.pool.start_again();
        }
        eventually("the file is there", || {
            let answer = pair.get("/file");
            (answer.status == 200 && answer.body == data).then_some(())
        });
        eventually("and settled", || {
            let left = pair.pool.client().call(async |mut door: Client| unacknowledged(&mut door).await);
            left.is_empty().then_some(())
        });
        assert_eq!(files::replicas(&pair.pool.root()).len(), 1);
        assert_eq!(pair.pool.client().replicas()[0].state(), ReplicaState::Ready);
    }
}

#[test]
fn an_upload_whose_pool_dies_as_its_file_gets_its_name_is_there_whole_or_gone() {
    for attempt in 0..6 {
        let mut pair = Pair::start("");
        let data = files::bytes(2 * MIB, attempt);
        let url = upload_url(pair.door_address(), "/file", data.len() as u64, Some(&pair.token));
        let replicas_before = files::replicas(&pair.pool.root()).len();
        let mut client = pair.pool.send_upload(&url, &data);

        // As close to the naming as can be seen from outside.
        while files::replicas(&pair.pool.root()).len() == replicas_before {
            std::hint::spin_loop();
        }
        pair.pool.kill();

        let created = client.rest().starts_with(b"HTTP/1.1 201");
        if attempt % 2 == 0 {
            pair.kill_door();
            pair.start_door_again();
        }
        pair.pool.start_again();
        pair.wait_until_joined();
        let settled = eventually("the upload is settled", || {
            let answer = pair.get("/file");
            let files = files::replicas(&pair.pool.root()).len();
            match answer.status {
                200 if answer.body == data && files == 1 => Some(true),
                404 if files == 0 => Some(false),
                _ => None,
            }
        });
        assert!(settled || !created, "the client was told 201");
        let left = pool_client::PoolClient::connect(&pair.pool.socket()).replicas();
        assert_eq!(left.len(), usize::from(settled), "{left:?}");
    }
}
