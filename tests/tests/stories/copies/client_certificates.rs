//! Far sides that want to see whose copy it is, by a certificate: the pool shows what the door has given it for this one
//! copy, and nobody else's.

use std::net::{IpAddr, Ipv4Addr};

use penstock_door_proto::v1 as proto;
use penstock_tests::certificates::{Authority, Identity};
use penstock_tests::files::{self, MIB};
use penstock_tests::lone_pool::LonePool;
use penstock_tests::pool_client::{Client, finished, keep, next, start, upload};
use penstock_tests::remote::{Scheme, nginx};
use penstock_tests::room::Room;
use proto::transfer_event::Event;
use proto::transfer_request::Kind;

/// What a door hands on of a user: the chain, then the key.
fn credential(identity: &Identity) -> proto::Credential {
    let pem = [&identity.certificate, &identity.key].map(|path| std::fs::read(path).unwrap()).concat();
    proto::Credential { kind: Some(proto::credential::Kind::X509ProxyPem(pem)) }
}

fn remote(url: String, user: Option<&Identity>) -> proto::Remote {
    proto::Remote { url, credential: user.map(credential), ..Default::default() }
}

fn pull(id: &str, remote: proto::Remote) -> proto::TransferRequest {
    let kind = Kind::Pull(proto::Pull { remote: Some(remote), ..Default::default() });
    proto::TransferRequest { kind: Some(kind), ..upload(id, "/file") }
}

/// The text of a transfer that fails.
async fn failed(events: &mut tonic::Streaming<proto::TransferEvent>) -> String {
    loop {
        match next(events).await {
            Event::Failed(failed) => return failed.text,
            Event::Finished(_) | Event::Cancelled(_) => panic!("it did not fail"),
            Event::Queued(_) | Event::Ready(_) | Event::Started(_) | Event::Progress(_) => {}
        }
    }
}

#[test]
fn pulls_and_pushes_show_the_certificate_of_their_own_user() {
    let room = Room::new();
    let authority = Authority::new(room.path(), "grid");
    let [alice, bob] = ["alice", "bob"].map(|name| authority.issue(name));
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let far = nginx::start_demanding(here, &authority.issue("far"), &authority.certificate());
    std::fs::create_dir_all(far.file("of/alice")).unwrap();
    let original = far.offer("of/alice/theirs", 3 * MIB, 1);
    let ca = authority.certificate();
    let pool = LonePool::start(&format!("tpc.allow_loopback = true\ntpc.ca = \"{}\"\n", ca.display()));
    let theirs = far.url(Scheme::Https, "/of/alice/theirs");
    let ours = far.url(Scheme::Https, "/of/alice/ours");

    pool.client().call(async |mut door: Client| {
        let mut events = start(&mut door, pull("pull", remote(theirs.clone(), Some(&alice)))).await.unwrap();
        let size = finished(&mut events).await.size;
        assert_eq!(size, 3 * MIB);
        assert!(keep(&mut door, "pull").await);

        // One connection for each user, and the pool's own for nobody's: whatever waits to be used again.
        for (id, user) in [("bobs", Some(&bob)), ("nobodys", None), ("bobs-again", Some(&bob))] {
            let mut events = start(&mut door, pull(id, remote(theirs.clone(), user))).await.unwrap();
            let text = failed(&mut events).await;
            let expected = if user.is_some() { "rejected GET: 403" } else { "rejected GET: 400" };
            assert!(text.starts_with(expected), "{id}: {text}");
        }

        let push = Kind::Push(proto::Push { remote: Some(remote(ours.clone(), Some(&alice))) });
        let request = proto::TransferRequest {
            transfer_id: "push".to_owned(),
            kind: Some(push),
            ..pull("pull", proto::Remote::default())
        };
        let mut events = start(&mut door, request).await.unwrap();
        let _ = finished(&mut events).await;
    });

    let [one, other] = [original, far.file("of/alice/ours")].map(|path| std::fs::read(path).unwrap());
    assert!(one == other, "what was pushed is what was pulled");
    let key = std::fs::read_to_string(&alice.key).unwrap();
    let secret = key.lines().nth(1).unwrap();
    let told = [pool.daemon.stderr(), pool.daemon.stdout(), pool.command(&["transfers", "--json"]).stdout];
    assert!(told.iter().all(|text| !text.contains(secret)), "the key is told");
    assert!(!files::replicas(&pool.root()).is_empty());
}
