//! Pulls from servers that mean well, each in its own way.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use penstock_door_proto::v1;
use v1::transfer_request::Kind;

use super::far::{Far, Line, Request, Then, serve_file};
use super::{Stage, adler32, bytes, remote};
use crate::checksum::Algorithm;
use crate::engine::core::Core;
use crate::engine::disk::{Disk as _, KernelDisk};
use crate::transfer::put::write::Writes;
use crate::transfer::state::StateName;
use crate::transfer::{FailureCode, Limit, Side};

#[test]
fn a_file_of_any_size_arrives_whole() {
    for size in [0, 1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1, 5_000_001] {
        let (stage, file) = (Stage::new(), bytes(size));
        let far = Far::serving(file.clone());

        let finished = stage.succeeds(&stage.pull(&far));

        assert!(stage.stored("r1").as_deref() == Some(&file[..]), "{size}");
        assert_eq!((finished.size, finished.summary.bytes_moved), (size as u64, size as u64));
        assert!(finished.checksums.contains(&adler32(&file)));
        assert_eq!(far.methods(), ["HEAD", "GET"], "{size}");
        let connections = &finished.summary.connections;
        assert_eq!(connections.last().unwrap().info.remote, far.address());
        let received: u64 = connections.iter().map(|connection| connection.bytes_received).sum();
        assert_eq!(received, size as u64);
    }
}

#[test]
fn the_requests_ask_for_checksums_and_no_coding_and_carry_the_users_headers() {
    let stage = Stage::new();
    let far = Far::serving(bytes(10));
    let mut remote = remote(&far);
    let header = |name: &str, value: &str| v1::Header { name: name.into(), value: value.into() };
    remote.headers =
        vec![header("Authorization", "Bearer SECRET"), header("Content-Length", "7"), header("X-Y", "")];

    let pull = v1::Pull { remote: Some(remote), ..Default::default() };
    stage.succeeds(&stage.start("r1", Kind::Pull(pull)));

    for request in far.requests() {
        assert_eq!(request.target, "/far/file?authz=SECRET");
        assert_eq!(request.header("host"), Some(far.address().to_string().as_str()));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert!(request.header("want-digest").unwrap().starts_with("adler32,"));
        assert!(request.header("want-repr-digest").unwrap().starts_with("adler=10"));
        assert_eq!(request.header("authorization"), Some("Bearer SECRET"));
        assert_eq!(request.header("content-length"), None);
        assert!(request.header("user-agent").unwrap().starts_with("Penstock/"));
    }
}

#[test]
fn bodies_in_chunks_and_bodies_until_the_connection_closes_are_taken() {
    let file = bytes(3_000_000);
    for chunked in [true, false] {
        let (stage, sent) = (Stage::new(), file.clone());
        let far = Far::new(move |request, line| {
            if request.method == "HEAD" {
                line.answer("405 Method Not Allowed", "", b"");
                return Then::Keep;
            }
            let digest = format!("Digest: adler32={}\r\n", adler32(&sent).hex());
            if chunked {
                line.say(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{digest}\r\n"));
                for piece in sent.chunks(70_000) {
                    line.say(format!("{:x};ext=1\r\n", piece.len()));
                    line.say(piece);
                    line.say("\r\n");
                }
                line.say("0\r\n\r\n");
                return Then::Keep;
            }
            line.say(format!("HTTP/1.0 200 OK\r\n{digest}\r\n"));
            line.say(&sent);
            Then::Close
        });
        stage.succeeds(&stage.pull(&far));
        assert!(stage.stored("r1").as_deref() == Some(&file[..]), "chunked: {chunked}");
    }
}

#[test]
fn a_slow_source_is_waited_for_and_holds_no_buffer_meanwhile() {
    let (stage, file) = (Stage::new(), bytes(300_000));
    let sent = file.clone();
    let far = Far::new(move |request, line| {
        if request.method == "HEAD" {
            return serve_file(&sent, request, line);
        }
        line.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()));
        for piece in sent.chunks(50_001) {
            line.say(piece);
            std::thread::sleep(Duration::from_millis(150));
        }
        Then::Keep
    });
    let transfer = stage.pull(&far);
    stage.reaches(&transfer, StateName::Running);
    std::thread::sleep(Duration::from_millis(250));
    let (sender, receiver) = std::sync::mpsc::channel();
    stage.shard.submit(move |core| async move { sender.send(core.arena().used()).unwrap() }).unwrap();
    assert_eq!(receiver.recv().unwrap(), 0);
    let finished = stage.succeeds(&transfer);
    assert!(stage.stored("r1").as_deref() == Some(&file[..]));
    assert!(finished.summary.limits.share(Limit::Source) > 0.8, "{:?}", finished.summary.limits);
}

