//! `net serve`: answers those who measure.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use penstock_pool::engine::core::Core;
use penstock_pool::engine::disk::File;
use penstock_pool::engine::net::listener::{self, Listener};
use penstock_pool::engine::net::zero_copy::Tally;
use penstock_pool::engine::net::{Connection, Received};
use penstock_pool::marking::FlowLabel;

use super::facts::{Facts, Verdicts};
use super::greeting::{GREETING_BYTES, Greeting, Kind};
use super::options::Serve;
use super::station::Station;
use super::streams;
use crate::child;
use crate::measure::{process_cpu, processors};
use crate::terminal::Interrupt;

/// A greeting has to come within this time.
const GREETING_LIMIT: Duration = Duration::from_secs(10);
/// Connections beyond the streams, for questions.
const MORE_CONNECTIONS: usize = 16;
/// How often it is looked for the end.
const LOOK: Duration = Duration::from_millis(100);
/// A listener that fails (too many open files) is tried again after that long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the shards of the server share.
struct Server {
    most_streams: usize,
    shards: usize,
    processors: usize,
    interrupt: Interrupt,
    connections: AtomicUsize,
    streams: AtomicUsize,
    retransmits: AtomicU64,
    streams_sent: AtomicU64,
    round_trip_microseconds: AtomicU64,
    zero_copy: Vec<Arc<Tally>>,
}

/// Serves until an interrupt.
pub fn serve(options: &Serve, interrupt: &Interrupt) -> anyhow::Result<()> {
    let count = options.shards.map_or_else(|| processors().len().max(1), |count| count.0 as usize);
    let label = options.scitag.and_then(FlowLabel::random).map_or(0, FlowLabel::bits);
    anyhow::ensure!(
        label == 0 || options.listen.is_ipv6(),
        "--scitag: {} is IPv4, which has no flow labels",
        options.listen
    );
    let bind = |address| {
        let bound =
            if label == 0 { listener::bind(address) } else { listener::bind_labelled(address, label) };
        bound.with_context(|| format!("--listen: cannot bind {address}"))
    };
    // The kernel would let us share the port of another process of this user; so ask for it alone first.
    drop(
        std::net::TcpListener::bind(options.listen)
            .with_context(|| format!("--listen: cannot bind {}", options.listen))?,
    );
    let first = bind(options.listen)?;
    let address = listener::address(&first).context("the listener has no address")?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(bind(address)?);
    }
    let station = Station::start(count, 0, options.most_streams.0)?;
    let server = Arc::new(Server {
        most_streams: options.most_streams.0 as usize,
        shards: station.shards(),
        // Asked now: a shard has only its own.
        processors: processors().len(),
        interrupt: interrupt.clone(),
        connections: AtomicUsize::new(0),
        streams: AtomicUsize::new(0),
        retransmits: AtomicU64::new(0),
        streams_sent: AtomicU64::new(0),
        round_trip_microseconds: AtomicU64::new(0),
        zero_copy: station.zero_copy(),
    });
    for (number, listener) in listeners.into_iter().enumerate() {
        let server = Arc::clone(&server);
        station.submit(number, move |core, file| {
            let listener = Listener::labelled(Rc::clone(&core), listener, label);
            accept(core, listener, server, file)
        })?;
    }
    println!("listening on {address}");
    if options.as_child {
        child::wait_for_parent();
    } else {
        while !interrupt.came() {
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

async fn accept(core: Rc<Core>, listener: Listener, server: Arc<Server>, file: File) {
    loop {
        match listener.accept().await {
            Ok(connection) => {
                // Over the limit: dropped at once, which closes it.
                if let Some(place) = Place::connection(&server) {
                    let (server, file) = (Arc::clone(&server), File::clone(&file));
                    core.spawn(async move {
                        // Whoever broke off knows why better than this side.
                        let _ = answer(&connection, &server, &file).await;
                        drop(place);
                    });
                }
            }
            Err(_) => core.sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// A place among a limited number, given back when dropped.
struct Place {
    server: Arc<Server>,
    count: fn(&Server) -> &AtomicUsize,
}

impl Place {
    fn take(server: &Arc<Server>, count: fn(&Server) -> &AtomicUsize, most: usize) -> Option<Self> {
        let one_more = |taken: usize| (taken < most).then_some(taken + 1);
        count(server).fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self { server: Arc::clone(server), count })
    }

    fn connection(server: &Arc<Server>) -> Option<Self> {
        Self::take(server, |server| &server.connections, server.most_streams + MORE_CONNECTIONS)
    }

    fn stream(server: &Arc<Server>) -> Option<Self> {
        Self::take(server, |server| &server.streams, server.most_streams)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.count)(&self.server).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    fn facts(&self) -> Facts {
        Facts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            processors: self.processors,
            shards: self.shards,
            cpu_nanoseconds: u64::try_from(process_cpu().as_nanos()).unwrap_or(u64::MAX),
            retransmits: self.retransmits.load(Ordering::Relaxed),
            streams_sent: self.streams_sent.load(Ordering::Relaxed),
            round_trip_microseconds: self.round_trip_microseconds.load(Ordering::Relaxed),
            zero_copy: Verdicts::of(self.zero_copy.iter().map(Arc::as_ref)),
        }
    }
}

async fn answer(connection: &Connection, server: &Arc<Server>, file: &File) -> io::Result<()> {
    let (received, bytes) =
        connection.receive_within(vec![0; GREETING_BYTES], 0..GREETING_BYTES, true, GREETING_LIMIT).await;
    let Received::Bytes(GREETING_BYTES) = received? else { return Ok(()) };
    let Some(greeting) = Greeting::from_bytes(&bytes) else { return Ok(()) };
    match greeting.kind {
        Kind::Facts => {
            let facts = serde_json::to_vec(&server.facts())?;
            connection.send_all(facts, false, GREETING_LIMIT).await.0
        }
        Kind::YouReceive => {
            let Some(_place) = Place::stream(server) else { return Ok(()) };
            let bytes = streams::receive(connection, &server.interrupt).await?;
            connection.send_all(bytes.to_le_bytes().to_vec(), false, GREETING_LIMIT).await.0
        }
        Kind::YouSend(method) => {
            let Some(_place) = Place::stream(server) else { return Ok(()) };
            let sent = streams::send(connection, file, method, greeting.length, &server.interrupt).await;
            if let Some(tcp) = connection.tcp_facts() {
                server.retransmits.fetch_add(tcp.retransmits, Ordering::Relaxed);
                server.streams_sent.fetch_add(1, Ordering::Relaxed);
                let microseconds = u64::try_from(tcp.rtt.as_micros()).unwrap_or(0);
                server.round_trip_microseconds.fetch_add(microseconds, Ordering::Relaxed);
            }
            sent?;
            connection.shutdown_send();
            // Until the other side has read all of it and closes.
            streams::receive(connection, &server.interrupt).await.map(drop)
        }
    }
}
