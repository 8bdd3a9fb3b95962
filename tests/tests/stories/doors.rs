//! Two doors with the same names, over one PostgreSQL and one pool.

use penstock_tests::cluster::Cluster;
use penstock_tests::curl::Curl;
use penstock_tests::files::{self, KIB, MIB};
use penstock_tests::patience::eventually;
use penstock_tests::postgres::Database;
use penstock_tests::raw::Raw;
use penstock_tests::site::{target, upload_url};
use rustix::process::Signal;

#[test]
fn what_one_door_has_answered_the_other_sees_at_once() {
    let Some(database) = Database::make() else { return };
    let cluster = Cluster::start_with_names(1, &database.url());
    let second = cluster.another_door("door02");
    let file = files::file(cluster.room(), "in", 64 * KIB, 1);
    let at_second = |path: &str| Curl::new(format!("{}{path}", second.url));

    let _ = cluster.curl("/a/file").follow().upload(&file).run().expect(201);
    assert!(at_second("/a/file").follow().run().expect(200).body == std::fs::read(&file).unwrap());

    let _ =
        at_second("/a").method("MOVE").header("Destination", &format!("{}/b", second.url)).run().expect(201);
    assert!(cluster.curl("/b/file").follow().run().expect(200).body == std::fs::read(&file).unwrap());

    let _ = cluster.curl("/b").method("DELETE").run().expect(204);
    let _ = at_second("/b/file").run().expect(404);
    let root = cluster.pools[0].root.clone();
    // The probes of both doors remain.
    eventually("the pool has deleted the replica", || (files::replicas(&root).len() <= 1).then_some(()));
}

#[test]
fn an_upload_at_a_door_that_is_down_is_not_settled_by_the_other() {
    let Some(database) = Database::make() else { return };
    let mut cluster = Cluster::start_with_names(1, &database.url());
    let data = files::bytes(4 * MIB, 4);
    let url = upload_url(cluster.door_address(), "/file", data.len() as u64, None);
    let (root, address) = (cluster.pools[0].root.clone(), cluster.pools[0].data);
    let mut client = Raw::connect(address);
    client.send(format!(
        "PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        target(&url),
        data.len()
    ));
    client.send(&data[..1000]);
    cluster.door.signal(Signal::STOP);
    // It settles with the pool as it starts, and finds an upload that the pool does not have for it.
    let second = cluster.another_door("door02");
    client.send(&data[1000..]);
    eventually("the replica is durable", || {
        let lengths =
            files::replicas(&root).into_iter().map(|path| std::fs::metadata(path).map_or(0, |it| it.len()));
        lengths.into_iter().any(|length| length == data.len() as u64).then_some(())
    });

    cluster.crash_door();

    assert_eq!(client.answer().status, 201);
    let back = Curl::new(format!("{}/file", second.url)).follow().run().expect(200);
    assert!(back.body == data);
}
