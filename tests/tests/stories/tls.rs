//! The data port with TLS, with the real curl and openssl.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use penstock_door_proto::v1::{self as proto, AcknowledgeRequest};
use penstock_tests::certificates::{Authority, Identity};
use penstock_tests::curl::Curl;
use penstock_tests::files::{self, MIB};
use penstock_tests::lone_pool::LonePool;
use penstock_tests::patience::eventually;
use penstock_tests::pool_client::{Client, download, next, ready_url, start, upload};
use penstock_tests::raw::Raw;
use penstock_tests::room::Room;
use proto::acknowledge_request::Disposition;
use proto::transfer_event::Event;
use rustix::process::Signal;

/// A pool with a certificate, and who has signed it.
struct Secured {
    pool: LonePool,
    tls: SocketAddr,
    authority: Authority,
    identity: Identity,
    room: Room,
}

impl Secured {
    fn start(more: &str) -> Secured {
        let room = Room::new();
        let authority = Authority::new(room.path(), "site");
        let identity = authority.issue("pool");
        let (pool, tls) = LonePool::start_secured(&identity, more);
        Secured { pool, tls, authority, identity, room }
    }

    /// A curl that believes the authority.
    fn curl(&self, url: &str) -> Curl {
        Curl::new(url).arg("--cacert").arg(self.authority.certificate())
    }

    /// Uploads bytes by the URL for clients that came by https.
    fn put(&self, id: &str, bytes: &[u8], change: impl FnOnce(Curl) -> Curl) {
        let source = self.room.join(id);
        std::fs::write(&source, bytes).unwrap();
        let id = id.to_owned();
        self.pool.client().call(async |mut door: Client| {
            let mut events = start(&mut door, secure(upload(&id, "/file"))).await.unwrap();
            let url = ready_url(&mut events).await;
            assert!(url.starts_with(&format!("https://localhost:{}/file?", self.tls.port())), "{url}");
            let sending = change(self.curl(&url).upload(&source)).start();
            let finished = loop {
                match next(&mut events).await {
                    Event::Finished(finished) => break finished,
                    Event::Started(started) => assert!(started.connections.iter().all(|it| it.tls)),
                    Event::Queued(_) | Event::Ready(_) | Event::Progress(_) => {}
                    other => panic!("{other:?}"),
                }
            };
            assert_eq!(finished.size, bytes.len() as u64);
            let keep = Disposition::Keep.into();
            let word =
                AcknowledgeRequest { transfer_id: id.clone(), disposition: keep, ..Default::default() };
            let _ = door.acknowledge(word).await.unwrap();
            let _ = sending.wait().expect(201);
        });
    }

    /// The URL of a download.
    fn url(&self, id: &str, replica: &str) -> String {
        self.pool.client().call(async |mut door: Client| {
            let request = secure(download(id, "/file", &format!("replica-{replica}")));
            ready_url(&mut start(&mut door, request).await.unwrap()).await
        })
    }
}

fn secure(mut request: proto::TransferRequest) -> proto::TransferRequest {
    if let Some(client) = &mut request.client {
        client.secure = true;
    }
    request
}

#[test]
fn files_of_every_size_come_and_go_over_tls_of_either_version() {
    let site = Secured::start("");
    let versions: [fn(Curl) -> Curl; 2] =
        [|curl| curl.arg("--tls-max").arg("1.2"), |curl| curl.arg("--tlsv1.3")];
    for (version, with_version) in versions.into_iter().enumerate() {
        for size in [0, 1, 70_000, MIB + 1, 40 * MIB] {
            let bytes = files::bytes(size, size);
            let id = format!("put-{version}-{size}");
            site.put(&id, &bytes, with_version);
            let url = site.url(&format!("get-{version}-{size}"), &id);
            let answer = with_version(site.curl(&url)).run().expect(200);
            assert!(answer.body == bytes, "{size} bytes");
        }
    }
    let metrics = site.pool.metrics();
    assert_eq!(metrics.sum("penstock_data_tls_handshakes_total"), 20.0);
    assert_eq!(metrics.sum("penstock_data_tls_failures_total"), 0.0);
    assert!(metrics.sum("penstock_data_tls_certificate_ends_at_seconds") > 0.0);
}

#[test]
fn ranges_of_a_file_come_over_tls() {
    let site = Secured::start("");
    let bytes = files::bytes(5 * MIB + 17, 5);
    site.put("file", &bytes, |curl| curl);
    let url = site.url("get", "file");
    for (first, last) in [(0, 0), (16_383, 16_384), (MIB - 1, 3 * MIB), (5 * MIB, 5 * MIB + 16)] {
        let answer = site.curl(&url).arg("--range").arg(format!("{first}-{last}")).run().expect(206);
        assert!(answer.body == bytes[first as usize..=last as usize], "{first}-{last}");
    }
    let several = site.curl(&url).arg("--range").arg("0-9,2000000-2000009").run().expect(206);
    assert!(several.body.windows(10).any(|part| part == &bytes[2_000_000..2_000_010]));
}

#[test]
fn a_slow_reader_gets_every_byte_and_keeps_nobody_waiting() {
    let site = Secured::start("shards = 1\n");
    let bytes = files::bytes(40 * MIB, 40);
    site.put("file", &bytes, |curl| curl);
    let readers: Vec<_> = (0..24)
        .map(|reader| {
            let url = site.url(&format!("slow-{reader}"), "file");
            let limit = if reader == 0 { "12M" } else { "1M" };
            site.curl(&url).arg("--limit-rate").arg(limit).start()
        })
        .collect();
    // More slow readers than buffers; a fast one has its turn nevertheless.
    std::thread::sleep(Duration::from_millis(1500));
    let fast = site.curl(&site.url("fast", "file")).run().expect(200);
    assert!(fast.body == bytes);
    let slow = readers.into_iter().next().unwrap().wait().expect(200);
    assert!(slow.body == bytes);
}

