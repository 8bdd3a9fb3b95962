//! Traces of a transfer across door and pool, as an OpenTelemetry collector gets them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use penstock_tests::files::{self, MIB};
use penstock_tests::pair::Pair;
use penstock_tests::patience::eventually;
use serde_json::Value;

/// A trace that a client is in (the example of W3C Trace Context).
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

/// A collector that takes OTLP over HTTP, as JSON.
struct Collector {
    endpoint: String,
    spans: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&spans);
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some(message) = request(&mut reader) {
                        kept.lock().unwrap().extend(spans_of(&message));
                        (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
                    }
                });
            }
        });
        Collector { endpoint, spans }
    }

    /// The part of our trace that a service has told of under that name.
    fn span(&self, service: &str, name: &str) -> Value {
        eventually(&format!("{service} tells of {name}"), || {
            let spans = self.spans.lock().unwrap();
            let wanted = |(by, span): &&(String, Value)| {
                by == service && span["name"] == name && span["traceId"] == TRACE
            };
            spans.iter().find(wanted).map(|(_, span)| span.clone())
        })
    }
}

/// One request's body; `None` at the end of the connection.
fn request(reader: &mut impl BufRead) -> Option<Value> {
    let (mut length, mut json, mut first) = (0, false, String::new());
    reader.read_line(&mut first).ok().filter(|count| *count > 0)?;
    assert!(first.starts_with("POST /v1/traces HTTP/1.1"), "{first}");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        json |= line == "content-type: application/json";
    }
    assert!(json, "the collector is told what it gets");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(serde_json::from_slice(&body).unwrap())
}

/// Every part in a message, with the service that tells of it.
fn spans_of(message: &Value) -> Vec<(String, Value)> {
    let mut spans = Vec::new();
    for resource in message["resourceSpans"].as_array().unwrap() {
        let attributes = resource["resource"]["attributes"].as_array().unwrap();
        let name = attributes.iter().find(|it| it["key"] == "service.name").unwrap();
        let name = name["value"]["stringValue"].as_str().unwrap();
        for scope in resource["scopeSpans"].as_array().unwrap() {
            spans.extend(
                scope["spans"].as_array().unwrap().iter().map(|span| (name.to_owned(), span.clone())),
            );
        }
    }
    spans
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|it| it["key"] == key);
    &found.unwrap_or_else(|| panic!("no {key} in {span}"))["value"]
}

fn nanoseconds(span: &Value, key: &str) -> u64 {
    span[key].as_str().unwrap().parse().unwrap()
}

/// Door and pool that tell this endpoint of traces.
fn traced(endpoint: &str) -> Pair {
    let line = format!("tracing.endpoint = \"{endpoint}\"\n");
    let mut pair = Pair::start(&line);
    let config = pair.directory().join("door.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{line}{text}")).unwrap();
    pair.kill_door();
    pair.start_door_again();
    pair.wait_until_joined();
    pair
}

#[test]
fn an_upload_is_one_trace_from_the_client_over_the_door_to_the_pool() {
    let collector = Collector::start();
    let pair = traced(&collector.endpoint);
    let file = files::file(pair.directory(), "in", 2 * MIB + 1, 1);

    let upload = pair.curl("/file").follow().upload(&file);
    let _ = upload.header("traceparent", &format!("00-{TRACE}-{CLIENT}-01")).run().expect(201);

    let door = collector.span("penstock-door", "PUT");
    assert_eq!(door["parentSpanId"], CLIENT);
    assert_eq!(attribute(&door, "url.path")["stringValue"], "/file");
    let pool = collector.span("penstock-pool", "transfer put");
    assert_eq!(pool["parentSpanId"], door["spanId"]);
    assert_eq!(attribute(&pool, "penstock.transfer.bytes")["intValue"], (2 * MIB + 1).to_string());
    assert_eq!(attribute(&pool, "penstock.transfer.outcome")["stringValue"], "done");
    assert_eq!(pool["status"], serde_json::json!({}), "nothing has failed");
    assert!(nanoseconds(&pool, "startTimeUnixNano") <= nanoseconds(&pool, "endTimeUnixNano"));
    assert!(nanoseconds(&door, "startTimeUnixNano") <= nanoseconds(&pool, "startTimeUnixNano"));
    let everything = format!("{:?}", collector.spans.lock().unwrap());
    assert!(!everything.contains(&pair.token) && !everything.contains("penstock-transfer="), "no secrets");
}

#[test]
fn a_collector_that_is_away_costs_traces_and_nothing_else() {
    let pair = traced("http://127.0.0.1:9");
    let file = files::file(pair.directory(), "in", MIB, 1);
    for number in 0..10 {
        let _ = pair.put(&format!("/file{number}"), &file).expect(201);
    }
    eventually("both say so", || {
        let said = |log: String| log.matches("the collector does not take traces").count();
        let (door, pool) = (said(pair.door.stderr()), said(pair.pool.daemon.stderr()));
        assert!(door <= 1 && pool <= 1, "once each");
        (door == 1 && pool == 1).then_some(())
    });
}
