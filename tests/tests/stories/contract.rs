//! The contract as a door sees it, without a door: what a pool tells, keeps and leaves.

use penstock_door_proto::v1::transfer_event::Event;
use penstock_door_proto::v1::{
    self as proto, AcknowledgeRequest, CancelRequest, DrainRequest, ListRequest, ResumeRequest, WatchRequest,
};
use penstock_tests::curl::Curl;
use penstock_tests::files::{self, MIB};
use penstock_tests::lone_pool::LonePool;
use penstock_tests::pool_client::{Client, download, next, ready_url, start, upload};
use penstock_tests::raw::Raw;
use penstock_tests::site::target;
use proto::acknowledge_request::Disposition;
use tonic::Code;

fn acknowledge(id: &str, disposition: Disposition) -> AcknowledgeRequest {
    AcknowledgeRequest { transfer_id: id.to_owned(), disposition: disposition.into(), ..Default::default() }
}

/// The transfer's last event, whatever comes before.
async fn outcome(events: &mut tonic::Streaming<proto::TransferEvent>) -> Event {
    loop {
        match next(events).await {
            last @ (Event::Finished(_) | Event::Failed(_) | Event::Cancelled(_)) => return last,
            Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_) => {}
        }
    }
}

async fn unacknowledged(client: &mut Client) -> Vec<String> {
    let request = ListRequest { unacknowledged_only: true, ..Default::default() };
    let mut list = client.list(request).await.unwrap().into_inner();
    let mut ids = Vec::new();
    while let Some(info) = list.message().await.unwrap() {
        ids.push(info.request.unwrap().transfer_id);
    }
    ids
}

#[test]
fn an_upload_is_told_to_its_end_and_answered_after_the_doors_word() {
    let pool = LonePool::start("");
    let body = files::bytes(2 * MIB, 1);
    pool.client().call(async |mut door: Client| {
        let mut events = start(&mut door, upload("t1", "/file")).await.unwrap();
        let mut client = pool.send_upload(&ready_url(&mut events).await, &body);

        let Event::Finished(finished) = outcome(&mut events).await else { panic!("the upload failed") };

        assert_eq!(finished.size, body.len() as u64);
        let adler32 =
            finished.checksums.iter().find(|sum| sum.algorithm() == proto::ChecksumAlgorithm::Adler32);
        let hex: String = adler32.unwrap().value.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, files::adler32_hex(&body));
        assert!(client.is_silent_for(std::time::Duration::from_millis(300)), "201 before the door's word");
        assert_eq!(unacknowledged(&mut door).await, ["t1"]);
        assert!(door.acknowledge(acknowledge("t1", Disposition::Keep)).await.unwrap().into_inner().known);
        assert_eq!(client.answer().status, 201);
        assert!(unacknowledged(&mut door).await.is_empty());
        let again = door.acknowledge(acknowledge("t1", Disposition::Keep)).await.unwrap().into_inner();
        assert!(!again.known, "settled once, and no error twice");
    });
}

#[test]
fn what_the_door_does_not_want_is_deleted_and_the_client_told_why() {
    let pool = LonePool::start("");
    pool.client().call(async |mut door: Client| {
        let mut events = start(&mut door, upload("t1", "/file")).await.unwrap();
        let mut client = pool.send_upload(&ready_url(&mut events).await, b"unwanted");
        assert!(matches!(outcome(&mut events).await, Event::Finished(_)));

        let mut word = acknowledge("t1", Disposition::Discard);
        word.http_status = 409;
        word.reason = "the directory has gone".to_owned();
        let _ = door.acknowledge(word).await.unwrap();

        let answer = client.answer();
        assert_eq!(answer.status, 409);
        assert!(answer.text().contains("the directory has gone"), "{}", answer.text());
        assert!(files::replicas(&pool.root()).is_empty());
    });
}

#[test]
fn without_the_doors_word_the_upload_becomes_an_orphan_and_the_client_hears_504() {
    let pool = LonePool::start("timeouts.claim = \"1 s\"\n");
    pool.client().call(async |mut door: Client| {
        let mut events = start(&mut door, upload("t1", "/file")).await.unwrap();
        let mut client = pool.send_upload(&ready_url(&mut events).await, b"claimed by nobody");

        let answer = client.answer();

        assert_eq!(answer.status, 504, "{}", answer.text());
        assert_eq!(files::replicas(&pool.root()).len(), 1, "it is kept");
        // A door that comes back finds it, and may still keep it.
        assert_eq!(unacknowledged(&mut door).await, ["t1"]);
        let _ = door.acknowledge(acknowledge("t1", Disposition::Keep)).await.unwrap();
        let mut events = start(&mut door, download("t2", "/file", "replica-t1")).await.unwrap();
        let back = Curl::new(ready_url(&mut events).await).run().expect(200);
        assert_eq!(back.text(), "claimed by nobody");
    });
}

