//! Far sides that mean ill or are broken, as the client is told of them: one line each, and nothing is left.
//!
//! Which code and side each has, and many more points at which a connection may end, are stories of the pool's own.

use std::time::Duration;

use penstock_tests::files::{self, MIB};
use penstock_tests::patience::eventually;
use penstock_tests::raw::Raw;
use penstock_tests::remote::scripted::{Line, Request, Scripted};

use super::{Here, failed, succeeded};

/// Short times, and no second attempt.
const IMPATIENT: &str = "tpc.connect_timeout = \"2 s\"\ntpc.first_byte_timeout = \"1 s\"\n\
                         tpc.idle_timeout = \"1 s\"\ntpc.verification_timeout = \"1 s\"\ntpc.retries = 0\n";
/// What most of these servers announce.
const ANNOUNCED: u64 = 100_000;
/// What they know of HEAD.
const NO_HEAD: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";

type Say = fn(&Request, &mut Line);

struct Case {
    name: &'static str,
    /// The answer to HEAD.
    head: &'static str,
    /// The answer to the request that carries data.
    say: Say,
    /// Where the client's line must begin so, behind `failure: `.
    begins: &'static str,
    /// What else it must say.
    says: &'static str,
}

fn case(name: &'static str, begins: &'static str, says: &'static str, say: Say) -> Case {
    Case { name, head: NO_HEAD, say, begins, says }
}

fn body(length: u64) -> Vec<u8> {
    files::bytes(length, 1)
}

fn announce(line: &mut Line) {
    line.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {ANNOUNCED}\r\nETag: \"v1\"\r\n\r\n"));
}

fn redirect(line: &mut Line, location: &str) {
    line.say(format!("HTTP/1.1 307 Over there\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"));
}

fn sources() -> Vec<Case> {
    vec![
        case("a short body", "connection lost on GET: the source closed", " of 100000, after ", |_, line| {
            announce(line);
            line.say(body(60_000));
        }),
        Case {
            head: "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
            ..case(
                "a long body",
                "size mismatch on GET: ",
                "more than the 100000 bytes that it announced",
                |_, line| {
                    line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1adb0\r\n");
                    line.say(body(0x1adb0));
                    line.say("\r\n0\r\n\r\n");
                },
            )
        },
        case("an error page", "verification failed: ", "sent text/html, perhaps an error page", |_, line| {
            line.say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nDigest: adler32=00000007\r\n");
            line.say("Content-Length: 18\r\n\r\n<html>Sorry</html>");
        }),
        case("two lengths", "failed GET: the answer of 127.0.0.1:", "", |_, line| {
            line.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!");
        }),
        case(
            "a wrong digest",
            "verification failed: Checksum mismatch (",
            "expected=[1:00000007]",
            |_, line| {
                line.say("HTTP/1.1 200 OK\r\nDigest: adler32=00000007\r\nContent-Length: 5\r\n\r\nhello");
            },
        ),
        case("endless headers", "failed GET: the answer of 127.0.0.1:", "", |_, line| {
            line.say("HTTP/1.1 200 OK\r\n");
            (0..10_000).for_each(|_| line.say("X-Header: more and more and more\r\n"));
            line.wait_until_gone();
        }),
        case("endless chunk extensions", "failed GET: ", "chunk extensions are longer", |_, line| {
            line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            line.say(format!("5;{}", "x".repeat(5000)));
            line.wait_until_gone();
        }),
        case("a reason without end", "rejected GET: 404 ", "", |_, line| {
            line.say(format!("HTTP/1.1 404 {}\r\nContent-Length: 0\r\n\r\n", "no ".repeat(1500)));
        }),
        case(
            "one byte a minute",
            "socket timeout on GET: the source sent nothing for 1 s, ",
            " of 100000, after ",
            |_, line| {
                announce(line);
                line.say("x");
                line.wait_until_gone();
            },
        ),
        case(
            "no answer",
            "socket timeout on GET: the source 127.0.0.1:",
            "did not answer within 1 s",
            |_, line| {
                line.wait_until_gone();
            },
        ),
        case("a redirect loop", "failed GET: more than 20 redirects", "", |_, line| redirect(line, "/again")),
        case("a redirect to a file", "forbidden GET: ", "its scheme is 'file'", |_, line| {
            redirect(line, "file:///etc/passwd");
        }),
        case("a redirect inside", "forbidden GET: 169.254.169.254: ", "link-local", |_, line| {
            redirect(line, "http://169.254.169.254/latest/meta-data");
        }),
        case("a reset before the answer", "connection failed for GET: ", "127.0.0.1:", |_, line| {
            line.reset()
        }),
        case("a reset in the head", "connection failed for GET: ", "127.0.0.1:", |_, line| {
            line.say("HTTP/1.1 200 OK\r\nContent-Le");
            std::thread::sleep(Duration::from_millis(100));
            line.reset();
        }),
        case("a reset in the body", "connection lost on GET: ", " of 100000, after ", |_, line| {
            announce(line);
            line.say(body(50_000));
            std::thread::sleep(Duration::from_millis(100));
            line.reset();
        }),
        case("a coding", "failed GET: ", "content coding 'gzip', unasked", |_, line| {
            line.say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x7f");
        }),
    ]
}