#[test]
fn a_source_that_brings_the_file_online_is_asked_again() {
    let (stage, file) = (Stage::new(), bytes(1000));
    let far = Far::new(move |request, line| {
        if request.method == "GET" && request.number == 0 {
            line.answer("202 Accepted", "", b"staging");
            return Then::Keep;
        }
        serve_file(&file, request, line)
    });
    let began_at = std::time::Instant::now();
    stage.succeeds(&stage.pull(&far));
    assert_eq!(far.methods(), ["HEAD", "GET", "GET"]);
    assert!(began_at.elapsed() >= Duration::from_secs(5));
}

#[test]
fn redirects_are_followed_and_credentials_stay_with_their_origin() {
    let (stage, file) = (Stage::new(), bytes(100_000));
    let data = Far::serving(file.clone());
    let to = format!("http://{}/data?ticket=1", data.address());
    let door = Far::new(move |request, line| {
        match request.target.as_str() {
            "/there" => line.answer("302 Found", &format!("Location: {to}\r\n"), b"go there"),
            _ => line.answer("307 Temporary Redirect", "Location: /there\r\n", b""),
        }
        Then::Keep
    });
    let mut remote = remote(&door);
    remote.headers = vec![
        v1::Header { name: "Authorization".into(), value: "Bearer SECRET".into() },
        v1::Header { name: "ClientInfo".into(), value: "job-id=1".into() },
    ];
    let transfer = stage.start("r1", Kind::Pull(v1::Pull { remote: Some(remote), ..Default::default() }));

    let finished = stage.succeeds(&transfer);

    assert!(stage.stored("r1").as_deref() == Some(&file[..]));
    assert!(door.requests().iter().all(|request| request.header("authorization") == Some("Bearer SECRET")));
    assert_eq!(data.methods(), ["HEAD", "GET"]);
    for request in data.requests() {
        assert_eq!((request.target.as_str(), request.header("authorization")), ("/data?ticket=1", None));
        assert_eq!(request.header("clientinfo"), Some("job-id=1"));
    }
    assert_eq!(finished.summary.connections.last().unwrap().info.remote, data.address());
}

#[test]
fn connections_are_used_again_for_the_next_request_and_the_next_copy() {
    let stage = Stage::with(|settings| settings.keep_alive = Duration::from_secs(60));
    let far = Far::serving(bytes(1000));
    for replica in ["r1", "r2", "r3"] {
        let pull = v1::Pull { remote: Some(remote(&far)), ..Default::default() };
        let transfer = stage.start(replica, Kind::Pull(pull));
        assert_eq!(stage.end(&transfer).name(), StateName::Done);
    }
    assert_eq!((far.connections(), far.requests().len()), (1, 6));
}

#[test]
fn a_waiting_connection_that_the_server_has_closed_is_replaced() {
    let stage = Stage::with(|settings| settings.keep_alive = Duration::from_secs(60));
    let file = bytes(1000);
    // It says that it keeps the connection, and does not.
    let far = Far::new(move |request, line| {
        serve_file(&file, request, line);
        Then::Close
    });
    for replica in ["r1", "r2"] {
        let pull = v1::Pull { remote: Some(remote(&far)), ..Default::default() };
        let transfer = stage.start(replica, Kind::Pull(pull));
        assert_eq!(stage.end(&transfer).name(), StateName::Done);
    }
    assert_eq!(far.methods(), ["HEAD", "GET", "HEAD", "GET"]);
}

/// A server that tells these checksums, if any, with HEAD and with GET.
fn telling(file: Vec<u8>, on_head: &'static str, on_get: &'static str) -> Far {
    Far::new(move |request: &Request, line: &mut Line| {
        let headers = if request.method == "HEAD" { on_head } else { on_get };
        let body = if request.method == "HEAD" { &[][..] } else { &file[..] };
        line.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", file.len()));
        line.say(body);
        Then::Keep
    })
}

