//! Sources and networks that mean ill, or are broken: each has its own text.

use std::time::{Duration, Instant};

use penstock_door_proto::v1;
use v1::transfer_request::Kind;

use super::far::{Far, Line, Request, Then, serve_file};
use super::{Stage, bytes};
use crate::transfer::{Failure, FailureCode, Side};

/// A server that answers every GET so, and has nothing to say to HEAD.
fn answering(get: impl Fn(&Request, &mut Line) -> Then + Send + Sync + 'static) -> Far {
    Far::new(move |request, line| match request.method.as_str() {
        "GET" => get(request, line),
        _ => {
            line.answer("403 Forbidden", "", b"");
            Then::Keep
        }
    })
}

fn failure_of(stage: &Stage, far: &Far) -> Failure {
    let failure = stage.fails(&stage.pull(far));
    assert!(!failure.text().contains("SECRET"), "{failure}");
    failure
}

/// Short times, and no second attempt.
fn impatient() -> Stage {
    Stage::with(|settings| {
        settings.first_byte_timeout = Duration::from_millis(700);
        settings.idle_timeout = Duration::from_millis(700);
        settings.retries = 0;
    })
}

#[test]
fn refusals_are_told_in_the_words_that_operators_know() {
    let cases = [
        ("404 Not Found", "rejected GET: 404 Not Found", false),
        ("401 Unauthorized", "rejected GET: 401 Unauthorized", false),
        ("403 Forbidden", "rejected GET: 403 Forbidden", false),
        ("500 Internal Server Error", "rejected GET: 500 Internal Server Error", true),
        ("503 Come back later", "rejected GET: 503 Come back later", true),
        ("206 Partial Content", "rejected GET: 206 Partial Content", false),
        ("429", "rejected GET: 429 Too Many Requests", true),
    ];
    for (status, text, retryable) in cases {
        let (stage, body) = (impatient(), "<html>a page that nobody wants</html>".repeat(10));
        let far = Far::new(move |_, line| {
            line.answer(status, "Content-Type: text/html\r\n", body.as_bytes());
            Then::Close
        });
        let failure = failure_of(&stage, &far);
        assert_eq!((failure.text(), failure.retryable), (text, retryable));
        assert_eq!((failure.code, failure.side), (FailureCode::RemoteRefused, Side::Source));
    }
}

