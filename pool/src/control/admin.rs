//! The admin port: for people and Prometheus. Read-only; whoever reaches it sees all transfers and changes nothing.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use penstock_door_proto::v1;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::warn;
use v1::limits::Limit;
use v1::pool_status::Health;
use v1::scrub_status::State as ScrubState;
use v1::transfer_event::Event;

use super::entry::Entry;
use super::metrics::Metrics;
use super::registry::Registry;
use super::status::StatusSource;
use crate::transfer::request::DEFAULT_QUEUE;

/// Connections at once: a few people and a few scrapers.
const MAX_CONNECTIONS: usize = 64;
/// From a connection's start to the end of a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A connection that takes longer than this is somebody's leak.
const CONNECTION_TIME: Duration = Duration::from_secs(300);
/// Pause after an accept that failed, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the port shows.
#[derive(Debug)]
pub struct AdminPort {
    registry: Arc<Registry>,
    status: Arc<StatusSource>,
    metrics: Arc<Metrics>,
}

impl AdminPort {
    /// A port over the parts of a pool.
    #[must_use]
    pub fn new(registry: Arc<Registry>, status: Arc<StatusSource>, metrics: Arc<Metrics>) -> Self {
        Self { registry, status, metrics }
    }

    /// Binds `address`.
    pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    /// Serves a bound port until the task is aborted.
    pub fn serve(self: Arc<Self>, listener: TcpListener) -> JoinHandle<()> {
        tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
            loop {
                // The semaphore is never closed.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        warn!(%error, "the admin port cannot accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let admin = Arc::clone(&self);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let admin = Arc::clone(&admin);
                        async move { Ok::<_, Infallible>(admin.answer(&request).await) }
                    });
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEAD_TIME)
                        .serve_connection(TokioIo::new(stream), service);
                    // A client that breaks off, or stays too long, is its own business.
                    let _ = tokio::time::timeout(CONNECTION_TIME, connection).await;
                    drop(place);
                });
            }
        })
    }

    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut answer = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "this port is read-only\n");
            answer.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match request.uri().path() {
            "/" => match self.status().await {
                Some(status) => respond(StatusCode::OK, TEXT, self.overview(&status)),
                None => unavailable(),
            },
            "/healthz" => match self.status().await {
                Some(status) => health(&status),
                None => unavailable(),
            },
            // Asking for the state refreshes the gauges.
            "/metrics" => match (self.status().await, self.metrics.encode()) {
                (Some(_), Ok(text)) => respond(StatusCode::OK, OPENMETRICS, text),
                (None, _) | (_, Err(_)) => unavailable(),
            },
            "/transfers" => {
                let transfers: Vec<_> = self.registry.list().iter().map(transfer_json).collect();
                respond(StatusCode::OK, JSON, format!("{}\n", json!({ "transfers": transfers })))
            }
            path => {
                let text =
                    format!("there is no {path:?} here; there are /, /healthz, /metrics, /transfers\n");
                respond(StatusCode::NOT_FOUND, TEXT, text)
            }
        }
    }

    async fn status(&self) -> Option<v1::PoolStatus> {
        let status = Arc::clone(&self.status);
        tokio::task::spawn_blocking(move || status.now()).await.ok()
    }

    fn overview(&self, status: &v1::PoolStatus) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_overview(&mut text, status);
        text
    }

    fn write_overview(&self, text: &mut String, status: &v1::PoolStatus) -> std::fmt::Result {
        writeln!(text, "Penstock pool {}, version {}", status.pool_name, status.version)?;
        writeln!(text, "health     {}", health_word(status.health()))?;
        for problem in &status.problems {
            writeln!(text, "problem    {problem}")?;
        }
        writeln!(text, "data port  {}", status.data_urls.join(" "))?;
        if let Some(space) = &status.space {
            writeln!(
                text,
                "space      {} available of {}; {} used, {} reserved by uploads",
                human(space.available),
                human(space.total),
                human(space.used),
                human(space.reserved)
            )?;
        }
        let v1::PoolStatus { replicas, broken_replicas, suspect_replicas, orphaned_replicas, .. } = status;
        writeln!(
            text,
            "replicas   {replicas}; {broken_replicas} broken, {suspect_replicas} suspect, {orphaned_replicas} orphaned"
        )?;
        if let Some(scrub) = &status.scrub {
            writeln!(text, "scrub      {}", scrub_line(scrub))?;
        }
        if let Some(load) = &status.load {
            writeln!(
                text,
                "load       in {:.1} MB/s, out {:.1} MB/s; buffers {:.0} %, busiest shard {:.0} %",
                load.bytes_in_per_second / 1e6,
                load.bytes_out_per_second / 1e6,
                load.buffers_used * 100.0,
                load.busiest_shard * 100.0
            )?;
        }
        for queue in &status.queues {
            let v1::Queue { name, running, limit, waiting } = queue;
            writeln!(text, "queue      {name}: {running} of {limit} running, {waiting} waiting")?;
        }
        writeln!(text, "transfers  {} wait for their door's word", status.unacknowledged)?;
        writeln!(text, "\nsee also   /healthz /metrics /transfers")
    }
}

