//! PROPFIND, Depth 0 and 1.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use tracing::Instrument as _;

use super::answer::{Answer, Body, Refusal, bare, full, streamed};
use super::depth::Depth;
use super::exchange::Exchange;
use super::listing::Listing;
use super::multistatus::{self, Circumstances, Space, Told};
use super::property::{self, Known};
use super::request_body;
use crate::auth::Operation;
use crate::namespace::{Beside, Described};

pub use super::listing::PAGE;

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::ReadMetadata)?;
    // A missing header means infinity (RFC 4918 §9.1), as Apache takes it too; for a file that is no more than 0.
    let depth = Depth::read(exchange.headers())?.unwrap_or(Depth::Infinity);
    let body = request_body::xml(exchange).await?;
    let wanted =
        property::parse(&body).map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let lookups = Beside { dead: wanted.has_dead(), locks: wanted.has(Known::LockDiscovery) };
    let described = exchange.service.namespace.describe(&exchange.path, lookups).await?;
    let Described { entry, dead, locks } = described.ok_or_else(Refusal::not_found)?;
    let circumstances = circumstances(exchange);
    let mut xml = String::from(multistatus::HEAD);
    let told = Told {
        view_path: &exchange.view_path,
        path: &exchange.path,
        entry: &entry,
        dead: &dead,
        locks: &locks,
        circumstances: &circumstances,
    };
    multistatus::write_entry(&mut xml, &wanted, &told);
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
    let listing = Listing::of(exchange, &entry, circumstances, lookups);
    let write = async move {
        if sender.send(Ok(Bytes::from(xml))).await.is_err() {
            return;
        }
        listing.stream(&sender, |xml, told| multistatus::write_entry(xml, &wanted, told)).await;
        // When the client has gone nobody misses it.
        let _ = sender.send(Ok(Bytes::from_static(multistatus::TAIL.as_bytes()))).await;
    };
    tokio::spawn(write.in_current_span());
    Ok(xml_answer(body))
}

/// What holds for all that a request is told.
pub fn circumstances(exchange: &Exchange) -> Circumstances {
    let (used, available) = exchange.service.transfers.pools().space();
    Circumstances {
        access: exchange.access.clone(),
        view_root: exchange.view_root(),
        space: Space { used, available },
    }
}

/// An answer of 207.
pub fn xml_answer(body: Body) -> Answer {
    let mut answer = bare(StatusCode::MULTI_STATUS);
    *answer.body_mut() = body;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    answer
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
