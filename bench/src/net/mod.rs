//! `penstock-bench net`: what the network between two hosts, or loopback, gives the pool's own sending and receiving.
//!
//! `net serve` on one host, `net run HOST:PORT` on the other; or `net run --loopback`, with the server as a process of
//! its own. No disk is touched: bytes come from buffers, or from cached pages of a file in memory, and are dropped.

mod case;
mod facts;
mod greeting;
mod options;
mod serve;
mod station;
mod streams;

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use case::{Case, Direction, Method};
use facts::{Facts, Verdicts};
use greeting::{Greeting, Kind};
use options::Run;
pub use options::{Command, Options};
use penstock_pool::engine::net::flow_label;
use penstock_pool::marking::FlowLabel;
use station::Station;

use crate::child::Child;
use crate::measure::figures::{LINE_RATE, RECEIVER_CPU, RETRANSMITS, ROUND_TRIP, SENDER_CPU, THROUGHPUT};
use crate::measure::{MIB, Plan, Sample, in_turn, process_cpu, processors};
use crate::report::{Chart, Making, Output, Row, Section};
use crate::terminal::{Interrupt, Progress};

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long after its time a stream may take to end.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Measures and reports, or serves.
pub fn run(options: &Options, interrupt: &Interrupt) -> anyhow::Result<()> {
    match &options.command {
        Command::Serve(options) => serve::serve(options, interrupt),
        Command::Run(options) => measure(options, interrupt),
    }
}

fn measure(options: &Run, interrupt: &Interrupt) -> anyhow::Result<()> {
    let output = Output::prepare(&options.common)?;
    let mut report = Making::begin("net");
    // On loopback each side has its own processors, as far as there are.
    let all = processors().len().max(1);
    let (shards, first) = match (options.loopback, options.shards) {
        (true, asked) => {
            let each = asked.map_or((all / 2).max(1), |count| count.0 as usize);
            (each, each)
        }
        (false, asked) => (asked.map_or(all, |count| count.0 as usize), 0),
    };
    let most_streams = options.streams.iter().map(|count| count.0).max().unwrap_or(1);
    let (server, address) = if options.loopback {
        let six = options.ipv6 || options.scitag.is_some();
        let listen = if six { "[::1]:0" } else { "127.0.0.1:0" };
        let (shards, streams) = (shards.to_string(), most_streams.to_string());
        let mut arguments = vec!["net", "serve", "--listen", listen, "--shards", &shards];
        arguments.extend(["--most-streams", &streams, "--as-child"]);
        let mut server = Child::start(&arguments)?;
        let said = server.line("listening on ").context("the server on loopback does not start")?;
        (Some(server), said.parse().context("the server on loopback has no address")?)
    } else {
        let host = options.server.as_deref().context("give HOST:PORT of the server, or --loopback")?;
        (None, resolve(host, options)?)
    };
    if options.scitag.is_some() {
        anyhow::ensure!(address.is_ipv6(), "--scitag: {address} is IPv4, which has no flow labels; try -6");
    }
    let before = Facts::ask(address)?;
    report.setting("server", address);
    report.setting("server's processors", before.processors);
    report.setting("shards here", shards);
    report.setting("shards there", before.shards);
    report.setting("length of a run", format!("{} s", options.seconds.as_secs_f64()));
    report.setting("runs", options.common.runs);
    if let Some(tag) = options.scitag {
        report.setting("SciTag", tag);
    }
    if options.loopback {
        report.notes.push(
            "Loopback: both sides share this machine's memory and processors; a network card does less for the receiver \
             and more for the sender."
                .to_owned(),
        );
        report.over_loopback();
    }
    let station = Station::start(shards, first, most_streams)?;
    report.notes.extend(station.notes());

    let cases = Case::all(options);
    let plan = Plan::of(&options.common);
    let progress = Progress::new(cases.len() as u64 * u64::from(plan.rounds()));
    let measured = in_turn(plan, &progress, interrupt, &cases, Case::to_string, |case| {
        one_run(case, address, options, &station, interrupt)
    })?;
    drop(progress);
    let rows = cases.iter().zip(measured).map(|(case, measurement)| Row::new(case.labels(), measurement));
    report.sections.push(Section {
        name: "streams",
        title: "Streams".to_owned(),
        about: "send: from here to the server; receive: from the server to here. Processor time is that of the whole \
                process on each side"
            .to_owned(),
        charts: vec![
            Chart::Lines { figure: &THROUGHPUT, along: "streams" },
            Chart::Bars(&SENDER_CPU),
            Chart::Bars(&RECEIVER_CPU),
        ],
        rows: rows.collect(),
    });
    drop(server);
    output.write(&report.finish())
}

fn resolve(host: &str, options: &Run) -> anyhow::Result<SocketAddr> {
    let found = host
        .to_socket_addrs()
        .with_context(|| format!("\"{host}\" is no server: write HOST:PORT, as `net serve` shows it"))?;
    let wanted = |address: &SocketAddr| match (options.ipv4, options.ipv6) {
        (true, _) => address.is_ipv4(),
        (_, true) => address.is_ipv6(),
        _ if options.scitag.is_some() => address.is_ipv6(),
        _ => true,
    };
    found.into_iter().find(wanted).with_context(|| {
        format!(
            "{host} has no address of the kind that is wanted ({})",
            if options.ipv4 { "IPv4" } else { "IPv6" }
        )
    })
}