/// How the scrub stands, in one line.
fn scrub_line(scrub: &v1::ScrubStatus) -> String {
    let v1::ScrubStatus { replicas_verified, replicas_found_broken, replicas_skipped, passes, .. } = scrub;
    let counts = format!(
        "{replicas_verified} replicas ({}) verified, {replicas_found_broken} broken, {replicas_skipped} skipped",
        human(scrub.bytes_verified)
    );
    let rate = human(scrub.rate_bytes_per_second);
    let next = rfc3339(scrub.next_pass_at).map_or_else(String::new, |at| format!("; the next at {at}"));
    match scrub.state() {
        ScrubState::Running => format!("{:.1} % at {rate}/s: {counts}", scrub.done * 100.0),
        ScrubState::Stopped => format!("stopped at {:.1} %: {counts}", scrub.done * 100.0),
        ScrubState::Idle | ScrubState::Unspecified => {
            format!("{passes} passes done{next}; the last: {counts}")
        }
    }
}

fn transfer_json(entry: &Arc<Entry>) -> serde_json::Value {
    let v1::TransferInfo { request, progress, outcome } = entry.info();
    let (request, progress) = (request.unwrap_or_default(), progress.unwrap_or_default());
    let client = request.client.unwrap_or_default();
    let why = match outcome.and_then(|outcome| outcome.event) {
        Some(Event::Failed(failed)) => Some(failed.text),
        Some(Event::Cancelled(cancelled)) => Some(cancelled.reason),
        Some(_) | None => None,
    };
    let limited_by = progress.limits.map(|limits| limits.now()).and_then(|now| match now {
        Limit::Unspecified => None,
        Limit::Source => Some("source"),
        Limit::Network => Some("network"),
        Limit::Disk => Some("disk"),
        Limit::Checksum => Some("checksum"),
        Limit::Queue => Some("queue"),
    });
    let connections: Vec<_> = progress
        .connections
        .iter()
        .map(|connection| {
            json!({
                "local": endpoint(connection.local.as_ref()),
                "remote": endpoint(connection.remote.as_ref()),
                "flow_label": (connection.flow_label != 0).then(|| format!("{:#07x}", connection.flow_label)),
            })
        })
        .collect();
    let marked = progress.marked_as.unwrap_or_default();
    let known = |name: String| Some(name).filter(|name| !name.is_empty());
    json!({
        "transfer": request.transfer_id,
        "kind": entry.kind().as_str(),
        "state": entry.state().as_str(),
        "why": why,
        "replica": request.replica_id,
        "path": request.transfer_path,
        "queue": if request.queue.is_empty() { DEFAULT_QUEUE } else { &request.queue },
        "priority": request.priority,
        "subject": client.subject,
        "client": client.address,
        "door": request.door.unwrap_or_default().name,
        "submitted_at": rfc3339(progress.submitted_at),
        "started_at": rfc3339(progress.started_at),
        "last_moved_at": rfc3339(progress.last_moved_at),
        "bytes_moved": progress.bytes_moved,
        "bytes_requested": progress.bytes_requested,
        "limited_by": limited_by,
        "experiment": known(marked.experiment),
        "activity": known(marked.activity),
        "connections": connections,
    })
}

fn rfc3339(at: Option<prost_types::Timestamp>) -> Option<String> {
    let at = at?;
    jiff::Timestamp::new(at.seconds, at.nanos).ok().map(|at| at.to_string())
}

/// As a socket address is written.
fn endpoint(endpoint: Option<&v1::Endpoint>) -> Option<String> {
    let endpoint = endpoint?;
    let address: std::net::IpAddr = endpoint.address.parse().ok()?;
    let port = u16::try_from(endpoint.port).ok()?;
    Some(SocketAddr::new(address, port).to_string())
}

/// A size for people, to a tenth of its unit.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

fn health_word(health: Health) -> &'static str {
    match health {
        Health::Unspecified => "unknown",
        Health::Ok => "ok",
        Health::ReadOnly => "read-only",
        Health::Draining => "draining",
        Health::Failed => "failed",
    }
}

fn health(status: &v1::PoolStatus) -> Response<Full<Bytes>> {
    let word = health_word(status.health());
    let line = match status.problems.first() {
        Some(problem) => format!("{word}: {problem}\n"),
        None => format!("{word}\n"),
    };
    let code = match status.health() {
        Health::Ok => StatusCode::OK,
        Health::Unspecified | Health::ReadOnly | Health::Draining | Health::Failed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    respond(code, TEXT, line)
}

fn unavailable() -> Response<Full<Bytes>> {
    respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the pool cannot tell its state; see its log\n")
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people_have_one_decimal() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (10 << 40, "10.0 TiB"),
            (u64::MAX, "16384.0 PiB"),
        ];
        for (bytes, shown) in cases {
            assert_eq!(human(bytes), shown);
        }
    }
}