#[test]
fn the_same_start_attaches_and_another_with_its_id_is_refused() {
    let pool = LonePool::start("");
    pool.client().call(async |mut door: Client| {
        let mut first = start(&mut door, upload("t1", "/file")).await.unwrap();
        let url = ready_url(&mut first).await;

        let mut second = start(&mut door, upload("t1", "/file")).await.unwrap();
        let other = start(&mut door, upload("t1", "/another")).await;

        assert_eq!(ready_url(&mut second).await, url, "one transfer, one URL");
        assert_eq!(other.unwrap_err().code(), Code::AlreadyExists);
        let mut client = pool.send_upload(&url, b"body");
        assert!(matches!(outcome(&mut first).await, Event::Finished(_)));
        assert!(matches!(outcome(&mut second).await, Event::Finished(_)), "both streams hear of the end");
        let watch = WatchRequest { transfer_id: "t1".to_owned(), ..Default::default() };
        let mut late = door.watch(watch).await.unwrap().into_inner();
        assert!(matches!(outcome(&mut late).await, Event::Finished(_)), "and who comes late");
        let _ = door.acknowledge(acknowledge("t1", Disposition::Keep)).await.unwrap();
        assert_eq!(client.answer().status, 201);
    });
}

#[test]
fn a_cancelled_upload_leaves_nothing() {
    let pool = LonePool::start("");
    pool.client().call(async |mut door: Client| {
        let mut events = start(&mut door, upload("t1", "/file")).await.unwrap();
        let url = ready_url(&mut events).await;
        let mut client = Raw::connect(pool.data);
        client.send(format!(
            "PUT {} HTTP/1.1\r\nHost: pool\r\nContent-Length: {}\r\n\r\n",
            target(&url),
            8 * MIB
        ));
        client.send(files::bytes(4 * MIB, 1));
        assert!(matches!(next(&mut events).await, Event::Started(_)));

        let cancel = CancelRequest { transfer_id: "t1".to_owned(), reason: "the user gave up".to_owned() };
        assert!(door.cancel(cancel.clone()).await.unwrap().into_inner().cancelled);

        let Event::Cancelled(cancelled) = outcome(&mut events).await else { panic!("not cancelled") };
        assert_eq!(cancelled.reason, "the user gave up");
        assert!(
            !door.cancel(cancel).await.unwrap().into_inner().cancelled,
            "cancelled once, and no error twice"
        );
        let answer = client.rest();
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
        assert!(files::replicas(&pool.root()).is_empty());
    });
}

#[test]
fn a_wrong_request_is_refused_by_the_name_of_its_field() {
    let pool = LonePool::start("max_file_size = \"1 MiB\"\n");
    let put = |put: proto::Put| Some(proto::transfer_request::Kind::Put(put));
    let cases = [
        (
            proto::TransferRequest { transfer_id: String::new(), ..upload("t", "/f") },
            Code::InvalidArgument,
            "transfer_id",
        ),
        (
            proto::TransferRequest { replica_id: "a/b".to_owned(), ..upload("t", "/f") },
            Code::InvalidArgument,
            "replica_id",
        ),
        (upload("t", "no-slash"), Code::InvalidArgument, "transfer_path"),
        (
            proto::TransferRequest { queue: "none".to_owned(), ..upload("t", "/f") },
            Code::InvalidArgument,
            "none",
        ),
        (proto::TransferRequest { kind: None, ..upload("t", "/f") }, Code::InvalidArgument, "kind"),
        (download("t", "/f", "missing"), Code::NotFound, "missing"),
        (
            proto::TransferRequest {
                kind: put(proto::Put { size: Some(2 * MIB), ..Default::default() }),
                ..upload("t", "/f")
            },
            Code::ResourceExhausted,
            "TOO_LARGE",
        ),
    ];
    pool.client().call(async |mut door: Client| {
        for (request, code, word) in cases {
            let refused = start(&mut door, request).await.unwrap_err();

            assert_eq!(refused.code(), code, "{word}: {refused}");
            assert!(refused.message().contains(word), "{word}: {refused}");
        }
    });
}

#[test]
fn a_draining_pool_takes_nothing_new_until_it_resumes() {
    let pool = LonePool::start("");
    pool.client().call(async |mut door: Client| {
        let _ = door.drain(DrainRequest { reason: "new disks".to_owned(), deadline: None }).await.unwrap();
        let refused = start(&mut door, upload("t1", "/file")).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");

        let _ = door.resume(ResumeRequest {}).await.unwrap();

        let mut events = start(&mut door, upload("t1", "/file")).await.unwrap();
        assert!(ready_url(&mut events).await.starts_with("http://"));
    });
}
