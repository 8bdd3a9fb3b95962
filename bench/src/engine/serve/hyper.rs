//! tokio and hyper, with buffers that are used again: how a careful author would write a server without a ring.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use super::head::{self, Asked};

/// One read of a download.
const READ_BYTES: usize = 256 << 10;
/// Reads ahead from the disk.
const READS_AHEAD: usize = 4;
/// One write of an upload.
const WRITE_BYTES: usize = 1 << 20;
/// Buffers that are kept.
const MOST_BUFFERS: usize = 256;

type Body = BoxBody<Bytes, io::Error>;

/// Serves for ever.
pub fn serve(listener: TcpListener, directory: &'static Path) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("tokio does not start")?;
    runtime.block_on(async {
        listener.set_nonblocking(true).context("cannot set up the listener")?;
        let listener = tokio::net::TcpListener::from_std(listener).context("cannot set up the listener")?;
        let buffers = Buffers::default();
        loop {
            let (stream, _) = listener.accept().await.context("cannot accept")?;
            stream.set_nodelay(true).context("cannot set up a connection")?;
            let buffers = buffers.clone();
            tokio::spawn(async move {
                let service =
                    hyper::service::service_fn(move |request| answer(request, directory, buffers.clone()));
                // The client tells of what breaks.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

/// Buffers of one size that are used again.
#[derive(Clone, Default)]
struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that goes back when it is dropped.
struct Lease {
    data: Vec<u8>,
    length: usize,
    home: Buffers,
}

impl Buffers {
    fn take(&self) -> Lease {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Lease { data: kept.unwrap_or_else(|| vec![0; READ_BYTES]), length: 0, home: self.clone() }
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        &self.data[..self.length]
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut kept = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_BUFFERS {
            kept.push(std::mem::take(&mut self.data));
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    directory: &'static Path,
    buffers: Buffers,
) -> Result<Response<Body>, Infallible> {
    let answered = match *request.method() {
        Method::GET => get(&request, directory, buffers),
        Method::PUT => put(request, directory).await,
        _ => Err(io::ErrorKind::Unsupported.into()),
    };
    Ok(answered.unwrap_or_else(|_| empty(StatusCode::BAD_REQUEST)))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

fn get(request: &Request<Incoming>, directory: &Path, buffers: Buffers) -> io::Result<Response<Body>> {
    let Some(Asked::Get { path, hot }) = head::get(request.uri().path(), directory) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let file = Arc::new(std::fs::File::open(path)?);
    let length = file.metadata()?.len();
    let pieces = (0..length).step_by(READ_BYTES).map(move |offset| {
        let (file, mut lease) = (Arc::clone(&file), buffers.take());
        let read = move || {
            let wanted = usize::try_from(length - offset).unwrap_or(usize::MAX).min(READ_BYTES);
            file.read_exact_at(&mut lease.data[..wanted], offset)?;
            lease.length = wanted;
            Ok(Frame::data(Bytes::from_owner(lease)))
        };
        async move {
            if hot {
                // What is cached does not block.
                read()
            } else {
                tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
            }
        }
    });
    let body = StreamBody::new(stream::iter(pieces).buffered(if hot { 1 } else { READS_AHEAD }));
    let mut response = Response::new(BodyExt::boxed(body));
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    Ok(response)
}

async fn put(request: Request<Incoming>, directory: &Path) -> io::Result<Response<Body>> {
    let file = Arc::new(head::new_file(directory)?);
    let mut body = request.into_body();
    let (mut gathered, mut offset) = (Vec::with_capacity(WRITE_BYTES), 0u64);
    loop {
        let frame = body.frame().await.transpose().map_err(io::Error::other)?;
        let last = frame.is_none();
        let mut data = frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
        loop {
            let piece = data.split_to(data.len().min(WRITE_BYTES - gathered.len()));
            gathered.extend_from_slice(&piece);
            // At the end, what is left over is written, too.
            if gathered.len() < WRITE_BYTES && (!last || gathered.is_empty()) {
                break;
            }
            let (file, length) = (Arc::clone(&file), gathered.len() as u64);
            let write = move || file.write_all_at(&gathered, offset).map(|()| gathered);
            gathered = tokio::task::spawn_blocking(write).await.map_err(io::Error::other)??;
            gathered.clear();
            offset += length;
        }
        if last {
            break;
        }
    }
    tokio::task::spawn_blocking(move || file.sync_data()).await.map_err(io::Error::other)??;
    Ok(empty(StatusCode::CREATED))
}
