//! Stories of control as its users live them: the registry under a clock turned by hand, and whole pools over their
//! real ports, with the data path's part played by the test.

mod admin;
mod health;
mod marking;
mod pool;
mod records;
mod registry;
mod replicas;
mod results;
mod secured;
mod third_party;
mod transfers;

use penstock_door_proto::v1;
use v1::transfer_request::Kind;

/// A GET of a replica.
fn get(id: &str, replica: &str) -> v1::TransferRequest {
    request(id, replica, Kind::Get(v1::Get::default()))
}

/// A PUT of three bytes.
fn put(id: &str, replica: &str) -> v1::TransferRequest {
    request(id, replica, Kind::Put(v1::Put { size: Some(3), ..Default::default() }))
}

fn request(id: &str, replica: &str, kind: Kind) -> v1::TransferRequest {
    v1::TransferRequest {
        transfer_id: id.into(),
        replica_id: replica.into(),
        transfer_path: format!("/data/{id} +é.root"),
        client: Some(v1::Client { address: "192.0.2.7".into(), subject: "ada".into(), ..Default::default() }),
        door: Some(v1::DoorIdentity { name: "door1".into(), url: "https://door1.example.org:2880".into() }),
        kind: Some(kind),
        ..Default::default()
    }
}
