//! The way to a collector: OTLP over HTTP, as JSON (`POST /v1/traces`), in batches, from a bounded queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::context::TraceContext;
use super::span::{Kind, Span};

/// Parts that wait for the collector; beyond, they are lost, and counted.
const WAITING_MAX: usize = 4096;
/// Parts in one message.
const BATCH_MAX: usize = 512;
/// How long a part waits for others to travel with.
const BATCH_TIME: Duration = Duration::from_secs(1);
/// For one message to be taken.
const SEND_TIME: Duration = Duration::from_secs(5);
/// Where collectors take traces (OTLP/HTTP).
const PATH: &str = "/v1/traces";

/// The table `[tracing]` of a configuration.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// `"http://host:4318"` of an OpenTelemetry collector. Default: no traces.
    pub endpoint: Option<Endpoint>,
    /// The share, 0 to 1, that is traced of requests that bring no `traceparent`. Default: 1.
    pub sample: Option<Share>,
}

/// Where a collector is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint(Uri);

impl TryFrom<String> for Endpoint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let full = format!("{}{PATH}", text.trim_end_matches('/'));
        match full.parse::<Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") && uri.host().is_some() && uri.path() == PATH => {
                Ok(Self(uri))
            }
            _ => Err(format!("\"{text}\" is no collector: write \"http://host:4318\", without a path")),
        }
    }
}

/// A share of all, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Share(f64);

impl TryFrom<f64> for Share {
    type Error = String;

    fn try_from(share: f64) -> Result<Self, String> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(format!("{share} is not between 0 and 1"))
        }
    }
}

/// Makes parts of traces and sends them off. Without an endpoint it makes none.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Exporting>>);

#[derive(Debug)]
struct Exporting {
    ended: mpsc::Sender<Value>,
    lost: AtomicU64,
    sample: f64,
}

impl Tracer {
    /// Starts the way to the collector, if there is one. Must be called within a runtime.
    #[must_use]
    pub fn start(service: &'static str, instance: &str, settings: &Settings) -> Self {
        let Some(Endpoint(uri)) = settings.endpoint.clone() else { return Self(None) };
        let (ended, waiting) = mpsc::channel(WAITING_MAX);
        let resource = json!({ "attributes": [
            { "key": "service.name", "value": { "stringValue": service } },
            { "key": "service.instance.id", "value": { "stringValue": instance } },
            { "key": "service.version", "value": { "stringValue": env!("CARGO_PKG_VERSION") } },
        ]});
        let sample = settings.sample.map_or(1.0, |share| share.0);
        let exporting = Arc::new(Exporting { ended, lost: AtomicU64::new(0), sample });
        tokio::spawn(send_all(waiting, uri, resource, Arc::downgrade(&exporting)));
        Self(Some(exporting))
    }

    /// Begins a part of the trace that a client has named, or of a new one. `None` when it is not recorded.
    #[must_use]
    pub fn begin(&self, client: Option<TraceContext>, kind: Kind, name: impl Into<String>) -> Option<Span> {
        self.begin_at(client, kind, name, SystemTime::now())
    }

    /// The same for something that began earlier.
    #[must_use]
    pub fn begin_at(
        &self,
        client: Option<TraceContext>,
        kind: Kind,
        name: impl Into<String>,
        started_at: SystemTime,
    ) -> Option<Span> {
        let exporting = self.0.as_ref()?;
        let random = || getrandom::u64().ok().filter(|number| *number != 0);
        let sampled = match client {
            Some(client) => client.sampled,
            // 53 bits are what a float holds.
            None => (random()? >> 11) as f64 / ((1_u64 << 53) as f64) < exporting.sample,
        };
        if !sampled {
            return None;
        }
        let trace = match client {
            Some(client) => client.trace,
            None => u128::from(random()?) << 64 | u128::from(random()?),
        };
        let context = TraceContext { trace, span: random()?, sampled: true };
        Some(Span::new(context, client.map(|client| client.span), kind, name.into(), started_at))
    }

