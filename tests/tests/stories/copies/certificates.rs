//! Far sides that cannot prove who they are.

use std::net::{IpAddr, Ipv4Addr};

use penstock_tests::certificates::{Authority, Fault};
use penstock_tests::files::{self, MIB};
use penstock_tests::remote::{Scheme, nginx};
use penstock_tests::room::Room;

use super::{DOOR, Here, failed};

#[test]
fn a_server_whose_certificate_is_not_to_be_believed_gets_nothing_and_gives_nothing() {
    let room = Room::new();
    let authority = Authority::new(room.path(), "site");
    let faults = [
        (Fault::Expired, "expired"),
        (Fault::OtherName, "not valid for name \"localhost\""),
        (Fault::SelfSigned, "invalid peer certificate: "),
        (Fault::Revoked, "Revoked"),
    ];
    let servers = faults.map(|(fault, why)| {
        let identity = authority.issue_faulty(fault);
        (fault, why, nginx::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &identity))
    });
    let here = Here::believing(room, authority, "", DOOR);
    let original = files::file(here.room.path(), "in", MIB, 1);
    for (fault, why, far) in &servers {
        let _ = far.offer("theirs", MIB, 2);
        let tls = |path: &str| far.url(Scheme::Https, path);
        let place = format!(
            "TLS with https://localhost:{port} (127.0.0.1:{port}) failed: ",
            port = far.address(Scheme::Https).port()
        );

        let pulled = failed(here.pull("/new", &tls("/theirs")).run());

        assert!(pulled.starts_with(&format!("connection failed for GET: {place}")), "{fault:?}: {pulled}");
        assert!(pulled.contains(why), "{fault:?}: {pulled}");
        here.has_nothing_of("/new");

        let _ = here.pair.put("/ours", &original);
        let pushed = failed(here.push("/ours", &tls("/ours")).run());
        assert!(pushed.starts_with(&format!("connection failed for PUT: {place}")), "{fault:?}: {pushed}");
        assert!(!far.file("ours").exists(), "{fault:?}");
        let _ = here.pair.curl("/ours").method("DELETE").run().expect(204);
    }
    let good = nginx::start(IpAddr::V4(Ipv4Addr::LOCALHOST), &here.authority.issue("good"));
    let theirs = good.offer("theirs", MIB, 2);
    let digest = files::adler32_hex(&std::fs::read(&theirs).unwrap());
    let url = good.url(Scheme::Https, &format!("/digested/{digest}/theirs"));
    let _ = super::succeeded(here.pull("/new", &url).run());
    here.has("/new", &theirs);
}