#[test]
fn a_head_that_finds_no_file_is_believed_before_a_get_that_says_less() {
    let stage = impatient();
    let far = Far::new(|request, line| {
        let status = if request.method == "HEAD" { "404 Not Found" } else { "500 Internal Server Error" };
        line.say(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        Then::Keep
    });
    assert_eq!(failure_of(&stage, &far).text(), "rejected GET: 404 Not Found");
    assert_eq!(far.methods(), ["HEAD"]);
}

#[test]
fn bodies_that_are_not_what_was_announced_are_told_apart() {
    type Say = fn(&mut Line) -> Then;
    let cases: [(&str, Say, FailureCode, &str); 9] = [
        (
            "short",
            |line| {
                line.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                line.say(bytes(60_000));
                Then::Close
            },
            FailureCode::ConnectionLost,
            "connection lost on GET: the source closed the connection, at byte ",
        ),
        (
            "reset",
            |line| {
                line.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                line.say(bytes(60_000));
                std::thread::sleep(Duration::from_millis(100));
                line.reset();
                Then::Close
            },
            FailureCode::ConnectionLost,
            "connection lost on GET: ",
        ),
        (
            "an error page",
            |line| {
                line.answer(
                    "200 OK",
                    "Content-Type: text/html\r\nDigest: adler32=1\r\n",
                    b"<html>Sorry</html>",
                );
                Then::Keep
            },
            FailureCode::Verification,
            "verification failed: Checksum mismatch (expected=[1:00000001], actual=[1:",
        ),
        (
            "two lengths",
            |line| {
                line.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!");
                Then::Close
            },
            FailureCode::RemoteProtocol,
            "failed GET: the answer of 127.0.0.1:",
        ),
        (
            "a coding",
            |line| {
                line.answer("200 OK", "Content-Encoding: gzip\r\n", b"\x1f\x8b");
                Then::Close
            },
            FailureCode::RemoteProtocol,
            "failed GET: the source sends the file in the content coding 'gzip', unasked",
        ),
        (
            "wrong chunks",
            |line| {
                line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello");
                line.say("no end");
                Then::Close
            },
            FailureCode::RemoteProtocol,
            "failed GET: the answer's body is wrong after byte 5: chunked body: a chunk's data is not followed",
        ),
        (
            "endless chunk extensions",
            |line| {
                line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                line.say(format!("5;{}", "x".repeat(5000)));
                line.wait_until_gone();
                Then::Close
            },
            FailureCode::RemoteProtocol,
            "failed GET: the answer's body is wrong after byte 0: chunked body: chunk extensions are longer",
        ),
        (
            "not HTTP",
            |line| {
                line.say("SSH-2.0-OpenSSH_9.9\r\n");
                line.wait_until_gone();
                Then::Close
            },
            FailureCode::RemoteProtocol,
            "failed GET: the answer of 127.0.0.1:",
        ),
        (
            "endless headers",
            |line| {
                line.say("HTTP/1.1 200 OK\r\n");
                for _ in 0..10_000 {
                    line.say("X-Header: more and more and more\r\n");
                }
                line.wait_until_gone();
                Then::Close
            },
            FailureCode::RemoteProtocol,
            "failed GET: the answer of 127.0.0.1:",
        ),
    ];
    for (name, say, code, text) in cases {
        let stage = impatient();
        let failure = failure_of(&stage, &answering(move |_, line| say(line)));
        assert_eq!(failure.code, code, "{name}: {failure}");
        assert!(failure.text().starts_with(text), "{name}: {failure}");
        if name == "an error page" {
            assert!(
                failure.text().ends_with("the source sent text/html, perhaps an error page"),
                "{failure}"
            );
        }
    }
}

#[test]
fn a_body_of_another_size_than_was_announced_is_refused() {
    // By HEAD, and then in chunks, which announce nothing.
    for (sent, text) in [
        (90_000, "size mismatch on GET: the source's file ended after 90000 of 100000 bytes"),
        (110_000, "size mismatch on GET: the source sent more than the 100000 bytes that it announced"),
    ] {
        let stage = impatient();
        let far = Far::new(move |request, line| {
            if request.method == "HEAD" {
                line.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                return Then::Keep;
            }
            line.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            line.say(format!("{sent:x}\r\n"));
            line.say(bytes(sent));
            line.say("\r\n0\r\n\r\n");
            Then::Keep
        });
        let failure = failure_of(&stage, &far);
        assert_eq!((failure.code, failure.text()), (FailureCode::SizeMismatch, text));
    }
}

#[test]
fn a_stall_names_side_byte_time_address_and_what_tcp_knows() {
    let stage = impatient();
    let far = answering(|_, line| {
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        line.say(bytes(8192));
        line.wait_until_gone();
        Then::Close
    });
    let failure = failure_of(&stage, &far);
    assert_eq!((failure.code, failure.side), (FailureCode::Stalled, Side::Source));
    let text = failure.text();
    assert!(text.starts_with(
        "socket timeout on GET: the source sent nothing for 0 s, at byte 8192 of 100000, after "
    ));
    assert!(text.contains(&format!("source {}, rtt ", far.address())), "{text}");
    assert!(text.contains(" ms, 0 retransmits"), "{text}");
}

#[test]
fn an_answer_that_does_not_come_or_comes_by_the_byte_is_not_waited_for_long() {
    for drips in [false, true] {
        let stage = impatient();
        let far = answering(move |_, line| {
            if drips {
                for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat_n(&b'x', 100)) {
                    line.say([*byte]);
                    std::thread::sleep(Duration::from_millis(30));
                }
            }
            line.wait_until_gone();
            Then::Close
        });
        let began_at = Instant::now();
        let failure = failure_of(&stage, &far);
        assert_eq!(failure.code, FailureCode::Stalled);
        assert!(failure.text().starts_with("socket timeout on GET: the source 127.0.0.1:"), "{failure}");
        assert!(failure.text().contains("did not answer within 0 s"), "{failure}");
        assert!(began_at.elapsed() < Duration::from_secs(3));
    }
}

#[test]
fn a_source_that_sends_a_byte_now_and_then_is_too_slow() {
    let stage = Stage::with(|settings| {
        settings.minimum_rate_bytes_per_second = 1000;
        settings.rate_window = Duration::from_secs(2);
        settings.retries = 0;
    });
    let far = answering(|_, line| {
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        loop {
            line.say("x");
            std::thread::sleep(Duration::from_millis(200));
            if line.tcp.take_error().is_ok_and(|error| error.is_some()) {
                return Then::Close;
            }
        }
    });
    let failure = failure_of(&stage, &far);
    assert_eq!((failure.code, failure.side), (FailureCode::TooSlow, Side::Source));
    let text = failure.text();
    assert!(text.starts_with("too slow on GET: ") && text.contains("less than 1000, at byte "), "{text}");
    assert!(text.contains("limited by source "), "{text}");
}

