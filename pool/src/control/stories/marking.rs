//! Packet marking over the real data path: what the other end of a connection sees of the label, and what a collector
//! hears of the flow. Unprivileged; everything goes over `::1`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use penstock_door_proto::v1;
use serde_json::Value;
use v1::transfer_event::Event;
use v1::transfer_request::Kind;

use super::pool::{Follower, Stage};
use super::request;
use crate::config::{Config, DataTls};
use crate::engine::net::flow_label;
use crate::marking::settings::Ports;
use crate::marking::{FlowLabel, Tag, schema};
use crate::tls::certificate::read_chain;
use crate::tls::tests::Authority;
use crate::transfer::third_party::stories::bytes;
use crate::transfer::third_party::stories::far::{Far, Line, Then, serve_file};

/// atlas, perfSONAR.
const ATLAS: u32 = 2 << 6 | 2;
/// cms, Data Challenge.
const CMS: u32 = 3 << 6 | 4;
const PATIENCE: Duration = Duration::from_secs(20);

/// A pool on `::1` and a collector of fireflies. `None`, with a word, where there is no IPv6.
async fn stage(change: impl FnOnce(&mut Config)) -> Option<(Stage, Collector)> {
    if let Err(error) = TcpListener::bind("[::1]:0") {
        println!("skipped: no IPv6 here: {error}");
        return None;
    }
    let collector = Collector(UdpSocket::bind("[::1]:0").unwrap());
    collector.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = collector.0.local_addr().unwrap().to_string();
    let stage = Stage::with_shards(|config| {
        config.data_listen = "[::1]:0".parse().unwrap();
        config.data_advertise = None;
        config.timeouts.linger = Duration::from_millis(100);
        config.marking.ports = Ports::Any(8);
        config.marking.collectors = vec![address.parse().unwrap()];
        config.marking.to_peers = false;
        change(config);
    });
    Some((stage.await, collector))
}

/// What the fireflies tell.
struct Collector(UdpSocket);

impl Collector {
    /// The next firefly's message, which obeys the schema.
    fn next(&self) -> Value {
        let mut datagram = [0; 2048];
        let length = self.0.recv(&mut datagram).expect("a firefly comes");
        let text = std::str::from_utf8(&datagram[..length]).unwrap();
        let message: Value = serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap();
        schema::check(&message).unwrap();
        message
    }
}

fn state(firefly: &Value) -> &str {
    firefly["flow-lifecycle"]["state"].as_str().unwrap()
}

/// A transfer of a client with IPv6; `tag`: `None` says nothing.
fn marked(id: &str, replica: &str, kind: Kind, tag: Option<u32>) -> v1::TransferRequest {
    let mut request = request(id, replica, kind);
    request.marking = tag.map(|scitag| v1::Marking { scitag });
    request.client.as_mut().unwrap().address = "::1".into();
    request
}

fn get(id: &str, replica: &str, tag: Option<u32>) -> v1::TransferRequest {
    marked(id, replica, Kind::Get(v1::Get::default()), tag)
}

/// A client of the data port, as curl would be; blocking, so on a thread of its own.
struct Client {
    stream: TcpStream,
    authority: String,
}

/// What came, and with which label.
struct Answer {
    status: u16,
    body: Vec<u8>,
    label: u32,
}

impl Client {
    fn connect(url: &str) -> Client {
        let authority = url.strip_prefix("http://").unwrap().split('/').next().unwrap().to_owned();
        let stream = TcpStream::connect(&authority).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        flow_label::remember_of_peer(stream.as_fd()).unwrap();
        Client { stream, authority }
    }

    fn ask(&mut self, method: &str, url: &str, body: &[u8]) -> Answer {
        let target = url.split_once(&self.authority).unwrap().1;
        let host = &self.authority;
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", body.len());
        let head = if method == "GET" { head.replace("Content-Length: 0\r\n", "") } else { head };
        self.stream.write_all(head.as_bytes()).unwrap();
        self.stream.write_all(body).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.stream.read_exact(&mut body).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, body, label: flow_label::of_peer(self.stream.as_fd()).unwrap() }
    }
}