/// What these servers have been sent, and been asked for, is theirs: a `Content-Length` of a PUT.
fn length_of(request: &Request) -> u64 {
    let length = request.head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}

fn leave(line: &mut Line) {
    line.say("HTTP/1.1 100 Continue\r\n\r\n");
}

fn destinations() -> Vec<Case> {
    const REMOVED: &str = "; what was there of it is removed";
    vec![
        case("no room", "rejected PUT: 507 Insufficient Storage", "", |_, line| {
            line.say("HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 0\r\n\r\n");
        }),
        case(
            "a success before the bytes",
            "failed PUT: the destination answered 201 Created before",
            "",
            |_, line| {
                line.say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
            },
        ),
        case("a reset in the middle", "connection lost on PUT: ", REMOVED, |request, line| {
            leave(line);
            line.take(length_of(request) / 2);
            line.reset();
        }),
        case(
            "no byte is taken",
            "socket timeout on PUT: the destination took nothing for 1 s, ",
            REMOVED,
            |_, line| {
                leave(line);
                std::thread::sleep(Duration::from_secs(4));
            },
        ),
        case(
            "no answer behind the bytes",
            "socket timeout on PUT: the destination 127.0.0.1:",
            REMOVED,
            |request, line| {
                leave(line);
                line.take(length_of(request));
                line.wait_until_gone();
            },
        ),
        case(
            "a failure behind the bytes",
            "rejected PUT: 500 Internal Server Error",
            REMOVED,
            |request, line| {
                leave(line);
                line.take(length_of(request));
                line.say("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
            },
        ),
        case(
            "other bytes are there",
            "verification failed: Checksum mismatch (",
            REMOVED,
            |request, line| {
                leave(line);
                line.take(length_of(request));
                line.say("HTTP/1.1 201 Created\r\nDigest: adler32=00000007\r\nContent-Length: 0\r\n\r\n");
            },
        ),
        Case {
            head: "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",
            ..case(
                "another size is there",
                "verification failed: HEAD Content-Length (7) does not match file size (",
                REMOVED,
                |request, line| {
                    leave(line);
                    line.take(length_of(request));
                    line.say("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
                },
            )
        },
    ]
}

/// A server that answers so.
fn server(case: &Case) -> Scripted {
    let (head, say) = (case.head, case.say);
    Scripted::start(move |request, line| match request.method.as_str() {
        "HEAD" => line.say(head),
        "DELETE" => line.say("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        _ => say(request, line),
    })
}

fn tells(case: &Case, text: &str) {
    let name = case.name;
    assert!(text.starts_with(case.begins), "{name}: {text}");
    assert!(text.contains(case.says), "{name}: {text}");
    assert!(!text.contains("SECRET"), "{name}: {text}");
}

#[test]
fn each_fault_of_a_source_has_its_own_line_and_leaves_nothing() {
    let here = Here::with(IMPATIENT);
    for case in sources() {
        let far = server(&case);

        let pull = here.pull("/new", &far.url("/file?authz=SECRET"));
        let text = failed(pull.header("TransferHeaderAuthorization", "Bearer SECRET").run());

        tells(&case, &text);
        here.has_nothing_of("/new");
    }
    for log in [here.pair.door.stderr(), here.pair.pool.daemon.stderr()] {
        assert!(!log.contains("SECRET") && !log.contains("panicked"), "{log}");
    }
}

#[test]
fn each_fault_of_a_destination_has_its_own_line_and_what_is_there_is_removed() {
    let here = Here::with(IMPATIENT);
    // More than the kernels take between them.
    let original = files::file(here.room.path(), "in", 32 * MIB, 1);
    let _ = here.pair.put("/file", &original).expect(201);
    for case in destinations() {
        let far = server(&case);

        let push = here.push("/file", &far.url("/file?authz=SECRET"));
        let text = failed(push.header("TransferHeaderAuthorization", "Bearer SECRET").run());

        tells(&case, &text);
        let removed = far.requests().iter().any(|request| request.method == "DELETE");
        assert_eq!(removed, case.says.ends_with("is removed"), "{}", case.name);
        here.is_at_rest();
    }
    here.has("/file", &original);
    for log in [here.pair.door.stderr(), here.pair.pool.daemon.stderr()] {
        assert!(!log.contains("SECRET") && !log.contains("panicked"), "{log}");
    }
}

#[test]
fn a_push_that_is_called_off_removes_what_is_there() {
    let here = Here::start();
    let original = files::file(here.room.path(), "in", 32 * MIB, 1);
    let _ = here.pair.put("/file", &original).expect(201);
    let far = Scripted::start(|request, line| match request.method.as_str() {
        "PUT" => {
            leave(line);
            line.take(MIB);
            std::thread::sleep(Duration::from_secs(10));
        }
        _ => line.say("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
    });
    let pushing = here.push("/file", &far.url("/file")).start();
    eventually("the destination was asked", || (!far.requests().is_empty()).then_some(()));

    pushing.kill();

    eventually("the destination is asked to remove it", || {
        far.requests().iter().any(|request| request.method == "DELETE").then_some(())
    });
    here.is_at_rest();
}

#[test]
fn headers_that_would_make_another_request_of_it_are_not_handed_on() {
    let here = Here::start();
    let far = Scripted::start(|request, line| {
        let head = "HTTP/1.1 200 OK\r\nDigest: adler32=062c0215\r\nContent-Length: 5\r\n\r\n";
        line.say(head);
        if request.method == "GET" {
            line.say("hello");
        }
    });
    let hostile = [
        ("TransferHeaderContent-Length", "3"),
        ("TransferHeaderTransfer-Encoding", "chunked"),
        ("TransferHeaderHost", "elsewhere.example.org"),
        ("TransferHeaderConnection", "X-Good"),
        ("TransferHeaderExpect", "100-continue"),
        ("TransferHeaderRange", "bytes=1-1"),
        ("Copy-Header", "Proxy-Authorization: Basic eA=="),
        ("TransferHeaderX-Good", "yes"),
    ];
    let pull = here.pull("/file", &far.url("/file"));

    let _ = succeeded(hostile.into_iter().fold(pull, |pull, (name, value)| pull.header(name, value)).run());

    assert_eq!(here.pair.get("/file").expect(200).body, b"hello");
    for request in far.requests() {
        let lower = request.head.to_ascii_lowercase();
        assert!(lower.contains(&format!("\r\nhost: {}\r\n", far.address())), "{lower}");
        assert!(lower.contains("\r\nx-good: yes\r\n"), "{lower}");
        for name in
            ["content-length", "transfer-encoding", "expect", "range", "proxy-authorization", "elsewhere"]
        {
            assert!(!lower.contains(&format!("\r\n{name}:")), "{name}: {lower}");
        }
        assert!(!lower.contains("elsewhere"), "{lower}");
    }
}

#[test]
fn a_header_with_a_line_end_in_it_and_a_url_that_leads_inside_are_refused_at_once() {
    let here = Here::start();
    let (door, token) = (here.pair.door_address(), &here.pair.token);
    for injected in ["a\rHost: b", "a\nHost: b", "a\0b"] {
        let mut client = Raw::connect(door);
        client.send(format!(
            "COPY /new HTTP/1.1\r\nHost: {door}\r\nAuthorization: Bearer {token}\r\n\
             Source: http://127.0.0.1:9999/x\r\nTransferHeaderX: {injected}\r\n\r\n"
        ));
        assert_eq!(client.answer().status, 400, "{injected:?}");
    }
    for inside in ["http://169.254.169.254/x", "http://[fe80::1]/x", "http://127.0.0.1:22/x"] {
        assert_eq!(here.pull("/new", inside).run().status, 403, "{inside}");
        assert_eq!(here.pull("/new", inside).run().text().lines().count(), 1, "{inside}");
    }
    here.has_nothing_of("/new");
}
