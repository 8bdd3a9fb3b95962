//! Pushes to servers of every kind.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use penstock_door_proto::v1;
use v1::transfer_request::Kind;

use super::far::{Far, Line, Request, Then};
use super::{Stage, adler32, bytes, remote};
use crate::transfer::state::StateName;
use crate::transfer::{FailureCode, Side};

/// What a destination holds.
type Kept = Arc<Mutex<Option<Vec<u8>>>>;

/// Takes a body as a good server does: leave first, where it is asked for.
fn take(request: &Request, line: &mut Line) -> Vec<u8> {
    if request.header("expect").is_some() {
        line.say("HTTP/1.1 100 Continue\r\n\r\n");
    }
    line.take(request.content_length())
}

/// A destination that keeps what it gets, and tells its checksum with HEAD.
fn keeping(kept: &Kept) -> Far {
    let kept = Arc::clone(kept);
    Far::new(move |request, line| {
        keep(&kept, request, line);
        Then::Keep
    })
}

fn keep(kept: &Kept, request: &Request, line: &mut Line) {
    match request.method.as_str() {
        "PUT" => {
            *kept.lock().unwrap() = Some(take(request, line));
            line.answer("201 Created", "", b"");
        }
        "HEAD" => match &*kept.lock().unwrap() {
            Some(file) => line.say(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nDigest: adler32={}\r\n\r\n",
                file.len(),
                adler32(file).hex()
            )),
            None => line.say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        },
        "DELETE" => {
            *kept.lock().unwrap() = None;
            line.say("HTTP/1.1 204 No Content\r\n\r\n");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_file_of_any_size_arrives_whole() {
    for size in [0, 1, 4096, 1 << 20, 5_000_001] {
        let (stage, kept, file) = (Stage::new(), Kept::default(), bytes(size));
        stage.store("r1", &file);
        let far = keeping(&kept);

        let finished = stage.succeeds(&stage.push(&far));

        assert!(kept.lock().unwrap().as_deref() == Some(&file[..]), "{size}");
        assert_eq!((finished.size, finished.summary.bytes_moved), (size as u64, size as u64));
        assert!(finished.checksums.contains(&adler32(&file)));
        assert_eq!(far.methods(), ["PUT", "HEAD"]);
        let put = &far.requests()[0];
        assert_eq!(put.header("expect").is_some(), size > 0, "an empty body is not announced");
        assert_eq!(put.header("content-length"), Some(size.to_string().as_str()));
        assert_eq!(put.header("transfer-encoding"), None);
        assert_eq!(put.header("digest"), Some(format!("adler32={}", adler32(&file).hex()).as_str()));
    }
}

#[test]
fn a_digest_in_the_answer_saves_the_question() {
    for (delta, good) in [(0, true), (1, false)] {
        let (stage, file) = (Stage::new(), bytes(100_000));
        stage.store("r1", &file);
        let far = Far::new(move |request, line| {
            if request.method == "PUT" {
                let body = take(request, line);
                let sum = u32::from_be_bytes(adler32(&body).value().try_into().unwrap()) ^ delta;
                line.answer("201 Created", &format!("Digest: adler32={sum:08x}\r\n"), b"");
            } else {
                line.say("HTTP/1.1 204 No Content\r\n\r\n");
            }
            Then::Keep
        });
        let transfer = stage.push(&far);
        if good {
            stage.succeeds(&transfer);
            assert_eq!(far.methods(), ["PUT"]);
            continue;
        }
        let failure = stage.fails(&transfer);
        assert_eq!((failure.code, failure.side), (FailureCode::Verification, Side::Destination));
        assert!(
            failure.text().starts_with("verification failed: Checksum mismatch (expected=["),
            "{failure}"
        );
        assert!(failure.text().ends_with("; what was there of it is removed"), "{failure}");
        assert_eq!(far.methods(), ["PUT", "DELETE"]);
    }
}

#[test]
fn redirects_are_followed_before_the_body() {
    let (stage, kept, file) = (Stage::new(), Kept::default(), bytes(3_000_000));
    stage.store("r1", &file);
    let pool = keeping(&kept);
    let (at, theirs) = (pool.address(), Arc::clone(&kept));
    let door = Far::new(move |request, line| {
        if request.method == "PUT" {
            line.answer("307 Temporary Redirect", &format!("Location: http://{at}/pool\r\n"), b"");
            return Then::Close;
        }
        keep(&theirs, request, line);
        Then::Keep
    });
    stage.succeeds(&stage.push(&door));
    assert!(kept.lock().unwrap().as_deref() == Some(&file[..]));
    assert_eq!(pool.methods(), ["PUT"]);
    assert_eq!(door.methods(), ["PUT", "HEAD"]);
}

#[test]
fn a_file_of_no_bytes_is_redirected_as_well() {
    let (stage, kept) = (Stage::new(), Kept::default());
    stage.store("r1", b"");
    let pool = keeping(&kept);
    let (at, theirs) = (pool.address(), Arc::clone(&kept));
    let door = Far::new(move |request, line| {
        match request.method.as_str() {
            "PUT" => line.answer("307 Temporary Redirect", &format!("Location: http://{at}/pool\r\n"), b""),
            _ => keep(&theirs, request, line),
        }
        Then::Keep
    });
    stage.succeeds(&stage.push(&door));
    assert_eq!(kept.lock().unwrap().as_deref(), Some(&[][..]));
    assert_eq!(door.methods(), ["PUT", "HEAD"]);
}

#[test]
fn a_destination_that_refuses_the_expectation_gets_the_body_without() {
    let (stage, kept, file) = (Stage::new(), Kept::default(), bytes(200_000));
    stage.store("r1", &file);
    let theirs = Arc::clone(&kept);
    let far = Far::new(move |request, line| {
        if request.header("expect").is_some() {
            line.answer("417 Expectation Failed", "", b"");
            return Then::Close;
        }
        keep(&theirs, request, line);
        Then::Keep
    });
    stage.succeeds(&stage.push(&far));
    assert!(kept.lock().unwrap().as_deref() == Some(&file[..]));
}

#[test]
fn refusals_are_told_as_they_are_and_nothing_is_removed() {
    for status in ["403 Forbidden", "409 Conflict", "507 Insufficient Storage"] {
        let stage = Stage::new();
        stage.store("r1", &bytes(100_000));
        let far = Far::new(move |_, line| {
            line.answer(status, "", b"");
            Then::Close
        });
        let failure = stage.fails(&stage.push(&far));
        assert_eq!(failure.text(), format!("rejected PUT: {status}"));
        assert_eq!((failure.code, failure.side), (FailureCode::RemoteRefused, Side::Destination));
        assert_eq!(far.methods(), ["PUT"]);
    }
}

#[test]
fn a_destination_that_gives_up_in_the_middle_is_heard() {
    let stage = Stage::new();
    stage.store("r1", &bytes(40_000_000));
    let far = Far::new(|request, line| {
        if request.method == "DELETE" {
            line.say("HTTP/1.1 204 No Content\r\n\r\n");
            return Then::Keep;
        }
        line.say("HTTP/1.1 100 Continue\r\n\r\n");
        line.take(1_000_000);
        line.answer("507 Insufficient Storage", "Connection: close\r\n", b"");
        // It reads on, so that its words are not lost.
        line.wait_until_gone();
        Then::Close
    });
    let failure = stage.fails(&stage.push(&far));
    assert_eq!(failure.text(), "rejected PUT: 507 Insufficient Storage; what was there of it is removed");
    assert_eq!(far.methods(), ["PUT", "DELETE"]);
}

#[test]
fn progress_is_what_has_arrived_and_a_stall_names_everything() {
    let stage = Stage::with(|settings| settings.idle_timeout = Duration::from_millis(1500));
    let size = 60_000_000;
    stage.store("r1", &bytes(size));
    const TAKEN: usize = 20_000_000;
    let far = Far::new(|request, line| {
        if request.method == "DELETE" {
            line.say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            return Then::Keep;
        }
        line.say("HTTP/1.1 100 Continue\r\n\r\n");
        line.take(TAKEN);
        std::thread::sleep(Duration::from_secs(8));
        Then::Close
    });
    let transfer = stage.push(&far);
    let failure = stage.fails(&transfer);
    // What the destination's kernel has acknowledged for it lies in its buffer; what is still here does not count.
    let moved = transfer.progress().bytes_moved() as usize;
    assert!((TAKEN..size).contains(&moved), "{moved}");
    let connection = &transfer.progress().connections()[0];
    assert!(connection.bytes_sent as usize >= moved);
    assert_eq!((failure.code, failure.side), (FailureCode::Stalled, Side::Destination));
    let text = failure.text();
    assert!(
        text.starts_with(&format!(
            "socket timeout on PUT: the destination took nothing for 1 s, at byte {moved} of {size}, after "
        )),
        "{text}"
    );
    assert!(
        text.contains(&format!("destination {}, rtt ", far.address())) && text.contains(" retransmits"),
        "{text}"
    );
    assert!(text.ends_with("; nothing of it is there"), "{text}");
}

#[test]
fn a_connection_that_breaks_is_told_and_what_is_there_is_removed() {
    let stage = Stage::new();
    stage.store("r1", &bytes(30_000_000));
    let far = Far::new(|request, line| {
        if request.method == "DELETE" {
            line.answer("403 Forbidden", "", b"");
            return Then::Keep;
        }
        line.say("HTTP/1.1 100 Continue\r\n\r\n");
        line.take(1_000_000);
        line.reset();
        Then::Close
    });
    let failure = stage.fails(&stage.push(&far));
    assert_eq!((failure.code, failure.side), (FailureCode::ConnectionLost, Side::Network));
    assert!(failure.text().starts_with("connection lost on PUT: "), "{failure}");
    assert!(
        failure.text().ends_with("; what is there could not be removed: rejected DELETE: 403 Forbidden"),
        "{failure}"
    );
}

/// A destination that takes all, and answers HEAD so.
fn telling(head: &'static str) -> Far {
    Far::new(move |request, line| {
        match request.method.as_str() {
            "PUT" => {
                take(request, line);
                line.answer("201 Created", "", b"");
            }
            "HEAD" => line.say(format!("HTTP/1.1 {head}\r\n\r\n")),
            _ => line.say("HTTP/1.1 204 No Content\r\n\r\n"),
        }
        Then::Keep
    })
}

#[test]
fn what_the_destination_says_it_has_must_be_what_was_sent() {
    let cases = [
        (
            "200 OK\r\nContent-Length: 999\r\nDigest: adler32=1",
            "verification failed: HEAD Content-Length (999) does not match file size (1000)",
        ),
        (
            "200 OK\r\nContent-Length: 1000\r\nDigest: adler32=1",
            "verification failed: Checksum mismatch (expected=[1:00000001]",
        ),
        (
            "200 OK\r\nContent-Length: 1000\r\nContent-MD5: rFb0uPrFc5zNtFd30xO+zw==",
            "verification failed: Checksum mismatch (expected=[2:ac56f4b8",
        ),
        ("404 Not Found", "verification failed: rejected HEAD: 404 Not Found"),
        ("200 OK\r\nContent-Length: 1000", "verification failed: the destination tells no checksum"),
    ];
    for (head, text) in cases {
        let stage = Stage::new();
        stage.store("r1", &bytes(1000));
        let far = telling(head);
        let failure = stage.fails(&stage.push(&far));
        assert_eq!(failure.code, FailureCode::Verification, "{failure}");
        assert!(failure.text().starts_with(text), "{failure}");
        assert!(failure.text().ends_with("; what was there of it is removed"), "{failure}");
        assert_eq!(far.methods().last().unwrap(), "DELETE");
    }
}

#[test]
fn without_required_verification_a_destination_may_be_silent_but_not_wrong() {
    for (head, good) in [
        ("200 OK\r\nContent-Length: 1000", true),
        ("405 Method Not Allowed\r\nContent-Length: 0", true),
        ("200 OK\r\nContent-Length: 1000\r\nDigest: adler32=1", false),
        ("200 OK\r\nContent-Length: 7", false),
    ] {
        let stage = Stage::new();
        stage.store("r1", &bytes(1000));
        let far = telling(head);
        let remote = v1::Remote { require_checksum_verification: false, ..remote(&far) };
        let transfer = stage.start("r1", Kind::Push(v1::Push { remote: Some(remote) }));
        match good {
            true => drop(stage.succeeds(&transfer)),
            false => drop(stage.fails(&transfer)),
        }
    }
}

#[test]
fn calling_off_removes_what_is_there() {
    let stage = Stage::new();
    stage.store("r1", &bytes(60_000_000));
    let far = Far::new(|request, line| {
        if request.method == "DELETE" {
            line.say("HTTP/1.1 204 No Content\r\n\r\n");
            return Then::Keep;
        }
        line.say("HTTP/1.1 100 Continue\r\n\r\n");
        line.take(1_000_000);
        std::thread::sleep(Duration::from_millis(500));
        line.wait_until_gone();
        Then::Close
    });
    let transfer = stage.push(&far);
    stage.reaches(&transfer, StateName::Running);
    std::thread::sleep(Duration::from_millis(200));
    assert!(transfer.cancel("enough"));
    assert_eq!(stage.end(&transfer).name(), StateName::Cancelled);
    stage.nothing_is_left_in_use();
    assert_eq!(far.methods(), ["PUT", "DELETE"]);
}

#[test]
fn bad_bytes_do_not_leave_and_what_left_is_removed() {
    let (stage, kept) = (Stage::new(), Kept::default());
    let file = bytes(5 << 20);
    stage.store("r1", &file);
    flip_a_bit(&stage, 3 << 20);
    let far = keeping(&kept);
    let began_at = Instant::now();
    let failure = stage.fails(&stage.push(&far));
    assert_eq!((failure.code, failure.side), (FailureCode::ReplicaBroken, Side::Pool));
    assert!(failure.text().starts_with("reading r1 failed: "), "{failure}");
    assert!(began_at.elapsed() < Duration::from_secs(10));
}

/// On the disk, behind the pool's back.
fn flip_a_bit(stage: &Stage, at: u64) {
    use std::os::unix::fs::FileExt;
    let data = stage._dir.path().join("pool/data");
    let mut paths = vec![data];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        }
    }
}