    /// Ends a part, with what has gone wrong. Never waits.
    pub fn end(&self, span: Span, failure: Option<&str>) {
        let Some(exporting) = &self.0 else { return };
        if exporting.ended.try_send(span.end(SystemTime::now(), failure)).is_err() {
            exporting.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Until nobody ends parts any more.
async fn send_all(
    mut waiting: mpsc::Receiver<Value>,
    uri: Uri,
    resource: Value,
    exporting: std::sync::Weak<Exporting>,
) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut well = true;
    loop {
        let mut spans = Vec::new();
        if waiting.recv_many(&mut spans, BATCH_MAX).await == 0 {
            return;
        }
        let gather =
            async { while spans.len() < BATCH_MAX && waiting.recv_many(&mut spans, BATCH_MAX).await > 0 {} };
        // What came in time travels together.
        let _ = tokio::time::timeout(BATCH_TIME, gather).await;
        let count = spans.len() as u64;
        let sent = send(&client, &uri, &resource, spans).await;
        let Some(exporting) = exporting.upgrade() else { continue };
        match sent {
            Ok(()) => {
                let lost = exporting.lost.swap(0, Ordering::Relaxed);
                if !well || lost > 0 {
                    tracing::info!(lost, "the collector takes traces again; some parts are lost");
                }
                well = true;
            }
            Err(problem) => {
                exporting.lost.fetch_add(count, Ordering::Relaxed);
                if well {
                    tracing::warn!(collector = %uri, problem, "the collector does not take traces");
                }
                well = false;
            }
        }
    }
}

async fn send(
    client: &Client<HttpConnector, Full<Bytes>>,
    uri: &Uri,
    resource: &Value,
    spans: Vec<Value>,
) -> Result<(), String> {
    let scope = json!({ "name": "penstock", "version": env!("CARGO_PKG_VERSION") });
    let message = json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "scope": scope, "spans": spans }] }] });
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri.clone())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(message.to_string())))
        .map_err(|error| error.to_string())?;
    match tokio::time::timeout(SEND_TIME, client.request(request)).await {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(format!("it answers {}", answer.status())),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", SEND_TIME.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_http_and_has_no_path() {
        for good in ["http://127.0.0.1:4318", "http://collector.example.org:4318/", "http://[::1]:4318"] {
            assert!(Endpoint::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in
            ["", "127.0.0.1:4318", "https://x:4318", "grpc://x:4317", "http://x:4318/v1/traces", "http://"]
        {
            let error = Endpoint::try_from(bad.to_owned()).unwrap_err();
            assert!(error.ends_with("write \"http://host:4318\", without a path"), "{error}");
        }
        assert!(Share::try_from(1.1).is_err() && Share::try_from(f64::NAN).is_err());
    }

    fn tracer(sample: f64) -> (Tracer, mpsc::Receiver<Value>) {
        let (ended, waiting) = mpsc::channel(2);
        (Tracer(Some(Arc::new(Exporting { ended, lost: AtomicU64::new(0), sample }))), waiting)
    }

    #[test]
    fn a_part_belongs_to_the_clients_trace_if_the_client_has_one_that_is_recorded() {
        let (tracer, mut waiting) = tracer(0.0);
        let client = TraceContext { trace: 7, span: 8, sampled: true };
        let mut span = tracer.begin(Some(client), Kind::Server, "GET").unwrap();
        span.text("url.path", "/file");
        span.number("http.response.status_code", 200);
        tracer.end(span, Some("broken"));
        let told = waiting.try_recv().unwrap();
        assert_eq!(
            (&told["traceId"], &told["parentSpanId"]),
            (&json!(format!("{:032x}", 7)), &json!(format!("{:016x}", 8)))
        );
        assert_eq!(
            (&told["name"], &told["kind"], &told["status"]["code"]),
            (&json!("GET"), &json!(2), &json!(2))
        );
        assert_eq!(told["attributes"][1]["value"]["intValue"], json!("200"));

        let unrecorded = TraceContext { sampled: false, ..client };
        assert!(tracer.begin(Some(unrecorded), Kind::Server, "GET").is_none());
        assert!(tracer.begin(None, Kind::Server, "GET").is_none(), "none of its own at a share of 0");
        assert!(Tracer::default().begin(Some(client), Kind::Server, "GET").is_none());
    }

    #[test]
    fn when_the_collector_is_slow_parts_are_lost_and_nobody_waits() {
        let (tracer, _waiting) = tracer(1.0);
        for _ in 0..5 {
            let span = tracer.begin(None, Kind::Consumer, "pull").unwrap();
            tracer.end(span, None);
        }
        assert_eq!(tracer.0.as_ref().unwrap().lost.load(Ordering::Relaxed), 3);
    }
}