#[test]
fn the_sources_checksum_is_compared_however_it_is_told() {
    let file = b"Wikipedia".to_vec();
    let good = [
        ("Digest: adler32=11e60398\r\n", ""),
        ("", "Digest: ADLER32=11e60398\r\n"),
        ("", "Repr-Digest: adler=:EeYDmA==:\r\n"),
        ("", "OC-Checksum: Adler32:11e60398\r\n"),
        // Not computed unless the source tells nothing else.
        ("", "Content-MD5: nAB5dvD/tIwrW9ZJu7T0OA==\r\n"),
        ("Digest: md5=nAB5dvD/tIwrW9ZJu7T0OA==\r\n", ""),
    ];
    for (on_head, on_get) in good {
        let md5 = on_head.contains("md5") || on_get.contains("MD5");
        let actual = {
            let mut hasher = crate::checksum::Hasher::new(Algorithm::Md5);
            hasher.update(&file);
            hasher.finish().base64()
        };
        let (on_head, on_get) = (
            on_head.replace("nAB5dvD/tIwrW9ZJu7T0OA==", &actual).leak(),
            on_get.replace("nAB5dvD/tIwrW9ZJu7T0OA==", &actual).leak(),
        );
        let stage = Stage::new();
        let far = telling(file.clone(), on_head, on_get);
        let finished = stage.succeeds(&stage.pull(&far));
        let has_md5 = finished.checksums.iter().any(|checksum| checksum.algorithm() == Algorithm::Md5);
        assert_eq!(has_md5, md5, "{on_head}{on_get}");
    }
    for (on_head, on_get) in
        [("Digest: adler32=11e60399\r\n", ""), ("", "Digest: md5=rFb0uPrFc5zNtFd30xO+zw==\r\n")]
    {
        let stage = Stage::new();
        let failure = stage.fails(&stage.pull(&telling(file.clone(), on_head, on_get)));
        assert_eq!((failure.code, failure.side), (FailureCode::Verification, Side::Source));
        assert!(
            failure.text().starts_with("verification failed: Checksum mismatch (expected=["),
            "{failure}"
        );
    }
}

#[test]
fn a_source_without_checksums_is_copied_only_by_those_who_say_so() {
    let file = b"Wikipedia".to_vec();
    let stage = Stage::new();
    let failure = stage.fails(&stage.pull(&telling(file.clone(), "", "")));
    assert_eq!(failure.code, FailureCode::Verification);
    assert!(failure.text().contains("RequireChecksumVerification: false"), "{failure}");
    assert!(!failure.retryable);

    let far = telling(file.clone(), "", "");
    let remote = v1::Remote { require_checksum_verification: false, ..remote(&far) };
    stage.succeeds(&stage.start("r1", Kind::Pull(v1::Pull { remote: Some(remote), ..Default::default() })));
    assert_eq!(stage.stored("r1"), Some(file));
}

#[test]
fn what_the_door_expects_must_arrive() {
    let (stage, file) = (Stage::new(), b"Wikipedia".to_vec());
    let far = Far::serving(file);
    let pull = |change: &dyn Fn(&mut v1::Pull)| {
        let mut pull = v1::Pull { remote: Some(remote(&far)), ..Default::default() };
        change(&mut pull);
        stage.start("r1", Kind::Pull(pull))
    };
    let failure = stage.fails(&pull(&|pull| pull.size = Some(10)));
    assert_eq!(failure.code, FailureCode::SizeMismatch);
    assert_eq!(failure.text(), "size mismatch on GET: the source has 9 bytes, the door expects 10");
    let failure = stage.fails(&pull(&|pull| pull.maximum_size = 8));
    assert_eq!(failure.code, FailureCode::TooLarge);
    let wrong: v1::Checksum = "adler32:11e60399".parse::<crate::checksum::Checksum>().unwrap().into();
    let failure = stage.fails(&pull(&|pull| pull.expected_checksums = vec![wrong.clone()]));
    assert_eq!(failure.code, FailureCode::ChecksumMismatch);
    stage.succeeds(&pull(&|pull| pull.size = Some(9)));
}

#[test]
fn without_head_the_get_alone_tells() {
    let stage = Stage::new();
    let far = Far::serving(bytes(5000));
    let remote = v1::Remote { no_head: true, ..remote(&far) };
    stage.succeeds(&stage.start("r1", Kind::Pull(v1::Pull { remote: Some(remote), ..Default::default() })));
    assert_eq!(far.methods(), ["GET"]);
}

