//! https at the door: what clients see of it, and what those meet who do not behave.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use penstock_tests::certificates::Authority;
use penstock_tests::curl::Curl;
use penstock_tests::files::{self, MIB};
use penstock_tests::manager::start_named_on;
use penstock_tests::metrics::Metrics;
use penstock_tests::patience::eventually;
use penstock_tests::ports;
use penstock_tests::python;
use penstock_tests::room::Room;
use penstock_tests::secure_site::{Plan, SecureSite};
use rustix::process::Signal;

/// Connects by TLS in the version of the fourth argument, twice, the second time with the ticket of the first; prints
/// whether that was taken.
const COME_AGAIN: &str = "
import socket, ssl, sys
address, ca, version = (sys.argv[1], int(sys.argv[2])), sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=ca)
context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
def ask(session):
    with socket.create_connection(address) as tcp:
        with context.wrap_socket(tcp, server_hostname='localhost', session=session) as tls:
            tls.sendall(b'OPTIONS / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
            while tls.recv(65536): pass
            return tls.session, tls.session_reused
session, first = ask(None)
_, second = ask(session)
print(first, second)
";

/// Sends a head that announces a body and waits for 100, grows tired of that, and sends the body. Prints the status of the
/// answer behind any 100.
const IMPATIENT: &str = "
import socket, ssl, sys, time
address, ca, token = (sys.argv[1], int(sys.argv[2])), sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=ca)
with socket.create_connection(address) as tcp:
    with context.wrap_socket(tcp, server_hostname='localhost') as tls:
        tls.sendall(('PUT /impatient HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer ' + token +
            '\\r\\nContent-Length: 5\\r\\nExpect: 100-continue\\r\\nConnection: close\\r\\n\\r\\n').encode())
        time.sleep(0.5)
        tls.sendall(b'hello')
        text = b''
        while True:
            more = tls.recv(65536)
            if not more: break
            text += more
statuses = [line.split()[1] for line in text.decode().split('\\r\\n') if line.startswith('HTTP/1.1 ')]
print([status for status in statuses if status != '100'][0])
";

/// Prints the serial number of the certificate that a server shows.
const SERIAL: &str = "
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[3])
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as tcp:
    with context.wrap_socket(tcp, server_hostname='localhost') as tls:
        print(tls.getpeercert()['serialNumber'])
";

fn run(program: &str, site: &SecureSite, more: &str) -> String {
    let address = site.tls_address();
    let arguments = [
        address.ip().to_string(),
        address.port().to_string(),
        site.authority.certificate().display().to_string(),
    ];
    python::run(program, arguments.into_iter().chain([more.to_owned()])).trim().to_owned()
}

#[test]
fn clients_of_https_stay_on_https_and_those_of_http_on_http() {
    let site = Plan::new().plain().start();
    let file = files::file(site.room(), "in", 3 * MIB, 1);

    let stored = site.curl("/file").follow().header("Expect", "100-continue").upload(&file).run().expect(201);
    let fetched = site.curl("/file").follow().run().expect(200);

    let pool = format!("https://localhost:{}/", site.pool_tls.port());
    assert!(stored.effective_url.starts_with(&pool), "{}", stored.effective_url.split('?').next().unwrap());
    assert!(fetched.effective_url.starts_with(&pool));
    assert_eq!(fetched.body, std::fs::read(&file).unwrap());
    let plain = Curl::new(format!("http://{}/file", site.plain_address())).token(Some(&site.token));
    let redirect = plain.run().expect(307);
    assert!(
        redirect.redirect_url.starts_with("http://"),
        "{}",
        redirect.redirect_url.split('?').next().unwrap()
    );
}

#[test]
fn bytes_go_through_the_door_by_https() {
    let site = Plan::new().tables("[redirect]\nread = false\n").start();
    // Not a multiple of TLS' records, smaller than one, and none at all.
    for size in [0, 1, 16 * 1024 + 1, 9 * MIB + 77] {
        let file = files::file(site.room(), "in", size, 1);
        let path = format!("/file{size}");

        // Without Expect a client is not sent elsewhere.
        let _ = site.curl(&path).header("Expect", "").upload(&file).run().expect(201);
        let fetched = site.curl(&path).run().expect(200);

        assert_eq!(fetched.redirects, 0);
        assert!(fetched.body == std::fs::read(&file).unwrap(), "{size}");
    }
}

#[test]
fn bytes_that_came_by_https_go_on_by_https_to_a_pool_that_the_door_believes_and_to_no_other() {
    let room = Room::new();
    let stranger = Authority::new(&room.path().join("elsewhere"), "elsewhere").certificate();
    let place = room.join("pool-authorities.pem");
    std::fs::copy(&stranger, &place).unwrap();
    let tables = format!("[redirect]\nread = false\npool_authorities = \"{}\"\n", place.display());
    let site = Plan::new().plain().tables(&tables).joined_by_plain_http().start_in(room);
    let file = files::file(site.room(), "in", MIB + 7, 1);
    let put = || site.curl("/f").header("Expect", "").upload(&file).run();

    let refused = put().expect(502);

    assert!(refused.text().contains("pool01: https with its data port failed"), "{}", refused.text());
    assert_eq!(site.curl("/f").head().run().status, 404);
    // Who has come by plain HTTP is served by plain HTTP, as everywhere.
    let plain = Curl::new(format!("http://{}/plain", site.plain_address())).token(Some(&site.token));
    assert_eq!(plain.header("Expect", "").upload(&file).run().status, 201);

    std::fs::copy(site.authority.certificate(), &place).unwrap();
    site.door.signal(Signal::HUP);
    eventually("the door believes its pool", || (put().status == 201).then_some(()));
    let fetched = site.curl("/f").run().expect(200);
    assert_eq!(fetched.redirects, 0);
    assert!(fetched.body == std::fs::read(&file).unwrap());
    // An empty file that a LOCK makes takes the same way.
    let lock =
        "<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>";
    let locked =
        site.curl("/empty").method("LOCK").arg("--data").arg(lock).header("Content-Type", "text/xml");
    assert_eq!(locked.run().status, 201);
    // So does a body that comes before the client has been sent to the pool.
    site.pool.daemon.signal(Signal::STOP);
    let status = std::thread::scope(|scope| {
        let client = scope.spawn(|| run(IMPATIENT, &site, &site.token));
        std::thread::sleep(Duration::from_secs(2));
        site.pool.daemon.signal(Signal::CONT);
        client.join().unwrap()
    });
    assert_eq!(status, "201");
    assert_eq!(site.curl("/impatient").follow().run().expect(200).body, b"hello");
}

