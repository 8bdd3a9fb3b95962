//! Short bodies of requests, read whole.

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;

use super::answer::Refusal;
use super::exchange::Exchange;

/// The body of a request in XML; empty when there is none.
pub async fn xml(exchange: &mut Exchange) -> Result<Bytes, Refusal> {
    let limit_bytes = exchange.service.limits.xml_bytes.0;
    read(exchange, limit_bytes).await
}

/// The body of a request, up to a length, and for as long as a head may take; empty when there is none.
pub async fn read(exchange: &mut Exchange, limit_bytes: u64) -> Result<Bytes, Refusal> {
    let Some(body) = exchange.body.take() else { return Ok(Bytes::new()) };
    let within = exchange.service.body_timeout;
    let bytes = tokio::time::timeout(within, read_all(body, limit_bytes)).await.unwrap_or_else(|_| {
        let text = format!("the body has not come within {} s", within.as_secs());
        Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, text))
    })?;
    exchange.body_is_read = true;
    Ok(bytes)
}

async fn read_all(body: Incoming, limit_bytes: u64) -> Result<Bytes, Refusal> {
    let mut body = Limited::new(body, usize::try_from(limit_bytes).unwrap_or(usize::MAX));
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() {
                let text = format!("the body is longer than {limit_bytes} bytes");
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
            } else {
                Refusal::new(StatusCode::BAD_REQUEST, "the body ended before its end")
            }
        })?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}
