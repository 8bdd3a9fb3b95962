//! PROPFIND, Depth 0 and 1. The answer is written while the directory is read, page by page, so that a listing of any
//! length takes little memory.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use tracing::Instrument as _;

use super::answer::{Answer, BodySender, Refusal, bare, full, streamed};
use super::exchange::Exchange;
use super::multistatus;
use super::property::{self, Wanted};
use super::service::Service;
use crate::auth::{Access, Decision, Operation, decide};
use crate::namespace::{Entry, NamespaceError, NsPath};

/// Entries that are read and written at a time.
pub const PAGE: u32 = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Zero,
    One,
    Infinity,
}

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::ReadMetadata)?;
    let depth = depth(exchange)?;
    let wanted = match exchange.body.take() {
        Some(body) => wanted(body, exchange.service.limits.propfind_bytes.0).await?,
        None => Wanted::All(Vec::new()),
    };
    let entry = exchange.existing().await?;
    let mut xml = String::from(multistatus::HEAD);
    multistatus::write_entry(&mut xml, &wanted, &exchange.view_path, &entry);
    // A file has nothing below it, whatever the depth.
    if !entry.is_directory() || depth == Depth::Zero {
        xml.push_str(multistatus::TAIL);
        return Ok(xml_answer(full(xml)));
    }
    if depth == Depth::Infinity {
        return Ok(finite_depth_only());
    }
    exchange.allow(Operation::List)?;
    let (sender, body) = streamed();
    let listing = Listing {
        service: Arc::clone(&exchange.service),
        access: exchange.access.clone(),
        directory: entry.id,
        view_path: exchange.view_path.clone(),
        path: exchange.path.clone(),
    };
    let write = async move {
        if sender.send(Ok(Bytes::from(xml))).await.is_err() {
            return;
        }
        listing
            .stream(&sender, |xml, view_path, entry| multistatus::write_entry(xml, &wanted, view_path, entry))
            .await;
        // When the client has gone nobody misses it.
        let _ = sender.send(Ok(Bytes::from_static(multistatus::TAIL.as_bytes()))).await;
    };
    tokio::spawn(write.in_current_span());
    Ok(xml_answer(body))
}

/// A directory to be written for a client.
pub struct Listing {
    /// The door.
    pub service: Arc<Service>,
    /// Who asks: what it may not see is left out.
    pub access: Access,
    /// The directory's id.
    pub directory: i64,
    /// What the client calls it.
    pub view_path: NsPath,
    /// What it is.
    pub path: NsPath,
}

impl Listing {
    /// Sends every entry, written by `write`, in pages. Ends early when the client has gone; after an error the body
    /// is cut off, so that it cannot be taken for whole.
    pub async fn stream(&self, sender: &BodySender, mut write: impl FnMut(&mut String, &NsPath, &Entry)) {
        let mut after: Option<String> = None;
        loop {
            let page = match self.service.namespace.list_page(self.directory, after.as_deref(), PAGE).await {
                Ok(page) => page,
                Err(error) => return fail(sender, error).await,
            };
            let mut text = String::new();
            for entry in &page {
                // A name that makes the path too long for a request cannot be asked for either.
                let (Ok(view_path), Ok(path)) =
                    (self.view_path.child(&entry.name), self.path.child(&entry.name))
                else {
                    continue;
                };
                if decide(&self.access, Operation::ReadMetadata, &path) == Decision::Allow {
                    write(&mut text, &view_path, entry);
                }
            }
            if !text.is_empty() && sender.send(Ok(Bytes::from(text))).await.is_err() {
                return;
            }
            match page.into_iter().next_back() {
                Some(last) => after = Some(last.name),
                None => return,
            }
        }
    }
}

async fn fail(sender: &BodySender, error: NamespaceError) {
    tracing::error!(%error, "a listing was cut off");
    let _ = sender.send(Err(error.into())).await;
}

fn xml_answer(body: super::answer::Body) -> Answer {
    let mut answer = bare(StatusCode::MULTI_STATUS);
    *answer.body_mut() = body;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    answer
}

/// A missing header means infinity (RFC 4918 §9.1), as Apache takes it too; for a file that is no more than 0.
fn depth(exchange: &Exchange) -> Result<Depth, Refusal> {
    match exchange.headers().get("depth").map(HeaderValue::as_bytes) {
        None => Ok(Depth::Infinity),
        Some(b"0") => Ok(Depth::Zero),
        Some(b"1") => Ok(Depth::One),
        Some(value) if value.eq_ignore_ascii_case(b"infinity") => Ok(Depth::Infinity),
        Some(_) => Err(Refusal::new(StatusCode::BAD_REQUEST, "Depth is none of 0, 1 and infinity")),
    }
}

/// RFC 4918 §9.1.1: the refusal that clients can read.
fn finite_depth_only() -> Answer {
    let mut answer = xml_answer(full(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- List one level at a time: send Depth: 0 or Depth: 1. -->\n\
         <d:error xmlns:d=\"DAV:\"><d:propfind-finite-depth/></d:error>\n",
    ));
    *answer.status_mut() = StatusCode::FORBIDDEN;
    answer
}

async fn wanted(body: Incoming, limit_bytes: u64) -> Result<Wanted, Refusal> {
    let too_long = || {
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {limit_bytes} bytes"))
    };
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let mut body = Limited::new(body, limit);
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                too_long()
            } else {
                Refusal::new(StatusCode::BAD_REQUEST, "the body ended before its end")
            }
        })?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    property::parse(&bytes).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))
}