#[test]
fn a_body_that_is_sent_unasked_is_noticed_within_tls() {
    let site = Plan::new().start();
    // The pool is slow: the door does not know yet where to send the client when the body comes.
    site.pool.daemon.signal(Signal::STOP);

    let status = std::thread::scope(|scope| {
        let client = scope.spawn(|| run(IMPATIENT, &site, &site.token));
        std::thread::sleep(Duration::from_secs(2));
        site.pool.daemon.signal(Signal::CONT);
        client.join().unwrap()
    });

    assert_eq!(status, "201", "neither a redirect nor a wait for each other");
    assert_eq!(site.curl("/impatient").follow().run().expect(200).body, b"hello");
}

#[test]
fn a_client_that_comes_again_needs_no_other_handshake() {
    let [admin] = ports::free();
    let site = Plan::new().top(&format!("admin_listen = \"{admin}\"\n")).start();
    for version in ["TLSv1_2", "TLSv1_3"] {
        assert_eq!(run(COME_AGAIN, &site, version), "False True", "{version}");
    }
    let metrics = Metrics::of(&format!("http://{admin}"));
    assert!(metrics.sum_where("penstock_door_tls_handshakes_total", "resumed") >= 2.0);
}

#[test]
fn who_does_not_finish_a_handshake_keeps_out_nobody_and_does_not_stay() {
    let site = Plan::new().tls("handshake_timeout = \"2s\"\nhandshakes = 8\n").start();
    let began = Instant::now();
    let mut silent: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(site.tls_address()).unwrap()).collect();
    // Half a record: the beginning of a handshake that does not go on.
    for (number, stream) in silent.iter_mut().enumerate() {
        if number % 2 == 0 {
            // Those beyond its share have been closed already.
            let _ = std::io::Write::write_all(stream, &[0x16, 3, 1, 1]);
        }
    }

    // They were here first, and took all that one address may take; then their time is over.
    let answer = eventually("somebody else is served", || {
        let answer = site.curl("/").method("PROPFIND").header("Depth", "0").run();
        (answer.status == 207).then_some(answer)
    });

    assert_eq!(answer.status, 207);
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{rest:02x?}");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn plain_http_and_nonsense_at_the_port_of_https_get_an_answer_or_none() {
    let site = Plan::new().start();
    let plain = Curl::new(format!("http://{}/file", site.tls_address())).run().expect(400);
    assert!(plain.text().contains("https"), "{}", plain.text());

    for nonsense in [&b"\x16\x03\x01\xff\xff"[..], b"\x00", b"\x80\x2e\x01\x00\x02", &[0x16; 70_000]] {
        let mut stream = TcpStream::connect(site.tls_address()).unwrap();
        // It may close before it has read all.
        let _ = std::io::Write::write_all(&mut stream, nonsense);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let _ = site.curl("/").method("PROPFIND").header("Depth", "0").run().expect(207);
}

#[test]
fn a_new_certificate_counts_without_a_restart_and_a_broken_one_changes_nothing() {
    let site = Plan::new().start();
    let first = run(SERIAL, &site, "");
    let hang_up = || site.door.signal(Signal::HUP);

    std::fs::write(&site.identity.certificate, "nonsense").unwrap();
    hang_up();
    eventually("the door says so", || {
        site.door.stderr().contains("the new certificate is not used, the old one stays").then_some(())
    });
    assert_eq!(run(SERIAL, &site, ""), first);

    let _ = site.authority.issue("door");
    hang_up();
    eventually("the new certificate is shown", || (run(SERIAL, &site, "") != first).then_some(()));
}

#[test]
fn a_socket_of_the_service_manager_speaks_https_by_its_name() {
    let mut site = Plan::new().start();
    site.door.terminate();
    assert!(site.door.ended().success());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = site.config();
    let mut door = start_named_on(&listener, "https", "penstock-door", &[Path::new("--config"), &config]);

    let ready = door.line("penstock-door ready: ");

    let address = listener.local_addr().unwrap();
    assert!(ready.ends_with(&format!(" https://{address}")), "{ready}");
    let answer = Curl::new(format!("https://localhost:{}/", address.port()))
        .arg("--cacert")
        .arg(site.authority.certificate())
        .token(Some(&site.token))
        .method("PROPFIND")
        .header("Depth", "0")
        .run();
    assert_eq!(answer.expect(207).status, 207);
    door.terminate();
    assert!(door.ended().success());
}

#[test]
fn a_door_that_drains_ends_also_with_clients_in_a_handshake() {
    let mut site = Plan::new().top("timeouts.drain = \"10 s\"\n").start();
    let _silent: Vec<_> = (0..5).map(|_| TcpStream::connect(site.tls_address()).unwrap()).collect();
    let began = Instant::now();
    site.door.terminate();
    assert!(site.door.ended().success(), "{}", site.door.stderr());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}