#[test]
fn a_copy_that_does_not_end_has_a_deadline() {
    let stage = Stage::with(|settings| settings.deadline = Duration::from_secs(1));
    let far = answering(|_, line| {
        line.answer("202 Accepted", "", b"");
        Then::Keep
    });
    let failure = failure_of(&stage, &far);
    assert_eq!(failure.code, FailureCode::Deadline);
    assert!(
        failure.text().starts_with("the copy did not end within 1 s (tpc.deadline), at byte 0, after 1."),
        "{failure}"
    );
}

#[test]
fn a_broken_connection_is_not_tried_for_ever() {
    let stage = Stage::with(|settings| settings.retries = 2);
    let far = Far::new(|request, line| {
        let file = bytes(100_000);
        if request.method == "HEAD" {
            return serve_file(&file, request, line);
        }
        let (first, last) = request.range().unwrap_or((0, file.len() - 1));
        let status = if request.range().is_some() { "206 x" } else { "200 x" };
        line.say(format!(
            "HTTP/1.1 {status}\r\nETag: \"v1\"\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/100000\r\n\r\n",
            last + 1 - first
        ));
        line.say(&file[first..first + 10_000]);
        Then::Close
    });
    let failure = failure_of(&stage, &far);
    assert_eq!(failure.code, FailureCode::ConnectionLost);
    assert!(failure.text().ends_with("; 2 retries"), "{failure}");
    assert_eq!(far.methods(), ["HEAD", "GET", "GET", "GET"]);
}

#[test]
fn where_a_connection_broke_is_told_although_the_attempts_behind_it_failed_in_another_way() {
    let stage = Stage::with(|settings| settings.retries = 2);
    let far = Far::new(|request, line| {
        let file = bytes(100_000);
        if request.method == "HEAD" {
            return serve_file(&file, request, line);
        }
        if request.number > 0 {
            line.answer("503 Service Unavailable", "", b"");
            return Then::Close;
        }
        line.say("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 100000\r\n\r\n");
        line.say(&file[..50_000]);
        Then::Close
    });
    let failure = failure_of(&stage, &far);
    assert_eq!((failure.code, failure.side), (FailureCode::ConnectionLost, Side::Network));
    let text = failure.text();
    assert!(text.starts_with("connection lost on GET: the source closed the connection, at byte "), "{text}");
    assert!(text.contains(" of 100000, after ") && text.contains(&far.address().to_string()), "{text}");
    assert!(text.ends_with("; 2 retries, the last: rejected GET: 503 Service Unavailable"), "{text}");
    assert_eq!(far.methods(), ["HEAD", "GET", "GET", "GET"]);
}

#[test]
fn what_cannot_be_gone_on_with_fails_at_once() {
    let file = bytes(100_000);
    // Neither an ETag nor a checksum: what comes behind might be of another file.
    let far = answering(move |_, line| {
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        line.say(&file[..50_000]);
        Then::Close
    });
    let failure = failure_of(&Stage::new(), &far);
    assert!(failure.text().contains("the source tells neither a strong ETag nor a checksum"), "{failure}");
    assert_eq!(far.methods(), ["HEAD", "GET"]);
}

#[test]
fn a_file_that_changes_between_two_requests_is_noticed() {
    type Change = fn(&Request, &mut Line);
    let cases: [(&str, Change, &str); 4] = [
        (
            "another tag",
            |_, line| {
                let headers = "ETag: \"v2\"\r\nContent-Range: bytes 50000-99999/100000\r\n";
                line.answer("206 x", headers, &bytes(100_000)[50_000..]);
            },
            "has another ETag than the file had before: it has changed",
        ),
        (
            "another size",
            |_, line| {
                line.answer("206 x", "Content-Range: bytes 50000-99999/100001\r\n", &bytes(100_000)[50_000..])
            },
            "is of a file of 100001 bytes, not 100000: it has changed",
        ),
        (
            "another range",
            |_, line| {
                line.answer("206 x", "Content-Range: bytes 0-49999/100000\r\n", &bytes(100_000)[50_000..])
            },
            "holds bytes 0-49999 (Content-Range)",
        ),
        (
            "the whole",
            |_, line| line.answer("200 OK", "ETag: \"v2\"\r\n", &bytes(100_000)),
            "answers with the whole file",
        ),
    ];
    for (name, change, text) in cases {
        let far = Far::new(move |request, line| {
            if request.method == "GET" && request.number == 0 {
                line.say("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 100000\r\n\r\n");
                line.say(&bytes(100_000)[..50_000]);
                return Then::Close;
            }
            match request.range() {
                Some(_) => change(request, line),
                None => line.say("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 100000\r\n\r\n"),
            }
            Then::Close
        });
        let failure = failure_of(&Stage::new(), &far);
        assert_eq!(failure.code, FailureCode::RemoteProtocol, "{name}: {failure}");
        assert!(failure.text().contains(text), "{name}: {failure}");
    }
}

