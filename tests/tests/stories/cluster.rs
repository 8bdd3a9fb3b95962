//! A site of separate daemons: pools and a door over TCP with mutual TLS.

use std::process::Command;
use std::time::Duration;

use penstock_tests::binaries::binary;
use penstock_tests::certificates::Authority;
use penstock_tests::cluster::{Cluster, make_keys};
use penstock_tests::curl::Curl;
use penstock_tests::files::{self, KIB, MIB};
use penstock_tests::patience::eventually;
use penstock_tests::raw::Raw;
use penstock_tests::site::{target, upload_url};
use rustix::process::Signal;

#[test]
fn two_pools_and_a_door_move_files_of_all_sizes() {
    let cluster = Cluster::start(2);
    for size in [0, 1, 4 * KIB, MIB - 1, MIB, MIB + 1, 16 * MIB] {
        let file = files::file(cluster.room(), "in", size, size);
        let path = format!("/file{size}");
        let _ = cluster.curl(&path).follow().upload(&file).run().expect(201);

        let back = cluster.curl(&path).follow().run().expect(200);

        assert!(back.body == std::fs::read(&file).unwrap(), "{size} bytes");
    }
}

#[test]
fn files_are_spread_over_the_pools() {
    let cluster = Cluster::start(2);
    let file = files::file(cluster.room(), "in", 2 * MIB, 1);
    let mut number = 0;

    eventually("every pool has got a file", || {
        number += 1;
        let _ = cluster.curl(&format!("/spread/{number}")).follow().upload(&file).run().expect(201);
        cluster.pools.iter().all(|pool| !files::replicas(&pool.root).is_empty()).then_some(())
    });

    for number in 1..=number {
        assert_eq!(
            cluster.curl(&format!("/spread/{number}")).follow().run().expect(200).body.len() as u64,
            2 * MIB
        );
    }
}

#[test]
fn the_bytes_of_a_download_flow_while_the_door_is_frozen() {
    let cluster = Cluster::start(1);
    let file = files::file(cluster.room(), "in", 32 * MIB, 2);
    let _ = cluster.curl("/file").follow().upload(&file).run().expect(201);
    let url = cluster.curl("/file").run().expect(307).redirect_url;

    cluster.door.signal(Signal::STOP);
    let back = Curl::new(&url).run().expect(200);
    cluster.door.signal(Signal::CONT);

    assert!(back.body == std::fs::read(&file).unwrap());
    assert_eq!(cluster.curl("/file").run().status, 307, "the door goes on");
}

#[test]
fn the_bytes_of_an_upload_flow_while_the_door_is_frozen_but_201_waits_for_its_word() {
    let cluster = Cluster::start(1);
    let data = files::bytes(16 * MIB, 3);
    let url = upload_url(cluster.door_address(), "/file", data.len() as u64, None);
    let pool = cluster.pool_of(&url);
    let before = files::replicas(&pool.root).len();
    let mut client = Raw::connect(pool.data);

    cluster.door.signal(Signal::STOP);
    client.send(format!(
        "PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        target(&url),
        data.len()
    ));
    client.send(&data);
    eventually("the replica is durable", || (files::replicas(&pool.root).len() > before).then_some(()));
    let silent = client.is_silent_for(Duration::from_millis(500));
    cluster.door.signal(Signal::CONT);

    assert!(silent, "201 before the name is there");
    assert_eq!(client.answer().status, 201);
    assert!(cluster.curl("/file").follow().run().expect(200).body == data);
}

#[test]
fn an_upload_that_ends_while_the_door_is_down_gets_its_name_when_the_door_is_back() {
    let mut cluster = Cluster::start(1);
    let data = files::bytes(4 * MIB, 4);
    let url = upload_url(cluster.door_address(), "/file", data.len() as u64, None);
    let (root, address) = (cluster.pools[0].root.clone(), cluster.pools[0].data);
    let before = files::replicas(&root).len();
    let mut client = Raw::connect(address);
    client.send(format!(
        "PUT {} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        target(&url),
        data.len()
    ));
    client.send(&data[..1000]);
    cluster.door.signal(Signal::STOP);
    client.send(&data[1000..]);
    eventually("the replica is durable", || (files::replicas(&root).len() > before).then_some(()));

    cluster.crash_door();

    assert_eq!(client.answer().status, 201);
    assert!(cluster.curl("/file").follow().run().expect(200).body == data);
}

#[test]
fn without_its_pool_a_file_is_unavailable_and_with_it_it_is_back() {
    let mut cluster = Cluster::start(1);
    let file = files::file(cluster.room(), "in", 2 * MIB, 5);
    let _ = cluster.curl("/file").follow().upload(&file).run().expect(201);
    cluster.pools[0].daemon.terminate();
    assert_eq!(cluster.pools[0].daemon.ended().code(), Some(0));

    let without = eventually("the door notices", || {
        let answer = cluster.curl("/file").run();
        (answer.status != 307).then_some(answer)
    });
    assert_eq!(without.status, 503, "{}", without.text());
    assert!(without.text().contains("pool01"), "{}", without.text());
    assert_eq!(cluster.curl("/file").head().run().status, 200, "the door knows the file all the same");

    cluster.pools[0].start_again();

    eventually("the file is back", || {
        let answer = cluster.curl("/file").follow().run();
        (answer.status == 200 && answer.body.len() as u64 == 2 * MIB).then_some(())
    });
}

#[test]
fn a_door_without_a_certificate_of_the_site_commands_no_pool() {
    let cluster = Cluster::start(1);
    let stranger = Authority::new(cluster.room(), "stranger");
    let identity = stranger.issue("door");
    let config = cluster.room().join("stranger.toml");
    let [listen] = penstock_tests::ports::free();
    let text = format!(
        "name = \"stranger\"\nlisten = \"{listen}\"\nanonymous = \"write\"\n\
         namespace = \"{room}/stranger.db\"\nmacaroon_keys = \"{room}/stranger.keys\"\n\
         [[pools]]\nname = \"pool01\"\naddress = \"localhost:{port}\"\n\
         tls = {{ ca = \"{ca}\", cert = \"{cert}\", key = \"{key}\" }}\n",
        room = cluster.room().display(),
        port = cluster.pools[0].grpc.port(),
        ca = cluster.authority.certificate().display(),
        cert = identity.certificate.display(),
        key = identity.key.display(),
    );
    std::fs::write(&config, text).unwrap();
    make_keys(&config, &cluster.room().join("stranger.token"));
    let mut command = Command::new(binary("penstock-door"));
    let mut door =
        penstock_tests::daemon::Daemon::spawn("the stranger's door", command.arg("--config").arg(&config));
    let _ = door.line("penstock-door ready: ");
    std::thread::sleep(Duration::from_secs(1));

    let file = files::file(cluster.room(), "in", 2 * MIB, 6);
    let answer = Curl::new(format!("http://{listen}/file")).follow().upload(&file).run();

    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.uploaded, 0);
}

#[test]
fn nobody_commands_a_pool_without_tls() {
    let cluster = Cluster::start(1);
    let mut client = Raw::connect(cluster.pools[0].grpc);

    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

    let answer = client.rest();
    assert!(!answer.windows(4).any(|window| window == b"HTTP"), "{}", String::from_utf8_lossy(&answer));
}
