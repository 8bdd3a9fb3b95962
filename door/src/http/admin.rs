//! The admin port: metrics, health, and which files are damaged. It shows names, so it is for admins only.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use penstock_service::exposition::{CLASSIC, OPENMETRICS, classic, wants_openmetrics};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::namespace::NsPath;
use crate::transfers::Transfers;

/// Connections at once; more wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 32;
/// For a request's head, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After an accept that failed, so that the failure does not take the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const PLAIN: &str = "text/plain; charset=utf-8";

/// What the admin port shows.
#[derive(Debug)]
pub struct AdminPort {
    /// Counters.
    pub metrics: Metrics,
    /// Pools and damaged files.
    pub transfers: Arc<Transfers>,
}

type Page = Response<Full<Bytes>>;

/// Serves the port until it is told to stop.
pub async fn serve(listener: TcpListener, port: AdminPort, stop: CancellationToken) {
    let (port, permits) = (Arc::new(port), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    loop {
        // Never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin port cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (port, stop) = (Arc::clone(&port), stop.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let pages = service_fn(async |request| Ok::<_, Infallible>(port.page(&request)));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), pages);
            tokio::select! {
                // A reader that goes away is everyday life.
                _ = connection => {}
                () = stop.cancelled() => {}
            }
        });
    }
}

impl AdminPort {
    fn page(&self, request: &Request<Incoming>) -> Page {
        if request.method() != Method::GET {
            return page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".into());
        }
        let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let accept = accept.unwrap_or_default();
        match request.uri().path() {
            "/metrics" => match self.metrics.encode() {
                Ok(text) if wants_openmetrics(accept) => page(StatusCode::OK, OPENMETRICS, text),
                Ok(text) => page(StatusCode::OK, CLASSIC, classic(&text)),
                Err(_) => {
                    page(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "metrics cannot be written\n".into())
                }
            },
            "/healthz" => self.health(),
            "/broken" => page(StatusCode::OK, PLAIN, self.broken()),
            _ => page(StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /healthz and /broken\n".into()),
        }
    }

    /// Good when some pool answers: without any, no file can be read or written.
    fn health(&self) -> Page {
        let pools: Vec<_> = self.transfers.pools().iter().map(|pool| pool.state().is_up()).collect();
        let up = pools.iter().filter(|up| **up).count();
        let status = if up > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        page(status, PLAIN, format!("{up} of {} pools answer\n", pools.len()))
    }

    /// One line for each damaged file: pool, replica, path, why.
    fn broken(&self) -> String {
        let mut text = String::new();
        for (pool, files) in self.transfers.broken_files() {
            for (replica, file) in files {
                let path = file.path.as_ref().map_or("(no name)", NsPath::as_str);
                // A name may hold any character; writing to a String cannot fail.
                let _ =
                    writeln!(text, "{pool} {replica} {} {}", path.escape_debug(), file.why.escape_debug());
            }
        }
        text
    }
}

fn page(status: StatusCode, content_type: &'static str, text: String) -> Page {
    let mut page = Response::new(Full::new(Bytes::from(text)));
    *page.status_mut() = status;
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    page
}