#[test]
fn plain_http_on_the_tls_port_is_told_so_and_the_plain_port_serves_on() {
    let site = Secured::start("");
    let told = Curl::new(format!("http://{}/file", site.tls)).run().expect(400);
    assert_eq!(told.text().trim(), "this port speaks TLS: use https");
    assert_eq!(site.pool.metrics().sum("penstock_data_tls_failures_total"), 1.0);
    let mut plain = Raw::connect(site.pool.data);
    plain.send("OPTIONS / HTTP/1.1\r\nHost: pool\r\n\r\n");
    assert_eq!(plain.answer().status, 204);
}

#[test]
fn the_pool_says_that_it_speaks_tls_and_sends_only_those_there_who_came_by_it() {
    let site = Secured::start("");
    let status = site.pool.client().status();
    assert!(status.features.iter().any(|feature| feature == "tls"), "{:?}", status.features);
    let secure = format!("https://localhost:{}", site.tls.port());
    assert_eq!(status.data_urls, [format!("http://{}", site.pool.data), secure]);
    site.pool.client().call(async |mut door: Client| {
        let mut events = start(&mut door, upload("plain", "/file")).await.unwrap();
        let url = ready_url(&mut events).await;
        assert!(url.starts_with(&format!("http://{}/", site.pool.data)), "{url}");
    });
}

/// The serial number of the certificate that a new client is shown.
fn serial(tls: SocketAddr) -> String {
    let shown = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "openssl s_client -connect {tls} -servername localhost </dev/null 2>/dev/null | openssl x509 -noout -serial"
        ))
        .output()
        .unwrap();
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
fn a_renewed_certificate_is_used_after_a_hangup_and_a_broken_one_never() {
    let site = Secured::start("");
    let first = serial(site.tls);
    assert!(first.starts_with("serial="), "{first}");
    let _ = site.authority.issue("pool");
    site.pool.daemon.signal(Signal::HUP);
    eventually("the new certificate is shown", || (serial(site.tls) != first).then_some(()));
    let second = serial(site.tls);
    std::fs::write(&site.identity.certificate, "nonsense").unwrap();
    site.pool.daemon.signal(Signal::HUP);
    eventually("the log tells of it", || {
        site.pool.daemon.stderr().contains("is not used, the old one stays").then_some(())
    });
    assert_eq!(serial(site.tls), second);
}

#[test]
fn a_pool_with_a_key_that_does_not_fit_does_not_start() {
    let room = Room::new();
    let authority = Authority::new(room.path(), "site");
    let (one, other) = (authority.issue("one"), authority.issue("other"));
    let config = room.join("pool.toml");
    let text = format!(
        "name = \"p\"\nroot = \"{}\"\n[data]\nlisten = \"127.0.0.1:0\"\ncert = \"{}\"\nkey = \"{}\"\n",
        room.join("pool").display(),
        one.certificate.display(),
        other.key.display()
    );
    std::fs::write(&config, text).unwrap();
    let outcome = Command::new(penstock_tests::binaries::binary("penstock-pool"))
        .arg("--config")
        .arg(&config)
        .arg("--check")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(!outcome.status.success());
    assert!(said.contains("data.cert and data.key: ") && said.contains("cannot be used together"), "{said}");
}

/// What openssl says, given words to send.
fn s_client(tls: SocketAddr, arguments: &[&str], words: &str) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &tls.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn openssl_comes_again_by_ticket_and_old_versions_and_renegotiation_are_refused() {
    let site = Secured::start("");
    let again = s_client(site.tls, &["-tls1_2", "-reconnect"], "");
    assert_eq!(again.matches("\nReused, TLSv1.2").count(), 5, "{again}");
    let renegotiation = s_client(site.tls, &["-tls1_2"], "R\n");
    assert!(renegotiation.contains("no renegotiation"), "{renegotiation}");
    let old = s_client(site.tls, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "");
    assert!(old.contains("Cipher is (NONE)") && old.contains("SSL alert number"), "{old}");
}

#[test]
fn an_upload_that_is_cut_has_failed_and_leaves_nothing() {
    let site = Secured::start("");
    site.pool.client().call(async |mut door: Client| {
        let mut events = start(&mut door, secure(upload("cut", "/file"))).await.unwrap();
        let url = ready_url(&mut events).await;
        let (reader, mut writer) = std::io::pipe().unwrap();
        let sending = site.curl(&url).upload_stdin(Stdio::from(reader)).header("Expect", "").start();
        writer.write_all(&files::bytes(3 * MIB, 1)).unwrap();
        loop {
            if let Event::Started(_) = next(&mut events).await {
                break;
            }
        }
        // Killed: neither a last chunk nor a close_notify.
        sending.kill();
        let failed = loop {
            match next(&mut events).await {
                Event::Failed(failed) => break failed,
                Event::Progress(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(failed.text.contains("broke off"), "{}", failed.text);
    });
    assert!(site.pool.client().replicas().is_empty());
}

#[test]
fn a_client_that_connects_and_says_nothing_is_let_go() {
    let site = Secured::start("[timeouts]\nhead = \"1 s\"\n");
    let mut silent = TcpStream::connect(site.tls).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap_or(0), 0);
    assert_eq!(site.pool.metrics().sum("penstock_data_tls_failures_total"), 1.0);
}
