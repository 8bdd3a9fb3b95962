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

/// The body of a request, up to a length; empty when there is none.
pub async fn read(exchange: &mut Exchange, limit_bytes: u64) -> Result<Bytes, Refusal> {
    match exchange.body.take() {
        Some(body) => read_all(body, limit_bytes).await,
        None => Ok(Bytes::new()),
    }
}

/// A body, up to a length.
pub async fn read_all(body: Incoming, limit_bytes: u64) -> Result<Bytes, Refusal> {
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
