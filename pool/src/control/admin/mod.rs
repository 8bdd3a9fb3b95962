//! The admin port: for people and Prometheus. Read-only; whoever reaches it sees all transfers and changes nothing.

pub mod history;
mod page;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use penstock_door_proto::v1;
use penstock_service::exposition::{CLASSIC, OPENMETRICS, classic, wants_openmetrics};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tracing::warn;
use v1::pool_status::Health;
use v1::scrub_status::State as ScrubState;

use self::history::History;
use super::metrics::Metrics;
use super::registry::Registry;
use super::status::StatusSource;
use crate::control::messages::transfer_json::transfer;

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
const HTML: &str = "text/html; charset=utf-8";

/// What there is, for those who ask for something else.
const PLACES: &str = "/, /overview, /healthz, /metrics, /status, /transfers";

/// What the port shows.
#[derive(Debug)]
pub struct AdminPort {
    registry: Arc<Registry>,
    status: Arc<StatusSource>,
    metrics: Arc<Metrics>,
    history: Arc<History>,
}

impl AdminPort {
    /// A port over the parts of a pool.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        status: Arc<StatusSource>,
        metrics: Arc<Metrics>,
        history: Arc<History>,
    ) -> Self {
        Self { registry, status, metrics, history }
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
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match request.uri().path() {
            // Browsers name it; curl and its like get words.
            "/" if accept.contains("text/html") => status_page(),
            "/" | "/overview" => match self.status().await {
                Some(status) => respond(StatusCode::OK, TEXT, self.overview(&status)),
                None => unavailable(),
            },
            "/status" => match self.status().await {
                Some(status) => {
                    let json = page::status(&status, &self.registry, &self.history);
                    respond(StatusCode::OK, JSON, format!("{json}\n"))
                }
                None => unavailable(),
            },
            "/healthz" => match self.status().await {
                Some(status) => health(&status),
                None => unavailable(),
            },
            // Asking for the state refreshes the gauges.
            "/metrics" => match (self.status().await, self.metrics.encode()) {
                (Some(_), Ok(text)) if wants_openmetrics(accept) => {
                    respond(StatusCode::OK, OPENMETRICS, text)
                }
                (Some(_), Ok(text)) => respond(StatusCode::OK, CLASSIC, classic(&text)),
                (None, _) | (_, Err(_)) => unavailable(),
            },
            "/transfers" => {
                let transfers =
                    self.registry.list().iter().map(|entry| transfer(&entry.info())).collect::<Vec<_>>();
                respond(StatusCode::OK, JSON, format!("{}\n", json!({ "transfers": transfers })))
            }
            path => {
                let text = format!("there is no {path:?} here; there are {PLACES}\n");
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
        writeln!(text, "\nsee also   {PLACES}; / is a page for browsers")
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
            format!("passes done: {passes}{next}; the last: {counts}")
        }
    }
}

fn rfc3339(at: Option<prost_types::Timestamp>) -> Option<String> {
    let at = at?;
    jiff::Timestamp::new(at.seconds, at.nanos).ok().map(|at| at.to_string())
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

/// The status page. What a browser may do with it, it is told with it.
fn status_page() -> Response<Full<Bytes>> {
    let mut response = respond(StatusCode::OK, HTML, page::DOCUMENT.as_str());
    let headers = response.headers_mut();
    // Made of hashes and words of ours.
    if let Ok(policy) = HeaderValue::from_str(&page::POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    response
}

fn unavailable() -> Response<Full<Bytes>> {
    respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, "the pool cannot tell its state; see its log\n")
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    // It is as it is now, and it is what it says it is.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