#[test]
fn redirects_lead_nowhere_else_than_to_servers_that_may_be_asked() {
    let cases = [
        ("Location: file:///etc/passwd\r\n", FailureCode::RemoteForbidden, "its scheme is 'file'"),
        ("Location: gopher://a/\r\n", FailureCode::RemoteForbidden, "its scheme is 'gopher'"),
        (
            "Location: http://user:pw@far/\r\n",
            FailureCode::RemoteForbidden,
            "it holds a user name or password",
        ),
        (
            "Location: http://169.254.169.254/latest/meta-data\r\n",
            FailureCode::RemoteForbidden,
            "a link-local address",
        ),
        ("Location: http://[::ffff:169.254.1.1]/\r\n", FailureCode::RemoteForbidden, "a link-local address"),
        ("Location: http://127.0.0.1:22/\r\n", FailureCode::RemoteForbidden, "port 22 is not among those"),
        ("Location: http://\r\n", FailureCode::RemoteProtocol, "redirects to what cannot be used"),
        ("", FailureCode::RemoteProtocol, "redirects (307) without a Location"),
        ("Location: /again\r\n", FailureCode::RemoteProtocol, "more than 20 redirects"),
    ];
    for (location, code, text) in cases {
        let far = Far::new(move |_, line| {
            line.answer("307 Temporary Redirect", location, b"");
            Then::Keep
        });
        let failure = failure_of(&impatient(), &far);
        assert_eq!(failure.code, code, "{location}: {failure}");
        assert!(failure.text().contains(text), "{location}: {failure}");
        assert!(far.requests().len() <= 21);
    }
}

#[test]
fn loopback_is_denied_unless_it_is_allowed() {
    let stage = Stage::with(|settings| settings.rules.loopback = false);
    let far = Far::serving(bytes(10));
    let failure = failure_of(&stage, &far);
    assert_eq!((failure.code, failure.retryable), (FailureCode::RemoteForbidden, false));
    assert_eq!(
        failure.text(),
        "forbidden GET: 127.0.0.1: 127.0.0.1 is a loopback address, which this pool does not connect to \
         (tpc.allow_loopback)"
    );
    assert_eq!(far.connections(), 0);
}

#[test]
fn a_name_that_leads_inside_is_denied_as_the_address_is() {
    let stage = Stage::with(|settings| settings.rules.loopback = false);
    let remote = v1::Remote { url: "http://localhost:8080/f".into(), ..Default::default() };
    let pull = v1::Pull { remote: Some(remote), ..Default::default() };
    let failure = stage.fails(&stage.start("r1", Kind::Pull(pull)));
    assert_eq!(failure.code, FailureCode::RemoteForbidden);
    assert!(failure.text().starts_with("forbidden GET: localhost: "), "{failure}");
}

#[test]
fn servers_that_are_not_there_are_named_with_every_address_tried() {
    let stage = impatient();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let pull = |url: String| {
        let remote = v1::Remote { url, ..Default::default() };
        stage.fails(&stage.start("r1", Kind::Pull(v1::Pull { remote: Some(remote), ..Default::default() })))
    };
    let failure = pull(format!("http://{address}/f"));
    assert_eq!((failure.code, failure.retryable), (FailureCode::RemoteUnreachable, true));
    assert_eq!(
        failure.text(),
        format!(
            "connection failed for GET: no connection to http://{address} after 0 s: {address} (Connection refused)"
        )
    );
    let failure = pull("http://no-such-host.invalid/f".into());
    assert_eq!(failure.code, FailureCode::RemoteUnreachable);
    assert!(
        failure.text().starts_with(
            "connection failed for GET: the host name no-such-host.invalid cannot be resolved: "
        )
    );
}

#[test]
fn a_connection_that_ends_at_any_point_of_the_exchange_leaves_nothing() {
    let whole = {
        let body = bytes(20_000);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"v1\"\r\n\r\n", body.len());
        [head.as_bytes(), &body].concat()
    };
    for cut in [0, 1, 9, 30, 60, 61, 64, 100, 5000, whole.len() - 1] {
        for resets in [false, true] {
            let said = whole[..cut].to_vec();
            let far = answering(move |_, line| {
                line.say(&said);
                if resets {
                    std::thread::sleep(Duration::from_millis(20));
                    line.reset();
                }
                Then::Close
            });
            let failure = failure_of(&impatient(), &far);
            assert_eq!(failure.code, FailureCode::ConnectionLost, "cut at {cut}: {failure}");
        }
    }
}