/// Connects, with a flow label or without (0), and says what the stream is for.
fn open(address: SocketAddr, label: u32, greeting: Greeting) -> anyhow::Result<TcpStream> {
    use std::io::Write as _;
    let mut stream = flow_label::connect(address, label, CONNECT_LIMIT).with_context(|| {
        format!(
            "cannot connect to {address}; is `penstock-bench net serve --listen {address}` running there?"
        )
    })?;
    stream.set_nodelay(true).context("cannot set up a connection")?;
    stream.write_all(&greeting.to_bytes()).with_context(|| format!("the connection to {address} broke"))?;
    Ok(stream)
}

/// One run of a case.
fn one_run(
    case: &Case,
    address: SocketAddr,
    options: &Run,
    station: &Station,
    interrupt: &Interrupt,
) -> anyhow::Result<Sample> {
    let (before, tallies) = (Facts::ask(address)?, station.zero_copy());
    let verdicts = || Verdicts::of(tallies.iter().map(AsRef::as_ref));
    let verdicts_before = verdicts();
    let kind = match case.direction {
        Direction::Send => Kind::YouReceive,
        Direction::Receive => Kind::YouSend(case.method),
    };
    let mut open_streams = Vec::new();
    for _ in 0..case.streams {
        let tag = options.scitag.filter(|_| case.labelled == Some(true));
        let label = tag.and_then(FlowLabel::random).map_or(0, FlowLabel::bits);
        open_streams.push(open(address, label, Greeting { kind, length: options.seconds })?);
    }
    let (began_at, cpu_before) = (Instant::now(), process_cpu());
    let (say, answers) = channel();
    for (number, stream) in open_streams.into_iter().enumerate() {
        let (say, interrupt, case, length) = (say.clone(), interrupt.clone(), *case, options.seconds);
        station.submit(number, move |core, files| async move {
            let result = match case.direction {
                Direction::Send => {
                    streams::send_and_ask(&core, stream, &files, case.method, length, &interrupt).await
                }
                Direction::Receive => streams::receive_all(&core, stream, &interrupt).await,
            };
            // Nobody listens any more only after an error of another stream, which is told.
            let _ = say.send(result);
        })?;
    }
    drop(say);
    let (mut bytes, mut retransmits, mut round_trips) = (0u64, 0u64, Vec::new());
    for _ in 0..case.streams {
        let done = answers
            .recv_timeout(options.seconds + END_LIMIT)
            .context("a stream did not end")?
            .with_context(|| format!("a stream with {address} broke"))?;
        bytes += done.bytes;
        if let Some(tcp) = done.tcp {
            retransmits += tcp.retransmits;
            round_trips.push(tcp.rtt.as_secs_f64() * 1e6);
        }
    }
    let elapsed = began_at.elapsed().as_secs_f64();
    let own_cpu = process_cpu().saturating_sub(cpu_before).as_secs_f64();
    let after = Facts::ask(address)?;
    anyhow::ensure!(bytes > 0, "no byte came through; the server may be full: raise its --most-streams");

    let their_cpu = after.cpu_nanoseconds.saturating_sub(before.cpu_nanoseconds) as f64 / 1e9;
    let gib = bytes as f64 / MIB / 1024.0;
    let (sender, receiver) = match case.direction {
        Direction::Send => (own_cpu, their_cpu),
        Direction::Receive => {
            // The kernel knows round trips and retransmits where bytes are sent from.
            retransmits = after.retransmits.saturating_sub(before.retransmits);
            let streams = after.streams_sent.saturating_sub(before.streams_sent);
            let sum = after.round_trip_microseconds.saturating_sub(before.round_trip_microseconds);
            round_trips = if streams > 0 { vec![sum as f64 / streams as f64] } else { vec![] };
            (their_cpu, own_cpu)
        }
    };
    let mut figures = vec![
        (&THROUGHPUT, bytes as f64 / MIB / elapsed),
        (&LINE_RATE, bytes as f64 * 8.0 / 1e9 / elapsed),
        (&SENDER_CPU, sender / gib),
        (&RECEIVER_CPU, receiver / gib),
        (&RETRANSMITS, retransmits as f64),
    ];
    if !round_trips.is_empty() {
        figures.push((&ROUND_TRIP, round_trips.iter().sum::<f64>() / round_trips.len() as f64));
    }
    let remark = match (case.method, case.direction) {
        (Method::Copy | Method::Sendfile, _) => None,
        (Method::ZeroCopy, Direction::Send) => verdicts().since(verdicts_before).shown(),
        (Method::ZeroCopy, Direction::Receive) => after.zero_copy.since(before.zero_copy).shown(),
    };
    Ok(Sample { figures, remark, ..Default::default() })
}