#[test]
fn a_broken_stream_goes_on_behind_the_last_byte() {
    let (stage, file) = (Stage::new(), bytes(3_500_000));
    let sent = file.clone();
    let far = Far::new(move |request, line| {
        let cut = match (request.method.as_str(), request.number) {
            ("GET", 0) => 1_700_000,
            ("GET", 1) => 500_000,
            _ => return serve_file(&sent, request, line),
        };
        // All that was promised is announced, and the connection ends before.
        let (first, last) = request.range().unwrap_or((0, sent.len() - 1));
        let status = if request.range().is_some() { "206 Partial Content" } else { "200 OK" };
        line.say(format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"v1\"\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
            last + 1 - first,
            sent.len()
        ));
        line.say(&sent[first..first + cut]);
        Then::Close
    });
    let transfer = stage.pull(&far);
    let finished = stage.succeeds(&transfer);
    assert!(stage.stored("r1").as_deref() == Some(&file[..]));
    assert_eq!(transfer.progress().retries(), 2);
    assert_eq!(finished.summary.bytes_moved, file.len() as u64, "nothing is counted twice");
    let requests = far.requests();
    let ranges: Vec<_> = requests.iter().map(|request| request.range().map(|(first, _)| first)).collect();
    assert_eq!(ranges, [None, None, Some(1_700_000), Some(2_200_000)]);
    assert_eq!(requests[2].header("if-range"), Some("\"v1\""));
}

#[test]
fn a_limit_on_the_rate_holds() {
    let stage = Stage::new();
    let far = Far::serving(bytes(6 << 20));
    let pull = v1::Pull { remote: Some(remote(&far)), ..Default::default() };
    let began_at = std::time::Instant::now();
    stage.succeeds(&stage.start_limited("r1", Kind::Pull(pull), 4 << 20));
    // The last piece need not be waited for.
    assert!(began_at.elapsed() >= Duration::from_millis(1000), "{:?}", began_at.elapsed());
}

#[test]
fn calling_off_at_any_point_leaves_nothing() {
    for point in ["head", "answer", "body", "verification"] {
        let stage = Stage::new();
        let far = Far::new(move |request, line| {
            let here = match (point, request.method.as_str(), request.number) {
                ("head", "HEAD", 0) => true,
                ("answer", "GET", _) => true,
                ("body", "GET", _) => {
                    line.say("HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n");
                    line.say(bytes(3_000_000));
                    true
                }
                ("verification", "HEAD", number) => number == 1,
                _ => false,
            };
            if here {
                line.wait_until_gone();
                return Then::Close;
            }
            match request.method.as_str() {
                "HEAD" => line.answer("403 Forbidden", "Connection: close\r\n", b""),
                _ => line.answer("200 OK", "", &bytes(2_000_000)),
            }
            Then::Keep
        });
        let transfer = stage.pull(&far);
        let waits_at = match point {
            "head" => 1,
            "verification" => 3,
            _ => 2,
        };
        let began_at = std::time::Instant::now();
        while far.requests().len() < waits_at {
            assert!(began_at.elapsed() < Duration::from_secs(10), "{point}: {:?}", far.methods());
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        assert!(transfer.cancel("enough"), "{point}");
        assert_eq!(stage.end(&transfer).name(), StateName::Cancelled);
        stage.no_replica_is_left();
        stage.nothing_is_left_in_use();
    }
}

#[test]
fn a_disk_that_refuses_the_bytes_of_three_in_a_row_makes_the_pool_read_only() {
    let stage = Stage::new();
    let far = Far::serving(bytes(1));
    let transfer = stage.pull(&far);
    stage.succeeds(&transfer);
    for number in 1..=3 {
        assert!(stage.store.health().read_only.is_none(), "before the {number}. failure");
        let (store, transfer) = (Arc::clone(&stage.store), Arc::clone(&transfer));
        let (sender, receiver) = std::sync::mpsc::channel();
        let write = move |core: Rc<Core>| async move {
            // A file that answers EIO: nothing is mapped where this process's memory begins.
            let file = KernelDisk.lock(Path::new("/proc/self/mem")).unwrap();
            let writes = Writes::new(&core, &file, false, &transfer, &store);
            for _ in 0..2 {
                writes.start(Rc::new(core.arena().take().await), 4096, 4096, 0);
            }
            sender.send(writes.settled().await.unwrap_err().raw_os_error()).unwrap();
        };
        stage.shard.submit(write).unwrap();
        assert_eq!(receiver.recv().unwrap(), Some(libc::EIO));
    }
    assert!(stage.store.health().read_only.is_some());
}