/// One request on a connection of its own.
async fn ask(method: &'static str, url: &str, body: &'static [u8]) -> Answer {
    let url = url.to_owned();
    let asking = tokio::task::spawn_blocking(move || Client::connect(&url).ask(method, &url, body));
    asking.await.unwrap()
}

/// Which of the two tags of these stories a label carries. Of packets without a label the kernel may choose one
/// (net.ipv6.auto_flowlabels), which means nothing.
fn tag(label: u32) -> Option<u32> {
    let tag = FlowLabel::tag_of(label).map(|tag| u32::from(tag.number()));
    tag.filter(|tag| [ATLAS, CMS].contains(tag))
}

fn port(url: &str) -> u16 {
    url.split(']').nth(1).unwrap()[1..].split('/').next().unwrap().parse().unwrap()
}

fn names(marked: Option<&v1::MarkedAs>) -> (u32, &str, &str) {
    let marked = marked.expect("it is marked");
    (marked.scitag, marked.experiment.as_str(), marked.activity.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_carries_its_label_and_is_told_of_with_the_pool_as_its_source() {
    let Some((stage, collector)) = stage(|_| {}).await else { return };
    stage.store("r1", b"abc").await;
    let mut door = stage.start(get("t1", "r1", Some(ATLAS))).await.unwrap();
    let url = door.ready().await;
    assert_ne!(port(&url), stage.pool.data_addr().port(), "a port of its own");

    let answer = ask("GET", &url, b"").await;

    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"abc"[..]));
    assert_eq!(tag(answer.label), Some(ATLAS));
    let (start, end) = (collector.next(), collector.next());
    assert_eq!((state(&start), state(&end)), ("start", "end"));
    for firefly in [&start, &end] {
        assert_eq!(firefly["flow-id"]["src-port"], port(&url), "the pool supplies the data: {firefly}");
        assert_eq!(
            (&firefly["flow-id"]["afi"], &firefly["flow-id"]["dst-ip"]),
            (&"ipv6".into(), &"::1".into())
        );
        assert_eq!(
            (&firefly["context"]["experiment-id"], &firefly["context"]["activity-id"]),
            (&2.into(), &2.into())
        );
    }
    assert!(end["usage"]["sent"].as_u64().unwrap() > 3, "with the head: {end}");
    let finished = last(&mut door).await;
    assert_eq!(finished.connections[0].flow_label, answer.label);
    assert_eq!(names(finished.marked_as.as_ref()), (ATLAS, "atlas", "perfSONAR"));
    let lines = [
        "penstock_marked_bytes_total{experiment=\"atlas\",activity=\"perfSONAR\",direction=\"out\"} 3",
        "penstock_marked_flows_total{label=\"yes\"} 1",
        "penstock_fireflies_total{outcome=\"sent\"} 2",
    ];
    // A datagram is counted when it has been sent, and may have arrived by then.
    let mut metrics = String::new();
    for _ in 0..500 {
        metrics = stage.pool.metrics().encode().unwrap();
        if lines.iter().all(|line| metrics.contains(line)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("not all of {lines:?} are in\n{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_carries_its_label_on_what_the_pool_sends_and_its_client_is_the_source() {
    let Some((stage, collector)) = stage(|_| {}).await else { return };
    let put = Kind::Put(v1::Put { size: Some(3), ..Default::default() });
    let mut door = stage.start(marked("t1", "r1", put, Some(ATLAS))).await.unwrap();
    let url = door.ready().await;
    let uploading = {
        let url = url.clone();
        tokio::spawn(async move { ask("PUT", &url, b"abc").await })
    };
    let _ = last(&mut door).await;
    assert!(stage.acknowledge("t1").await.unwrap());

    let answer = uploading.await.unwrap();

    assert_eq!((answer.status, tag(answer.label)), (201, Some(ATLAS)));
    let (start, end) = (collector.next(), collector.next());
    assert_eq!((state(&start), state(&end)), ("start", "end"));
    assert_eq!(end["flow-id"]["dst-port"], port(&url));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_experiments_at_once_never_mix_and_share_their_ports_with_their_own_only() {
    let Some((stage, _collector)) = stage(|_| {}).await else { return };
    stage.store("r1", b"abc").await;
    let mut asked = Vec::new();
    let mut ports = std::collections::BTreeMap::new();
    for number in 0..24 {
        let tag = [Some(ATLAS), Some(CMS), None, Some(0)][number % 4];
        let mut door = stage.start(get(&format!("t{number}"), "r1", tag)).await.unwrap();
        let url = door.ready().await;
        let known = *ports.entry(tag.filter(|tag| *tag != 0)).or_insert(port(&url));
        assert_eq!(port(&url), known, "one port for each");
        asked.push((tag, tokio::spawn(async move { ask("GET", &url, b"").await })));
    }
    for (wanted, answer) in asked {
        assert_eq!(tag(answer.await.unwrap().label), wanted.filter(|tag| *tag != 0));
    }
    assert_eq!(ports[&None], stage.pool.data_addr().port());
    assert_eq!(ports.values().collect::<std::collections::BTreeSet<_>>().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_label_can_be_the_transfer_goes_on_without_one() {
    let Some((stage, collector)) = stage(|config| config.marking.ports = Ports::Any(1)).await else { return };
    stage.store("r1", b"abc").await;
    let own = stage.pool.data_addr().port();
    let mut first = stage.start(get("t1", "r1", Some(ATLAS))).await.unwrap();
    let first = first.ready().await;
    assert_ne!(port(&first), own);
    let mut over_ipv4 = get("t3", "r1", Some(ATLAS));
    over_ipv4.client.as_mut().unwrap().address = "192.0.2.7".into();
    for (request, why) in [
        (get("t2", "r1", Some(CMS)), "all ports are taken"),
        (over_ipv4, "the client has IPv4"),
        (get("t4", "r1", Some(600 << 6 | 1)), "the experiment has no label"),
    ] {
        let mut door = stage.start(request).await.unwrap();
        let url = door.ready().await;
        assert_eq!(port(&url), own, "{why}");
        let answer = ask("GET", &url, b"").await;
        assert_eq!((answer.status, tag(answer.label)), (200, None), "{why}");
        assert_eq!((state(&collector.next()), state(&collector.next())), ("start", "end"), "{why}");
    }
    // What was given the port can come to the other one all the same.
    let elsewhere = first.replace(&format!(":{}/", port(&first)), &format!(":{own}/"));
    assert_eq!(ask("GET", &elsewhere, b"").await.status, 200);
    let metrics = stage.pool.metrics().encode().unwrap();
    for line in [
        "penstock_marked_flows_total{label=\"no: no port\"} 3",
        "penstock_marked_flows_total{label=\"no: experiment above 511\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_it_is_no_different() {
    let authority = Authority::new();
    let files = authority.issue("pool", &["localhost"]);
    let listen = "[::1]:0".parse().unwrap();
    let tls = move |config: &mut Config| config.data_tls = Some(DataTls { listen, advertise: None, files });
    let Some((stage, collector)) = stage(tls).await else { return };
    stage.store("r1", b"abc").await;
    let mut request = get("t1", "r1", Some(CMS));
    request.client.as_mut().unwrap().secure = true;
    let mut door = stage.start(request).await.unwrap();
    let url = door.ready().await;
    assert!(url.starts_with("https://[::1]:"), "{}", url.split('?').next().unwrap());
    assert_ne!(Some(port(&url)), stage.pool.secure_data_addr().map(|address| address.port()));

    let (target, number) =
        (url.split_once("]:").unwrap().1.split_once('/').unwrap().1.to_owned(), port(&url));
    let root = authority.certificate();
    let asking = tokio::task::spawn_blocking(move || {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in read_chain(&root).unwrap() {
            roots.add(certificate).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        let client =
            rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let tcp = TcpStream::connect(("::1", number)).unwrap();
        flow_label::remember_of_peer(tcp.as_fd()).unwrap();
        let mut stream = rustls::StreamOwned::new(client, tcp);
        let head = format!("GET /{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        (answer, tag(flow_label::of_peer(stream.sock.as_fd()).unwrap()))
    });
    let (answer, tag) = asking.await.unwrap();

    assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"abc"));
    assert_eq!(tag, Some(CMS));
    let (start, end) = (collector.next(), collector.next());
    assert_eq!((state(&start), state(&end)), ("start", "end"));
    assert_eq!(end["context"]["experiment-id"], 3);
}

/// The labels of a far server's connections, by the requests that came on them.
#[derive(Clone, Default)]
struct Labels(Arc<Mutex<Vec<Labelled>>>);

/// What a connection was for, and the label of its packets.
type Labelled = (String, Option<u32>);

impl Labels {
    fn note(&self, method: &str, line: &Line) {
        let label = flow_label::of_peer(line.tcp.as_fd()).unwrap();
        self.0.lock().unwrap().push((method.to_owned(), tag(label)));
    }

    fn all(&self) -> Vec<(String, Option<u32>)> {
        self.0.lock().unwrap().clone()
    }
}

async fn to_the_end(stage: &Stage, request: v1::TransferRequest) -> v1::Finished {
    last(&mut stage.start(request).await.unwrap()).await
}

/// The last event of a transfer that goes well.
async fn last(door: &mut Follower) -> v1::Finished {
    loop {
        match door.next().await {
            Some(Event::Finished(finished)) => return finished,
            Some(Event::Failed(failed)) => panic!("{}", failed.text),
            Some(_) => {}
            None => panic!("no end"),
        }
    }
}

fn remote(far: &Far) -> Option<v1::Remote> {
    Some(v1::Remote { url: far.url(), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_of_a_pull_carries_the_label_and_no_later_copy_inherits_it() {
    let Some((stage, collector)) = stage(|_| {}).await else { return };
    let (labels, file) = (Labels::default(), bytes(40 << 20));
    let seen = labels.clone();
    let far = Far::over_ipv6(move |request, line| {
        seen.note(&request.method, line);
        // Far away: worth more than one stream.
        if request.range().is_some() {
            std::thread::sleep(Duration::from_secs(1));
        }
        serve_file(&file, request, line)
    });
    let pull = |streams| Kind::Pull(v1::Pull { remote: remote(&far), streams, ..Default::default() });

    let finished = to_the_end(&stage, marked("t1", "r1", pull(4), Some(ATLAS))).await;

    assert!(labels.all().iter().all(|(_, tag)| *tag == Some(ATLAS)), "{:?}", labels.all());
    assert_eq!(names(finished.marked_as.as_ref()).1, "atlas");
    let connections = far.connections();
    assert!(connections > 1, "several streams");
    let (mut received, mut flows) = (0, 0);
    while received < 40 << 20 {
        let firefly = collector.next();
        if state(&firefly) == "end" {
            assert_eq!(
                firefly["flow-id"]["src-port"],
                far.address().port(),
                "the far server supplies the data"
            );
            received += firefly["usage"]["received"].as_u64().unwrap();
            flows += 1;
        }
    }
    assert!(flows > 1 && received < 41 << 20, "{received} bytes over {flows} flows");

    let before = labels.all().len();
    let _ = to_the_end(&stage, marked("t2", "r2", pull(1), None)).await;
    let _ = to_the_end(&stage, marked("t3", "r3", pull(1), Some(CMS))).await;
    let later: Vec<_> = labels.all()[before..].iter().map(|(_, tag)| *tag).collect();
    assert_eq!(later, [None, None, Some(CMS), Some(CMS)], "a connection that waits is for its own kind only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_carries_the_label_from_its_first_packet() {
    let Some((stage, collector)) = stage(|_| {}).await else { return };
    stage.store("r1", b"abc").await;
    let labels = Labels::default();
    let seen = labels.clone();
    let far = Far::over_ipv6(move |request, line| {
        seen.note(&request.method, line);
        line.say("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(line.take(3), b"abc");
        line.answer("201 Created", "Digest: adler32=024d0127\r\n", b"");
        Then::Keep
    });
    let push = Kind::Push(v1::Push { remote: remote(&far) });

    let finished = to_the_end(&stage, marked("t1", "r1", push, Some(CMS))).await;

    assert_eq!(labels.all(), [("PUT".to_owned(), Some(CMS))]);
    assert_eq!(tag(finished.connections[0].flow_label), Some(CMS));
    let (start, end) = (collector.next(), collector.next());
    assert_eq!((state(&start), state(&end)), ("start", "end"));
    assert_eq!(end["flow-id"]["dst-port"], far.address().port(), "the pool supplies the data");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_that_goes_on_is_told_of_again_and_again() {
    let period = Duration::from_secs(1);
    let Some((stage, collector)) = stage(|config| config.marking.period = period).await else { return };
    let far = Far::over_ipv6(|request, line| {
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
        if request.method == "GET" {
            for _ in 0..30 {
                line.say("x");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Then::Close
    });
    let pull = Kind::Pull(v1::Pull { remote: remote(&far), ..Default::default() });
    let _ = to_the_end(&stage, marked("t1", "r1", pull, Some(ATLAS))).await;
    let mut states = Vec::new();
    while states.last().is_none_or(|last| last != "end") {
        states.push(state(&collector.next()).to_owned());
    }
    assert_eq!(states.first().map(String::as_str), Some("start"));
    assert!(states.iter().filter(|state| *state == "ongoing").count() >= 1, "{states:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_follow_each_other_on_a_connection_are_one_flow_and_another_transfers_are_not() {
    let Some((stage, collector)) = stage(|config| config.timeouts.linger = PATIENCE).await else { return };
    stage.store("r1", b"abc").await;
    let mut urls = Vec::new();
    for number in 0..2 {
        let mut door = stage.start(get(&format!("t{number}"), "r1", Some(ATLAS))).await.unwrap();
        urls.push(door.ready().await);
    }
    let answers = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(&urls[0]);
        let part = |client: &mut Client, url: &str| {
            let target = url.split_once(&client.authority).unwrap().1.to_owned();
            let head =
                format!("GET {target} HTTP/1.1\r\nHost: {}\r\nRange: bytes=0-0\r\n\r\n", client.authority);
            client.stream.write_all(head.as_bytes()).unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\na") {
                let mut byte = [0];
                client.stream.read_exact(&mut byte).unwrap();
                answer.push(byte[0]);
            }
            tag(flow_label::of_peer(client.stream.as_fd()).unwrap())
        };
        [part(&mut client, &urls[0]), part(&mut client, &urls[0]), part(&mut client, &urls[1])]
    });
    assert_eq!(answers.await.unwrap(), [Some(ATLAS); 3]);
    let states: Vec<String> = (0..4).map(|_| state(&collector.next()).to_owned()).collect();
    assert_eq!(states, ["start", "end", "start", "end"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_without_marking_marks_nothing() {
    let off = |config: &mut Config| config.marking.rules.policy = crate::marking::Policy::Off;
    let Some((stage, collector)) = stage(off).await else { return };
    stage.store("r1", b"abc").await;
    let mut door = stage.start(get("t1", "r1", Some(ATLAS))).await.unwrap();
    let url = door.ready().await;
    assert_eq!(port(&url), stage.pool.data_addr().port());
    assert_eq!(tag(ask("GET", &url, b"").await.label), None);
    assert_eq!(last(&mut door).await.marked_as, None);
    collector.0.set_nonblocking(true).unwrap();
    assert!(collector.0.recv(&mut [0; 2048]).is_err());
}

#[test]
fn the_tags_of_these_stories_are_what_their_names_say() {
    let tag = |number: u32| Tag::try_from(number).map(|tag| (tag.experiment(), tag.activity()));
    assert_eq!((tag(ATLAS), tag(CMS)), (Ok((2, 2)), Ok((3, 4))));
}
